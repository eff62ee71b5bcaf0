# SPDX-License-Identifier: Apache-2.0
"""tandem-agent and Debian's keepalived as the two halves of one pair, in each of the six ways in
which keepalived speaks: each of them once as the holder and once as the one that stands by."""
from adverts import advert_v2, send
from lab import Capture, Lab, Probe, check, figure, test, wait_for
from pairs import VIP, VIP6, keepalived_conf, keepalived_refusals, router, tandem_conf


def sources6(lab, multicast):
    """Where adverts over IPv6 come from, by node."""
    return "{ " + " ".join(
        f'{node.name} = "{node.link_local if multicast else node.address6}";'
        for node in lab.nodes) + " }"


def fail_over_and_back(version, multicast, leader, advert_int, password=None, vip=VIP):
    """web1 has the higher priority and takes the address back whenever it returns: from an orderly
    stop, and from a loss of power. leader is what runs there."""
    with Lab() as lab:
        web1, web2 = lab["web1"], lab["web2"]
        tandem = web1 if leader == "tandem" else web2
        settings = {"version": version, "advert_int": advert_int,
                    "multicast": "true" if multicast else "false"}
        over_ipv6 = ":" in vip
        if over_ipv6:
            settings["mcast_src_ip" if multicast else "unicast_src_ip"] = sources6(lab, multicast)
            if not multicast:
                settings["min_ttl"] = 64  # what keepalived sends, there alone
            for host in (*lab.nodes, lab.client):
                host.use_ipv6()
        if password:
            settings |= {"auth_type": '"PASS"', "auth_pass": f'"{password}"'}
        tandem.configure(tandem_conf(lab, [router(vip=vip, **settings)]))

        def start(node):
            if node is tandem:
                return node.start_agent()
            return node.start_keepalived(keepalived_conf(
                lab, node, version, multicast, {"web1": 100, "web2": 90}[node.name], advert_int,
                password, vip))

        def no_refusals():
            refusals = keepalived_refusals(lab.all_text("keepalived"))
            check(not refusals, f"keepalived refused: {refusals[:5]}")
            refusals = tandem.instance()["refused"]
            check(not refusals, f"tandem refused: {refusals}")

        capture = Capture(lab)
        start(web2)
        lab.wait_holder("web2", vip)
        first = start(web1)
        lab.wait_holder("web1", vip)
        wait_for("tandem knows web1 as the master", lambda: (
            tandem.instance().get("master") or {}).get("node") == "web1" or web1 is tandem)

        client = Probe(lab.client, "ask", vip, "9", "1000")
        first.stop()
        lab.wait_holder("web2", vip)
        start(web1)
        lab.wait_holder("web1", vip)
        stopped = client.stop()["gap_us"] / 1000
        no_refusals()

        client = Probe(lab.client, "ask", vip, "9", "1000")
        web1.power_off()
        lab.wait_holder("web2", vip)
        lost = client.stop()["gap_us"] / 1000
        web1.power_on()
        if over_ipv6:
            web1.use_ipv6()
        start(web1)
        lab.wait_holder("web1", vip)
        no_refusals()

        capture.stop()
        wrong = capture.malformed()
        check(not wrong, f"tshark finds malformed packets: {wrong[:5]}")
        for node in lab.nodes:
            source = f"ip.src == {node.address}"
            if over_ipv6:
                source = f"ipv6.src == {node.link_local if multicast else node.address6}"
            count = capture.count(f"vrrp and {source}")
            check(count >= 3, f"only {count} adverts of {node.name} were seen")
        figure(f"web1 ({leader}) stopped and came back: longest gap {stopped:.1f} ms; lost power: "
               f"{lost:.0f} ms; {capture.count('vrrp')} adverts, none malformed, none refused")


@test()
def tandem_and_keepalived_standing_by_fail_over_with_v2_multicast_and_password():
    fail_over_and_back(2, True, "tandem", 1, "1111")


@test()
def keepalived_and_tandem_standing_by_fail_over_with_v2_multicast_and_password():
    fail_over_and_back(2, True, "keepalived", 1, "1111")


@test(san=False)
def tandem_and_keepalived_standing_by_fail_over_with_v2_multicast():
    fail_over_and_back(2, True, "tandem", 1)


@test(san=False)
def keepalived_and_tandem_standing_by_fail_over_with_v2_multicast():
    fail_over_and_back(2, True, "keepalived", 1)


@test(san=False)
def tandem_and_keepalived_standing_by_fail_over_with_v2_unicast_and_password():
    fail_over_and_back(2, False, "tandem", 1, "1111")


@test(san=False)
def keepalived_and_tandem_standing_by_fail_over_with_v2_unicast_and_password():
    fail_over_and_back(2, False, "keepalived", 1, "1111")


@test()
def tandem_and_keepalived_standing_by_fail_over_with_v2_unicast():
    fail_over_and_back(2, False, "tandem", 1)


@test()
def keepalived_and_tandem_standing_by_fail_over_with_v2_unicast():
    fail_over_and_back(2, False, "keepalived", 1)


@test()
def tandem_and_keepalived_standing_by_fail_over_with_v3_unicast():
    fail_over_and_back(3, False, "tandem", 0.2)


@test()
def keepalived_and_tandem_standing_by_fail_over_with_v3_unicast():
    fail_over_and_back(3, False, "keepalived", 0.2)


@test()
def tandem_and_keepalived_standing_by_fail_over_with_v3_multicast():
    fail_over_and_back(3, True, "tandem", 0.2)


@test()
def keepalived_and_tandem_standing_by_fail_over_with_v3_multicast():
    fail_over_and_back(3, True, "keepalived", 0.2)


@test()
def tandem_and_keepalived_standing_by_fail_over_with_ipv6_unicast():
    fail_over_and_back(3, False, "tandem", 0.2, vip=VIP6)


@test()
def keepalived_and_tandem_standing_by_fail_over_with_ipv6_unicast():
    fail_over_and_back(3, False, "keepalived", 0.2, vip=VIP6)


@test()
def tandem_and_keepalived_standing_by_fail_over_with_ipv6_multicast():
    fail_over_and_back(3, True, "tandem", 0.2, vip=VIP6)


@test()
def keepalived_and_tandem_standing_by_fail_over_with_ipv6_multicast():
    fail_over_and_back(3, True, "keepalived", 0.2, vip=VIP6)


@test()
def the_checks_of_these_tests_notice_what_is_wrong():
    """No tandem: what keepalived's log and tshark say of packets that are wrong for certain."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        capture = Capture(lab)
        web1.start_keepalived(keepalived_conf(lab, web1, 2, False, 100, 1, "1111"))
        lab.wait_holder("web1", VIP)
        check(not keepalived_refusals(lab.all_text("keepalived")), "refusals before there were any")
        for wrong in (advert_v2(priority=50, count=9), advert_v2(priority=50, good_sum=False),
                      advert_v2(priority=50, password=b"wrong")):
            before = len(keepalived_refusals(lab.all_text("keepalived")))
            send(web2, web1.address, wrong)
            wait_for("keepalived's refusal is noticed", lambda: len(
                keepalived_refusals(lab.all_text("keepalived"))) > before)
        capture.stop()
        check(len(capture.malformed()) == 2, f"tshark's finds: {capture.malformed()}")
