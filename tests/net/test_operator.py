# SPDX-License-Identifier: Apache-2.0
"""What an operator asks before he does something."""
import json
import os
import signal

from lab import TOP, Lab, check, kill, read, test, wait_for, write
from pairs import MIRROR, VIP, VIP2, router, start_pair, tandem_conf


def dry_run(node, *words):
    """What `tandem reload --dry-run` says: its exit status, and what it printed."""
    done = node.run("tandem", "reload", "--dry-run", *words, check_status=False)
    return done.returncode, done.stdout + done.stderr


@test()
def a_dry_run_of_a_reload_says_what_it_would_change_and_changes_nothing():
    with Lab() as lab:
        web1 = lab["web1"]
        keys = {node.name: node.keygen() for node in lab.nodes}

        def text(routers, mirrors=MIRROR):
            return tandem_conf(lab, routers, mirrors=mirrors, keys=keys)

        vi_1 = router(advert_int=0.3)
        vi_2 = router("VI_2", 52, VIP2, advert_int=0.3)
        start_pair(lab, text([vi_1, vi_2]), syncds=True)
        lab.wait_holder("web1", VIP)
        lab.wait_holder("web1", VIP2)
        before = web1.agent()["snapshot"]
        check(dry_run(web1) == (0, "tandem-agent: nothing would change\n"
                                   "tandem-syncd: nothing would change\n"), dry_run(web1))

        # In place: nobody notices.
        web1.configure(text([router(advert_int=0.3, priority={"web1": 120, "web2": 90}), vi_2]))
        code, said = dry_run(web1)
        check(code == 0 and "vrrp VI_1: changed; stays MASTER\n        priority.web1: 100 -> 120\n"
              in said and "VI_2" not in said and "tandem-syncd: nothing" in said, f"{code}: {said}")

        # Another VRID is another router; one goes, one comes; the mirror covers something else.
        web1.configure(text([router(vrid=61, advert_int=0.3),
                             router("VI_3", 53, "198.51.100.203", advert_int=0.3)],
                            MIRROR.replace('"*.swp"', '"*.bak"')))
        code, said = dry_run(web1)
        check(code == 1, f"exit {code}: {said}")
        for part in ("vrrp VI_1: changed; is given up and starts anew, and leaves MASTER\n"
                     "        virtual_router_id: 51 -> 61\n",
                     "vrrp VI_2: removed, and leaves MASTER\n",
                     "vrrp VI_3: added\n",
                     "mirrors nginx: changed; nothing is exchanged until the other nodes"):
            check(part in said, f"without {part!r}: {said}")
        code, said = dry_run(web1, "--json")
        answer = json.loads(said)
        check(code == 1 and answer["exit"] == 1 and
              {i["name"]: (i["effect"], i["state"], i["leaves_master"])
               for i in answer["agent"]["instances"]} ==
              {"VI_1": ("restarted", "MASTER", True), "VI_2": ("removed", "MASTER", True),
               "VI_3": ("added", None, False)}, f"{code}: {said}")
        check(answer["syncd"]["mirrors"] == [{"name": "nginx", "effect": "redefined"}], said)

        # As it would be refused.
        web1.configure(text([vi_1]).replace("advert_int = 0.3", "advert_int = 0.3; advrt = 1"))
        code, said = dry_run(web1)
        check(code == 2 and "would keep the old configuration" in said and "advrt" in said,
              f"{code}: {said}")

        check(web1.agent()["snapshot"] == before and web1.syncd()["snapshot"] == before,
              "it was reloaded")
        check(lab.holders(VIP) == ["web1"] and lab.holders(VIP2) == ["web1"], "an address moved")
        check(web1.instance()["counters"]["became_master"] == 1, "VI_1 was disturbed")


@test()
def a_reload_that_a_frozen_daemon_keeps_waiting_is_carried_out_though_nobody_waits():
    with Lab() as lab:
        web1 = lab["web1"]
        web1.configure(tandem_conf(lab, [router()], mirrors=MIRROR,
                                   keys={node.name: node.keygen() for node in lab.nodes}))
        syncd, _ = web1.start_syncd(), web1.start_agent()
        syncd.freeze()
        reload = web1.start("reload", "tandem", "reload")
        wait_for("it says what it waits for", lambda: (
            "tandem-syncd does not answer yet; waiting another" in reload.text()), timeout=60)
        wait_for("the agent has reloaded", lambda: web1.agent().get("snapshot") == 2, timeout=30)
        kill(reload.pid, signal.SIGKILL)
        reload.wait()
        syncd.thaw()
        wait_for("syncd has reloaded too", lambda: web1.syncd().get("snapshot") == 2, timeout=60)


def completions(node, line):
    """What bash offers behind this line, as a set."""
    script = '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tandem; echo "${COMPREPLY[@]}"'
    write(node.path("/run/tandem.bash"), read(os.path.join(TOP, "packaging/tandem.bash")))
    return set(node.run("bash", "-c", script, "/run/tandem.bash", *line.split(" ")).split())


@test()
def a_shell_completes_verbs_options_and_the_names_of_what_runs():
    with Lab() as lab:
        web1 = lab["web1"]
        keys = {node.name: node.keygen() for node in lab.nodes}
        web1.configure(tandem_conf(lab, [router(), router("Other", 52, VIP2)], mirrors=MIRROR,
                                   keys=keys))
        web1.start_nginx()
        web1.start_agent()
        web1.start_syncd()
        for line, wanted in (
                ("tandem ma", {"maintenance"}),
                ("tandem reload --d", {"--dry-run"}),
                ("tandem maintenance ", {"on", "off"}),
                ("tandem handover ", {"VI_1", "Other"}),
                ("tandem handover --json VI", {"VI_1"}),
                ("tandem sync --from ", {"web1", "web2"}),
                ("tandem sync --from web1 ", {"nginx"}),
                ("tandem show nginx w", {"web1", "web2"}),
                ("tandem show nginx web1 /etc/nginx/ngin", {"/etc/nginx/nginx.conf"}),
                ("tandem --run-dir /run/tand", {"/run/tandem"}),
                ("tandem --run-dir /nowhere handover ", set()),
                ("tandem metrics ", set()),
                ("tandem nonsense ", set())):
            found = completions(web1, line)
            check(found == wanted, f"{line!r}: {found}")
