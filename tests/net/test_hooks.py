# SPDX-License-Identifier: Apache-2.0
"""The same recording script, called by keepalived and by tandem through the same transitions."""
import json

from lab import Lab, check, figure, read, test, wait_for, write
from pairs import VIP, keepalived_conf, router, tandem_conf, wait_state

# One line for each call: how it was called, what it was given, where and as whom it runs. It ends
# with a status that must change nothing.
RECORDER = """#!/usr/bin/env python3
import json, os, sys
record = {"argv": sys.argv[1:], "environment": sorted(os.environ), "directory": os.getcwd(),
          "stdin": os.readlink("/proc/self/fd/0"), "user": os.getuid(), "group": os.getgid(),
          "leader": os.getpgid(0) == os.getpid(), "path": bool(os.environ.get("PATH"))}
with open("/var/tmp/hooks", "a", encoding="ascii") as file:
    file.write(json.dumps(record) + "\\n")
sys.exit(3)
"""
SPECIAL = ("master", "backup", "fault", "stop")
ROUNDS = 13  # of FAULT, BACKUP and MASTER; with the start and the stop 42 transitions


def records(node):
    return [json.loads(line) for line in read(node.path("/var/tmp/hooks")).splitlines()
            if line.endswith("}")]


def calls_of(start):
    """What the recorder saw of one agent: two calls for each transition."""
    with Lab(nodes=("web1",)) as lab:
        web1 = lab["web1"]
        write(web1.path("/etc/tandem/record.py"), RECORDER, 0o755)
        running = start(lab, web1)
        count = 4  # BACKUP and MASTER

        def called():
            wait_for(f"{count} calls", lambda: len(records(web1)) >= count,
                     also=lambda: f"{len(records(web1))} calls")

        lab.wait_holder("web1", VIP)
        called()
        for _ in range(ROUNDS):
            lab.port_down(web1)
            wait_for("it lets go", lambda: not web1.has(VIP))
            count += 2
            called()
            lab.port_up(web1)
            lab.wait_holder("web1", VIP)
            count += 4
            called()
        running.stop()
        count += 2
        called()
        return records(web1)


def start_keepalived(lab, node):
    hooks = "".join(f'  notify_{name} "/etc/tandem/record.py {name} \'t wo\'"\n'
                    for name in SPECIAL) + '  notify "/etc/tandem/record.py any"\n'
    return node.start_keepalived(
        keepalived_conf(lab, node, 3, True, 100, 0.1, extra=hooks).replace(
            "  enable_script_security\n", ""))


def start_tandem(lab, node):
    hooks = {f"notify_{name}": f'"/etc/tandem/record.py {name} \'t wo\'"' for name in SPECIAL}
    node.configure(tandem_conf(lab, [router(
        priority={"web1": 100}, multicast="true", advert_int=0.1,
        notify='"/etc/tandem/record.py any"', **hooks)]))
    running = node.start_agent()
    wait_state(node, "MASTER")
    return running


@test()
def forty_two_transitions_call_hooks_as_keepalived_calls_them():
    theirs, ours = calls_of(start_keepalived), calls_of(start_tandem)
    check(len(theirs) == len(ours) == 2 * (3 * ROUNDS + 3), f"{len(theirs)} and {len(ours)} calls")
    for kind in ("special", "any"):
        # keepalived starts both of a transition at once, so it is the order of each kind that counts.
        one, other = ([c["argv"] for c in calls if (c["argv"][0] == "any") == (kind == "any")]
                      for calls in (theirs, ours))
        check(one == other, f"{kind}: keepalived {one}, tandem {other}")
    # Ours come one after the other: the special one first.
    check([c["argv"][0] == "any" for c in ours] == [False, True] * (len(ours) // 2),
          f"tandem's order: {[c['argv'] for c in ours]}")
    for what in ("stdin", "user", "group", "leader", "path"):
        one, other = ({str(c[what]) for c in calls} for calls in (theirs, ours))
        check(one == other, f"{what}: keepalived {one}, tandem {other}")
    for calls in (theirs, ours):
        check(not any(name.startswith(("KEEPALIVED", "TANDEM", "LD_"))
                      for c in calls for name in c["environment"]), "variables of its own")
    figure(f"{len(ours)} calls for {3 * ROUNDS + 3} transitions, the same arguments in the same order; "
           f"variables: {', '.join(ours[0]['environment'])} "
           f"(keepalived: {', '.join(theirs[0]['environment'])})")
