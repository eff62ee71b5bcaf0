# SPDX-License-Identifier: Apache-2.0
"""The addresses themselves: what the kernel, a cable or an administrator does to them."""
import json
import socket
from types import SimpleNamespace

from lab import Capture, Lab, Probe, check, figure, test, wait_for
from pairs import VIP, VIP2, VIP6, router, start_pair, tandem_conf, wait_state


@test()
def p18_an_address_that_somebody_removes_is_put_back():
    with Lab() as lab:
        web1 = lab["web1"]
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        lab.wait_holder("web1", VIP)
        web1.ip(f"address del {VIP}/32 dev eth0")
        wait_for("it is put back", lambda: web1.has(VIP))
        check(web1.instance()["state"] == "MASTER", "the state changed")
        log = next(r for r in web1.started if r.name == "agent")
        wait_for("the log says so", lambda: "somebody removed a virtual address" in log.text())

        # Two managers who fight over it do not do so at full speed, and people are told.
        def fought():
            if web1.has(VIP):
                web1.ip(f"address del {VIP}/32 dev eth0")
            return "put-back-limited" in {a["alarm"] for a in web1.instance()["alarms"]}

        wait_for("it is put back more slowly", fought)
        count = web1.instance()["counters"]["put_backs"]
        check(count <= 6, f"put back {count} times at once")
        done = web1.run("tandem", "status", check_status=False)
        check(done.returncode == 2 and "removed again and again" in done.stdout, done.stdout)
        wait_for("and put back in the end", lambda: web1.has(VIP))
        check(web1.instance()["state"] == "MASTER", "the state changed")


@test()
def an_address_that_another_host_has_as_well_is_taken_and_named_with_its_hardware_address():
    with Lab(nodes=("web1", "other")) as lab:
        web1, other = lab.nodes
        for host in lab.nodes:
            host.use_ipv6()
        other.ip(f"address add {VIP}/24 dev eth0", f"address add {VIP6}/64 dev eth0 nodad")
        thief = json.loads(other.run("ip", "-j", "link", "show", "dev", "eth0"))[0]["address"]
        text = tandem_conf(SimpleNamespace(nodes=[web1]), [router(priority={"web1": 100})])
        web1.configure(text.replace(f'"{VIP}/24"', f'"{VIP}/24", "{VIP6}/64"'))
        agent = web1.start_agent()

        def named(held):
            return {e["address"] for e in web1.instance().get("in_use", ())
                    if e["mac"] == thief and e["held"] == held}

        # Asked before it is taken, and again when it is held.
        wait_for("both are found in use before", lambda: named(False) == {VIP, VIP6} or named(True))
        wait_for("the log says it", lambda: "nobody is heard, and" in agent.text())
        check(web1.instance()["state"] in ("BACKUP", "MASTER"), "it does not serve")
        wait_for("both are found in use while it holds them", lambda: named(True) == {VIP, VIP6})
        check(web1.has(VIP) and web1.instance()["state"] == "MASTER", "it let go")
        done = web1.run("tandem", "status", check_status=False)
        check(done.returncode == 2 and f"{VIP} is in use elsewhere: {thief}" in done.stdout,
              f"exit {done.returncode}: {done.stdout}")
        # A word of the thief is enough, without a question.
        def heard():
            return sum(e["count"] for e in web1.instance()["in_use"])

        before = heard()
        with other.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((VIP, 0))
            sender.sendto(b"", ("198.51.100.77", 9))  # who has .77? tell the address
        wait_for("what it says is heard", lambda: heard() > before)


@test()
def a_dead_cable_gives_the_address_away_and_its_return_does_not_split():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        lab.port_down(web1)
        wait_state(web1, "FAULT")
        lab.wait_holder("web2", VIP)
        lab.port_up(web1)
        lab.wait_holder("web1", VIP)  # the higher priority, without nopreempt
        wait_state(web2, "BACKUP")


@test()
def the_nodes_own_address_and_an_administrators_survive_everything():
    with Lab() as lab:
        web1 = lab["web1"]
        web1.ip("address add 203.0.113.77/24 dev eth0")
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        lab.wait_holder("web1", VIP)
        # X8: a service address that has become the primary one takes the others with it.
        web1.ip(f"address del {web1.address}/24 dev eth0", f"address add {web1.address}/24 dev eth0")
        wait_for("the address is still held", lambda: web1.has(VIP))
        next(r for r in web1.started if r.name == "agent").stop()
        lab.wait_holder("web2", VIP)
        check(web1.addresses() == {"127.0.0.1", web1.address, "203.0.113.77"},
              f"left on web1: {web1.addresses()}")


