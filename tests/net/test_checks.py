# SPDX-License-Identifier: Apache-2.0
"""What a virtual router can depend on, kind by kind."""
import os
import signal

from lab import Lab, check, kill, test, wait_for, write
from pairs import VIP, VIP2, router, start_pair, tandem_conf, wait_state


def state_of(node, name):
    return next((c for c in node.agent().get("checks", ()) if c["name"] == name), {})


def wait_check(node, name, state):
    return wait_for(f"{name} is {state} on {node.name}",
                    lambda: state_of(node, name).get("state") == state and state_of(node, name))


@test()
def a_process_is_known_by_its_name_and_missed_at_once():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            # Of another name than any process of the host that runs the tests.
            os.symlink("/bin/sleep", node.path("/etc/tandem/web-worker"))
        start_pair(lab, tandem_conf(
            lab, [router(advert_int=0.1, track='[ "worker" ]')],
            checks=['{ name = "worker"; process_name = "web-worker"; quorum = 2; weight = -20; '
                    'interval = 0.2; }']), nginx=False)
        workers = {}
        for node in lab.nodes:
            workers[node] = [node.start("worker", "/etc/tandem/web-worker", "1000")
                             for _ in range(3)]
            wait_check(node, "worker", "ok")
        lab.wait_holder("web1", VIP)
        # Two are enough; one is not.
        workers[web1].pop().kill()
        wait_for("the others are found", lambda: state_of(web1, "worker")["age_us"] < 100_000)
        check(state_of(web1, "worker")["state"] == "ok", "two of three are not enough")
        workers[web1].pop().kill()
        said = wait_check(web1, "worker", "failed")
        check("1 processes web-worker instead of 2" in said["detail"], said["detail"])
        lab.wait_holder("web2", VIP)
        workers[web1].append(web1.start("worker", "/etc/tandem/web-worker", "1000"))
        lab.wait_holder("web1", VIP)


@test()
def an_interface_without_a_weight_is_a_fault_and_with_one_a_loss_of_rank():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            for name in ("uplink", "spare"):
                node.ip(f"link add {name} type veth peer name {name}-far",
                        f"link set {name}-far up", f"link set {name} up")
        start_pair(lab, tandem_conf(
            lab, [router(advert_int=0.1, track='[ "uplink", "spare" ]')],
            checks=['{ name = "uplink"; interface = "uplink"; }',
                    '{ name = "spare"; interface = "spare"; weight = -20; }']), nginx=False)
        lab.wait_holder("web1", VIP)
        web1.ip("link set spare down")
        lab.wait_holder("web2", VIP)
        check(web1.instance()["state"] == "BACKUP", "a weight has led to FAULT")
        check(web1.instance()["effective_priority"] == 80, "the weight is not in the priority")
        web1.ip("link set spare up")
        lab.wait_holder("web1", VIP)
        web1.ip("link set uplink down")
        wait_state(web1, "FAULT")
        check("uplink is down" in web1.instance()["trouble"], web1.instance()["trouble"])
        lab.wait_holder("web2", VIP)
        web1.ip("link delete uplink")
        wait_for("the status says so", lambda: "does not exist" in
                 state_of(web1, "uplink")["detail"])
        web1.ip("link add uplink type veth peer name uplink-far", "link set uplink up")
        check(web1.instance()["state"] == "FAULT", "an interface without a carrier counts as up")
        web1.ip("link set uplink-far up")
        lab.wait_holder("web1", VIP)


@test()
def the_number_in_a_file_moves_the_priority_as_soon_as_it_is_written():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(
            lab, [router(advert_int=0.1, track='[ "load" ]')],
            checks=['{ name = "load"; file = "/etc/tandem/load"; weight = -2; interval = 600; }']),
            nginx=False)
        lab.wait_holder("web1", VIP)
        path = web1.path("/etc/tandem/load")
        write(path, "10\n")
        wait_for("the priority follows", lambda: web1.instance()["effective_priority"] == 80)
        lab.wait_holder("web2", VIP)
        # Replaced, emptied, removed: each is seen.
        write(path + ".new", "1\n")
        os.rename(path + ".new", path)
        wait_for("the new file is read", lambda: web1.instance()["effective_priority"] == 98)
        lab.wait_holder("web1", VIP)
        write(path, "")
        wait_for("empty is 0", lambda: web1.instance()["effective_priority"] == 100)
        write(path, "127\n")
        wait_for("so much decides alone", lambda: web1.instance()["effective_priority"] == 1)
        os.unlink(path)
        wait_for("none is 0", lambda: web1.instance()["effective_priority"] == 100)
        write(path, "many\n")
        wait_for("no number is 0", lambda: "holds no number" in state_of(web1, "load")["detail"])
        check(web1.instance()["effective_priority"] == 100, "what is no number counts")


