# SPDX-License-Identifier: Apache-2.0
"""What happens to a pair, and what is measured of it. A case is a function that does one round on a
pair and returns {figure: value}; NEVER stands for what did not come to an end."""
import os
import re
import socket
import time

import contestants
from lab import Failure, Probe, kill, now_us, read, wait_for, write
from pairs import VIP, VIP2

NEVER = "never"
CASES = []


# Figures that no client sees.
TOLD_BY_KERNELS = ("both", "left", "all")


class Case:
    def __init__(self, name, settings, rounds, quick, long, spoils, figures, function):
        self.name, self.settings, self.function = name, settings, function
        self.rounds, self.quick = rounds, quick  # in a full run, and in a quick one; 0: not then
        self.long = long                         # too long to be done again, or in turns
        self.spoils = spoils                     # a round uses its pair up
        self.figures = figures                   # name -> (what the row is called, its unit)


    def disturbed(self, got, stood_still_ms):
        """Did the machine stand still for so long that what a client saw may be that?"""
        seen = [got[name] for name, (_, unit) in self.figures.items()
                if unit == "ms" and name not in TOLD_BY_KERNELS and got[name] != NEVER]
        return bool(not self.long and stood_still_ms > 5 and seen and
                    stood_still_ms > min(seen) / 5)


# Cases that want the same pair share it.
SETTINGS = {}


def case(name, figures, rounds, quick=(1, 2), intervals=(1.0, 0.1), long=False, spoils=False,
         **settings):
    """Registers a function as a case, once for each advert interval; quick: the rounds of a quick
    run at intervals of a second, and of less."""
    def register(function):
        for advert_int in intervals:
            key = (advert_int, *sorted(settings.items()))
            wanted = SETTINGS.setdefault(key, contestants.Settings(advert_int, **settings))
            CASES.append(Case(f"{name} {advert_int:g}s", wanted, rounds,
                              quick[advert_int < 1], long, spoils, figures, function))
        return function
    return register


# ---- what a round is made of ----

class Client:
    """Someone who asks VIP each millisecond, or opens an HTTP connection each other one. Beside it
    a bystander is asked, to whom nothing happens: while it does not answer either, it is the
    machine that stands still."""

    def __init__(self, pair, http=False):
        kind = ("get", VIP, "80", "2000") if http else ("ask", VIP, "9", "1000")
        self.pair = pair
        self.beside = Probe(pair.client, "ask", pair.bystander.address, "9", "1000")
        self.probe = Probe(pair.client, *kind)
        self.interval_ms = 2 if http else 1

    def stop(self):
        """{gap: the longest time without an answer, dark: all of them together}, in ms."""
        seen = self.probe.stop()
        self.pair.stood_still_ms = max(self.pair.stood_still_ms,
                                       self.beside.stop()["gap_us"] / 1000)
        return {"gap": seen["gap_us"] / 1000,
                "dark": max(0, seen["sent"] - seen["answered"]) * self.interval_ms}


class Watch:
    """Who has VIP, as the kernels of both nodes tell it."""

    def __init__(self, pair):
        self.pair = pair
        self.begun_us = now_us()
        self.held = {node.name: node.has(VIP) for node in pair.lab.nodes}
        self.probes = {node.name: Probe(node, "watch", VIP) for node in pair.lab.nodes}

    def changes(self):
        """[(when, node, has it)], only what is a change."""
        held, found = dict(self.held), []
        events = sorted((at_us, name, what == "gained") for name, probe in self.probes.items()
                        for at_us, what in probe.events())
        for at_us, name, has in events:
            if held[name] != has:
                held[name] = has
                found.append((at_us, name, has))
        return found

    def both_ms(self, since_us=0):
        """For how long both had it."""
        held, from_us, total = dict(self.held), max(since_us, self.begun_us), 0
        for at_us, name, has in [*self.changes(), (now_us(), None, None)]:
            if all(held.values()) and at_us > from_us:
                total += at_us - from_us
            from_us = max(from_us, at_us)
            if name:
                held[name] = has
        return total / 1000

    def take_overs(self, name):
        return sum(1 for _, who, has in self.changes() if who == name and has)

    def stop(self):
        for probe in self.probes.values():
            probe.running.stop()


