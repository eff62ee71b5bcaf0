#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mutates the cores mechanically, and says how many mistakes the tests notice.

usage: tests/mutants/mutate.py [--seeds N] [--jobs N] [--sample N] [--list] [FILE|ID...]

Each mutant is one small mistake: a comparison or a boundary, a negation, a dropped statement, a
wrong constant, a swapped arm. It is compiled (the core alone, without sanitizers), then the unit
tests run, then the simulator for N schedules; the first that fails has killed it. A mutant whose
object code is that of the unchanged core, or of another mutant, says nothing and is not counted.

What survives must be explained in survivors.txt, or is a test that is missing: the exit status is
0 only if nothing unexplained survived. An ID names a mutant by its file, its function and what it
changes, not by its line, so that it lasts until that very line is written anew.

--sample N takes N mutants, always the same ones, and none that is explained: for `make check`.
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

# A family is linked into one library: its cores, what they need, and the programs that judge it.
AGENT = {
    "cores": {
        "agent/health_fsm.c": "test_health_fsm",
        "agent/group_fsm.c": "test_group_fsm",
        "agent/vrrp_leaving.c": "test_vrrp_leaving",
        "agent/vrrp_wire.c": "test_vrrp_wire",
        "agent/vrrp_master.c": "test_vrrp_master",
        "agent/vrrp_backup.c": "test_vrrp_backup",
        "agent/vrrp_fsm.c": "test_vrrp_fsm",
    },
    "beside": ["agent/vrrp_fsm_names.c", "shared/ip.c", "shared/wire.c"],
    "units": ["test_vrrp_fsm", "test_vrrp_backup", "test_vrrp_master", "test_vrrp_leaving",
              "test_vrrp_edges", "test_vrrp_edges_held", "test_vrrp_arms", "test_vrrp_handover",
              "test_vrrp_wire", "test_vrrp_wire_edges", "test_health_fsm", "test_group_fsm",
              "test_group_edges"],
    "sims": ["sim_vrrp", "sim_group"],
    "libs": ["-lcmocka"],
}
PROBE = {
    "cores": {"agent/probe_judge.c": "test_probe_judge"},
    "beside": [],
    "units": ["test_probe_judge"],
    "sims": [],
    "libs": ["-lcmocka"],
}
FAMILIES = {"agent": AGENT, "probe": PROBE}
FLAGS = ["-std=gnu11", "-O1", "-w", "-fPIC", "-fno-semantic-interposition", "-I.", "-D_GNU_SOURCE"]

# ---- reading C: as much as is needed to change it ----

TOKEN = re.compile(r"""
    (?P<skip>\s+|/\*.*?\*/|//[^\n]*)
  | (?P<directive>^\#(?:[^\n\\]|\\.|\\\n)*)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<number>0[xX][0-9a-fA-F]+[uUlL]*|[0-9]+[uUlL]*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<op><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)
""", re.X | re.S | re.M)

COMPARISONS = {"<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"],
               "==": ["!="], "!=": ["=="]}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "<<": ">>", ">>": "<<", "&": "|",
              "|": "&", "^": "&", "++": "--", "--": "++", "+=": "-=", "-=": "+=", "|=": "&=",
              "&=": "|="}
LOGICAL = {"&&": "||", "||": "&&"}
CONTROL = {"if", "for", "while", "switch", "do", "else", "case", "default", "return", "goto",
           "break", "continue"}
TYPES = {"const", "static", "struct", "enum", "union", "int", "unsigned", "bool", "char", "size_t",
         "void", "extern"}


class Token:
    def __init__(self, kind, text, start):
        self.kind, self.text, self.start, self.end = kind, text, start, start + len(text)


def tokens_of(text):
    return [Token(m.lastgroup, m.group(), m.start()) for m in TOKEN.finditer(text)
            if m.lastgroup != "skip"]


def enums_and_macros():
    """Each constant of an enum with its neighbour, and the names of numeric macros."""
    neighbour, macros = {}, set()
    for folder in ("agent", "syncd", "shared"):
        for name in sorted(os.listdir(os.path.join(TOP, folder))):
            if not name.endswith((".h", ".c")):
                continue
            with open(os.path.join(TOP, folder, name), encoding="utf-8") as f:
                text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
            macros |= set(re.findall(r"^#define ([A-Z][A-Z0-9_]+) [-(0-9UA-Z]", text, re.M))
            for body in re.findall(r"\benum\s+\w*\s*{([^}]*)}", text):
                names = re.findall(r"\b([A-Z][A-Z0-9_]+)\b(?=\s*(?:=[^,]*)?(?:,|$))", body.strip())
                for i, constant in enumerate(names):
                    neighbour[constant] = names[i + 1] if i + 1 < len(names) else names[i - 1]
    return neighbour, macros