@test()
def an_instance_follows_the_state_of_another():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(
            lab, [router("VI_1", 51, VIP, advert_int=0.1, track='[ "load" ]'),
                  router("VI_2", 52, VIP2, {"web1": 90, "web2": 100}, advert_int=0.1,
                         track='[ "first" ]')],
            checks=['{ name = "first"; instance = "VI_1"; state = "MASTER"; weight = 30; }',
                    '{ name = "load"; file = "/etc/tandem/load"; weight = -2; }']), nginx=False)
        # web1 is the lower one for VI_2, and holds it as it holds VI_1.
        lab.wait_holder("web1", VIP)
        lab.wait_holder("web1", VIP2)
        check(web1.instance("VI_2")["effective_priority"] == 120, "the weight is not added")
        write(web1.path("/etc/tandem/load"), "20")
        lab.wait_holder("web2", VIP)
        lab.wait_holder("web2", VIP2)
        wait_for("the check says why", lambda: "VI_1 is BACKUP" in
                 state_of(web1, "first")["detail"], also=lambda: state_of(web1, "first"))


def kill_web(node):
    """All of nginx, the master first, and without waiting: another one may be there in a moment."""
    master = node.nginx_master()
    found = [pid for pid, _, command in node.processes() if command == "nginx"]
    for pid in sorted(found, key=lambda pid: pid != master):
        kill(pid, signal.SIGKILL)


RESTART = """#!/bin/sh
echo restart >> /etc/tandem/restarts
[ -e /etc/tandem/broken ] || exec nginx
echo cannot be restarted
exit 3
"""
RESTARTED = ('{ name = "nginx"; process = "/run/nginx.pid"; weight = -20; interval = 0.2; '
             'restart = "/etc/tandem/restart.sh"; %s }')


def start_restarted(lab, settings=""):
    for node in lab.nodes:
        write(node.path("/etc/tandem/restart.sh"), RESTART, 0o755)
    start_pair(lab, tandem_conf(lab, [router(advert_int=0.1, track='[ "nginx" ]')],
                                checks=[RESTARTED % settings]))
    lab.wait_holder("web1", VIP)


@test()
def what_has_failed_is_restarted_beside_the_move_of_the_address():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_restarted(lab)
        kill_web(web1)
        wait_for("nginx was restarted", lambda: state_of(web1, "nginx")["restart"]["ok"] and
                 state_of(web1, "nginx").get("state") == "ok")
        check(state_of(web1, "nginx")["restart"]["count"] == 1, state_of(web1, "nginx"))
        check(lab.all_text("agent").count("nginx: ok -> failed") == 1, "it was not called failed")
        lab.wait_holder("web1", VIP)
        # And where that does not help, the address stays away, with the command's own words.
        write(web1.path("/etc/tandem/broken"), "")
        web1.kill_nginx()
        lab.wait_holder("web2", VIP)
        # The second restart waits ten seconds from the first.
        said = wait_for("the outcome is told", lambda: (
            r := state_of(web1, "nginx")["restart"])["outcome"] and not r["ok"] and r)
        check("exit 3: cannot be restarted" in said["outcome"], said)


@test()
def with_restart_first_the_address_stays_if_that_helps():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_restarted(lab, "restart_first = true;")
        kill_web(web1)
        wait_for("nginx is restarted", lambda: state_of(web1, "nginx")["restart"]["ok"] and
                 web1.nginx_master())
        check(state_of(web1, "nginx")["state"] == "ok", "it was called failed")
        check(web1.instance()["transitions"] == 2, "the address has moved")
        write(web1.path("/etc/tandem/broken"), "")
        web1.kill_nginx()
        wait_check(web1, "nginx", "failed")
        lab.wait_holder("web2", VIP)
