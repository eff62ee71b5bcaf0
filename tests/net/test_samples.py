# SPDX-License-Identifier: Apache-2.0
"""The samples of conf/, put on hosts as they are: only the keys are filled in, and nginx is reloaded
without systemd."""
import os
import re

from lab import TOP, Lab, check, read, save, test, wait_for, write
from pairs import (VIP, VIP2, wait_same_trees, keepalived_conf, keepalived_refusals, vhost,
                   wait_in_step, wait_state)


def install(lab, sample):
    """Puts a sample, and the scripts that samples name, onto every node."""
    text = read(os.path.join(TOP, "conf", sample)).replace("systemctl reload nginx",
                                                           "nginx -s reload")
    for node in lab.nodes:
        if "key = " in text:
            pin, number = node.keygen(), node.name[-1]
            text = re.sub(rf'"SHA256:\w+Web{number}A"', f'"{pin}"', text)
        for script in ("notify.sh", "check_nginx.sh"):
            write(node.path("/etc/tandem/" + script), read(os.path.join(TOP, "conf", script)),
                  0o755)
    for node in lab.nodes:
        node.configure(text)
        os.chmod(node.path("/etc/tandem/tandem.conf"), 0o640)
        node.start_nginx()
        done = node.run("tandem", "check", check_status=False)
        check(done.returncode == 0, f"`tandem check` on {node.name}: {done.stdout}{done.stderr}")


def start(node):
    node.start_syncd()
    node.start_agent()


@test()
def the_sample_for_active_and_backup_brings_up_a_pair():
    with Lab() as lab:
        install(lab, "active-backup.conf")
        for node in lab.nodes:
            start(node)
        lab.wait_holder("web1", VIP)
        generation = wait_in_step(lab)
        save(lab["web2"].path("/etc/nginx/conf.d/site.conf"), vhost("site.test", "sample"))
        wait_in_step(lab, generation)
        wait_same_trees(lab)
        lab["web1"].kill_nginx()
        lab.wait_holder("web2", VIP)


@test()
def the_sample_for_dual_master_brings_up_a_pair():
    with Lab() as lab:
        install(lab, "dual-master.conf")
        for node in lab.nodes:
            start(node)
        wait_in_step(lab)
        wait_for("both addresses are held once", lambda: all(
            len(lab.holders(vip)) == 1 for vip in (VIP, VIP2)))
        lab["web1"].power_off()
        wait_for("web2 holds both", lambda: lab["web2"].has(VIP) and lab["web2"].has(VIP2))


@test()
def the_sample_with_a_keepalived_peer_works_with_the_file_that_it_describes():
    with Lab() as lab:
        install(lab, "with-keepalived-peer.conf")
        web1, web2 = lab.nodes
        web1.start_agent()
        web2.start_keepalived(keepalived_conf(lab, web2, 2, True, 90, 1, "1111"))
        lab.wait_holder("web1", VIP)
        web1.kill_nginx()
        lab.wait_holder("web2", VIP)
        wait_state(web1, "BACKUP")
        refusals = keepalived_refusals(lab.all_text("keepalived"))
        check(not refusals and not web1.instance()["refused"], f"refused: {refusals}")