def past_master_down(pair):
    """Past the moment at which the other one takes over, if it does."""
    time.sleep(pair.settings.master_down_s() * 1.15 + 0.3)


def moved(pair, to, timeout=20.0):
    wait_for(f"{to.name} holds the address", lambda: to.has(VIP), timeout, every=0.005)
    time.sleep(0.3)


# ---- the idle pair: what the measurement itself costs ----

@case("idle", {"gap": ("nothing happens for two seconds", "ms")}, 3, intervals=(1.0,))
def idle(pair, _quick):
    client = Client(pair)
    time.sleep(2)
    return client.stop()


# ---- going on purpose ----

@case("stop", {"gap": ("orderly stop of the master", "ms")}, 10, (2, 2), nopreempt=True)
def stop(pair, _quick):
    leaving, other = ((pair.web1, pair.web2) if pair.holds(pair.web1) else (pair.web2, pair.web1))
    client = Client(pair)
    pair.stop(leaving)
    moved(pair, other)
    figures = client.stop()
    pair.start(leaving)
    pair.settle(other.name)
    return figures


@case("handover", {"gap": ("moved by hand to the other node", "ms"),
                   "back": ("… and back again", "ms")}, 6, check="file")
def handover(pair, _quick):
    client = Client(pair)
    pair.hand_over()
    moved(pair, pair.web2)
    figures = client.stop()
    pair.settle("web2")
    client = Client(pair)
    pair.take_back()
    moved(pair, pair.web1)
    figures["back"] = client.stop()["gap"]
    pair.settle()
    return figures


# ---- crashes ----

@case("engine killed", {"gap": ("kill -9 of the process that decides", "ms"),
                        "both": ("… two masters meanwhile", "ms")}, 6)
def engine_killed(pair, _quick):
    watch, client = Watch(pair), Client(pair)
    kill(pair.engine(pair.web1), 9)
    past_master_down(pair)
    figures = client.stop()
    figures["both"] = watch.both_ms()
    watch.stop()
    renew(pair)
    return figures


def renew(pair):
    """Without a memory of deaths: tandem does not go on after the third one in a minute."""
    pair.settle()
    pair.deaths += 1
    if pair.deaths % 2 == 0:
        pair.stop(pair.web1)
        pair.start(pair.web1)
        pair.settle()


@case("engine hung", {"gap": ("the process that decides hangs for two master-downs", "ms"),
                      "both": ("… two masters meanwhile and until it is over", "ms")}, 3)
def engine_hung(pair, _quick):
    watch, client = Watch(pair), Client(pair)
    hung = pair.engine(pair.web1)
    kill(hung, 19)
    time.sleep(2 * pair.settings.master_down_s())
    kill(hung, 18)
    pair.settle()
    figures = client.stop()
    figures["both"] = watch.both_ms()
    watch.stop()
    renew(pair)
    return figures


@case("all killed", {"gap": ("kill -9 of everything", "ms"),
                     "left": ("… the address stays on the dead node for", "ms")}, 3)
def all_killed(pair, quick):
    client = Client(pair)
    pair.kill_all(pair.web1)
    killed_us = now_us()
    limit_s = (8 if quick else 15) if pair.settings.advert_int >= 1 else 5
    try:
        wait_for("the address goes", lambda: not pair.web1.has(VIP), limit_s)
        left = (now_us() - killed_us) / 1000
    except Failure:
        left = NEVER
    wait_for("the other one has it", lambda: pair.web2.has(VIP), 20)
    figures = {**client.stop(), "left": left}
    pair.start(pair.web1)
    pair.settle()
    return figures


@case("frozen", {"both": ("frozen for two master-downs, then thawed: two masters after the thaw",
                          "ms"),
                 "gap": ("… longest time without an answer in all", "ms")}, 3)
def frozen(pair, _quick):
    watch, client = Watch(pair), Client(pair)
    pair.freeze(pair.web1)
    time.sleep(2 * pair.settings.master_down_s())
    thawed_us = now_us()
    pair.thaw(pair.web1)
    time.sleep(0.2)
    pair.settle()
    time.sleep(0.5)
    figures = {**client.stop(), "both": watch.both_ms(thawed_us)}
    watch.stop()
    return figures


