# SPDX-License-Identifier: Apache-2.0
"""What a client sees when a node fails, measured once a millisecond, at advert_int 1. The figures
beside ours are keepalived's, from the same laboratory. Asserted is five times what we aim at."""
import signal
import statistics

from lab import Lab, Probe, check, figure, kill, now_us, test, wait_for
from pairs import NGINX_CHECK, VIP, VIP2, router, start_pair, tandem_conf, wait_state


def milliseconds(values):
    return ", ".join(f"{v / 1000:.1f}" for v in values)


@test(alone=True, san=False)
def p25_an_orderly_stop_is_not_an_outage():
    gaps, besides = [], []
    with Lab() as lab:
        start_pair(lab, tandem_conf(lab, [router(advert_int=1, nopreempt="true")]))
        lab.wait_holder("web1", VIP)
        for _ in range(3):
            for leaving, other in ((lab["web1"], lab["web2"]), (lab["web2"], lab["web1"])):
                wait_state(other, "BACKUP")
                # A busy machine lets a client wait wherever it asks, most of all without real time.
                beside = Probe(lab.client, "ask", other.address, "9", "1000")
                client = Probe(lab.client, "ask", VIP, "9", "1000")
                agent = next(r for r in reversed(leaving.started) if r.name == "agent")
                agent.stop()
                lab.wait_holder(other.name, VIP)
                wait_for("the client is answered by the other node",
                         lambda: other.instance()["since_us"] > 300_000)
                seen = client.stop()
                check(seen["changes"][-1][1] == other.name, f"the client ends at {seen['changes']}")
                gaps.append(seen["gap_us"])
                besides.append(beside.stop()["gap_us"])
                leaving.start_agent()
    median, late_us = statistics.median(gaps), statistics.median(besides)
    figure(f"orderly stop: longest gap, median of {len(gaps)}: {median / 1000:.1f} ms "
           f"({milliseconds(gaps)}; aim 10, keepalived 611); of an address that did not move: "
           f"{late_us / 1000:.1f} ms ({milliseconds(besides)})")
    check(median <= 5 * 10_000 + late_us, "an orderly stop is seen")


@test(alone=True, san=False)
def p05_a_killed_engine_is_not_seen_and_makes_no_second_master():
    gaps, besides = [], []
    # Three deaths in a minute are too many, and then it is not resumed: two, in two laboratories.
    for _ in range(2):
        with Lab() as lab:
            web1, web2 = lab.nodes
            start_pair(lab, tandem_conf(lab, [router(advert_int=1)]))
            lab.wait_holder("web1", VIP)
            wait_state(web2, "BACKUP")
            agent = next(r for r in web1.started if r.name == "agent")
            watch = Probe(web2, "watch", VIP)
            for _ in range(2):
                beside = Probe(lab.client, "ask", web1.address, "9", "1000")
                client = Probe(lab.client, "ask", VIP, "9", "1000")
                engine = wait_for("one process without root is the engine", lambda: (
                    found := agent.parts(privileged=False)) and len(found) == 1 and found)
                kill(engine[0], signal.SIGKILL)
                wait_for("a new engine runs as MASTER", lambda: agent.parts(privileged=False)
                         not in ([], engine) and web1.instance().get("state") == "MASTER")
                # Past the moment at which the backup would have taken over (3.6 s).
                wait_for("web2 hears the new engine's adverts",
                         lambda: web1.instance()["since_us"] > 4_000_000
                         and web2.instance()["state"] == "BACKUP"
                         and web2.instance()["peers"][0]["age_us"] < 1_500_000)
                seen = client.stop()
                check(list(seen["by"]) == ["web1"], f"the client was answered by {seen['by']}")
                gaps.append(seen["gap_us"])
                besides.append(beside.stop()["gap_us"])
            check(not watch.events(), f"a second master: web2 {watch.events()}")
            check(lab.holders(VIP) == ["web1"], f"the address is on {lab.holders(VIP)}")
    figure(f"engine killed: longest gap, median of {len(gaps)}: "
           f"{statistics.median(gaps) / 1000:.1f} ms ({milliseconds(gaps)}; aim 20, "
           f"keepalived 2995); of web1's own address: {milliseconds(besides)}")
    check(statistics.median(gaps) <= 5 * 20_000 + statistics.median(besides),
          "the death of the engine is seen")


@test()
def p05_nothing_is_left_behind_when_all_is_killed_and_started_again():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.3, nopreempt="true")]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        next(r for r in web1.started if r.name == "agent").kill_all()
        wait_for("web2 takes over", lambda: web2.has(VIP))
        web1.start_agent()
        lab.wait_holder("web2", VIP)
        wait_state(web1, "BACKUP")
        check(web1.addresses() == {"127.0.0.1", web1.address},
              f"web1 still has {web1.addresses()}")


@test()
def p05_a_killed_runner_leaves_no_address_behind():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.3)]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        next(r for r in web1.started if r.name == "agent").kill()
        lab.wait_holder("web2", VIP)
        wait_for("no process of the agent is left", lambda: not any(
            "agent" in command for _, _, command in web1.processes()))


