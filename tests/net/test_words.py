# SPDX-License-Identifier: Apache-2.0
"""Settings that people bring from keepalived: that they do what they say."""
import signal
import time

from lab import Capture, Lab, check, kill, test, wait_for
from pairs import VIP, VIP2, VIP6, router, start_pair, tandem_conf, wait_state


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


@test()
def announcements_are_as_many_and_as_far_apart_as_the_file_says():
    gap = 0.04
    with Lab(nodes=("web1",)) as lab:
        web1, = lab.nodes
        web1.use_ipv6()
        capture = Capture(lab)
        # Those of both routers share the interface, and so the gap.
        settings = {"advert_int": 0.1, "priority": {"web1": 100}, "garp_master_refresh": 0}
        text = tandem_conf(
            lab, [router(garp_master_repeat=4, garp_master_delay=0, **settings,
                         virtual_ipaddress_excluded=f'[ "{VIP6}/64" ]'),
                  router(name="VI_2", vrid=52, vip=VIP2, garp_master_delay=0, **settings)],
            extra=f"vrrp_garp_interval = {gap}; vrrp_gna_interval = {gap};\n"
                  "vrrp_garp_master_repeat = 2;\n")
        start_pair(lab, text, nginx=False)
        for vip in (VIP, VIP2, VIP6):
            lab.wait_holder("web1", vip)
        def arps():
            return capture.packets("arp.isgratuitous and arp.src.proto_ipv4 in "
                                   f"{{{VIP}, {VIP2}}}", "frame.time_epoch", "arp.src.proto_ipv4")

        wait_for("all is announced", lambda: len(arps()) >= 6, every=0.3)
        capture.stop()
        seen = arps()
        check(len(seen) == 6 and [vip for _, vip in seen].count(VIP) == 4, f"announced: {seen}")
        advertised = capture.packets(f"icmpv6.type == 136 and ipv6.dst == ff02::1 and "
                                     f"icmpv6.nd.na.target_address == {VIP6}", "frame.time_epoch",
                                     "icmpv6.nd.na.target_address")
        check(len(advertised) == 4, f"advertised: {advertised}")
        for packets in (seen, advertised):
            times = [float(at) for at, _ in packets]
            nearest = min(b - a for a, b in zip(times, times[1:]))
            check(nearest > 0.8 * gap, f"two packets {nearest * 1000:.1f} ms apart")
