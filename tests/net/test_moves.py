# SPDX-License-Identifier: Apache-2.0
"""What people move by hand: handover and maintenance; and what they measure."""
import json
import re
import signal

from adverts import advert_v2, send
from lab import Failure, Lab, Probe, check, figure, kill, now_us, test, wait_for, write
from pairs import (MIRROR, NGINX_CHECK, VIP, router, start_pair, tandem_conf, wait_in_step,
                   wait_refused, wait_state)


def hand_over(node, *words):
    """tandem with these words, until another node takes over: on a busy machine it may not answer
    in time, and then the address stays. Returns what was printed."""
    said = []

    def accepted():
        done = node.run("tandem", *words, check_status=False)
        said[:] = [done.stdout + done.stderr]
        return done.returncode == 0
    wait_for(f"{node.name} hands over", accepted, every=0.3, also=lambda: said[0])
    return said[0]


def ask(node, *words, status=0):
    """tandem on that node; returns what it printed."""
    done = node.run("tandem", *words, check_status=False)
    if done.returncode != status:
        raise Failure(f"tandem {' '.join(words)}: exit {done.returncode}: "
                      f"{done.stdout}{done.stderr}")
    return done.stdout


@test()
def p22_a_handover_has_a_command_and_the_higher_priority_does_not_take_it_back():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.3)]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        client = Probe(lab.client, "ask", VIP, "9", "1000")
        beside = Probe(lab.client, "ask", web2.address, "9", "1000")  # the machine itself
        said = hand_over(web1, "handover", "VI_1")
        check("VI_1: web2 has it" in said, f"it says {said!r}")
        lab.wait_holder("web2", VIP)
        # Two master-downs: with preemption web1 would have it again after one.
        wait_for("web2 has held it for a while",
                 lambda: web2.instance()["since_us"] > 2_200_000)
        check(web1.instance()["state"] == "BACKUP", "web1 took it back")
        check(web1.instance()["handed_over"], "its status does not say that it was handed over")
        seen, late_us = client.stop(), beside.stop()["gap_us"]
        figure(f"handover: longest gap {seen['gap_us'] / 1000:.1f} ms (beside it "
               f"{late_us / 1000:.1f} ms)")
        check(seen["gap_us"] < 100_000 + 2 * late_us, "a handover is seen")
        check("was not held here; web2 has it" in ask(web1, "handover", "--all"), "twice")
        ask(web1, "handover", "NONE", status=2)
        ask(web1, "handover", "--lift", "VI_1")
        lab.wait_holder("web1", VIP)


@test()
def what_was_handed_over_stays_so_when_the_engine_dies():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.3)]), nginx=False)
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        hand_over(web1, "handover", "VI_1")
        lab.wait_holder("web2", VIP)
        agent = next(r for r in web1.started if r.name == "agent")
        for _ in range(2):  # what the second engine has it knows from the runner alone
            begun = now_us()
            kill(agent.parts(privileged=False)[0], signal.SIGKILL)
            # With preemption it would have the address again after one master-down.
            wait_for("another engine has run for a while", lambda t=begun: (
                2_200_000 < web1.agent().get("uptime_us", 0) < now_us() - t))
            check(web1.instance()["state"] == "BACKUP", "it took the address back")
            check(web1.instance()["handed_over"], "it forgot")
        ask(web1, "handover", "--lift", "VI_1")
        lab.wait_holder("web1", VIP)


@test()
def a_handover_that_nobody_answers_keeps_the_address():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.1)]))
        lab.wait_holder("web1", VIP)
        web2.power_off()
        client = Probe(lab.client, "ask", VIP, "9", "1000")
        beside = Probe(lab.client, "ask", web1.address, "9", "1000")  # the machine itself
        said = ask(web1, "handover", "VI_1", status=2)
        check("no other node answered" in said, f"it says {said!r}")
        seen, late_us = client.stop(), beside.stop()["gap_us"]
        check(list(seen["by"]) == ["web1"], f"answered by {seen['by']}")
        # The wait for a successor takes 200 ms: it is not the client who waits.
        check(seen["gap_us"] < 150_000 + 2 * late_us, f"a gap of {seen['gap_us']} us")
        check(web1.has(VIP), "the address is gone")


@test()
def maintenance_survives_a_restart_and_a_node_in_it_is_better_than_none():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.1)]))
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        said = hand_over(web1, "maintenance", "on")
        check("web2 has it" in said and "maintenance is on" in said, f"it says {said!r}")
        lab.wait_holder("web2", VIP)
        next(r for r in web1.started if r.name == "agent").stop()
        web1.start_agent()
        check(web1.agent()["maintenance"], "forgotten over a restart")
        wait_for("it is a backup of rank 1", lambda: web1.instance().get("state") == "BACKUP"
                 and web1.instance()["effective_priority"] == 1)
        status = web1.run("tandem", "status", "--json", check_status=False).stdout
        check(any("in maintenance" in f["text"] for f in json.loads(status)["findings"]),
              "status does not say it")
        web2.power_off()
        lab.wait_holder("web1", VIP)
        ask(web1, "maintenance", "off")
        wait_for("it ranks as ever", lambda: web1.instance()["effective_priority"] == 100)
        check(web1.instance()["state"] == "MASTER", "it let go")


