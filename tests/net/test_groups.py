# SPDX-License-Identifier: Apache-2.0
"""Virtual routers that move together: two on one interface, which only the group couples."""
from lab import Lab, check, read, test, wait_for, write
from pairs import VIP, VIP2, router, start_pair, tandem_conf, wait_state

NOTIFY = """#!/bin/sh
echo "$*" >> /etc/tandem/told
"""


def start_group(lab, tracks=("", ""), checks=(), group=""):
    for node in lab.nodes:
        write(node.path("/etc/tandem/notify.sh"), NOTIFY, 0o755)
    routers = [router(name, vrid, vip, advert_int=0.1, **({"track": t} if t else {}))
               for name, vrid, vip, t in (("VI_1", 51, VIP, tracks[0]), ("VI_2", 52, VIP2, tracks[1]))]
    start_pair(lab, tandem_conf(lab, routers, checks=checks, mirrors=(
        'groups = ( { name = "edge"; members = [ "VI_1", "VI_2" ]; '
        'notify = "/etc/tandem/notify.sh"; ' + group + ' } );\n')), nginx=False)
    holds(lab, "web1")


def holds(lab, name):
    lab.wait_holder(name, VIP)
    lab.wait_holder(name, VIP2)
    wait_for(f"{name} says that the group is MASTER", lambda: [
        g["state"] for g in lab[name].agent()["groups"]] == ["MASTER"])


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
