# SPDX-License-Identifier: Apache-2.0
"""What the keeper does when something is in its way."""
import os
import signal
import time

from lab import Lab, check, figure, kill, now_us, read, save, test, wait_for, write
from pairs import (MIRROR, about, start_pair, tandem_conf, tree, vhost, wait_in_step, wait_mirror,
                   wait_same_trees)

SITE = "/etc/nginx/conf.d/site.conf"


def start_mirrors(lab, mirrors=MIRROR, nginx=True):
    keys = {node.name: node.keygen() for node in lab.nodes}
    start_pair(lab, tandem_conf(lab, mirrors=mirrors, keys=keys), agents=False, syncds=True,
               nginx=nginx)
    return wait_in_step(lab)


def serves(node, text, host="site.test"):
    return node.get("127.0.0.1", host)[2] == text + "\n"


@test()
def what_validates_and_does_not_load_is_taken_back():
    """`nginx -t` lets a port pass that another program holds; the reload does not."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        generation = start_mirrors(lab)
        before = tree(web2)
        holder = web2.socket()
        holder.bind(("0.0.0.0", 8099))
        holder.listen()
        text = vhost("site.test", "x").replace("listen 80;", "listen 8099;")
        check("8099" in text, "the vhost has another shape")
        save(web1.path(SITE), text)
        wait_mirror(web1, "refused", "bind() to 0.0.0.0:8099 failed", of=web2)
        wait_mirror(web2, "refused")
        check(web2.mirror()["id"] == generation, "web2 did not go back")
        check(tree(web2) == before, "web2's tree is not the one before")
        wait_for("web2 serves", lambda: web2.get("127.0.0.1")[0] == 200)
        wait_for("web1 serves it", lambda: web1.get(
            "127.0.0.1", "site.test", port=8099)[2] == "x\n")
        # Not tried again by itself; a person asks for it.
        holder.close()
        check(web2.call("syncd", "sync")["ok"], "sync was refused")
        wait_in_step(lab, generation)
        wait_for("web2 serves it", lambda: web2.get(
            "127.0.0.1", "site.test", port=8099)[2] == "x\n")
        wait_same_trees(lab)


@test()
def what_the_authors_own_nginx_does_not_load_stays_here():
    with Lab() as lab:
        web1, web2 = lab.nodes
        generation = start_mirrors(lab)
        before = tree(web2)
        holder = web1.socket()
        holder.bind(("0.0.0.0", 8099))
        holder.listen()
        save(web1.path(SITE), vhost("site.test", "x").replace("listen 80;", "listen 8099;"))
        wait_mirror(web1, "invalid", "bind() to 0.0.0.0:8099 failed")
        check("8099" in read(web1.path(SITE)), "the edit was taken back")
        check(web2.mirror()["id"] == generation and tree(web2) == before, "it left web1")
        holder.close()
        check(web1.call("syncd", "sync")["ok"], "sync was refused")
        wait_in_step(lab, generation)
        wait_same_trees(lab)


@test()
def where_nginx_does_not_run_it_is_live_and_not_loaded():
    with Lab() as lab:
        web1, web2 = lab.nodes
        generation = start_mirrors(lab)
        web2.kill_nginx()
        save(web1.path(SITE), vhost("site.test", "x"))
        generation = wait_in_step(lab, generation)
        wait_mirror(web2, "in-step", "nginx is not running")
        mirror = web2.mirror()
        check(mirror["stages"]["live"]["generation"] == mirror["generation"], "it is not live")
        wait_mirror(web1, "in-step", "nginx is not running", of=web2)
        check(not any(c == "nginx" for _, _, c in web2.processes()), "nginx was started")
        web2.start_nginx()
        wait_for("web2 serves it", lambda: serves(web2, "x"))
        wait_same_trees(lab)


@test()
def an_edit_waits_for_the_unpublished_edit_of_the_other_side():
    with Lab() as lab:
        web1, web2 = lab.nodes
        generation = start_mirrors(lab)
        save(web2.path("/etc/nginx/conf.d/half.conf"), "server { nonsense on; }\n")
        wait_mirror(web2, "invalid", "nonsense")
        save(web1.path(SITE), vhost("site.test", "x"))
        wait_mirror(web1, "waiting", "/etc/nginx/conf.d/half.conf", "web2", of=web2)
        check(web2.mirror()["id"] == generation, "web2 took it all the same")
        save(web2.path("/etc/nginx/conf.d/half.conf"), vhost("half.test", "whole"))
        wait_in_step(lab, generation)
        wait_for("both serve both", lambda: all(
            serves(n, "x") and serves(n, "whole", "half.test") for n in lab.nodes))
        wait_same_trees(lab)


@test()
def a_validate_that_leaves_its_namespace_does_not_count():
    mirrors = MIRROR.replace('"nginx -t"', '"true"')
    with Lab() as lab:
        web1, _ = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, mirrors=mirrors, keys=keys), agents=False, syncds=True)
        wait_mirror(web1, "invalid", "without opening anything below /etc/nginx")


@test()
def a_changed_configuration_is_taken_whole_by_a_reload():
    with Lab() as lab:
        web1, web2 = lab.nodes
        generation = start_mirrors(lab)
        text = read(web1.path("/etc/tandem/tandem.conf"))
        # Another definition on one node alone: nothing is exchanged, and both say so.
        web1.configure(text.replace('"*~"', '"*~", "*.local"'))
        check(web1.call("syncd", "reload").get("snapshot") == 2, "no snapshot 2")
        wait_for("web2 says that the definitions differ", lambda: "differently" in
                 (about(web2, web1).get("reason") or ""))
        write(web1.path("/etc/nginx/conf.d/mine.local"), "mine\n")
        web2.configure(text.replace('"*~"', '"*~", "*.local"'))
        check(web2.call("syncd", "reload")["ok"], "web2 does not reload")
        generation = wait_in_step(lab, generation)
        save(web1.path(SITE), vhost("site.test", "x"))
        generation = wait_in_step(lab, generation)
        check(not os.path.exists(web2.path("/etc/nginx/conf.d/mine.local")), "it was replicated")
        # A wrong file changes nothing.
        web1.configure(text.replace("resync", "resink"))
        answer = web1.call("syncd", "reload")
        check(not answer["ok"] and "resink" in answer["error"], f"{answer}")
        save(web1.path(SITE), vhost("site.test", "y"))
        wait_in_step(lab, generation)
        wait_for("web2 serves it", lambda: serves(web2, "y"))


@test()
def an_edit_that_is_given_up_for_the_peers_version_is_kept_aside():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_mirrors(lab)
        save(web2.path(SITE), "server { nonsense on; }\n")
        wait_mirror(web2, "invalid", "nonsense")
        answer = web2.call("syncd", "sync", timeout=60, **{"from": "web1"})
        check(answer.get("ok"), f"{answer}")
        wait_for("the edit is not live any more", lambda: not os.path.exists(web2.path(SITE)))
        wait_in_step(lab)
        rescued = web2.call("syncd", "conflicts")["rescued"]
        check([r["path"] for r in rescued] == [SITE], f"{rescued}")
        shown = web2.call("syncd", "show", mirror="nginx", node="web2", path=SITE, rescued=True)
        check(shown.get("text") == "server { nonsense on; }\n", f"{shown}")
        wait_same_trees(lab)


@test()
def an_empty_node_takes_what_the_other_has():
    with Lab() as lab:
        web1, web2 = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        top = web2.path("/etc/nginx")
        for parent, folders, files in os.walk(top, topdown=False):
            for name in files:
                os.remove(os.path.join(parent, name))
            for name in folders:
                path = os.path.join(parent, name)
                os.remove(path) if os.path.islink(path) else os.rmdir(path)
        start_pair(lab, tandem_conf(lab, mirrors=MIRROR, keys=keys), agents=False, syncds=True,
                   nginx=False)
        at_us = now_us()
        wait_in_step(lab)
        figure(f"an empty node has everything after {(now_us() - at_us) / 1000:.0f} ms")
        wait_same_trees(lab)
        web2.start_nginx()


@test()
def a_killed_keeper_or_link_comes_back_and_goes_on():
    with Lab() as lab:
        web1, web2 = lab.nodes
        generation = start_mirrors(lab)
        for n, (node, privileged) in enumerate(
                [(node, privileged) for node in lab.nodes for privileged in (True, False)]):
            syncd = next(r for r in node.started if r.name == "syncd")
            # The keeper or the link; what the runner has just run for the mirror may still end.
            killed = wait_for(f"{node.name} has one", lambda: len(
                found := syncd.parts(privileged)) == 1 and found)
            kill(killed[0], signal.SIGKILL)
            save(web1.path(SITE), vhost("site.test", f"edit {n}"))
            wait_for(f"web2 serves edit {n}", lambda n=n: serves(web2, f"edit {n}"))
            generation = wait_in_step(lab, generation)
            wait_for("it was started again", lambda: syncd.parts(privileged) not in ([], killed))
        wait_same_trees(lab)


@test()
def what_does_not_load_where_nothing_loads_is_tried_again():
    """web2's nginx cannot be reloaded for a while, whatever its configuration."""
    mirrors = MIRROR.replace('"nginx -s reload"', '"/etc/tandem/reload"').replace('"15m"', '"3s"')
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            write(node.path("/etc/tandem/reload"),
                  "#!/bin/sh\n[ -e /run/no ] && exit 7\nexec nginx -s reload\n", 0o755)
        generation = start_mirrors(lab, mirrors)
        write(web2.path("/run/no"), "")
        save(web1.path(SITE), vhost("site.test", "later"))
        wait_for("web2 has gone back", lambda: (m := web2.mirror()) and
                 m["state"] == "refused" and m["id"] == generation)
        os.unlink(web2.path("/run/no"))
        wait_for("web2 serves it", lambda: serves(web2, "later"))
        wait_in_step(lab, generation)
        wait_same_trees(lab)


