# SPDX-License-Identifier: Apache-2.0
"""Settings that people bring from keepalived: that they do what they say."""
import os
import re
import signal
import time

from lab import Capture, Failure, Lab, check, figure, kill, test, wait_for
from pairs import (VIP, VIP2, VIP6, keepalived_conf, keepalived_refusals, router, start_pair,
                   tandem_conf, wait_refused, wait_state)


@test()
def nothing_is_taken_over_before_the_start_up_delay_is_over():
    with Lab(nodes=("web1",)) as lab:
        web1, = lab.nodes
        begun = time.monotonic()
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.1, priority={"web1": 100})],
                                    extra="vrrp_startup_delay = 8;\n"), nginx=False)
        wait_state(web1, "BACKUP")
        check(web1.agent()["startup_delay_us"] > 0, "status does not say what is left of it")
        # It is the agent's, and counted once: an engine that dies does not begin it anew.
        wait_for("half of it is over", lambda: web1.agent()["uptime_us"] > 4_000_000)
        kill(next(r for r in web1.started if r.name == "agent").parts(privileged=False)[0],
             signal.SIGKILL)
        wait_state(web1, "MASTER")
        check(time.monotonic() - begun > 8, "it took over before its time")
        status = web1.agent()
        waited_us = status["uptime_us"] - status["instances"][0]["since_us"]
        check(waited_us < 7_500_000, f"the second engine waited {waited_us} us")
        check(status["startup_delay_us"] == 0, "the delay is over, and status does not know it")


@test()
def announcements_are_as_many_and_as_far_apart_as_the_file_says():
    gap = 0.2  # what it is told from are microseconds
    with Lab(nodes=("web1",)) as lab:
        web1, = lab.nodes
        web1.use_ipv6()
        capture = Capture(lab)
        # Those of both routers share the interface, and so the gap.
        settings = {"advert_int": 0.1, "priority": {"web1": 100}, "garp_master_refresh": 0}
        text = tandem_conf(
            lab, [router(garp_master_repeat=4, garp_master_delay=0, **settings,
                         virtual_ipaddress_excluded=f'[ "{VIP6}/64" ]'),
                  router(name="VI_2", vrid=52, vip=VIP2, garp_master_delay=0, **settings)],
            extra=f"vrrp_garp_interval = {gap}; vrrp_gna_interval = {gap};\n"
                  "vrrp_garp_master_repeat = 2;\n")
        start_pair(lab, text, nginx=False)
        for vip in (VIP, VIP2, VIP6):
            lab.wait_holder("web1", vip)
        def arps():
            return capture.packets("arp.isgratuitous and arp.src.proto_ipv4 in "
                                   f"{{{VIP}, {VIP2}}}", "frame.time_epoch", "arp.src.proto_ipv4")

        wait_for("all is announced", lambda: len(arps()) >= 6, every=0.3)
        capture.stop()
        seen = arps()
        check(len(seen) == 6 and [vip for _, vip in seen].count(VIP) == 4, f"announced: {seen}")
        advertised = capture.packets(f"icmpv6.type == 136 and ipv6.dst == ff02::1 and "
                                     f"icmpv6.nd.na.target_address == {VIP6}", "frame.time_epoch",
                                     "icmpv6.nd.na.target_address")
        check(len(advertised) == 4, f"advertised: {advertised}")
        for packets in (seen, advertised):
            times = [float(at) for at, _ in packets]
            nearest = min(b - a for a, b in zip(times, times[1:]))
            check(nearest > 0.5 * gap, f"two packets {nearest * 1000:.1f} ms apart")


@test()
def a_password_in_a_file_is_never_shown_and_must_not_be_readable():
    first, second, path = "Zq7first", "Zq8other", "/etc/tandem/vrrp.password"

    def write(node, password, mode=0o600):
        with open(node.path(path), "w", encoding="utf-8") as file:
            file.write(password + "\n")
        os.chmod(node.path(path), mode)

    def reload(node, status=0):
        done = node.run("tandem", "reload", check_status=False)
        said = done.stdout + done.stderr
        if (done.returncode == 0) != (status == 0):
            raise Failure(f"reload: exit {done.returncode}: {said}")
        return said

    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            node.configure("")
            write(node, first)
        start_pair(lab, tandem_conf(lab, [router(version=2, auth_type='"PASS"',
                                                 auth_pass_file=f'"{path}"')]), nginx=False)
        lab.wait_holder("web1", VIP)
        capture = Capture(lab)
        wait_for("web2 hears web1", lambda: web2.instance()["master"]
                 and web2.instance()["master"]["node"] == "web1")
        check(not web2.instance()["refused"], "web2 does not like what it hears")
        # Readable by everybody: not taken, and the one before it goes on.
        write(web1, second, 0o644)
        said = reload(web1, 1)
        check("can be read or written by everybody" in said, f"it says {said!r}")
        check(not web2.instance()["refused"], "web1 uses what it was to refuse")
        write(web1, second)
        reload(web1)
        wait_refused(web2, "other-password")
        check(web2.instance()["state"] == "BACKUP", "a password made a second master")
        write(web2, second)
        reload(web2)
        sent = "frame contains " + ":".join(f"{byte:02x}" for byte in second.encode())
        wait_for("web1 advertises with the new one",
                 lambda: capture.count(sent) > 0, every=0.3)
        capture.stop()
        for node in lab.nodes:
            shown = str(node.agent()) + "".join(r.text() for r in node.started) + said
            shown += node.run("tandem", "status", "--json", check_status=False).stdout
            shown += node.run("tandem", "check", check_status=False).stdout
            check(first not in shown and second not in shown, f"{node.name} shows the password")


