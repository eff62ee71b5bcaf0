# SPDX-License-Identifier: Apache-2.0
"""The topologies that runbooks describe for keepalived, as tandem configurations."""
from lab import Lab, check, read, test, wait_for, write
from pairs import NGINX_CHECK, VIP, VIP2, router, start_pair, tandem_conf, wait_state

CHECK_SCRIPT = """#!/bin/bash
counter=$(ps -C nginx --no-heading | wc -l)
[ "$counter" -gt 0 ]
"""


@test()
def active_backup_with_a_check_script_follows_nginx():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            write(node.path("/etc/tandem/check_nginx.sh"), CHECK_SCRIPT, 0o755)
        start_pair(lab, tandem_conf(
            lab, [router(priority={"web1": 100, "web2": 99}, version=2, advert_int=1,
                         auth_type='"PASS"', auth_pass='"1111"', track='[ "chk_http_port" ]')],
            checks=['{ name = "chk_http_port"; script = "/etc/tandem/check_nginx.sh"; '
                    'interval = 1; weight = -5; fall = 2; rise = 1; }']))
        lab.wait_holder("web1", VIP)
        web1.kill_nginx()
        lab.wait_holder("web2", VIP)
        wait_for("web1 says why", lambda: any(
            c["name"] == "chk_http_port" and c["state"] == "failed"
            for c in web1.agent().get("checks", ())))
        check(web1.instance()["effective_priority"] == 95, "the weight -5 is not in the priority")
        web1.start_nginx()
        lab.wait_holder("web1", VIP)


@test()
def with_nopreempt_a_node_that_returns_does_not_take_the_address_back():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(
            lab, [router(advert_int=0.3, nopreempt="true", track='[ "nginx" ]')],
            checks=[NGINX_CHECK]))
        lab.wait_holder("web1", VIP)
        web1.power_off()
        wait_for("web2 takes over", lambda: web2.has(VIP))
        web1.power_on()
        web1.start_nginx()
        web1.start_agent()
        wait_state(web1, "BACKUP")
        # It hears the master and could have taken over by now: three master-downs of adverts.
        wait_for("web1 has heard web2 for a while", lambda: web1.instance()["peers"][0]["age_us"]
                 is not None and web1.instance()["since_us"] > 3_000_000)
        check(lab.holders(VIP) == ["web2"], f"the address is on {lab.holders(VIP)}")


@test()
def p07_with_nopreempt_on_both_nodes_the_death_of_nginx_moves_the_address():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(
            lab, [router(priority={"web1": 100, "web2": 100 - 10}, advert_int=1, nopreempt="true",
                         track='[ "nginx" ]')], checks=[NGINX_CHECK]))
        lab.wait_holder("web1", VIP)
        web1.kill_nginx()
        lab.wait_holder("web2", VIP)
        # Well again, it leaves the address where it is; and takes it when the other one is sick.
        web1.start_nginx()
        wait_for("web1 is well again", lambda: not web1.instance()["sick"])
        check(lab.holders(VIP) == ["web2"], f"the address is on {lab.holders(VIP)}")
        web2.kill_nginx()
        lab.wait_holder("web1", VIP)


@test()
def dual_master_each_node_holds_one_address_and_either_holds_both():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [
            router("VI_1", 51, VIP, {"web1": 100, "web2": 80}, track='[ "nginx" ]'),
            router("VI_2", 52, VIP2, {"web1": 80, "web2": 100}, track='[ "nginx" ]')],
            checks=[NGINX_CHECK.replace("-20", "-30")]))

        def each_holds_one():
            lab.wait_holder("web1", VIP)
            lab.wait_holder("web2", VIP2)

        each_holds_one()
        for dying, other in ((web1, web2), (web2, web1)):
            dying.power_off()
            wait_for(f"{other.name} holds both", lambda: other.has(VIP) and other.has(VIP2))
            for vip in (VIP, VIP2):
                wait_for(f"the client is answered at {vip}", lambda v=vip, o=other: (
                    lab.client.get(v)[2] == f"this is {o.name}\n"))
            dying.power_on()
            dying.start_nginx()
            dying.start_agent()
            each_holds_one()
        web2.kill_nginx()
        wait_for("web1 holds both", lambda: web1.has(VIP) and web1.has(VIP2))


@test()
def dual_master_with_nopreempt_keeps_what_it_has():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [
            router("VI_1", 240, VIP, {"web1": 100, "web2": 90}, nopreempt="true", version=2,
                   auth_type='"PASS"', auth_pass='"abcdefgh"', track='[ "nginx" ]'),
            router("VI_2", 152, VIP2, {"web1": 90, "web2": 100}, nopreempt="true", version=2,
                   auth_type='"PASS"', auth_pass='"2222"', track='[ "nginx" ]')],
            checks=[NGINX_CHECK]))
        # Started one after the other, the first may hold both: they stay where they are until
        # their holder is sick.
        wait_for("both addresses are held once", lambda: len(lab.holders(VIP)) == 1 and
                 len(lab.holders(VIP2)) == 1)
        web1.kill_nginx()
        wait_for("web2 holds both", lambda: lab.holders(VIP) == lab.holders(VIP2) == ["web2"])
        web1.start_nginx()
        wait_for("web1 is well again", lambda: not web1.instance("VI_1")["sick"])
        web2.kill_nginx()
        wait_for("web1 holds both", lambda: lab.holders(VIP) == lab.holders(VIP2) == ["web1"])


@test()
def p09_notify_scripts_are_called_as_keepalived_calls_them():
    with Lab() as lab:
        web1 = lab["web1"]
        write(web1.path("/etc/tandem/notify.sh"),
              "#!/bin/sh\necho \"$@\" >> /var/tmp/notify.log\nexit 3\n", 0o755)
        write(web1.path("/etc/tandem/master.sh"),
              "#!/bin/sh\necho master \"$@\" >> /var/tmp/notify.log\n", 0o755)
        web1.configure(tandem_conf(lab, [router(
            notify='"/etc/tandem/notify.sh"', notify_master='"/etc/tandem/master.sh one \'t wo\'"',
            notify_stop='"/etc/tandem/master.sh stop"')]))
        agent = web1.start_agent()
        wait_state(web1, "MASTER")

        def said():
            return read(web1.path("/var/tmp/notify.log")).splitlines()

        wait_for("both are called", lambda: len(said()) >= 3)
        check(said()[0] == "INSTANCE VI_1 BACKUP 100", f"called: {said()}")
        check(sorted(said()[1:]) == ["INSTANCE VI_1 MASTER 100", "master one t wo"],
              f"called: {said()}")
        wait_for("the outcome of the last one is shown",
                 lambda: (web1.instance()["hook"] or {}).get("outcome") == "exit 3")
        wait_for("the outcome is in the log", lambda: "exit 3" in agent.text())
        agent.stop()
        wait_for("the one for the stop is called", lambda: "master stop" in said(), also=said)