@test()
def maintenance_of_one_node_shows_on_the_others():
    with Lab() as lab:
        web1, web2 = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.1)], mirrors=MIRROR, keys=keys),
                   syncds=True)
        lab.wait_holder("web1", VIP)

        def seen():
            return [peer["maintenance"] for peer in web1.syncd().get("peers", ())]

        wait_for("the link is up", lambda: seen() == [False])
        ask(web2, "maintenance", "on")
        wait_for("web1 knows of it", lambda: seen() == [True])
        shown = web1.run("tandem", "status", check_status=False).stdout
        check("web2: in maintenance" in shown and "maintenance" in shown.splitlines()[2], shown)
        # Over the end of the session, too.
        next(r for r in web2.started if r.name == "syncd").stop()
        wait_for("nothing is known without the link", lambda: seen() == [None])
        web2.start_syncd()
        wait_for("it is said again", lambda: seen() == [True])
        ask(web2, "maintenance", "off")
        wait_for("web1 knows of its end", lambda: seen() == [False])


@test()
def a_holder_that_ranks_low_is_seen_by_the_others_from_its_adverts():
    with Lab() as lab:
        web1, web2 = lab.nodes
        write(web1.path("/etc/tandem/ok"), "")  # on web2 the check fails
        start_pair(lab, tandem_conf(
            lab, [router(advert_int=0.3, track='[ "ok" ]')],
            checks=['{ name = "ok"; script = "/usr/bin/test -e /etc/tandem/ok"; interval = 0.2; }']),
            nginx=False)
        lab.wait_holder("web1", VIP)
        wait_for("web2 ranks last", lambda: web2.instance()["effective_priority"] == 1)
        said = hand_over(web1, "maintenance", "on")
        check("web2 has it" in said, f"it says {said!r}")
        wait_for("web1 sees that the holder is sick",
                 lambda: [(p["sick"], p["priority"]) for p in web1.instance()["peers"]] == [(True, 1)])
        shown = web1.run("tandem", "status", check_status=False).stdout
        check("web2 holds it, and ranks as 1 instead of 90" in shown, shown)


@test()
def metrics_have_the_form_that_monitoring_reads():
    with Lab() as lab:
        web1, web2 = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(
            lab, [router(advert_int=0.1, track='[ "nginx", "port" ]')], MIRROR, keys=keys, checks=[
                NGINX_CHECK, '{ name = "port"; tcp = "127.0.0.1:80"; interval = 0.2; }']),
            syncds=True)
        lab.wait_holder("web1", VIP)
        wait_state(web2, "BACKUP")
        wait_in_step(lab)
        send(web2, web1.address, advert_v2(priority=50))
        wait_refused(web1, "other-version")
        # Prometheus' own opinion of all that there is to say.
        for node in lab.nodes:
            text = ask(node, "metrics")
            check("tandem_mirror_state{" in text and "tandem_check_state{" in text, text)
            said = node.run("promtool", "check", "metrics", stdin=text, check_status=False)
            check(said.returncode == 0 and not said.stdout + said.stderr,
                  f"promtool: {said.stdout}{said.stderr}")
        text = ask(web1, "metrics")
        check("tandem_vrrp_adverts_refused_total{" in text, text)
        figure(f"{sum(not line.startswith('#') for line in text.splitlines())} samples")
        lines = text.splitlines()
        check(lines[-1] == "# EOF", f"it ends with {lines[-1]!r}")
        helped, name, seen = set(), None, set()
        for line in lines[:-1]:
            if line.startswith("# HELP "):
                name = line.split()[2]
                check(name not in helped, f"{name} comes in two places")
                helped.add(name)
            elif line.startswith("# TYPE "):
                check(line.split()[2] == name and line.split()[3] in ("gauge", "counter"), line)
                check((line.split()[3] == "counter") == name.endswith("_total"), line)
            else:
                match = re.fullmatch(r'(\w+)(\{(\w+="[^"\\]*",?)*\})? ([-+.0-9e]+)', line)
                check(match and match.group(1) == name, f"what is {line!r}?")
                check((name, match.group(2)) not in seen, f"{line!r} comes twice")
                seen.add((name, match.group(2)))
        check('tandem_vrrp_state{vrrp_instance="VI_1",state="MASTER"} 1' in lines, "the state")
        check('tandem_up{program="tandem-agent"} 1' in lines, "the agent")