@test()
def an_address_of_the_nodes_own_that_comes_later_survives_too():
    """X8 turned round: the kernel takes what came second along with what came first."""
    with Lab() as lab:
        web1 = lab["web1"]
        other, own, more = "203.0.113.200", "203.0.113.1", "203.0.113.2"
        for node in lab.nodes:
            node.ip("link add name inner0 type veth peer name inner1", "link set inner0 up",
                    "link set inner1 up")
            node.run("sh", "-c", "cd /proc/sys/net/ipv4/conf; "
                     "echo 0 > all/promote_secondaries; echo 0 > inner0/promote_secondaries")
        text = tandem_conf(lab, [router(advert_int=0.1)]).replace(
            f'virtual_ipaddress = [ "{VIP}/24" ]', f"""virtual_ipaddress = (
                "{VIP}/24", {{ address = "{other}/24"; dev = "inner0"; }} )""")
        start_pair(lab, text, nginx=False)
        lab.wait_holder("web1", other)

        def shown():
            return web1.run("ip", "-4", "address", "show", "dev", "inner0")

        check(f"{other}/24" in shown(), f"it is not the first of its subnet: {shown()}")
        web1.ip(f"address add {own}/24 brd + dev inner0 metric 77 label inner0:own",
                f"address add {more}/24 dev inner0 valid_lft 5000 preferred_lft 4000")
        wait_for("ours makes room", lambda: f"{other}/32" in shown())
        check(web1.has(other) and web1.instance()["state"] == "MASTER", "it was lost over that")
        # The kernel may have taken them along: then they are put back, one after the other.
        wait_for("all is as it was", lambda: (
            f"{own}/24 metric 77 brd 203.0.113.255 scope global inner0:own" in shown() and
            f"{more}/24 scope global secondary dynamic inner0" in shown()), also=shown)
        # Everything at once, as a crash would: ours expires, and the others stay.
        next(r for r in web1.started if r.name == "agent").kill_all()
        wait_for("ours expires", lambda: not web1.has(other))
        check({own, more} <= web1.addresses(), f"left: {shown()}")


