# SPDX-License-Identifier: Apache-2.0
"""Virtual routers that move together: two on one interface, which only the group couples."""
import signal

from lab import Lab, check, kill, now_us, read, test, wait_for, write
from pairs import VIP, VIP2, router, start_pair, tandem_conf, wait_state

VIP3 = "198.51.100.203"
NOTIFY = """#!/bin/sh
echo "$*" >> /etc/tandem/told
"""


def start_group(lab, tracks=("", ""), checks=(), group="", advert_ints=(0.3, 0.3), priority=None):
    for node in lab.nodes:
        write(node.path("/etc/tandem/notify.sh"), NOTIFY, 0o755)
    routers = [router(name, vrid, vip, priority, advert_int=s, **({"track": t} if t else {}))
               for name, vrid, vip, t, s in (("VI_1", 51, VIP, tracks[0], advert_ints[0]),
                                             ("VI_2", 52, VIP2, tracks[1], advert_ints[1]))]
    start_pair(lab, tandem_conf(lab, routers, checks=checks, mirrors=(
        'groups = ( { name = "edge"; members = [ "VI_1", "VI_2" ]; '
        'notify = "/etc/tandem/notify.sh"; ' + group + ' } );\n')), nginx=False)
    holds(lab, "web1")


def holds(lab, name):
    lab.wait_holder(name, VIP)
    lab.wait_holder(name, VIP2)
    wait_for(f"{name} says that the group is MASTER", lambda: [
        g["state"] for g in lab[name].agent()["groups"]] == ["MASTER"])


def reload_with_a_third(lab, advert_int=0.3):
    before = read(lab["web1"].path("/etc/tandem/tandem.conf"))
    text = before.replace("\nvrrp = (\n", "\nvrrp = (\n" + router(
        "VI_3", 53, VIP3, advert_int=advert_int) + ",\n")
    text = text.replace('[ "VI_1", "VI_2" ]', '[ "VI_1", "VI_2", "VI_3" ]')
    check(text.count("VI_3") == 2, "the file is not the one that is meant")
    for node in lab.nodes:
        node.configure(text)
        node.run("tandem", "reload")


@test()
def a_check_of_one_member_moves_the_whole_group_and_its_script_is_told():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_group(lab, tracks=('[ "load" ]', ""),
                    checks=['{ name = "load"; file = "/etc/tandem/load"; weight = -1; }'])
        write(web1.path("/etc/tandem/load"), "20")
        holds(lab, "web2")
        check(web1.instance("VI_2")["effective_priority"] == 80, "the weight is one member's only")
        write(web1.path("/etc/tandem/load"), "0")
        holds(lab, "web1")
        told = wait_for("the script was told", lambda: (
            t := read(web1.path("/etc/tandem/told")).splitlines()) and len(t) >= 4 and t)
        check(told == [f"GROUP edge {s} 0" for s in ("BACKUP", "MASTER", "BACKUP", "MASTER")], told)


@test()
def an_interface_that_one_member_needs_takes_all_of_them_down():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            node.ip("link add uplink type veth peer name uplink-far", "link set uplink-far up",
                    "link set uplink up")
        start_group(lab, group='track = [ "uplink" ];',
                    checks=['{ name = "uplink"; interface = "uplink"; }'])
        web1.ip("link set uplink down")
        wait_state(web1, "FAULT", "VI_1")
        wait_state(web1, "FAULT", "VI_2")
        holds(lab, "web2")
        web1.ip("link set uplink up")
        holds(lab, "web1")


@test()
def adverts_of_one_member_that_get_lost_make_no_second_master():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_group(lab)
        # All adverts of VI_1 alone: its VRID is the second byte of the packet.
        lab.cut(web1, web2, "ip protocol 112 @th,8,8 51", both=False)
        wait_for("VI_1 would take over", lambda: web2.instance("VI_1")["wants"])
        check(web2.instance("VI_2")["state"] == "BACKUP", "it took over")
        check(lab.holders(VIP) == ["web1"] and lab.holders(VIP2) == ["web1"], "addresses moved")
        lab.heal()
        wait_for("VI_1 is heard again", lambda: not web2.instance("VI_1")["wants"])
        web1.power_off()
        holds(lab, "web2")