# ---- what fails outside ----

@case("power", {"gap": ("power loss", "ms"),
                "return": ("the higher priority returns and preempts", "ms")}, 6)
def power(pair, _quick):
    client = Client(pair)
    pair.web1.power_off()
    moved(pair, pair.web2)
    figures = client.stop()
    client = Client(pair)
    pair.power_on(pair.web1)
    pair.settle()
    time.sleep(0.3)
    figures["return"] = client.stop()["gap"]
    return figures


@case("link", {"gap": ("link loss, at the switch", "ms")}, 6)
def link(pair, _quick):
    client = Client(pair)
    pair.lab.port_down(pair.web1)
    moved(pair, pair.web2)
    figures = client.stop()
    pair.lab.port_up(pair.web1)
    pair.settle()
    return figures


# ---- nginx ----

NGINX_PATIENCE_S = 15


def nginx_dies(pair, _quick):
    """Until the other node's nginx answers, or for as long as anybody would wait."""
    client = Client(pair, http=True)
    pair.nginx_dies(pair.web1)
    try:
        moved(pair, pair.web2, NGINX_PATIENCE_S)
        figures = client.stop()
    except Failure:
        client.stop()
        figures = {"gap": NEVER}
    pair.nginx_starts(pair.web1)
    return figures


@case("nginx, script", {"gap": ("nginx killed; the runbook's script each second, two failures, "
                                "weight -20", "ms")}, 4, check="script")
def nginx_script(pair, quick):
    figures = nginx_dies(pair, quick)
    pair.settle()
    return figures


@case("nginx, nopreempt", {"gap": ("… and nopreempt on both, as the runbooks have it", "ms")},
      1, intervals=(1.0,), spoils=True, check="script", nopreempt=True)
def nginx_nopreempt(pair, quick):
    return nginx_dies(pair, quick)


@case("nginx, best", {"gap": ("nginx killed; each in its quickest configuration", "ms")}, 6,
      check="best")
def nginx_best(pair, quick):
    figures = nginx_dies(pair, quick)
    pair.settle()
    return figures


# ---- reload ----

@case("reload", {"same": ("reload, nothing changed", "ms"),
                 "changed": ("reload, a setting changed", "ms")}, 6)
def reload(pair, _quick):
    figures = {}
    for figure in ("same", "changed"):
        client = Client(pair)
        if figure == "changed":
            pair.tuned ^= {"web1"}
        pair.reload(pair.web1)
        time.sleep(1.0)
        figures[figure] = client.stop()["gap"]
        pair.settle()
    return figures


APART_S = 5  # between the change on one node and that on the other


@case("address added", {"both": (f"an address added on the master, {APART_S} s later on the other: "
                                 "two masters", "ms"),
                        "gap": ("… longest time without an answer", "ms"),
                        "undone": ("… taken back on the master instead: longest time without an "
                                   "answer", "ms")}, 1, (1, 1), long=True)
def address_added(pair, quick):
    def set_on(node, vips):
        pair.extra_vips[node.name] = vips
        pair.reload(node)

    watch, client = Watch(pair), Client(pair)
    set_on(pair.web1, [VIP2])
    time.sleep(APART_S)
    set_on(pair.web2, [VIP2])
    pair.settle()
    figures = {**client.stop(), "both": watch.both_ms()}
    watch.stop()
    for node in pair.lab.nodes:
        set_on(node, [])
    pair.settle()
    client = Client(pair)
    set_on(pair.web1, [VIP2])
    time.sleep(APART_S)
    set_on(pair.web1, [])
    pair.settle()
    answers_again(pair, 20 if quick else 60)
    figures["undone"] = client.stop()["gap"]
    return figures


def answers_again(pair, patience_s):
    """Until the address has answered for two seconds on end, or patience has."""
    with pair.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.05)
        good_since, until = None, time.monotonic() + patience_s
        while time.monotonic() < until:
            try:
                asking.sendto(b"12345678", (VIP, 9))
                asking.recv(64)
                good_since = good_since or time.monotonic()
                if time.monotonic() - good_since > 2:
                    return
                time.sleep(0.05)
            except OSError:
                good_since = None


# ---- adverts that are lost, and time that is ----

LOSSES = (10, 20, 30)


