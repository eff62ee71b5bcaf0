# SPDX-License-Identifier: Apache-2.0
"""The addresses themselves: what the kernel, a cable or an administrator does to them."""
import re

from lab import Lab, check, test, wait_for
from pairs import VIP, router, start_pair, tandem_conf, wait_state


@test()
def an_address_that_somebody_removes_is_put_back():
    with Lab() as lab:
        web1 = lab["web1"]
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        lab.wait_holder("web1", VIP)
        web1.ip(f"address del {VIP}/32 dev eth0")
        wait_for("it is put back", lambda: web1.has(VIP))
        check(web1.instance()["state"] == "MASTER", "the state changed")
        log = next(r for r in web1.started if r.name == "agent")
        wait_for("the log says so", lambda: re.search("address|removed", log.text()))


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
