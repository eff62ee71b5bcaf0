# SPDX-License-Identifier: Apache-2.0
"""What people suffer from with keepalived, by the numbers of docs/PAIN-POINTS.md. Some of these
tests stand elsewhere in this folder; wherever they are, their names begin with the number."""
import json
import os
import re
import threading
import time
from types import SimpleNamespace

from adverts import advert_v2, advert_v3, checksum, send
from lab import (TESTS, TOP, Lab, Probe, check, figure, kill, now_us, read, save, test, wait_for,
                 write)
from pairs import (MIRROR, VIP, VIP2, VIP6, keepalived_conf, router, start_pair, tandem_conf, vhost,
                   wait_in_step, wait_refused, wait_state)


def agent_of(node):
    return next(r for r in reversed(node.started) if r.name == "agent")


def settled(lab, holder="web1"):
    lab.wait_holder(holder, VIP)
    for node in lab.nodes:
        if node.name != holder:
            wait_state(node, "BACKUP")


def adverts_from(node, other):
    """Waits until node has heard another advert of other, the only one that it can hear."""
    def heard():
        counters = node.instance().get("counters", {})
        return sum(counters.get(name, 0) for name in ("adverts_received", "mismatches_received"))
    before = heard()
    wait_for(f"{node.name} hears {other.name}", lambda: heard() > before)


def neighbour(host, address):
    """The hardware address that host remembers for an address."""
    found = re.search(r"lladdr (\S+)", host.run("ip", "neigh", "show", address))
    return found.group(1) if found else None


def hardware(node):
    return f"02:00:5e:00:53:{node.index:02x}"


@test()
def every_pain_point_has_a_test_or_a_sentence():
    text = read(os.path.join(TOP, "docs/PAIN-POINTS.md"))
    names = {function.__name__ for function, _, _ in TESTS}
    sentences = 0
    for number in range(1, 27):
        part = re.search(rf"^## P{number}: .*?(?=^## P|\Z)", text, re.MULTILINE | re.DOTALL)
        check(part, f"P{number} is not in docs/PAIN-POINTS.md")
        tests = {name for name in names if name.startswith(f"p{number:02}_")}
        named = set(re.findall(r"`(p\d\d_\w+)`", part.group(0)))
        check(tests <= named, f"P{number} does not name {tests - named}")
        check(named <= names, f"P{number} names tests that are not there: {named - names}")
        sentences += not named
    check(sentences <= 10, f"{sentences} of the 26 have no test")


# P1: two masters

@test()
def p01_a_split_that_heals_has_one_holder_and_right_caches_within_a_second():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        settled(lab)
        client = Probe(lab.client, "ask", VIP, "9", "1000")
        beside = Probe(lab.client, "ask", web1.address, "9", "1000")  # the machine itself
        lab.cut(web1, web2)
        wait_for("both hold it", lambda: lab.holders(VIP) == ["web1", "web2"])
        wait_for("the client sees web2",
                 lambda: neighbour(lab.client, VIP) == hardware(web2))
        lab.heal()
        healed_us = now_us()
        lab.wait_holder("web1", VIP)
        alone_us = now_us()
        wait_for("the client sees web1", lambda: neighbour(lab.client, VIP) == hardware(web1),
                 every=0.01)
        wait_state(web2, "BACKUP")
        seen, late_us = client.stop(), beside.stop()["gap_us"]
        at_us, who = seen["changes"][-1]
        check(who == "web1", f"the client ends at {who}")
        figure(f"split healed: one holder after {(alone_us - healed_us) / 1000:.0f} ms, the client "
               f"answered by it after {(at_us - healed_us) / 1000:.0f} ms")
        check(at_us - healed_us < 1_000_000 + 2 * late_us,
              "the client's cache was wrong for longer than 1 s")