@test(alone=True, san=False)
def the_death_of_nginx_moves_the_address():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(
            lab, [router(advert_int=1, nopreempt="true", track='[ "nginx" ]')],
            checks=[NGINX_CHECK]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        client = Probe(lab.client, "get", VIP, "80", "2000")
        web1.kill_nginx()
        lab.wait_holder("web2", VIP)
        wait_for("the client is answered again",
                 lambda: lab.client.get(VIP, timeout=0.2)[2] == "this is web2\n")
        seen = client.stop()
        figure(f"nginx killed, weight -20, nopreempt on both: address moved, client without "
               f"answers for {seen['gap_us'] / 1000:.0f} ms (keepalived: never moves)")
        # Skew time at priority 90 and one advert: what the protocol itself needs.
        check(seen["gap_us"] <= 5_000_000, "too long")


@test(alone=True, san=False)
def a_loss_of_power_costs_master_down_and_no_more():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=1)]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        client = Probe(lab.client, "ask", VIP, "9", "1000")
        beside = Probe(lab.client, "ask", web2.address, "9", "1000")  # the machine itself
        web1.power_off()
        wait_for("web2 takes over", lambda: web2.has(VIP))
        wait_for("the client is answered", lambda: web2.instance()["since_us"] > 200_000)
        seen, late_us = client.stop(), beside.stop()["gap_us"]
        figure(f"power lost: client without answers for {seen['gap_us'] / 1000:.0f} ms "
               "(keepalived, v2: 2615 to 3397)")
        # The next interval would end 1 s later.
        check(seen["gap_us"] < 3_650_000 + 800_000 + 2 * late_us, "longer than master-down")
        check(list(seen["by"]) == ["web1", "web2"], f"answered by {seen['by']}")


@test(alone=True, san=False)
def p06_an_engine_that_hangs_is_replaced_before_anybody_takes_over():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=1)]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        agent = next(r for r in web1.started if r.name == "agent")
        watch = Probe(web2, "watch", VIP)
        hung = agent.parts(privileged=False)
        kill(hung[0], signal.SIGSTOP)
        at_us = now_us()
        wait_for("a new engine runs as MASTER", lambda: agent.parts(privileged=False)
                 not in ([], hung) and web1.instance().get("state") == "MASTER", every=0.01)
        figure(f"engine hung: replaced after {(now_us() - at_us) / 1000:.0f} ms")
        wait_for("web2 hears it", lambda: web2.instance()["peers"][0]["age_us"] < 500_000)
        check(not watch.events(), f"a second master: web2 {watch.events()}")


@test(alone=True, san=False)
def a_kernel_that_is_busy_with_other_networks_costs_no_engine():
    # All network namespaces of a machine share one lock, and the teardown of thousands of
    # interfaces, as when a host of containers goes down, holds it for longer than three beats.
    with Lab() as lab:
        web1, web2 = lab.nodes
        text = tandem_conf(lab, [router(advert_int=1)])
        start_pair(lab, text, nginx=False)
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        agent = next(r for r in web1.started if r.name == "agent")
        engine = agent.parts(privileged=False)
        lab.client.ip(*(f"link add d{i} group 9 type veth peer name e{i} group 9"
                        for i in range(3000)))
        web1.configure(text.replace(f'[ "{VIP}/24" ]', f'[ "{VIP}/24", "{VIP2}/24" ]'))
        watch = Probe(web2, "watch", VIP)
        begun = now_us()
        teardown = lab.client.start("teardown", "ip", "link", "del", "group", "9")
        web1.run("tandem", "reload", check_status=False)  # so the engine wants the lock as well
        wait_for("the interfaces are gone", lambda: not teardown.alive())
        took_ms = (now_us() - begun) / 1000
        wait_for("web1 has the second address", lambda: web1.has(VIP2))
        waited = "it waits for the kernel" in agent.text()
        figure(f"teardown of 6,000 interfaces took {took_ms:.0f} ms: the engine "
               f"{'missed beats, and was left alone' if waited else 'missed no beat'}")
        check(agent.parts(privileged=False) == engine, "the engine was replaced")
        check(web1.instance()["state"] == "MASTER" and not watch.events(), "the address moved")


@test()
def an_engine_that_dies_again_and_again_gives_the_address_away():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=1, nopreempt="true")]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        agent = next(r for r in web1.started if r.name == "agent")
        for _ in range(3):
            engine = wait_for("an engine runs", lambda: agent.parts(privileged=False))
            wait_for("it answers", web1.instance)
            kill(engine[0], signal.SIGKILL)
            wait_for("it is gone", lambda: engine[0] not in agent.parts(privileged=False))
        lab.wait_holder("web2", VIP)
        wait_state(web1, "BACKUP")


@test()
def p06_a_frozen_node_lets_go_as_soon_as_it_wakes():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.3, nopreempt="true")]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        agent = next(r for r in web1.started if r.name == "agent")
        watch = Probe(web1, "watch", VIP)
        beside = Probe(lab.client, "ask", web1.address, "9", "1000")  # the machine itself
        agent.freeze()
        wait_for("web2 takes over", lambda: web2.has(VIP))
        wait_for("web2 has held it for a while", lambda: web2.instance()["since_us"] > 1_000_000)
        agent.thaw()
        thawed_us = now_us()
        lab.wait_holder("web2", VIP)
        wait_state(web1, "BACKUP")
        lost = wait_for("the kernel says when the address went", lambda: [
            at_us for at_us, what in watch.events() if what == "lost"])
        figure(f"frozen and thawed: both held the address for {max(0, lost[-1] - thawed_us) / 1000:.0f} "
               "ms after that (keepalived: 2203)")
        check(lost[-1] - thawed_us < 500_000 + 2 * beside.stop()["gap_us"],
              "it took too long to let go")