@case("loss", {f"{kind}{n}": (text.format(n), unit) for n in LOSSES for kind, text, unit in (
    ("taken", "{} % of the adverts lost, both ways: false take-overs a minute", ""),
    ("gap", "… longest time without an answer", "ms"),
    ("dark", "… all such times together, a minute", "ms"))}, 1, (0, 1), intervals=(0.1,),
      long=True)
def loss(pair, quick):
    figures, seconds = {}, 15 if quick else 60
    for percent in LOSSES:
        watch, client = Watch(pair), Client(pair)
        pair.lab.cut(pair.web1, pair.web2,
                     f"ip protocol 112 numgen random mod 100 < {percent}")
        time.sleep(seconds)
        pair.lab.heal()
        seen = client.stop()
        figures[f"taken{percent}"] = watch.take_overs("web2") * 60 / seconds
        figures[f"gap{percent}"] = seen["gap"]
        figures[f"dark{percent}"] = seen["dark"] * 60 / seconds
        watch.stop()
        pair.settle()
        answers_again(pair, 20 if quick else 60)
    return figures


CPU_GROUPS = "/sys/fs/cgroup/cpu"


class Starved:
    """A node's daemon in a control group with a tenth of a processor, which two loops share with
    it. It is started there: real-time priority is not to be had in such a group, for either."""

    def __init__(self, pair, node, quota_us=10_000, period_us=100_000):
        if not os.path.exists(f"{CPU_GROUPS}/cpu.cfs_quota_us"):
            raise Failure(f"{CPU_GROUPS} is no version 1 control group with a quota")
        self.pair, self.node, self.hogs = pair, node, []
        self.group = f"{CPU_GROUPS}/tandem-bench-{os.getpid()}"
        came_from = re.search(r"^\d+:[^:]*\bcpu\b[^:]*:(.*)$", read("/proc/self/cgroup"), re.M)
        pair.stop(node)
        os.mkdir(self.group)
        try:
            self.enter(self.group, os.getpid())
            try:
                pair.start(node)
            finally:
                self.enter(CPU_GROUPS + came_from.group(1), os.getpid())
            self.hogs = [node.start(f"hog{n}", "sh", "-c", "while :; do :; done") for n in range(2)]
            for hog in self.hogs:
                self.enter(self.group, hog.pid)
            self.set("cpu.cfs_period_us", period_us)
            self.set("cpu.cfs_quota_us", quota_us)
        except BaseException:
            self.stop()
            raise

    def set(self, name, value):
        with open(f"{self.group}/{name}", "w", encoding="ascii") as file:
            file.write(str(value))

    @staticmethod
    def enter(group, pid):
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(pid))

    def throttled(self):
        return int(re.search(r"nr_throttled (\d+)", read(f"{self.group}/cpu.stat")).group(1))

    def stop(self):
        for hog in self.hogs:
            hog.kill()
        self.set("cpu.cfs_quota_us", -1)
        if self.pair.daemons[self.node.name].alive():
            self.pair.stop(self.node)
        wait_for("the control group is empty", lambda: not read(f"{self.group}/cgroup.procs"))
        os.rmdir(self.group)


@case("starved", {"taken": ("the master has 10 ms of processor in each 100: false take-overs a "
                            "minute", ""),
                  "gap": ("… longest time without an answer", "ms")}, 1, (0, 1), intervals=(0.1,),
      long=True)
def starved(pair, quick):
    seconds = 10 if quick else 30
    hunger = Starved(pair, pair.web1)
    try:
        pair.settle()
        watch, client = Watch(pair), Client(pair)
        time.sleep(seconds)
        figures = client.stop()
        figures["taken"] = watch.take_overs("web2") * 60 / seconds
        watch.stop()
        if hunger.throttled() < seconds:
            raise Failure("the group was not throttled")
    finally:
        hunger.stop()
    pair.start(pair.web1)
    pair.settle()
    return figures


PAUSES = 20


@case("pauses", {"master": (f"{PAUSES} pauses of the master of half a master-down: false "
                            "take-overs", ""),
                 "backup": (f"{PAUSES} pauses of the backup of two master-downs: false take-overs",
                            ""),
                 "gap": ("… longest time without an answer", "ms")}, 1, (0, 1), intervals=(0.1,),
      long=True)