@test()
def p01_adverts_that_arrive_one_way_only_leave_one_that_is_heard():
    """web1 hears web2 and is not heard: web2 takes over, and hands back when it is heard again."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        settled(lab)
        lab.cut(web1, web2, "ip protocol 112", both=False)
        wait_for("web2 takes over", lambda: web2.has(VIP))
        lab.heal()
        settled(lab)


# P2: announcements that are lost

@test()
def p02_an_announcement_that_is_lost_is_repeated():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(garp_master_refresh=2)]), nginx=False)
        settled(lab)
        client = Probe(lab.client, "ask", VIP, "9", "10000")
        wait_for("the client is answered", lambda: neighbour(lab.client, VIP))
        client.stop()
        check(neighbour(lab.client, VIP) == hardware(web1), "the client does not know web1")
        # No frame of web2's ARP reaches the client: neither the first nor the second.
        lab.cut(web2, lab.client, "ether type arp", both=False)
        web1.power_off()
        wait_for("web2 takes over", lambda: web2.has(VIP))
        wait_for("it has announced twice",
                 lambda: web2.instance()["counters"]["announces"] >= 2)
        check(neighbour(lab.client, VIP) != hardware(web2), "the cut lets ARP through")
        lab.heal()
        wait_for("the client learns it from a later one",
                 lambda: neighbour(lab.client, VIP) == hardware(web2))


# P4, P10: reloads

@test()
def p04_a_reload_disturbs_nothing_that_did_not_change():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        settled(lab)
        watches = [Probe(node, "watch", VIP) for node in lab.nodes]
        client = Probe(lab.client, "ask", VIP, "9", "2000")
        before = web1.instance()["transitions"]
        for routers in ([router()], [router(nopreempt="true", garp_master_delay=2)],
                        [router(nopreempt="true"), router("VI_2", 52, VIP2)], [router()]):
            for node in lab.nodes:
                node.configure(tandem_conf(lab, routers))
                node.run("tandem", "reload", check_status=False)
            wanted = {VIP2} if len(routers) > 1 else set()
            wait_for("VIP2 is as the file says", lambda: bool(lab.holders(VIP2)) == bool(wanted))
        adverts_from(web2, web1)
        seen = client.stop()
        check(list(seen["by"]) == ["web1"], f"the client was answered by {seen['by']}")
        check(not any(what == "lost" for watch in watches for _, what in watch.events()),
              "the address was taken off")
        check(not watches[1].events(), "web2 had it")
        check(web1.instance()["transitions"] == before, "web1 has become MASTER anew")


@test()
def p10_an_address_added_on_one_node_first_makes_no_second_master():
    with Lab() as lab:
        web1, web2 = lab.nodes
        one = tandem_conf(lab, [router()])
        two = one.replace(f'[ "{VIP}/24" ]', f'[ "{VIP}/24", "{VIP2}/24" ]')
        start_pair(lab, one, nginx=False)
        settled(lab)
        watch = Probe(web2, "watch", VIP)
        for first, second, text in ((web1, web2, two), (web2, web1, one), (web2, web1, two)):
            first.configure(text)
            first.run("tandem", "reload", check_status=False)
            wait_refused(web2, "other-addresses")
            adverts_from(web2, web1)
            adverts_from(web2, web1)
            check(lab.holders(VIP) == ["web1"], f"the address is on {lab.holders(VIP)}")
            check(web2.instance()["state"] == "BACKUP", "web2 became a second master")
            second.configure(text)
            second.run("tandem", "reload", check_status=False)
            wait_for("the second address is as the file says", lambda: lab.holders(VIP2) == (
                ["web1"] if text == two else []))
        check(not watch.events(), f"web2: {watch.events()}")


# P6: a process or a clock that does not run as it should

def cpu_group(quota_us, period_us):
    """Moves this process, and so what it starts, into a group of its own that may run for
    quota_us in each period; returns (where it came from, the group), or None."""
    place = "/sys/fs/cgroup/cpu"
    if not os.path.exists(f"{place}/cpu.cfs_quota_us"):
        return None
    line = re.search(r"^\d+:[^:]*\bcpu\b[^:]*:(.*)$", read("/proc/self/cgroup"), re.MULTILINE)
    group = f"{place}/tandem-{os.getpid()}"
    try:
        os.mkdir(group)
        for name, value in (("cpu.cfs_period_us", period_us), ("cpu.cfs_quota_us", quota_us),
                            ("cgroup.procs", os.getpid())):
            with open(f"{group}/{name}", "w", encoding="ascii") as file:
                file.write(str(value))
    except OSError:
        if os.path.isdir(group):
            os.rmdir(group)
        return None
    return f"{place}{line.group(1)}", group


def leave_cpu_group(came_from):
    with open(f"{came_from}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


def stutter(agent, stopping, off=0.09, on=0.01):
    """The same without a cgroup: all of the agent stands still for nine tenths of the time."""
    while not stopping.is_set():
        agent.freeze()
        time.sleep(off)
        agent.thaw()
        time.sleep(on)


@test(alone=True, san=False)
def p06_a_master_that_is_starved_of_cpu_stays_the_only_one():
    with Lab() as lab:
        web1, web2 = lab.nodes
        text = tandem_conf(lab, [router()])
        web2.configure(text)
        web1.configure(text)
        web2.start_agent()
        lab.wait_holder("web2", VIP)
        group = cpu_group(10_000, 100_000)
        stopping = threading.Event()
        try:
            if group:
                hogs = [web1.start(f"hog{n}", "sh", "-c", "while :; do :; done") for n in range(2)]
            agent = web1.start_agent()
        finally:
            if group:
                leave_cpu_group(group[0])
        if not group:
            hogs = []
            stutterer = threading.Thread(target=stutter, args=(agent, stopping))
            stutterer.start()
        try:
            settled(lab)
            watch = Probe(web2, "watch", VIP)
            begun_us = now_us()
            wait_for("ten seconds of it", lambda: now_us() - begun_us > 10 * 1_000_000)
            check(not watch.events() and lab.holders(VIP) == ["web1"],
                  f"web2 took over: {watch.events()}")
            throttled = ""
            if group:
                throttled = re.search(r"nr_throttled (\d+)", read(f"{group[1]}/cpu.stat")).group(1)
                check(int(throttled) > 50, "the group was not throttled")
                throttled = f" (throttled {throttled} times)"
            figure(f"10 ms of CPU in each 100 ms, for 10 s: no take-over{throttled}")
        finally:
            stopping.set()
            if not group:
                stutterer.join()
            for hog in hogs:
                kill(hog.pid, 9)
            agent.kill_all()
            if group:
                wait_for("the group is empty", lambda: not read(f"{group[1]}/cgroup.procs"))
                os.rmdir(group[1])


@test(san=False)  # a library that is loaded first, and the sanitizers want to be that
def p06_steps_of_the_wall_clock_change_nothing():
    with Lab() as lab:
        web1, web2 = lab.nodes
        text = tandem_conf(lab, [router()])
        for node in lab.nodes:
            node.configure(text)
            write(node.path("/var/tmp/clock"), "+0")
            node.start("agent", "tandem-agent", "--foreground", "--node", node.name, environment=(
                "LD_PRELOAD=/var/opt/tandem/tests/net/wall_clock.so", "WALL_CLOCK=/var/tmp/clock"))
        settled(lab)
        watches = [Probe(node, "watch", VIP) for node in lab.nodes]
        for node in lab.nodes:
            for step in ("+3600", "-3600", "+31536000", "+0"):
                save(node.path("/var/tmp/clock"), step)
                for _ in range(4):  # master-down and more
                    adverts_from(web2, web1)
        check(not any(what == "lost" for watch in watches for _, what in watch.events()) and
              not watches[1].events(), f"it moved: {[watch.events() for watch in watches]}")
        settled(lab)
        # The clock that they saw was moved indeed.
        hour = int(agent_of(web1).text()[:2])
        save(web1.path("/var/tmp/clock"), "+36000")
        agent_of(web1).stop()
        last = agent_of(web1).text().splitlines()[-1]
        check((int(last[:2]) - hour) % 24 in (10, 11), f"at {hour}h and then: {last}")


# P8: checks that are not there

@test()
def p06_a_pause_that_is_shorter_than_the_others_wait_is_told():
    with Lab() as lab:
        web1 = lab["web1"]
        start_pair(lab, tandem_conf(lab, [router(advert_int=1)]), nginx=False)
        settled(lab)
        agent = agent_of(web1)

        def told():
            agent.freeze()
            time.sleep(0.4)  # this is what happens to it, and no wait
            agent.thaw()
            status = json.loads(web1.run("tandem", "status", "--json", check_status=False).stdout)
            late = status["agent"] and status["agent"]["late"]
            return late and late["worst_by_us"] > 200_000 and any(
                "timers fired late" in finding["text"] for finding in status["findings"])

        # On a busy machine the engine may be taken for dead for it, and the next one knows nothing.
        wait_for("status tells of late timers", told)
        check("ms late" in agent.text(), "not in the log")
        check(lab.holders(VIP) == ["web1"], f"the address is on {lab.holders(VIP)}")


@test()
def p08_a_check_that_cannot_run_has_failed_and_one_that_is_not_there_is_refused():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            write(node.path("/etc/tandem/check.sh"), "#!/bin/sh\nexit 0\n", 0o755)
        text = tandem_conf(lab, [router(track='[ "own" ]', nopreempt="true")],
                           checks=['{ name = "own"; script = "/etc/tandem/check.sh"; '
                                   'interval = 0.2; weight = -20; }'])
        web1.configure(text.replace('[ "own" ]', '[ "owm" ]'))
        done = web1.run("tandem-agent", "--check", "--node", "web1", check_status=False)
        check(done.returncode != 0 and "owm" in done.stderr + done.stdout,
              f"an unknown check is taken: {done.stdout}{done.stderr}")
        start_pair(lab, text, nginx=False)
        settled(lab)
        os.unlink(web1.path("/etc/tandem/check.sh"))
        lab.wait_holder("web2", VIP)
        failed = next(c for c in web1.agent()["checks"] if c["name"] == "own")
        check(failed["state"] == "failed" and failed["detail"], f"not explained: {failed}")


# P11: seeing what is going on

@test()
def p11_status_says_who_holds_since_when_and_why():
    with Lab() as lab:
        web1, web2 = lab.nodes
        done = web1.run("tandem", "status", check_status=False)
        check(done.returncode == 3, f"without a daemon: exit {done.returncode}")
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        settled(lab)
        adverts_from(web2, web1)
        for node, state in ((web1, "MASTER"), (web2, "BACKUP")):
            one = node.instance()
            check(one["state"] == state and one["cause"] and one["since_us"] > 0, f"{one}")
            check(one["master"]["node"] == "web1" and one["master"]["priority"] == 100, f"{one}")
            shown = node.run("tandem", "status", check_status=False).stdout
            check(state in shown and VIP in shown and "web1" in shown, f"the screen: {shown}")


# P12: silence about what is dropped, and too many words

@test()
def p12_a_storm_of_adverts_is_answered_and_logged_at_a_bounded_rate():
    with Lab() as lab:
        web1, web2 = lab.nodes
        text = tandem_conf(lab, [router(version=2, advert_int=1, auth_type='"PASS"',
                                        auth_pass='"1111"')])
        web1.configure(text)
        agent = web1.start_agent()
        wait_state(web1, "MASTER")
        before, lines = web1.instance()["counters"], len(agent.text().splitlines())
        begun_us = now_us()
        wrong, lower = advert_v2(password=b"wrong", addresses=("198.51.100.77",)), \
            advert_v2(priority=50)
        def stormed():
            """More of it if much was lost on the way: who has no processor takes nothing out."""
            for _ in range(100):
                send(web2, web1.address, wrong, times=50)
                send(web2, web1.address, lower, times=50)
                send(lab.client, web1.address, lower, times=50)
            heard = web1.instance()["counters"]["adverts_received"] - before["adverts_received"]
            return heard > 500

        wait_for("the storm arrives", stormed)
        wait_refused(web1, "strange-password")
        wait_refused(web1, "unknown-source")
        after = web1.instance()
        seconds = (now_us() - begun_us) / 1_000_000
        counters = after["counters"]
        heard = counters["adverts_received"] - before["adverts_received"]
        sent = counters["adverts_sent"] - before["adverts_sent"]
        announced = counters["announces"] - before["announces"]
        said = len(agent.text().splitlines()) - lines
        figure(f"15,000 adverts at a time for {seconds:.1f} s: {heard} counted as adverts, {sent} sent, "
               f"{announced} announcements, {said} lines of log")
        check(after["state"] == "MASTER" and web1.has(VIP), "the storm moved the address")
        # One answer in 20 ms at most, and the adverts of its own.
        check(sent < 20 + 60 * seconds and announced < 20 + 20 * seconds,
              f"{sent} adverts and {announced} announcements answer the storm")
        check(said < 20 + seconds, f"{said} lines of log")


# P13: multicast that is filtered

@test()
def p13_where_multicast_is_filtered_the_default_works():
    with Lab() as lab:
        web1, web2 = lab.nodes
        lab.cut(web1, web2, "ip daddr 224.0.0.0/4")
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        settled(lab)
        agent_of(web1).stop()
        lab.wait_holder("web2", VIP)


@test()
def a_unicast_peer_that_returns_with_another_hardware_address_is_reached_at_once():
    """A machine that was replaced: what the others remember of it is wrong for many seconds."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(advert_int=0.3)]), nginx=False)
        settled(lab)
        check(neighbour(web1, web2.address) == hardware(web2), "web1 does not know web2")
        agent_of(web2).kill_all()
        web2.ip("link set eth0 down", "link set eth0 address 02:00:5e:00:53:77",
                "link set eth0 up")
        watch = Probe(web2, "watch", VIP)
        web2.start_agent()
        wait_state(web2, "BACKUP")
        wait_for("web2 has been a backup for longer than master-down",
                 lambda: web2.instance()["since_us"] > 2_500_000)
        check(not watch.events() and web2.instance()["state"] == "BACKUP", "it did not hear web1")
        settled(lab)