@test()
def what_one_member_cannot_go_on_with_after_an_engine_no_member_goes_on_with():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_group(lab, advert_ints=(0.1, 1))
        agent = next(r for r in web1.started if r.name == "agent")
        engine = agent.parts(privileged=False)[0]
        # Two intervals of one of them, and far less than two of the other.
        kill(agent.pid, signal.SIGSTOP)
        kill(engine, signal.SIGSTOP)
        since_us = now_us()
        wait_for("the last adverts of VI_1 are old", lambda: now_us() - since_us > 300_000)
        kill(engine, signal.SIGKILL)
        kill(agent.pid, signal.SIGCONT)
        for name in ("VI_1", "VI_2"):
            wait_for(f"{name} is given up", lambda n=name: (
                f"{n}: the engine is gone: 1 addresses removed, 1 last wills sent" in agent.text()))
        holds(lab, "web1")


@test()
def the_members_of_a_group_are_handed_over_together_however_slow_one_of_them_is():
    with Lab() as lab:
        start_group(lab, advert_ints=(0.1, 1), priority={"web1": 200, "web2": 190})
        # Skew time leaves a busy machine some room; without a successor the node goes on as MASTER.
        wait_for("VI_1 is handed over", lambda: lab["web1"].run(
            "tandem", "handover", "VI_1", check_status=False).returncode == 0)
        holds(lab, "web2")


@test()
def a_member_that_a_reload_adds_follows_the_others_at_once():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_group(lab)
        told = wait_for("the script knows where it is", lambda: (
            t := read(web1.path("/etc/tandem/told"))).endswith("MASTER 0\n") and t)
        reload_with_a_third(lab)
        lab.wait_holder("web1", VIP3)
        check(web1.instance("VI_3")["cause"] == "group", f"it waited: {web1.instance('VI_3')}")
        holds(lab, "web1")
        check(read(web1.path("/etc/tandem/told")) == told, "the script was told of it")
        wait_state(web2, "BACKUP", "VI_3")


@test()
def a_member_that_a_reload_adds_to_a_group_that_was_handed_over_is_so_too():
    with Lab() as lab:
        web1, web2 = lab.nodes
        # Adverts so slow that no pause of a busy machine makes web1 take anything back.
        start_group(lab, advert_ints=(1, 1))
        wait_for("the group is handed over", lambda: web1.run(
            "tandem", "handover", "VI_1", check_status=False).returncode == 0)
        holds(lab, "web2")
        reload_with_a_third(lab, advert_int=1)
        lab.wait_holder("web2", VIP3)
        wait_state(web1, "BACKUP", "VI_3")
        for name in ("VI_1", "VI_2", "VI_3"):
            check(web1.instance(name)["handed_over"], f"{name} was not handed over")
        # Whichever is named, as for the handover itself.
        web1.run("tandem", "handover", "--lift", "VI_3")
        holds(lab, "web1")
        lab.wait_holder("web1", VIP3)


@test()
def two_routers_of_two_nodes_that_a_reload_makes_a_group_come_together():
    """With nopreempt nothing else would bring them."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        apart = [router("VI_1", 51, VIP, advert_int=0.1, nopreempt="true"),
                 router("VI_2", 52, VIP2, {"web1": 90, "web2": 100}, advert_int=0.1)]
        start_pair(lab, tandem_conf(lab, apart), nginx=False)
        lab.wait_holder("web1", VIP)
        lab.wait_holder("web2", VIP2)
        together = [router(name, vrid, vip, advert_int=0.1, nopreempt="true")
                    for name, vrid, vip in (("VI_1", 51, VIP), ("VI_2", 52, VIP2))]
        text = tandem_conf(lab, together, mirrors=(
            'groups = ( { name = "edge"; members = [ "VI_1", "VI_2" ]; } );\n'))
        for node in (web2, web1):
            node.configure(text)
            node.run("tandem", "reload")
        holds(lab, "web1")
        wait_state(web2, "BACKUP", "VI_2")
