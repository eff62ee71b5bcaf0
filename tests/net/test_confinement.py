# SPDX-License-Identifier: Apache-2.0
"""What the parts of a running daemon may do. That they work all the same is what every other test
here shows; tests/unit/test_confine tries the forbidden acts one by one."""
import re

from lab import Lab, check, read, test
from pairs import VIP, router, start_pair, tandem_conf

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13


def status_of(pid):
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", read(f"/proc/{pid}/status"), re.MULTILINE))


@test()
def the_engine_is_nobody_with_two_capabilities_behind_a_filter():
    with Lab() as lab:
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        lab.wait_holder("web1", VIP)
        for node in lab.nodes:
            agent = next(r for r in node.started if r.name == "agent")
            engine = max(agent.parts(privileged=False), key=lambda pid: int(
                status_of(pid)["CapEff"], 16))
            status = status_of(engine)
            check(status["Seccomp"] == "2", f"no filter: Seccomp {status['Seccomp']}")
            check(status["NoNewPrivs"] == "1", "may gain privileges by what it executes")
            wanted = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW
            for kind, most in (("CapEff", wanted), ("CapPrm", wanted), ("CapBnd", wanted),
                               ("CapInh", 0), ("CapAmb", 0)):
                check(int(status[kind], 16) == most, f"{kind} is {status[kind]}")
            check("0" not in status["Uid"].split() and "0" not in status["Gid"].split() and
                  not status["Groups"].strip(), f"ids: {status['Uid']}; {status['Groups']}")