# P14: somebody else's VRID

@test()
def p14_a_stranger_with_our_vrid_moves_nothing_and_is_named():
    with Lab(nodes=("web1", "web2", "other")) as lab:
        web1, web2, other = lab.nodes
        text = tandem_conf(SimpleNamespace(nodes=[web1, web2]),
                           [router(multicast="true", advert_int=1)])
        for node in (web1, web2):
            node.configure(text)
            node.start_agent()
        lab.wait_holder("web1", VIP)
        other.start_keepalived(keepalived_conf(lab, other, 3, True, 200, 1, vip="198.51.100.210"))
        wait_for("the stranger holds its own", lambda: other.has("198.51.100.210"))
        for node in (web1, web2):
            entry = wait_refused(node, "unknown-source")
            check(entry["source"] == other.address, f"not named: {entry}")
        adverts_from(web2, web1)
        check(lab.holders(VIP) == ["web1"], f"the address is on {lab.holders(VIP)}")
        shown = web1.run("tandem", "status", check_status=False).stdout
        check(f"another router uses VRID 51: {other.address}" in shown,
              f"not on the screen: {shown}")


@test()
def p14_the_same_vrid_twice_on_one_interface_is_refused():
    with Lab() as lab:
        web1 = lab["web1"]
        web1.configure(tandem_conf(lab, [router(), router("VI_2", 51, VIP2)]))
        done = web1.run("tandem-agent", "--check", "--node", "web1", check_status=False)
        check(done.returncode != 0 and "VI_2" in done.stdout + done.stderr,
              f"taken: {done.stdout}{done.stderr}")