def closing(tokens, at):
    """The index of the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(tokens)):
        depth += tokens[i].text in "([{" and tokens[i].kind == "op"
        depth -= tokens[i].text in ")]}" and tokens[i].kind == "op"
        if depth == 0:
            return i
    raise ValueError("a bracket that is not closed")


def functions(tokens):
    """Name, index of the opening brace and of the closing one, of each function."""
    i, name = 0, None
    while i < len(tokens):
        t = tokens[i]
        if t.kind == "name" and i + 1 < len(tokens) and tokens[i + 1].text == "(":
            name, i = t.text, closing(tokens, i + 1)
        elif t.text == "{" and t.kind == "op":
            end = closing(tokens, i)
            if name and tokens[i - 1].text == ")":
                yield name, i, end
            i = end
        elif t.text in ";=":
            name = None
        i += 1


def is_type(tokens, i):
    t = tokens[i]
    return t.kind == "name" and (t.text in TYPES or t.text.endswith("_t") or
                                 (tokens[i + 1].kind == "name" and t.text not in CONTROL))


def statements(tokens, begin, end):
    """The index of the first token of each statement between two braces."""
    i = begin + 1
    starts = True
    while i < end:
        t = tokens[i]
        if starts and t.text not in "{};":
            yield i
        starts = False
        if t.text in ("if", "for", "while", "switch") and t.kind == "name":
            i = closing(tokens, i + 1)
            starts = True
        elif t.text in ("else", "do") or (t.kind == "op" and t.text in "{};"):
            starts = True
        elif t.text in ("case", "default") and t.kind == "name":
            while tokens[i].text != ":":
                i += 1
            starts = True
        i += 1


class Mutant:
    def __init__(self, path, function, kind, line, was, now, text):
        self.path, self.function, self.kind, self.line = path, function, kind, line
        self.was, self.now, self.text = was, now, text
        self.id = self.verdict = self.killer = None


class Mutator:
    def __init__(self, path, neighbour, macros):
        self.path, self.neighbour, self.macros = path, neighbour, macros
        with open(os.path.join(TOP, path), encoding="utf-8") as f:
            self.text = f.read()
        self.tokens = [t for t in tokens_of(self.text) if t.kind != "directive"]
        self.mutants, self.ids = [], {}

    def add(self, function, kind, *edits):
        """edits: (start, end, replacement), in the order of the text."""
        text, shift = self.text, 0
        for start, end, replacement in edits:
            text = text[:start + shift] + replacement + text[end + shift:]
            shift += len(replacement) - (end - start)
        line = self.text.count("\n", 0, edits[0][0]) + 1
        was = " ".join(self.text.splitlines()[line - 1].split())
        now = " ".join(text.splitlines()[line - 1].split())
        if len(edits) > 1:
            now += " (and the other way round)"
        mutant = Mutant(self.path, function, kind, line, was, now, text)
        digest = hashlib.sha256(f"{kind}\n{was}\n{now}".encode()).hexdigest()[:6]
        name = f"{os.path.basename(self.path)[:-2]}:{function}:{digest}"
        # The same change of an equal line in the same function.
        self.ids[name] = self.ids.get(name, 0) + 1
        mutant.id = name if self.ids[name] == 1 else f"{name}.{self.ids[name]}"
        self.mutants.append(mutant)

    def excluded(self, begin, end):
        """Indices within asserts, sizes, tables of text, and the bounds of arrays."""
        out = set()
        for i in range(begin, end):
            t = self.tokens[i]
            if t.kind == "name" and t.text in ("assert", "sizeof", "offsetof") and \
                    self.tokens[i + 1].text == "(":
                out |= set(range(i, closing(self.tokens, i + 1) + 1))
        for i in statements(self.tokens, begin, end):
            if not is_type(self.tokens, i):
                continue
            words = []
            while self.tokens[i].text not in "=;":
                words.append(self.tokens[i].text)
                out.add(i)
                i += 1
            if "static" in words and "char" in words:
                while self.tokens[i].text != ";":
                    out.add(i)
                    i += 1
        return out

    def run(self):
        for function, begin, end in functions(self.tokens):
            excluded = self.excluded(begin, end)
            for i in range(begin + 1, end):
                if i not in excluded:
                    self.mutate_token(function, i)
            self.drop_statements(function, begin, end, excluded)
            self.swap_cases(function, begin, end)
        return self.mutants

    def mutate_token(self, function, i):
        t, before, after = self.tokens[i], self.tokens[i - 1], self.tokens[i + 1]
        binary = before.kind in ("name", "number") or before.text in (")", "]")

        def replace(kind, by):
            self.add(function, kind, (t.start, t.end, by))

        if t.kind == "op":
            if binary:
                for by in COMPARISONS.get(t.text, []):
                    replace("comparison", by)
                if t.text in LOGICAL:
                    replace("negation", LOGICAL[t.text])
                if t.text in ARITHMETIC:
                    replace("arithmetic", ARITHMETIC[t.text])
                if t.text == "?":
                    replace("swapped arm", "== 0 ?")
            elif t.text in ("++", "--"):
                replace("arithmetic", ARITHMETIC[t.text])
            if t.text == "!" and not binary:
                replace("negation", "")
        elif t.kind == "number":
            digits = t.text.rstrip("uUlL")
            suffix, value = t.text[len(digits):], int(digits, 0)
            replace("wrong constant", f"{value + 1}{suffix}")
            if value > 0:
                replace("wrong constant", f"{value - 1}{suffix}")
        elif t.kind == "name":
            if t.text in ("if", "while") and after.text == "(":
                close = self.tokens[closing(self.tokens, i + 1)]
                self.add(function, "negation", (after.start, after.end, "(!("),
                         (close.start, close.end, "))"))
                self.mutants[-1].now = self.mutants[-1].now.replace(" (and the other way round)", "")
            elif t.text in ("true", "false"):
                replace("wrong constant", "false" if t.text == "true" else "true")
            elif before.text == "case" or after.text == "(":
                pass
            elif t.text in self.neighbour:
                replace("wrong constant", self.neighbour[t.text])
            elif t.text.endswith("_NEVER_US"):
                replace("wrong constant", "0")
            elif t.text in self.macros:
                replace("wrong constant", f"({t.text} * 2 + 1)")

    def drop_statements(self, function, begin, end, excluded):
        for i in statements(self.tokens, begin, end):
            t = self.tokens[i]
            if i in excluded or is_type(self.tokens, i):
                continue
            if t.text in CONTROL and not (t.text in ("break", "continue", "return") and
                                          self.tokens[i + 1].text == ";"):
                continue
            last = i
            while self.tokens[last].text != ";":
                last = closing(self.tokens, last) + 1 if self.tokens[last].text in "([{" else last + 1
            lines = self.text[t.start:self.tokens[last].start].count("\n")
            self.add(function, "dropped statement", (t.start, self.tokens[last].start, "\n" * lines))

    def swap_cases(self, function, begin, end):
        labels = []
        for i in range(begin, end):
            if self.tokens[i].kind == "name" and self.tokens[i].text == "case":
                last = i
                while self.tokens[last].text != ":":
                    last += 1
                labels.append((i, last))
        for (a, a_end), (b, b_end) in zip(labels, labels[1:]):
            if b == a_end + 1:
                continue  # one arm
            first, second = self.tokens[a].start, self.tokens[b].start
            first_end, second_end = self.tokens[a_end].end, self.tokens[b_end].end
            self.add(function, "swapped arm",
                     (first, first_end, self.text[second:second_end]),
                     (second, second_end, self.text[first:first_end]))


# ---- building and judging ----

running = set()  # the tests, each of which leads a process group of its own
ending = threading.Event()


class Ended(Exception):
    """A signal asked for the end."""


def end_group(program):
    try:
        os.killpg(program.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def ended(signo, _frame):
    ending.set()
    for program in list(running):
        end_group(program)
    raise Ended(signal.Signals(signo).name)


def run_limited(argv, folder, limit_s):
    """Status and standard error. The limit is of processor time, so that a busy machine kills no
    mutant, and the kernel keeps it even if this program does not live to; what sleeps instead of
    looping meets one of ten times as long."""
    with subprocess.Popen(["prlimit", f"--cpu={limit_s}", "--core=0", "--", *argv], cwd=folder,
                          env={**os.environ, "LD_LIBRARY_PATH": folder}, start_new_session=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as program:
        running.add(program)
        try:
            if ending.is_set():
                end_group(program)
            _, said = program.communicate(timeout=10 * limit_s)
        except subprocess.TimeoutExpired:
            end_group(program)
            _, said = program.communicate()
        finally:
            running.discard(program)
    if ending.is_set():
        raise Ended
    return program.returncode, said


class Family:
    def __init__(self, spec, folder):
        self.spec, self.folder = spec, folder
        self.objects, self.known, self.lock = {}, {}, threading.Lock()

    def build(self):
        for source in [*self.spec["cores"], *self.spec["beside"]]:
            self.objects[source] = os.path.join(self.folder, os.path.basename(source)[:-2] + ".o")
            subprocess.run(["cc", *FLAGS, "-c", "-o", self.objects[source], source], cwd=TOP,
                           check=True)
            if source in self.spec["cores"]:
                self.known[self.digest(self.objects[source])] = "the unchanged core"
        self.link(self.folder, self.objects)
        for folder, names in (("unit", self.spec["units"]), ("sim", self.spec["sims"])):
            for name in names:
                subprocess.run(["cc", *FLAGS, "-o", os.path.join(self.folder, name),
                                f"tests/{folder}/{name}.c", "-L", self.folder, "-lcore",
                                *self.spec["libs"]], cwd=TOP, check=True)

    @staticmethod
    def digest(path):
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).digest()

    @staticmethod
    def link(folder, objects):
        subprocess.run(["cc", "-shared", "-o", os.path.join(folder, "libcore.so"),
                        *objects.values()], check=True)

    def fails(self, folder, name, limit_s, *arguments):
        status, said = run_limited([os.path.join(self.folder, name), *arguments], folder, limit_s)
        if status == 0:
            return None
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return f"{name}: does not end"
        broken = re.search(rb"invariant (\S+) broken .* of seed (\d+)", said)
        if broken:
            return f"{name}: {broken[1].decode()} at seed {broken[2].decode()}"
        return name

    def judge(self, folder, path, seeds):
        """Who notices; None: nobody."""
        own = self.spec["cores"].get(path)
        for unit in sorted(self.spec["units"], key=lambda name: name != own):
            found = self.fails(folder, unit, 1)
            if found:
                return found
        for sim in self.spec["sims"] if seeds else []:
            found = self.fails(folder, sim, 20 + seeds // 100, "--seeds", str(seeds))
            if found:
                return found
        return None

    def run(self, mutant, seeds):
        folder = tempfile.mkdtemp(dir=self.folder)
        try:
            source, target = os.path.join(folder, "core.c"), os.path.join(folder, "core.o")
            # Under the original's name, which asserts carry in their text.
            with open(source, "w", encoding="utf-8") as f:
                f.write(f'#line 1 "{mutant.path}"\n{mutant.text}')
            done = subprocess.run(["cc", *FLAGS, "-c", "-o", target, source], cwd=TOP,
                                  capture_output=True, check=False)
            if done.returncode != 0:
                mutant.verdict = "does not compile"
                return
            digest = self.code(target)
            with self.lock:
                if digest in self.known:
                    mutant.verdict = "same code"
                    mutant.killer = self.known[digest]
                    return
                self.known[digest] = mutant.id
            self.link(folder, {**self.objects, mutant.path: target})
            mutant.killer = self.judge(folder, mutant.path, seeds)
            mutant.verdict = "killed" if mutant.killer else "survived"
        finally:
            shutil.rmtree(folder)

    def code(self, path):
        """What the linker sees, less the name of the source file."""
        subprocess.run(["strip", "--strip-unneeded", "-R", ".comment", path], check=True)
        return self.digest(path)

    def note_unchanged(self):
        """The cores as they come out of the same road as a mutant."""
        for source in self.spec["cores"]:
            with open(os.path.join(TOP, source), encoding="utf-8") as f:
                text = f.read()
            folder = tempfile.mkdtemp(dir=self.folder)
            with open(os.path.join(folder, "core.c"), "w", encoding="utf-8") as f:
                f.write(f'#line 1 "{source}"\n{text}')
            target = os.path.join(folder, "core.o")
            subprocess.run(["cc", *FLAGS, "-c", "-o", target, f.name], cwd=TOP, check=True)
            self.known[self.code(target)] = "the unchanged core"
            shutil.rmtree(folder)


def explanations():
    """ID to reason. A line that begins with a blank continues the one above."""
    found, last = {}, None
    path = os.path.join(HERE, "survivors.txt")
    if not os.path.exists(path):
        return found
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace():
                found[last] += " " + line.strip()
            else:
                last, _, reason = line.strip().partition(" ")
                found[last] = reason.strip()
    return found


def tell(m, known, what):
    if m.verdict == "survived" and m.id not in known:
        print(f"  ALIVE  {m.id} {m.kind}: {m.path}:{m.line}\n\t- {m.was}\n\t+ {m.now}", flush=True)
    elif m.id in what:
        print(f"  {m.verdict} {m.id}: {m.killer}", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("what", nargs="*")
    args = parser.parse_args()

    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, ended)
    begun = time.monotonic()
    neighbour, macros = enums_and_macros()
    known = explanations()
    mutants, family_of = [], {}
    for name, family in FAMILIES.items():
        for path in family["cores"]:
            family_of[path] = name
            mutants += Mutator(path, neighbour, macros).run()
    ids = {mutant.id for mutant in mutants}
    stale = sorted(i for i in known if i not in ids)
    if args.what:
        wanted = set(args.what)
        unknown = wanted - ids - set(family_of)
        if unknown:
            print(f"no such file or mutant: {' '.join(sorted(unknown))}", file=sys.stderr)
            return 2
        mutants = [m for m in mutants if m.id in wanted or m.path in wanted]
    if args.sample:
        mutants = sorted((m for m in mutants if m.id not in known),
                         key=lambda m: hashlib.sha256(m.id.encode()).digest())[:args.sample]
    if args.list:
        for m in mutants:
            print(f"{m.id} {m.kind}: {m.path}:{m.line}\n\t- {m.was}\n\t+ {m.now}")
        return 0

    with tempfile.TemporaryDirectory() as folder:
        families = {}
        for name in sorted({family_of[m.path] for m in mutants}):
            os.mkdir(os.path.join(folder, name))
            families[name] = Family(FAMILIES[name], os.path.join(folder, name))
            families[name].build()
            families[name].note_unchanged()
            found = families[name].judge(families[name].folder, None, args.seeds)
            if found:
                print(f"the unchanged tree fails already: {found}", file=sys.stderr)
                return 1
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            jobs = {pool.submit(families[family_of[m.path]].run, m, args.seeds): m for m in mutants}
            try:
                for job in concurrent.futures.as_completed(jobs):
                    job.result()
                    tell(jobs[job], known, args.what)
            finally:  # of a signal: what has not begun does not begin any more
                pool.shutdown(wait=False, cancel_futures=True)

    failed = 0
    for path in dict.fromkeys(m.path for m in mutants):
        of = [m for m in mutants if m.path == path]
        killed = sum(m.verdict == "killed" for m in of)
        by_sim = sum(m.verdict == "killed" and "sim_" in m.killer for m in of)
        alive = [m for m in of if m.verdict == "survived"]
        explained = sum(m.id in known for m in alive)
        failed += len(alive) - explained
        print(f"  {path}: {killed + len(alive)} mutants, {killed} killed ({by_sim} by the simulator "
              f"alone), {explained} explained, {len(alive) - explained} alive")
    counted = [m for m in mutants if m.verdict in ("killed", "survived")]
    killed = sum(m.verdict == "killed" for m in counted)
    explained = sum(m.verdict == "survived" and m.id in known for m in counted)
    silly = [m.id for m in counted if m.verdict == "killed" and m.id in known]
    print(f"figure: mutants: {killed} of {len(counted)} killed, "
          f"{100 * killed / max(1, len(counted)):.1f} %; without those that are explained "
          f"{100 * killed / max(1, len(counted) - explained):.1f} %; "
          f"{len(mutants) - len(counted)} did not compile or change no code; "
          f"{time.monotonic() - begun:.0f} s")
    for i in silly:
        print(f"explained, and yet killed: {i}: take it out of survivors.txt")
    if not args.what and not args.sample:
        for i in stale:
            print(f"explained, and not there any more: {i}: take it out of survivors.txt")
        failed += len(silly) + len(stale)
    return 1 if failed or not counted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Ended as signal_name:
        print(f"ended by {signal_name}", file=sys.stderr)
        sys.exit(130)