@test()
def addresses_of_both_families_move_together_and_leave_none_behind():
    """Adverts go over IPv4 and can name no IPv6 address: that one moves unsaid."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        for host in (web1, web2, lab.client):
            host.use_ipv6()
        # VRRP's own wait after a last word is web2's skew time, here 960 ms.
        text = tandem_conf(lab, [router(nopreempt="true", advert_int=1,
                                        priority={"web1": 100, "web2": 10})])
        start_pair(lab, text.replace(f'"{VIP}/24"', f'"{VIP}/24", "{VIP6}/64"'), nginx=False)
        for vip in (VIP, VIP6):
            lab.wait_holder("web1", vip)
        check(VIP6 not in web1.run("ip", "-6", "route", "get", lab.client.address6),
              "web1 speaks to the client from the service address")
        capture = Capture(lab)
        client = Probe(lab.client, "ask", VIP6, "9", "1000")
        next(r for r in web1.started if r.name == "agent").stop()
        for vip in (VIP, VIP6):
            lab.wait_holder("web2", vip)
        gap = client.stop()["gap_us"] / 1000
        check(gap < 900, f"the IPv6 address was away for {gap:.1f} ms: as long as VRRP's own wait")
        check({web1.address6, web1.link_local} <= web1.addresses6(), "its own addresses are gone")
        capture.stop()
        check(not capture.malformed(), f"malformed: {capture.malformed()}")
        check(capture.count(f"icmpv6.type == 136 and icmpv6.nd.na.target_address == {VIP6} and "
                            "ipv6.dst == ff02::1 and icmpv6.nd.na.flag.o == 1"),
              "no neighbour advertisement to all nodes")
        check(not capture.count("icmpv6.checksum.status == 0"), "a wrong ICMPv6 checksum")
        # Everything at once, as a crash would: the kernel takes both off by itself.
        next(r for r in web2.started if r.name == "agent").kill_all()
        for vip in (VIP, VIP6):
            wait_for(f"{vip} expires", lambda gone=vip: not web2.has(gone))
        figure(f"orderly stop: the IPv6 address was away for {gap:.1f} ms at most")


@test()
def a_pair_speaks_over_ipv6_as_soon_as_its_link_local_addresses_are_ready():
    """Two seconds of duplicate address detection are a wait, and no failure."""
    with Lab() as lab:
        sources = "{ " + " ".join(f'{n.name} = "{n.link_local}";' for n in lab.nodes) + " }"
        lab.nodes[0].power_off()
        lab.nodes[0].power_on()  # its link has come up this moment
        start_pair(lab, tandem_conf(lab, [router(
            vip=VIP6, multicast="true", mcast_src_ip=sources)]), nginx=False)
        lab.wait_holder("web1", VIP6)
        wait_state(lab["web2"], "BACKUP")
        next(r for r in lab["web1"].started if r.name == "agent").kill_all()
        lab.wait_holder("web2", VIP6)


@test()
def addresses_with_an_interface_of_their_own_and_addresses_that_are_not_advertised_move_along():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            node.ip("link add name inner0 type veth peer name inner1", "link set inner0 up",
                    "link set inner1 up")
        other = "203.0.113.200"
        plain = tandem_conf(lab, [router(
            nopreempt="true", virtual_ipaddress_excluded=f'[ "{VIP2}/24", "{VIP6}/64" ]')])
        grouped = plain.replace(f'virtual_ipaddress = [ "{VIP}/24" ]', f"""virtual_ipaddress = (
            "{VIP}/24", {{ address = "{other}/24"; dev = "inner0"; label = "inner0:v";
                           scope = "link"; broadcast = "+"; }} )""")
        check(grouped != plain, "the file is not the one that is meant")
        start_pair(lab, grouped, nginx=False)
        capture = Capture(lab)
        for vip in (VIP, VIP2, VIP6, other):
            lab.wait_holder("web1", vip)
        found = [a for link in json.loads(web1.run("ip", "-j", "address", "show", "dev", "inner0"))
                 for a in link["addr_info"] if a["local"] == other]
        check(len(found) == 1 and found[0]["label"] == "inner0:v" and
              found[0]["scope"] == "link" and found[0]["broadcast"] == "203.0.113.255" and
              found[0]["prefixlen"] == 24, f"on inner0: {found}")

        next(r for r in web1.started if r.name == "agent").stop()
        for vip in (VIP, VIP2, VIP6, other):
            lab.wait_holder("web2", vip)
        capture.stop()
        counts = {count for count, in capture.packets("vrrp", "vrrp.addr_count")}
        check(counts == {"2"}, f"adverts name {counts} addresses instead of 2")

        # A reload takes it from one interface to the other, and then away, with no other state.
        for text, wanted in ((grouped.replace("inner0", "eth0"), True), (plain, False)):
            web2.configure(text)
            web2.run("tandem", "reload")
            wait_for(f"{other} is where the file says", lambda want=wanted: (
                other in web2.run("ip", "address", "show", "dev", "eth0")) == want and
                other not in web2.run("ip", "address", "show", "dev", "inner0"))
        check(web2.instance()["state"] == "MASTER" and web2.has(VIP), "the reload moved the rest")
        next(r for r in web2.started if r.name == "agent").kill_all()
        for vip in (VIP, VIP2, VIP6):
            wait_for(f"{vip} expires", lambda gone=vip: not web2.has(gone))


@test()
def routes_come_and_go_with_the_addresses_and_nobody_elses_do():
    with Lab() as lab:
        web1, web2 = lab.nodes
        web2.ip("route add 203.0.113.64/26 via 198.51.100.100 dev eth0")

        def routes(node):
            found = json.loads(node.run("ip", "-j", "route", "show", "table", "all"))
            return {(r["dst"], r.get("gateway"), r.get("prefsrc"), r.get("metric"))
                    for r in found if r["dst"].startswith("203.0.113.")}

        one = ("203.0.113.0/26", "198.51.100.100", VIP, 77)
        foreign = ("203.0.113.64/26", "198.51.100.100", None, None)
        more = ("203.0.113.128/26", None, None, None)
        settings = f"""( {{ destination = "203.0.113.0/26"; via = "198.51.100.100"; src = "{VIP}";
            table = 1000; metric = 77; }}, {{ destination = "203.0.113.64/26";
            via = "198.51.100.100"; }} )"""
        text = tandem_conf(lab, [router(nopreempt="true", virtual_routes=settings)])
        start_pair(lab, text, nginx=False)
        lab.wait_holder("web1", VIP)
        wait_for("both routes are there", lambda: routes(web1) == {one, foreign})
        check(routes(web2) == {foreign}, f"on the backup: {routes(web2)}")
        next(r for r in web1.started if r.name == "agent").stop()
        wait_for("web2 has them", lambda: routes(web2) == {one, foreign})
        check(not routes(web1), f"left on web1: {routes(web1)}")

        web2.configure(text.replace("} )", '}, { destination = "203.0.113.128/26"; } )')
                       .replace("table = 1000; ", ""))
        web2.run("tandem", "reload")
        wait_for("the reload added one", lambda: routes(web2) == {one, foreign, more})
        wait_for("the route leaves the table that the file no longer names", lambda:
                 "203.0.113.0/26" not in web2.run("ip", "route", "show", "table", "1000"))
        # Killed as a whole it leaves its routes to the next start; what somebody else made stays.
        agent = next(r for r in web2.started if r.name == "agent")
        agent.kill_all()
        web2.start_agent().stop()
        wait_for("only the foreign one stays", lambda: routes(web2) == {foreign})
