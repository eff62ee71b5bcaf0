#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tandem and keepalived side by side: what a client sees when something happens to a pair.

    tests/bench/agent.py --build build            everything, about half an hour
    tests/bench/agent.py --build build --quick    everything, few rounds, both at the same time
    tests/bench/agent.py --build build stop loss  the cases with one of these words in their name
    tests/bench/agent.py --list

Both pairs stand at the same time, each in a laboratory of its own (tests/net/lab.py), and take
turns round by round, or go through what lasts long together, so that whatever else the machine does
meets both. Nothing is asserted.
--write puts the results into docs/benchmarks.md, between the two marks that are there; what was
measured is kept in the build folder besides, and --from FILE prints or writes it again.
"""
import argparse
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "net")]

import cases  # noqa: E402
import contestants  # noqa: E402
import lab  # noqa: E402
import report  # noqa: E402

ROUND_SECONDS_MAX = 600
FAILED_MAX = 2  # rounds on end, then a contestant's case is given up
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Worker:
    """A process that holds one contestant's pair and does rounds on it. One of its own, so that a
    round that goes wrong in whatever way costs that round alone."""

    def __init__(self, kind, settings, build):
        self.kind, self.settings = kind, settings
        asked, self.to = os.pipe()
        self.answers, answer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.to)
            os.close(self.answers)
            try:
                work(kind, settings, build, asked, answer)
            except BaseException:  # pylint: disable=broad-except
                pass
            os._exit(0)
        os.close(asked)
        os.close(answer)

    def ask(self, case, quick=False):
        """For a round, or with no case for its end."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.to, json.dumps([case.name if case else None, quick]).encode() + b"\n")

    def answer(self):
        """{figure: value}, or a text that says why there is none."""
        if not select.select([self.answers], [], [], ROUND_SECONDS_MAX)[0]:
            return f"not through after {ROUND_SECONDS_MAX} s"
        text = os.read(self.answers, 65536)
        return json.loads(text) if text else "its process died"

    def close(self):
        # Not by the end of its input: the other worker may have that pipe open as well.
        self.ask(None)
        os.close(self.to)
        os.close(self.answers)
        # It takes its laboratory down in order, unless it hangs in a round.
        for signo, seconds in ((0, 30), (signal.SIGTERM, 30), (signal.SIGKILL, 30)):
            lab.kill(self.pid, signo)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return
                time.sleep(0.01)

    def end(self):
        """As close(), of one that may be in the middle of a round."""
        lab.kill(self.pid, signal.SIGTERM)
        self.close()


