# SPDX-License-Identifier: Apache-2.0
"""Virtual routers with a hardware address of their own: with use_vmac, alone and beside keepalived."""
import re
import signal

from lab import Capture, Lab, Probe, check, figure, kill, test, wait_for
from pairs import (VIP, VIP6, keepalived_conf, keepalived_refusals, router, start_pair,
                   tandem_conf, wait_state)

MAC4, MAC6 = "00:00:5e:00:01:33", "00:00:5e:00:02:33"


def own_interfaces(node):
    """Those that carry a router's hardware address, and what eth0 does with ARP."""
    links = node.run("ip", "-o", "link", "show", "type", "macvlan")
    arp = [int(read_in(node, f"/proc/sys/net/ipv4/conf/eth0/{name}"))
           for name in ("arp_ignore", "arp_announce")]
    return sorted(re.findall(r"^\d+: ([^@:]+)", links, re.MULTILINE)), arp


def read_in(node, path):
    return node.run("cat", path).strip()


def neighbour(host, address):
    """The hardware address that a host has for this one."""
    found = re.search(r"lladdr (\S+)", host.run("ip", "neigh", "show", address))
    return found.group(1) if found else None


def sources6(lab, multicast):
    return "{ " + " ".join(f'{node.name} = "{node.link_local if multicast else node.address6}";'
                           for node in lab.nodes) + " }"


