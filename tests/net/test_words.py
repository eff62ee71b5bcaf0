# SPDX-License-Identifier: Apache-2.0
"""Settings that people bring from keepalived: that they do what they say."""
import signal
import time

from lab import Lab, check, kill, test, wait_for
from pairs import router, start_pair, tandem_conf, wait_state


@test()
def nothing_is_taken_over_before_the_start_up_delay_is_over():
    with Lab(nodes=("web1",)) as lab:
        web1, = lab.nodes
        begun = time.monotonic()
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.1, priority={"web1": 100})],
                                    extra="vrrp_startup_delay = 3;\n"), nginx=False)
        wait_state(web1, "BACKUP")
        check(web1.agent()["startup_delay_us"] > 0, "status does not say what is left of it")
        # It is the agent's, and counted once: an engine that dies does not begin it anew.
        wait_for("half of it is over", lambda: web1.agent()["uptime_us"] > 1_500_000)
        kill(next(r for r in web1.started if r.name == "agent").parts(privileged=False)[0],
             signal.SIGKILL)
        wait_state(web1, "MASTER")
        check(time.monotonic() - begun > 3, "it took over before its time")
        status = web1.agent()
        waited_us = status["uptime_us"] - status["instances"][0]["since_us"]
        check(waited_us < 2_900_000, f"the second engine waited {waited_us} us")
        check(status["startup_delay_us"] == 0, "the delay is over, and status does not know it")