def work(kind, settings, build, asked, answer):
    """In the worker's process."""
    ctypes.CDLL(None).prctl(lab.PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.setpgid(0, 0)  # a Ctrl-C is for the parent alone, which ends us in order
    for signo in SIGNALS:
        signal.signal(signo, interrupted)
    with kind(settings, build) as pair, os.fdopen(asked) as lines:
        for line in lines:
            name, quick = json.loads(line)
            if name is None:
                return
            case = next(c for c in cases.CASES if c.name == name)
            pair.stood_still_ms = 0
            try:
                got = case.function(pair, quick)
                got["stood still"] = pair.stood_still_ms
                got["disturbed"] = case.disturbed(got, pair.stood_still_ms)
            except Exception as error:  # pylint: disable=broad-except
                if contestants.QuietLab.loud:
                    traceback.print_exc()
                    pair.lab.show_logs()
                got = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            os.write(answer, json.dumps(got).encode())


def interrupted(signo, _frame):
    raise lab.Interrupted(signal.Signals(signo).name)


class Bench:
    """One run. Pairs stay for as long as the cases that follow have the same settings."""

    def __init__(self, build, quick, kept):
        self.build, self.quick, self.kept = build, quick, kept
        self.workers = {}  # contestant -> its worker
        self.begun = time.monotonic()
        self.results = {"machine": report.machine(build), "quick": quick, "cases": {},
                        "load": [os.getloadavg()[0]], "begun": time.strftime("%Y-%m-%d %H:%M")}

    def worker(self, kind, settings):
        worker = self.workers.get(kind)
        if worker and worker.settings is not settings:
            self.drop(kind)
        if kind not in self.workers:
            self.workers[kind] = Worker(kind, settings, self.build)
        return self.workers[kind]

    def drop(self, kind):
        if kind in self.workers:
            self.workers.pop(kind).close()

    def end(self):
        for signo in SIGNALS:  # a second Ctrl-C must not stop the clean-up half-way
            signal.signal(signo, signal.SIG_IGN)
        for worker in self.workers.values():
            worker.end()
        self.workers.clear()

    def run(self, wanted):
        """The cases, those with the same settings after each other; what has been measured is safe
        whatever comes next."""
        settings = list(dict.fromkeys(case.settings for case in wanted))
        ordered = sorted(wanted, key=lambda case: settings.index(case.settings))
        for count, case in enumerate(ordered, 1):
            lab.say(f"{time.monotonic() - self.begun:5.0f} s  {case.name} "
                    f"({count} of {len(ordered)})")
            self.results["cases"][case.name] = self.run_case(case)
            self.results["load"].append(os.getloadavg()[0])
            self.results["seconds"] = time.monotonic() - self.begun
            with open(self.kept, "w", encoding="utf-8") as file:
                json.dump(self.results, file, indent=1)
        for kind in list(self.workers):
            self.drop(kind)

    def run_case(self, case):
        """values: {contestant: {figure: [value]}}, failures: {contestant: [what went wrong]};
        again: how many rounds were done again because the machine stood still, disturbed: how many
        such are among the values all the same. "stood still" is a figure of every case."""
        kinds = contestants.CONTESTANTS
        rounds = case.quick if self.quick else case.rounds
        names = [*case.figures, "stood still"]
        result = {"values": {kind.name: {figure: [] for figure in names} for kind in kinds},
                  "failures": {kind.name: [] for kind in kinds}, "again": 0, "disturbed": 0}
        state = {kind: {"to do": rounds, "again": rounds, "failed": 0} for kind in kinds}

        def take(kind):
            """One round's answer."""
            got, own = self.workers[kind].answer(), state[kind]
            if isinstance(got, str):
                result["failures"][kind.name].append(got)
                own["failed"] += 1
                own["to do"] -= 1
                lab.say(f"  {kind.name:10} {got}")
                self.drop(kind)
                return
            said = ", ".join(f"{figure} {report.number(got[figure])}" for figure in case.figures)
            if case.spoils:
                self.drop(kind)
            own["failed"] = 0
            if got["disturbed"] and own["again"]:
                own["again"] -= 1
                result["again"] += 1
                lab.say(f"  {kind.name:10} {said}: the machine stood still; again")
                return
            own["to do"] -= 1
            result["disturbed"] += got["disturbed"]
            lab.say(f"  {kind.name:10} {said}")
            for figure in names:
                result["values"][kind.name][figure].append(got[figure])

        # Hundreds of instances of both at once would disturb each other's measurement.
        together = (self.quick or case.long) and case.settings.instances <= 50
        groups = [kinds] if together else [[kind] for kind in kinds]
        while any(own["to do"] and own["failed"] < FAILED_MAX for own in state.values()):
            for group in groups:
                busy = [kind for kind in group
                        if state[kind]["to do"] and state[kind]["failed"] < FAILED_MAX]
                for kind in busy:
                    self.worker(kind, case.settings).ask(case, self.quick)
                for kind in busy:
                    take(kind)
        return result


def arguments():
    parser = argparse.ArgumentParser(description="compares tandem with keepalived")
    parser.add_argument("--build", default=os.path.join(lab.TOP, "build"))
    parser.add_argument("--quick", action="store_true", help="few rounds, both at the same time")
    parser.add_argument("--write", action="store_true", help="put the results into the document")
    parser.add_argument("--from", dest="kept", metavar="FILE", help="results of an earlier run")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--loud", action="store_true", help="show the logs of what went wrong")
    parser.add_argument("names", nargs="*")
    return parser.parse_args()


def main():
    options = arguments()
    wanted = [case for case in cases.CASES
              if (any(word in case.name for word in options.names) if options.names
                  else case.quick or not options.quick)]
    if options.list:
        print("\n".join(case.name for case in wanted))
        return 0
    if not wanted:
        print(f"no case has {' or '.join(options.names)} in its name; --list names them",
              file=sys.stderr)
        return 2
    if options.write and options.names:
        print("--write takes a run of everything: the document would lose the rest",
              file=sys.stderr)
        return 2
    if options.kept:
        with open(options.kept, encoding="utf-8") as file:
            results = json.load(file)
    else:
        missing = [tool for tool in ("keepalived", "nginx", "nft", "ip", "nsenter")
                   if not shutil.which(tool)]
        if missing:
            print(f"missing: {' '.join(missing)}; `make deps` installs them", file=sys.stderr)
            return 2
        contestants.QuietLab.loud = options.loud
        # Logs and configurations are not to wait for a disk.
        if os.access("/dev/shm", os.W_OK):
            lab.SPACES_DIR = "/dev/shm"
        for signo in SIGNALS:
            signal.signal(signo, interrupted)
        bench = Bench(options.build, options.quick,
                      os.path.join(os.path.abspath(options.build),
                                   f"bench-agent{'-some' if options.names else ''}.json"))
        try:
            bench.run(wanted)
        except lab.Interrupted as reason:
            bench.end()
            kept = f"; what was measured is in {bench.kept}" if bench.results["cases"] else ""
            lab.say(f"interrupted by {reason}{kept}")
            return 130
        except BaseException:
            bench.end()
            raise
        results = bench.results
        lab.say("")
    text = report.text(results)
    lab.say(text)
    if options.write:
        report.write(text)
        lab.say(f"written to {report.DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