@test()
def the_client_keeps_the_hardware_address_when_the_router_moves():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            node.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter")
        # An engine has three of these until the peer misses it.
        start_pair(lab, tandem_conf(lab, [router(multicast="true", use_vmac="true",
                                                 advert_int=1)]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        for node in lab.nodes:
            check(own_interfaces(node) == (["vrrp.51"], [1, 2]), f"{own_interfaces(node)}")
            check(node.addresses6() <= {"::1", node.link_local}, f"{node.addresses6()}")
        wire = Capture(lab)
        client = Probe(lab.client, "ask", VIP, "9", "1000")
        check(neighbour(lab.client, VIP) == MAC4, f"{neighbour(lab.client, VIP)}")
        for to, back in ((web2, web1), (web1, web2)):
            # Once more if the other node is too busy to answer in time.
            wait_for(f"{to.name} has it", lambda b=back, t=to: b.call("agent", "handover").get("ok")
                     and lab.holders(VIP) == [t.name], every=0.5)
            check(neighbour(lab.client, VIP) == MAC4, f"{neighbour(lab.client, VIP)}")
        wait_state(web2, "BACKUP")
        seen = client.stop()
        figure(f"two handovers with a virtual hardware address: longest gap "
               f"{seen['gap_us'] / 1000:.1f} ms")
        wire.stop()
        wrong = wire.packets(f"arp.src.proto_ipv4 == {VIP} and not arp.src.hw_mac == {MAC4}")
        check(not wrong, f"{VIP} under another hardware address: {wrong}")
        senders = {mac for (mac,) in wire.packets("vrrp and vrrp.prio > 1", "eth.src")}
        check(MAC4 in senders, f"adverts come from {senders}")
        # A new engine goes on with it.
        agent = next(r for r in web1.started if r.name == "agent")
        engine = agent.parts(privileged=False)
        before = web2.instance()["transitions"]
        kill(engine[0], signal.SIGKILL)
        wait_for("a new engine is MASTER", lambda: agent.parts(privileged=False)
                 not in ([], engine) and web1.instance().get("state") == "MASTER")
        check(own_interfaces(web1) == (["vrrp.51"], [1, 2]), f"{own_interfaces(web1)}")
        check(web2.instance()["transitions"] == before, "the peer saw the engine die")
        # A crash of everything, and then an orderly end: nothing is left behind.
        agent.kill_all()
        check(own_interfaces(web1)[0] == ["vrrp.51"], "it outlives the processes")
        agent = web1.start_agent()
        lab.wait_holder("web1", VIP)
        agent.stop()
        check(own_interfaces(web1) == ([], [0, 0]), f"left behind: {own_interfaces(web1)}")
        lab.wait_holder("web2", VIP)


@test()
def an_interface_of_its_own_that_somebody_removes_is_made_again():
    with Lab() as lab:
        web1, web2 = lab.nodes
        text = tandem_conf(lab, [router(multicast="true", use_vmac='"service0"', advert_int=0.2)])
        start_pair(lab, text, nginx=False)
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        check(web1.instance()["vmac"] == "service0", "status does not name it")
        web1.ip("link delete service0")
        wait_for("web1 has it again", lambda: own_interfaces(web1)[0] == ["service0"])
        lab.wait_holder("web1", VIP)
        # Another name is another interface, and none is none.
        for setting, names, arp in (('"service1"', ["service1"], [1, 2]), ("false", [], [0, 0])):
            text = tandem_conf(lab, [router(multicast="true", use_vmac=setting, advert_int=0.2)])
            for node in lab.nodes:
                node.configure(text)
                check(node.call("agent", "reload").get("ok"), "no reload")
            wait_for(f"both nodes have {names}", lambda names=names, arp=arp: all(
                own_interfaces(node) == (names, arp) for node in lab.nodes), also=lambda: str(
                    [own_interfaces(node) for node in lab.nodes]))
            lab.wait_holder("web1", VIP)


def beside_keepalived(version, multicast, vip=VIP):
    """web1 (tandem) has the higher priority; keepalived stands by, both with use_vmac."""
    advert_int = 1 if version == 2 else 0.2
    mac = MAC6 if ":" in vip else MAC4
    with Lab() as lab:
        web1, web2 = lab.nodes
        settings = {"version": version, "advert_int": advert_int, "use_vmac": "true",
                    "multicast": "true" if multicast else "false"}
        base = "" if multicast else "  vmac_xmit_base\n"
        if ":" in vip:
            settings["mcast_src_ip" if multicast else "unicast_src_ip"] = sources6(lab, multicast)
            if not multicast:
                settings["min_ttl"] = 64  # what keepalived sends, there alone
            for host in (*lab.nodes, lab.client):
                host.use_ipv6()
        web1.configure(tandem_conf(lab, [router(vip=vip, **settings)]))
        # What keepalived leaves to the administrator.
        for name, value in (("arp_ignore", 1), ("arp_announce", 2)):
            web2.run("sh", "-c", f"echo {value} > /proc/sys/net/ipv4/conf/eth0/{name}")
        web2.start_keepalived(keepalived_conf(lab, web2, version, multicast, 90, advert_int,
                                              vip=vip, extra=f"  use_vmac\n{base}"))
        lab.wait_holder("web2", vip)
        client = Probe(lab.client, "ask", vip, "9", "1000")  # waits for its first answer
        check(neighbour(lab.client, vip) == mac, f"keepalived: {neighbour(lab.client, vip)}")
        agent = web1.start_agent()
        lab.wait_holder("web1", vip)
        check(neighbour(lab.client, vip) == mac, f"tandem: {neighbour(lab.client, vip)}")
        wait_for("tandem says who holds it", lambda: web1.instance()["state"] == "MASTER")
        agent.stop()
        lab.wait_holder("web2", vip)
        check(neighbour(lab.client, vip) == mac, f"keepalived: {neighbour(lab.client, vip)}")
        seen = client.stop()
        web1.start_agent()
        lab.wait_holder("web1", vip)
        refused = web1.instance()["refused"]
        check(not refused, f"tandem refused: {refused}")
        refused = keepalived_refusals(lab.all_text("keepalived"))
        check(not refused, f"keepalived refused: {refused[:5]}")
        figure(f"there and back beside keepalived: longest gap {seen['gap_us'] / 1000:.1f} ms; "
               f"the client knew {mac} all along")


@test()
def routers_with_a_hardware_address_fail_over_with_keepalived_over_v2_multicast():
    beside_keepalived(2, True)


@test()
def routers_with_a_hardware_address_fail_over_with_keepalived_over_v2_unicast():
    beside_keepalived(2, False)


@test()
def routers_with_a_hardware_address_fail_over_with_keepalived_over_v3_multicast():
    beside_keepalived(3, True)


@test()
def routers_with_a_hardware_address_fail_over_with_keepalived_over_v3_unicast():
    beside_keepalived(3, False)


@test()
def routers_with_a_hardware_address_fail_over_with_keepalived_over_ipv6_multicast():
    beside_keepalived(3, True, VIP6)


@test()
def routers_with_a_hardware_address_fail_over_with_keepalived_over_ipv6_unicast():
    beside_keepalived(3, False, VIP6)