@test()
def a_keepalived_that_no_line_of_nodes_names_takes_part():
    with Lab() as lab:
        web1, web2 = lab.nodes
        peer = f'"{web2.address}"'

        def conf(unicast_peer):
            text = tandem_conf(lab, [router(version=3, advert_int=0.2, priority={"web1": 90},
                                            unicast_peer=f"( {unicast_peer} )")])
            return re.sub(r',\n  { name = "web2".*', "", text)

        web1.configure(conf(peer))
        agent = web1.start_agent()
        lab.wait_holder("web1", VIP)
        keepalived = web2.start_keepalived(keepalived_conf(lab, web2, 3, False, 100, 0.2))
        lab.wait_holder("web2", VIP)
        wait_for("web1 knows it", lambda: web1.instance()["master"] and
                 web1.instance()["master"]["node"] == web2.address)
        known = next(p for p in web1.instance()["peers"] if p["node"] == web2.address)
        check(known["priority"] == 100 and known["configured_priority"] is None, f"{known}")
        check("by=" + web2.address in agent.text(), "the log does not say who it was")
        # Farther away than it may be: no advert of it counts any more.
        web1.configure(conf(f"{{ address = {peer}; priority = 100; max_ttl = 254; "
                            "min_ttl = 1; }"))
        web1.run("tandem", "reload")
        refused = wait_refused(web1, "bad-ttl")
        check(refused["node"] == web2.address, f"refused from {refused['node']}")
        web1.configure(conf(peer))
        web1.run("tandem", "reload")
        lab.wait_holder("web2", VIP)
        keepalived.stop()
        lab.wait_holder("web1", VIP)
        refusals = keepalived_refusals(lab.all_text("keepalived"))
        check(not refusals, f"keepalived refused: {refusals[:5]}")


@test()
def adverts_go_to_the_group_that_the_file_names():
    groups = {"VI_1": "239.7.7.7", "VI_2": "ff02::777"}
    with Lab() as lab:
        sources = "{ " + " ".join(f'{n.name} = "{n.link_local}";' for n in lab.nodes) + " }"
        for node in lab.nodes:
            node.use_ipv6()
        start_pair(lab, tandem_conf(lab, [
            router(advert_int=0.2, multicast="true", mcast_dst_ip=f'"{groups["VI_1"]}"'),
            router(name="VI_2", vrid=52, vip=VIP6, advert_int=0.2, multicast="true",
                   mcast_src_ip=sources)],
            extra=f'vrrp_mcast_group6 = "{groups["VI_2"]}";\n'), nginx=False)
        capture = Capture(lab)
        for vip in (VIP, VIP6):
            lab.wait_holder("web1", vip)
        for name, group in groups.items():
            wait_for(f"web2 hears {name}", lambda at=name: (lab["web2"].instance(at)["master"] or
                                                            {}).get("node") == "web1")
            check(lab["web1"].instance(name)["group_address"] == group, f"status of {name}")
        capture.stop()
        for seen in ("ip.dst == 239.7.7.7", "ipv6.dst == ff02::777"):
            check(capture.count(f"vrrp and {seen}"), f"no advert with {seen}")
        check(not capture.count("vrrp and (ip.dst == 224.0.0.18 or ipv6.dst == ff02::12)"),
              "adverts to the groups of the RFC")
        check(not capture.malformed(), f"malformed: {capture.malformed()}")


@test()
def the_settings_of_announcements_do_what_they_do_in_keepalived():
    """Both alone, each with an address: how many packets at a time, and how long after the first.
    The last of what was captured may be a part."""
    settings = {"garp_master_delay": 1, "garp_master_repeat": 3, "garp_master_refresh": 2,
                "garp_master_refresh_repeat": 2}

    def bursts(capture, vip):
        at = [float(t) for t, in capture.packets(
            f"arp.isgratuitous and arp.src.proto_ipv4 == {vip}", "frame.time_epoch")]
        found = []
        for t in at:
            if found and t - found[-1][1] < 0.5:
                found[-1] = (found[-1][0], t, found[-1][2] + 1)
            else:
                found.append((t, t, 1))
        return [(round(first - at[0], 1), count) for first, _, count in found[:-1]]

    with Lab() as lab:
        web1, web2 = lab.nodes
        capture = Capture(lab)
        extra = "".join(f"  {key} {value}\n" for key, value in settings.items())
        web1.start_keepalived(keepalived_conf(lab, web1, 3, True, 100, 0.2, extra=extra))
        web2.configure(tandem_conf(lab, [router(vrid=52, vip=VIP2, advert_int=0.2,
                                                priority={"web1": 0, "web2": 100}, **settings)]))
        web2.start_agent()
        for vip in (VIP, VIP2):
            lab.wait_holder({VIP: "web1", VIP2: "web2"}[vip], vip)
        wait_for("each has announced four times", lambda: all(
            len(bursts(capture, vip)) >= 4 for vip in (VIP, VIP2)), every=0.5)
        capture.stop()
        theirs, ours = bursts(capture, VIP), bursts(capture, VIP2)
        # The first refresh is counted from the first announcement there, from the second here.
        said = [([count for _, count in b[:4]], b[1][0] - b[0][0], b[3][0] - b[2][0])
                for b in (theirs, ours)]
        check(said[0][0] == said[1][0] and
              all(abs(a - b) < 0.9 for a, b in zip(said[0][1:], said[1][1:])),
              f"keepalived announces {theirs}, tandem {ours}")
        figure(f"keepalived: {theirs[:4]}, tandem: {ours[:4]} (seconds, packets)")