# P16: equal priorities

@test()
def p16_of_equal_priorities_one_holds_and_keeps_it():
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(priority={"web1": 100, "web2": 100})]),
                   nginx=False)
        for _ in range(2):
            wait_for("one of them holds it", lambda: len(lab.holders(VIP)) == 1 and sorted(
                node.instance().get("state") for node in lab.nodes) == ["BACKUP", "MASTER"])
            holder = lab[lab.holders(VIP)[0]]
            other = web2 if holder is web1 else web1
            agent_of(holder).stop()
            lab.wait_holder(other.name, VIP)
            watch = Probe(holder, "watch", VIP)
            holder.start_agent()
            wait_state(holder, "BACKUP")
            adverts_from(holder, other)
            wait_for("it has heard the other for longer than master-down",
                     lambda h=holder: h.instance()["since_us"] > 2_000_000)
            check(not watch.events() and lab.holders(VIP) == [other.name], "it was taken back")


# P17: interfaces that come late, go, flap

@test()
def p17_an_interface_that_comes_late_goes_or_is_renamed_is_waited_for():
    with Lab() as lab:
        web1, web2 = lab.nodes
        text = tandem_conf(lab, [router()])
        for node in lab.nodes:
            node.configure(text)
        lab.unplug(web1)
        web1.start_agent()
        web2.start_agent()
        lab.wait_holder("web2", VIP)
        check(web1.instance()["trouble"], f"nothing is said: {web1.instance()}")
        lab.plug(web1)
        settled(lab)
        lab.unplug(web1)
        wait_state(web1, "FAULT")
        lab.wait_holder("web2", VIP)
        lab.plug(web1)
        settled(lab)
        web1.ip("link set eth0 down", "link set eth0 name lan0")
        wait_state(web1, "FAULT")
        lab.wait_holder("web2", VIP)
        web1.ip("link set lan0 name eth0", "link set eth0 up")
        settled(lab)
        check(web1.addresses() == {"127.0.0.1", web1.address, VIP}, f"{web1.addresses()}")