@test()
def a_crash_between_commit_and_proof_goes_back_if_nginx_does_not_load_it():
    """web2 ends after the commit and before nginx has been seen to have it; nginx never will."""
    mirrors = MIRROR.replace('"nginx -s reload"', '"/etc/tandem/reload"')
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            write(node.path("/etc/tandem/reload"),
                  "#!/bin/sh\n[ -e /run/hang ] && { touch /run/hangs; exec sleep 600; }\n"
                  "exec nginx -s reload\n", 0o755)
        generation = start_mirrors(lab, mirrors)
        before = tree(web2)
        write(web2.path("/run/hang"), "")
        holder = web2.socket()
        holder.bind(("0.0.0.0", 8099))
        holder.listen()
        save(web1.path(SITE), vhost("site.test", "x").replace("listen 80;", "listen 8099;"))
        wait_for("web2 has committed and reloads",
                 lambda: os.path.exists(web2.path("/run/hangs")))
        check(tree(web2) != before, "it was not live yet")
        syncd = next(r for r in web2.started if r.name == "syncd")
        syncd.kill_all()
        os.remove(web2.path("/run/hang"))
        web2.start_syncd()
        wait_mirror(web1, "refused", "bind() to 0.0.0.0:8099 failed", of=web2)
        check(web2.mirror()["id"] == generation, "web2 did not go back")
        check(tree(web2) == before, "web2's tree is not the one before")
        wait_for("web2 serves", lambda: web2.get("127.0.0.1")[0] == 200)
        holder.close()
        check(web2.call("syncd", "sync")["ok"], "sync was refused")
        wait_in_step(lab, generation)
        wait_same_trees(lab)


@test()
def what_fails_on_a_full_disk_is_tried_again_when_somebody_asks_and_not_by_itself():
    with Lab() as lab:
        web1, web2 = lab.nodes
        objects = "/var/lib/tandem/objects"
        os.makedirs(web2.path(objects), mode=0o700)
        web2.run("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", objects)
        generation = start_mirrors(lab)
        before = tree(web2)
        save(web1.path("/etc/nginx/large.bin"), os.urandom(3 << 20))
        wait_mirror(web1, "refused", "No space left on device", of=web2)
        wait_mirror(web2, "refused")
        check(tree(web2) == before and web2.mirror()["id"] == generation, "web2 was touched")
        # What the session asks for by itself it asks for within ten seconds.
        syncd = next(r for r in web2.started if r.name == "syncd")
        began = time.monotonic()
        wait_for("twelve seconds pass", lambda: time.monotonic() - began > 12)
        check(syncd.text().count("what web1 sends is not taken") == 1, "it was asked for again")
        web2.run("mount", "-o", "remount,size=64m", objects)
        check(web2.call("syncd", "sync")["ok"], "sync was refused")
        wait_in_step(lab, generation)
        wait_same_trees(lab)