def pauses(pair, quick):
    figures, client = {}, Client(pair)
    down_s = pair.settings.master_down_s()
    for figure, node, pause_s in (("master", pair.web1, down_s / 2),
                                  ("backup", pair.web2, 2 * down_s)):
        watch = Watch(pair)
        count = PAUSES // 2 if quick else PAUSES
        for _ in range(count):
            pair.freeze(node)
            time.sleep(pause_s)
            pair.thaw(node)
            time.sleep(0.3)
        figures[figure] = watch.take_overs("web2") * PAUSES / count
        watch.stop()
    figures["gap"] = client.stop()["gap"]
    pair.settle()
    return figures


# ---- many ----

def cpu_ns(pid):
    """Processor time that a process has used, exactly: the kernel's ticks are of 10 ms."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        total += int((read(f"/proc/{pid}/task/{task}/schedstat") or "0").split()[0])
    return total


def memory_kib(pid):
    """(resident and not locked, resident and locked, what nobody else shares)."""
    unlocked = locked = rss = private = 0
    for line in read(f"/proc/{pid}/smaps").splitlines():
        key, _, value = line.partition(":")
        if key == "Rss":
            rss = int(value.split()[0])
        elif key in ("Private_Clean", "Private_Dirty"):
            private += int(value.split()[0])
        elif key == "VmFlags":
            if "lo" in value.split():
                locked += rss
            else:
                unlocked += rss
    return unlocked, locked, private


def many(pair, quick):
    seconds = 6 if quick else 20
    figures = {}
    # What a start leaves to be done is over when the second announcements are.
    time.sleep(2 if quick else 6)
    families = {node: pair.daemons[node.name].family() for node in pair.lab.nodes}
    before = {pid: cpu_ns(pid) for family in families.values() for pid in family}
    begun = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begun
    for node, figure in ((pair.web1, "cpu master"), (pair.web2, "cpu backup")):
        used = sum(cpu_ns(pid) - before[pid] for pid in families[node])
        figures[figure] = used / 1e9 * 60 / elapsed
    sums = [sum(column) / 1024 for column in zip(*(memory_kib(pid) for pid in families[pair.web1]))]
    figures["resident"], figures["locked"], figures["private"] = sums
    figures["all"] = time_to_take_all(pair)
    return figures


def time_to_take_all(pair):
    """From a loss of power until the last address answers, in ms."""
    waiting = set(pair.settings.vips())
    with pair.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)

        def ask(of):
            """Which node answers for each of these, as far as answers have come."""
            for vip in of:
                try:
                    asking.sendto(b"12345678", (vip, 9))
                except OSError:
                    pass
            time.sleep(0.01)
            found = {}
            while True:
                try:
                    answer, (vip, _) = asking.recvfrom(64)
                except OSError:
                    return found
                found[vip] = answer[8:].split(b"\0")[0].decode()
        # A client that has never asked would learn the new holder in any case.
        known = set()
        wait_for("all answer", lambda: known.update(ask(waiting - known)) or known == waiting, 20,
                 every=0)
        pair.web1.power_off()
        begun_us, until = now_us(), time.monotonic() + 30
        while waiting and time.monotonic() < until:
            waiting -= {vip for vip, who in ask(waiting).items() if who == "web2"}
        if waiting:
            return NEVER
        return (now_us() - begun_us) / 1000


MANY = {"cpu master": ("processor time, master", "s a minute"),
        "cpu backup": ("… backup", "s a minute"),
        "resident": ("resident and not locked, all processes of the master", "MiB"),
        "locked": ("… locked in memory", "MiB"),
        "private": ("… private, in both", "MiB"),
        "all": ("power loss until the last address answers", "ms")}

for count in (1, 50, 250):
    for interval in (1.0, 0.1):
        title = f"{count} × {interval:g} s: "
        figures_of = {key: (("" if text[0] == "…" else title) + text, unit)
                      for key, (text, unit) in MANY.items()}
        # Of those in the middle a quick run says nothing.
        case(f"{count} instances", figures_of, 1, (0, 0) if count == 50 else (1, 1),
             (interval,), count < 250, True, instances=count)(many)