@test()
def p17_a_flapping_carrier_ends_with_one_holder():
    with Lab() as lab:
        web1, _ = lab.nodes
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        settled(lab)
        for _ in range(15):
            lab.port_down(web1)
            lab.port_up(web1)
        settled(lab)
        check(web1.instance()["transitions"] < 60, f"{web1.instance()['transitions']} transitions")


# P19: duplicate address detection

@test()
def p19_an_ipv6_address_that_the_other_still_holds_can_be_used_at_once():
    """With duplicate address detection the second holder would fail, for ever."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            node.use_ipv6()
        text = tandem_conf(lab, [router()])
        start_pair(lab, text.replace(f'"{VIP}/24"', f'"{VIP}/24", "{VIP6}/64"'), nginx=False)
        lab.wait_holder("web1", VIP6)
        lab.cut(web1, web2, "ip protocol 112")
        wait_for("web2 can use it too", lambda: web2.has(VIP6) and web1.has(VIP6))
        check("dadfailed" not in web2.run("ip", "-6", "address", "show", "dev", "eth0"),
              "duplicate address detection has failed")
        lab.heal()
        lab.wait_holder("web1", VIP6)
        check(web1.link_local in web1.addresses6(), "its own address is gone")


# P20: a hook that may not be run

@test()
def p20_a_hook_that_may_not_be_executed_is_named_with_its_reason():
    with Lab() as lab:
        web1 = lab["web1"]
        write(web1.path("/etc/tandem/notify.sh"), "#!/bin/sh\nexit 0\n", 0o755)
        web1.configure(tandem_conf(lab, [router(notify='"/etc/tandem/notify.sh"')]))
        os.chmod(web1.path("/etc/tandem/notify.sh"), 0o644)
        agent = web1.start_agent()
        wait_state(web1, "MASTER")
        hook = wait_for("the outcome of the hook for MASTER", lambda: next(
            (h for h in [web1.instance()["hook"]] if h and h["state"] == "MASTER" and not h["ok"]),
            None))
        check("ermission denied" in hook["outcome"] + hook["output"], f"not explained: {hook}")
        wait_for("the log says it", lambda: "ermission denied" in agent.text())
        # What runs and fails: when, for how long, with what, and its last words.
        write(web1.path("/etc/tandem/notify.sh"),
              "#!/bin/sh\nsleep 0.1\necho $3 >&2\nexit 7\n", 0o755)
        lab.port_down(web1)
        hook = wait_for("a hook that ran", lambda: next(
            (h for h in [web1.instance()["hook"]] if h and h["exit"] is not None), None))
        check(hook["exit"] == 7 and not hook["ok"] and hook["took_us"] >= 100_000 and
              hook["output"] == "FAULT\n" and hook["age_us"] < 30_000_000, f"recorded: {hook}")
        check(web1.instance()["hook_failed"]["exit"] == 7, "not kept as a failure")


# P23: checks that hang

@test()
def p23_a_check_that_hangs_is_ended_with_all_that_it_started_and_has_failed():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            write(node.path("/etc/tandem/check.sh"),
                  "#!/bin/sh\n[ ! -e /run/hang ] || { sleep 987 & sleep 987; }\n", 0o755)
        start_pair(lab, tandem_conf(
            lab, [router(track='[ "own" ]')],
            checks=['{ name = "own"; script = "/etc/tandem/check.sh"; interval = 0.3; '
                    'timeout = 2; weight = -20; }']), nginx=False)
        settled(lab)
        write(web1.path("/run/hang"), "")
        lab.wait_holder("web2", VIP)
        os.unlink(web1.path("/run/hang"))
        settled(lab)
        own = next(c for c in web1.agent()["checks"] if c["name"] == "own")
        check(own["failures"] and "timed out" in own["last_failure"]["detail"],
              f"its failure is forgotten: {own}")
        wait_for("it is on the screen", lambda: "check own: is well; failed" in
                 web1.run("tandem", "status", check_status=False).stdout)
        wait_for("nothing that it started is left", lambda: not any(
            command == "sleep" for _, _, command in web1.processes()))


# P24: two readings of the version 3 checksum

@test()
def p24_both_forms_of_the_version_3_checksum_are_taken():
    with Lab() as lab:
        web1, web2 = lab.nodes
        web1.configure(tandem_conf(lab, [router(advert_int=1)]))
        web1.start_agent()
        wait_state(web1, "MASTER")
        with_pseudo_header = advert_v3(web2.address, web1.address, priority=50)
        bare = with_pseudo_header[:6] + b"\0\0" + with_pseudo_header[8:]
        bare = bare[:6] + checksum(bare).to_bytes(2, "big") + bare[8:]
        for payload in (with_pseudo_header, bare):
            before = web1.instance()["counters"]["adverts_received"]
            send(web2, web1.address, payload)
            wait_for("it is taken",
                     lambda: web1.instance()["counters"]["adverts_received"] == before + 1)
        check(not web1.instance()["refused"], f"refused: {web1.instance()['refused']}")
        send(web2, web1.address, bare[:6] + b"\x12\x34" + bare[8:])
        wait_refused(web1, "bad-checksum")


# P26: nginx that listens on the service address

@test()
def p26_a_listen_on_the_service_address_that_the_standby_cannot_have_is_said_with_its_cure():
    with Lab() as lab:
        web1, web2 = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, [router()], mirrors=MIRROR, keys=keys), syncds=True)
        generation = wait_in_step(lab)
        settled(lab)
        save(web1.path("/etc/nginx/conf.d/vip.conf"),
             vhost("vip.test", "vip").replace("listen 80", f"listen {VIP}:8080"))
        wait_for("web1 is told what is missing on web2", lambda: any(
            n["node"] == "web2" and "ip_nonlocal_bind=1" in (n.get("reason") or "")
            for n in web1.mirror().get("nodes", ())))
        check(not os.path.exists(web2.path("/etc/nginx/conf.d/vip.conf")), "it is on web2")
        web2.run("sysctl", "-q", "-w", "net.ipv4.ip_nonlocal_bind=1")
        web2.run("tandem", "sync")
        wait_in_step(lab, generation)
        agent_of(web1).stop()
        lab.wait_holder("web2", VIP)
        wait_for("web2 serves it", lambda: lab.client.get(VIP, "vip.test", port=8080)[2] == "vip\n")
