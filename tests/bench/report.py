# SPDX-License-Identifier: Apache-2.0
"""What was measured, as a table, and beside what was aimed at; into docs/benchmarks.md."""
import os
import re
import statistics
import subprocess

import cases
from lab import TOP, read

DOCUMENT = os.path.join(TOP, "docs/benchmarks.md")
BEGIN = "<!-- from here on written by tests/bench/agent.py --write -->"
END = "<!-- up to here -->"
NEVER = cases.NEVER


def command(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def machine(build):
    model = re.search(r"^model name\s*: (.*)$", read("/proc/cpuinfo"), re.M)
    memory = int(re.search(r"^MemTotal:\s+(\d+)", read("/proc/meminfo"), re.M).group(1))
    system = re.search(r'^PRETTY_NAME="(.*)"$', read("/etc/os-release"), re.M)
    commit = command("git", "-C", TOP, "rev-parse", "--short", "HEAD")
    return {
        "processors": f"{os.cpu_count()} × {model.group(1) if model else os.uname().machine}",
        "memory": f"{memory / 1024 / 1024:.0f} GiB",
        "system": f"{system.group(1) if system else 'unknown'}, Linux {os.uname().release}",
        "tandem": command(f"{build}/tandem-agent", "--version").splitlines()[0] +
                  (f" ({commit})" if re.fullmatch(r"[0-9a-f]{7,}", commit) else ""),
        "keepalived": command("keepalived", "--version").splitlines()[0].split(" (")[0],
    }


def number(value):
    if value == NEVER:
        return NEVER
    if value and value < 0.0995:
        return f"{value:.3f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def ordered(values):
    """What never ended is longer than everything."""
    return sorted(values, key=lambda value: float("inf") if value == NEVER else value)


def median(values):
    finite = ordered(values)
    if NEVER in values:
        return finite[(len(finite) - 1) // 2]
    return statistics.median(finite)


def spread(values):
    if not values:
        return "–"
    if len(values) == 1:
        return number(values[0])
    values = ordered(values)
    return f"{number(values[0])} / {number(median(values))} / {number(values[-1])}"


def ratio(tandem, keepalived):
    """How many times keepalived's median is tandem's."""
    if not tandem or not keepalived:
        return ""
    ours, theirs = median(tandem), median(keepalived)
    if NEVER in (ours, theirs) or not ours or not theirs:
        return ""
    return f"{theirs / ours:.1f}" if theirs / ours < 99.5 else f"{theirs / ours:.0f}"


GROUPS = (("At an interval of 1 s", "1s"), ("At 0.1 s", "0.1s"))


def tables(results):
    lines = []
    for title, suffix in GROUPS:
        rows = []
        for case in cases.CASES:
            got = results["cases"].get(case.name)
            if got is None or not case.name.endswith(" " + suffix):
                continue
            for figure, (what, unit) in case.figures.items():
                ours, theirs = (got["values"][name][figure] for name in ("tandem", "keepalived"))
                rows.append(f"| {what}{', ' + unit if unit else ''} | {spread(ours)} | "
                            f"{spread(theirs)} | {ratio(ours, theirs)} | "
                            f"{max(len(ours), len(theirs))} |")
        if rows:
            lines += [f"### {title}", "",
                      "| | tandem | keepalived | keepalived ÷ tandem | rounds |",
                      "| --- | --- | --- | --- | --- |", *rows, ""]
    return lines


def failures(results):
    lines = []
    for name, got in results["cases"].items():
        for contestant, texts in got["failures"].items():
            lines += [f"- {name}, {contestant}: {text}" for text in texts]
    return ["### Rounds without a figure", "", *lines, ""] if lines else []


# ---- what was aimed at ----

class Aim:
    """text, and judge(figures) -> (met?, words); None: the machine stood still for too long to
    tell."""

    def __init__(self, text, judge):
        self.text, self.judge = text, judge


class Figures:
    def __init__(self, results):
        self.cases = results["cases"]

    def of(self, case, figure, contestant="tandem"):
        values = self.cases[case]["values"][contestant][figure]
        if not values:
            raise KeyError(case)
        return values

    def middle(self, *place):
        return median(self.of(*place))

    def worst(self, *place):
        return ordered(self.of(*place))[-1]


def within(value, limit):
    return value != NEVER and value <= limit


STILL_MS = 5


def still(figures, case):
    """What is to be said if the machine itself stood still."""
    worst = figures.worst(case, "stood still")
    if worst <= STILL_MS:
        return ""
    return f"; the machine itself stood still for up to {number(worst)} ms"


def told(meets, figures, case):
    """meets(ms): is the aim met, if so much is taken for the machine's own part?"""
    stood_still_ms = figures.worst(case, "stood still")
    if meets(0):
        return True
    return None if stood_still_ms > STILL_MS and meets(stood_still_ms) else False


def brief(case, figure, middle_ms, worst_ms):
    def judge(figures):
        middle, worst = figures.middle(case, figure), figures.worst(case, figure)

        def meets(granted_ms):
            return within(middle, middle_ms) and within(worst, worst_ms + granted_ms)
        return (told(meets, figures, case),
                f"median {number(middle)} ms, worst {number(worst)} ms{still(figures, case)}")
    return judge


def at_most(case, figure, limit):
    def judge(figures):
        worst = figures.worst(case, figure)
        return (told(lambda granted_ms: within(worst, limit + granted_ms), figures, case),
                f"worst {number(worst)} ms{still(figures, case)}")
    return judge


def none_of(*places):
    def judge(figures):
        total = [figures.worst(*place) for place in places]
        return all(value == 0 for value in total), "worst " + ", ".join(map(number, total))
    return judge


NO_GAP_MS = 5


def no_gap(case):
    """Nothing beyond what the bystander saw in that round."""
    def judge(figures):
        gaps, both = figures.of(case, "gap"), figures.worst(case, "both")
        more = max(gap - beside for gap, beside in zip(gaps, figures.of(case, "stood still")))
        return (more <= NO_GAP_MS and both == 0,
                f"worst {number(figures.worst(case, 'gap'))} ms, {number(max(0, more))} more than "
                f"a bystander's; two masters {number(both)} ms")
    return judge


def half_the_processor(figures):
    words, met = [], True
    for figure in ("cpu master", "cpu backup"):
        ours, theirs = (figures.middle("250 instances 0.1s", figure, name)
                        for name in ("tandem", "keepalived"))
        met = met and ours <= theirs / 2
        words.append(f"{figure[4:]} {number(ours)} of keepalived's {number(theirs)} s a minute")
    return met, ", ".join(words)


def resident(figures):
    value = figures.middle("250 instances 0.1s", "resident")
    return (value < 12, f"{number(value)} MiB (and "
            f"{number(figures.middle('250 instances 0.1s', 'locked'))} locked; "
            f"{number(figures.middle('250 instances 0.1s', 'private'))} private in all)")


SKEW_MS = (256 - 90) / 256 * 1000  # RFC 9568 6.1, priority 90 at one second

AIMS = (
    Aim("orderly stop at 1 s: median 3 ms, worst 10 ms", brief("stop 1s", "gap", 3, 10)),
    Aim("handover at 1 s: median 3 ms, worst 10 ms", brief("handover 1s", "gap", 3, 10)),
    Aim("engine killed at 1 s: no gap, no second master", no_gap("engine killed 1s")),
    Aim("engine hung at 1 s: no gap, no second master", no_gap("engine hung 1s")),
    Aim(f"nginx killed at 1 s: skew time and 20 ms ({SKEW_MS + 20:.0f} ms)",
        at_most("nginx, best 1s", "gap", SKEW_MS + 20)),
    Aim("an address added on one node first: no second master",
        none_of(("address added 1s", "both"), ("address added 0.1s", "both"))),
    Aim("no take-over under starvation, and in pauses shorter than master-down",
        none_of(("starved 0.1s", "taken"), ("pauses 0.1s", "master"), ("pauses 0.1s", "backup"))),
    Aim("30 % of the adverts lost at 0.1 s: a false take-over costs the client 100 ms at most",
        at_most("loss 0.1s", "gap30", 100)),
    Aim("250 instances at 0.1 s: half of keepalived's processor time", half_the_processor),
    Aim("250 instances at 0.1 s: under 12 MiB resident, locked memory apart", resident),
)


def verdicts(results):
    figures, lines = Figures(results), []
    for aim in AIMS:
        try:
            met, words = aim.judge(figures)
            verdict = {True: "met", False: "**missed**", None: "cannot be told"}[met]
            lines.append(f"| {aim.text} | {verdict} | {words} |")
        except KeyError:
            lines.append(f"| {aim.text} | not measured | |")
    return ["### Beside what was aimed at", "", "| aim | | measured |", "| --- | --- | --- |",
            *lines, ""]


def disturbances(results):
    again = sum(got["again"] for got in results["cases"].values())
    kept = sum(got["disturbed"] for got in results["cases"].values())
    return (f" {again} rounds in which the machine stood still were done again, {kept} such are in "
            "the figures.") if again + kept else ""


def text(results):
    about = results["machine"]
    load = results["load"]
    lines = [f"## Measured on {results['begun']}", "",
             f"{about['tandem']} and {about['keepalived']}; {about['system']}; "
             f"{about['processors']}, {about['memory']}; "
             f"{'a quick run' if results['quick'] else 'a full run'} of "
             f"{results.get('seconds', 0) / 60:.0f} minutes; load average while it ran "
             f"{min(load):.1f} to {max(load):.1f}. "
             "Where there are three figures they are the least, the median and the greatest."
             f"{disturbances(results)}", "",
             *verdicts(results), *tables(results), *failures(results)]
    return "\n".join(lines)


def write(new):
    old = read(DOCUMENT)
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(f"{before.rstrip()}\n\n{BEGIN}\n\n{new.rstrip()}\n\n{END}\n\n{after.lstrip()}")
