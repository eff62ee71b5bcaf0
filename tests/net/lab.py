# SPDX-License-Identifier: Apache-2.0
"""The laboratory: whole hosts in Linux namespaces, a switch between them, and a client.

    with Lab(nodes=("web1", "web2")) as lab:
        lab["web1"].start_nginx()
        ...

Each host is a process tree of its own (network, mount, pid and host name namespaces) whose process
1 is tests/net/lab_init. It has its own /etc, /run and /var, so that the same tandem.conf and the
same paths work on every node; everything else is the machine's. Nothing has a name on the machine:
when process 1 of a host dies, the kernel removes its processes, interfaces and mounts, and process
1 dies with the Python process that made it, however that ends. What remains is a folder with logs
below /var/tmp, which the end of the run removes, or the next run if this one was killed.

    web1 eth0 ---- s-web1 \
    web2 eth0 ---- s-web2  br0 (the switch, a host of its own)
    client eth0 -- s-client /

To look around in a running laboratory: nsenter -t PID -a (PID of a tdm-init).
"""
import atexit
import ctypes
import glob
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOME_PREFIX = "tdm-"
SPACES_DIR = "/var/tmp"
NETWORK = "198.51.100."
SECONDS = 1_000_000  # in microseconds

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000

# Programs in a host find their own folder of programs first, then the machine's.
HOST_PATH = "/var/opt/tandem:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a host's own /etc consists of: never the machine's secrets.
ETC = ("alternatives", "bash.bashrc", "group", "host.conf", "hosts", "ld.so.cache", "ld.so.conf",
       "ld.so.conf.d", "localtime", "login.defs", "mime.types", "nginx", "nsswitch.conf", "passwd",
       "profile", "protocols", "services", "ssl/openssl.cnf")


TESTS = []


def test(alone=False, san=True):
    """Makes a function a test. Its name is a sentence. alone: it measures, and nothing else may
    run beside it. san=False: its figures mean nothing in a build with sanitizers."""
    def register(function):
        TESTS.append((function, alone, san))
        return function
    return register


class Failure(Exception):
    """A test saw something else than it should have."""


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP: leave, cleaning up on the way."""


def now_us():
    """The clock that probe uses as well."""
    return time.monotonic_ns() // 1000


def say(text):
    print(text, flush=True)


def figure(text):
    """A measured figure, shown with the test's result."""
    say("figure: " + text)


def check(condition, text):
    if not condition:
        raise Failure(text)


# What takes a moment elsewhere may take much longer on a machine that others use as well. No wait
# says by its length how fast something is: a test that wants to know measures it.
PATIENCE_SECONDS = 60.0


def wait_for(what, condition, timeout=PATIENCE_SECONDS, every=0.02, also=None):
    """Waits until condition() is true and returns what it returned; says what did not happen, and
    what also() says of it. A condition that looks for what nobody has said yet (no answer, no such
    entry) is not true yet."""
    deadline = time.monotonic() + timeout
    while True:
        result, missing = None, ""
        try:
            result = condition()
        except (LookupError, TypeError, AttributeError, StopIteration) as error:
            missing = f"; {error!r}"
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"not within {timeout:g} s: {what}{missing}" +
                          (f"; {also()}" if also else ""))
        time.sleep(every)


def _die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setpgid(0, 0)  # a Ctrl-C is for us alone: we take the hosts down in order


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):  # a file of /proc may go while it is read
        return ""


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def save(path, text):
    """Saves as most editors do: a new file, renamed over the old one. Returns the moment of the
    rename in microseconds. The new one has a name that mirrors exclude: whoever is put aside
    between the two must not have published a file of his own."""
    beside = f"{path}.{os.getpid()}~"
    mode = os.stat(path).st_mode & 0o7777 if os.path.exists(path) else 0o644
    with open(beside, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    os.chmod(beside, mode)
    at_us = now_us()
    os.rename(beside, path)
    return at_us


def processes():
    """(pid, parent, command) of every process that is not a zombie."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    text = file.read()
            except (FileNotFoundError, ProcessLookupError):
                continue
            command = text[text.index("(") + 1:text.rindex(")")]
            state, parent = text[text.rindex(")") + 2:].split()[:2]
            if state not in "ZX":
                found.append((int(entry), int(parent), command))
    return found


def kill(pid, signo):
    if pid <= 0:  # a program that has never run; to kill(2) it would mean our own group
        return
    try:
        os.kill(pid, signo)
    except ProcessLookupError:
        pass


class Running:
    """A program that was started in a host. pid is as the machine sees it."""

    def __init__(self, host, name, process, pid, log):
        self.host, self.name, self.process, self.pid, self.log = host, name, process, pid, log

    def alive(self):
        return self.process.poll() is None

    def signal(self, signo):
        kill(self.pid, signo)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self, timeout=PATIENCE_SECONDS):
        """An orderly end; a program that does not come to one is a failure. Returns its status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=PATIENCE_SECONDS):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # nsenter stops when its child does, or some time later: more than one may be needed.
            if self.alive():
                kill(self.process.pid, signal.SIGCONT)
            try:
                return self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                pass
        raise Failure(f"{self.name} on {self.host.name} does not end")

    def text(self):
        """What it has written so far."""
        return read(self.log)

    def parts(self, privileged):
        """Its descendants that run as root, or those that do not: the pids, oldest first."""
        found = []
        for pid in self.family()[1:]:
            user = re.search(r"^Uid:\s+(\d+)", read(f"/proc/{pid}/status"), re.MULTILINE)
            if user and (user.group(1) == "0") == privileged:
                found.append(pid)
        return found

    def kill_all(self):
        """kill -9 of it and of all that it started, at once."""
        for pid in self.freeze():  # so that none sees the other die
            kill(pid, signal.SIGKILL)
        self.wait()

    def freeze(self):
        """Stops it and all that it started, as a paused virtual machine would; returns the pids."""
        family = self.family()
        for pid in family:
            kill(pid, signal.SIGSTOP)
        return family

    def thaw(self):
        for pid in reversed(self.family()):
            kill(pid, signal.SIGCONT)
        kill(self.process.pid, signal.SIGCONT)

    def family(self):
        """Its own pid and those of all its descendants, oldest first."""
        children = {}
        for pid, parent, _ in processes():
            children.setdefault(parent, []).append(pid)
        family = [self.pid]
        for pid in family:
            family += sorted(children.get(pid, []))
        return family


class Host:
    """One set of namespaces. Off when made: power_on() starts it."""

    def __init__(self, lab, name, index):
        self.lab, self.name, self.index = lab, name, index
        self.address = NETWORK + str(index)
        self.address6 = f"2001:db8::{index:x}"  # a test that wants it calls use_ipv6()
        self.link_local = f"fe80::5eff:fe00:53{index:02x}"  # of its hardware address
        self.tools = lab.tools  # as the host sees it
        self.home = os.path.join(lab.home, name)
        self.process = None
        self.pid = 0
        self.started = []
        os.makedirs(self.home)

    def mounts(self):
        """Shell commands that make the host's own view of the file system."""
        return ""

    def power_on(self):
        script = f"set -e\nhostname {self.name}\nmount -t sysfs sysfs /sys\n{self.mounts()}"
        self.process = subprocess.Popen(
            [os.path.join(self.lab.tools, "lab_init"), script], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, cwd="/", preexec_fn=_die_with_parent,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        if self.process.stdout.readline() != b"ready\n":
            raise Failure(f"the host {self.name} cannot be made here: what stands above this says "
                          "why; root is needed, and a kernel that lets it make namespaces (in a "
                          "container: --privileged)")
        self.pid = next(pid for pid, parent, _ in processes() if parent == self.process.pid)
        self.ip("link set lo up")

    def power_off(self):
        """At once: no process of it does anything more."""
        if self.process is None:
            return
        # Process 1 dies with its parent, which is all there is if the host could not be made.
        kill(self.pid, signal.SIGKILL)
        self.process.kill()
        for running in self.started:
            running.wait()
        self.process.wait(PATIENCE_SECONDS)
        self.process.stdout.close()
        self.started.clear()
        self.process, self.pid = None, 0

    def argv(self, *command):
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--",
                "env", "-i", "PATH=" + HOST_PATH, "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb",
                "ASAN_OPTIONS=detect_leaks=0:abort_on_error=1",
                "UBSAN_OPTIONS=print_stacktrace=1", *command]

    def run(self, *command, timeout=2 * PATIENCE_SECONDS, stdin=None, check_status=True):
        """Runs a command to its end in this host; returns what it wrote."""
        done = subprocess.run(self.argv(*command), input=stdin, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if check_status and done.returncode != 0:
            raise Failure(f"{self.name}: {' '.join(command)}: exit {done.returncode}: "
                          f"{done.stdout}{done.stderr}")
        return done.stdout if check_status else done

    def start(self, name, *command, environment=()):
        """Starts a program; its output goes to a log that is shown if the test fails."""
        log = os.path.join(self.lab.home, f"{self.name}-{name}.log")
        argv = self.argv("env", *environment, *command) if environment else self.argv(*command)
        with open(log, "ab") as output:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)
        # nsenter forks to be in the new pid namespace: its child is the program.
        pid = wait_for(f"{name} starts on {self.name}", lambda: process.poll() is not None or next(
            (p for p, parent, _ in processes() if parent == process.pid), 0), every=0.001)
        running = Running(self, name, process, 0 if pid is True else pid, log)
        self.started.append(running)
        return running

    def ip(self, *lines):
        """ip(8) commands, several in one go. In this host's network but among the machine's
        processes: so that another host can be named by the pid that the machine knows it by."""
        done = subprocess.run(["nsenter", "-t", str(self.pid), "-n", "--", "ip", "-batch", "-"],
                              input="\n".join(lines) + "\n", capture_output=True, text=True,
                              check=False)
        check(done.returncode == 0, f"{self.name}: ip: {done.stderr}")

    def use_ipv6(self):
        """Gives eth0 its global address, and waits until its link-local one can be used."""
        self.ip(f"address add {self.address6}/64 dev eth0 nodad")
        wait_for(f"{self.name} is through with duplicate address detection",
                 lambda: self.link_local in self.addresses6())

    def addresses(self):
        """The IPv4 addresses that this host holds, read without a process being started."""
        text = read(f"/proc/{self.pid}/net/fib_trie")
        return set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text))

    def addresses6(self):
        """The IPv6 addresses of this host that can be used (not those still being probed for)."""
        found = set()
        for line in read(f"/proc/{self.pid}/net/if_inet6").splitlines():
            address, _, _, _, flags, _ = line.split()
            if not int(flags, 16) & 0x40:  # tentative
                found.add(str(ipaddress.IPv6Address(bytes.fromhex(address))))
        return found

    def has(self, address):
        return address in (self.addresses6() if ":" in address else self.addresses())

    def socket(self, *kind):
        """A socket in this host's network, for use from here."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            if libc.setns(other, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.socket(*kind)
            finally:
                if libc.setns(own, CLONE_NEWNET) != 0:
                    os._exit(99)  # never go on in somebody else's network
        finally:
            os.close(own)
            os.close(other)

    def get(self, address, host="localhost", path="/", port=80, timeout=10.0):
        """(status, head, body) of an HTTP answer, or (0, "", "") if there was none."""
        try:
            with self.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout)
                connection.connect((address, port))
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                answer = b""
                while part := connection.recv(65536):
                    answer += part
        except OSError:
            return 0, "", ""
        head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
        return int(head.split()[1]) if head.startswith("HTTP/") else 0, head, body

    def processes(self):
        """(pid, parent, command) of this host's processes, without process 1."""
        found = []
        try:
            own = os.readlink(f"/proc/{self.pid}/ns/pid")
        except OSError:
            return found
        for pid, parent, command in processes():
            try:
                if pid != self.pid and os.readlink(f"/proc/{pid}/ns/pid") == own:
                    found.append((pid, parent, command))
            except OSError:
                pass
        return found

    def outer_pid(self, inner):
        """The machine's number of the process that the host calls inner; 0 if there is none."""
        for pid, _, _ in self.processes():
            numbers = re.search(r"^NSpid:\s*(.*)$", read(f"/proc/{pid}/status"), re.MULTILINE)
            if numbers and numbers.group(1).split()[-1] == str(inner):
                return pid
        return 0


class Probe:
    """A running tests/net/probe; stop() ends it and returns its figures."""

    def __init__(self, host, *arguments, ready=True):
        host.lab.probes += 1
        name = f"probe-{arguments[0]}-{host.lab.probes}"
        self.running = host.start(name, os.path.join(host.tools, "probe"), *arguments)
        if ready:
            wait_for(f"probe {' '.join(arguments)} on {host.name} sees an answer",
                     lambda: "running" in self.running.text() or not self.running.alive())

    def stop(self):
        self.running.stop()
        lines = self.running.text().splitlines()
        check(lines and lines[-1].startswith("{"), f"the probe failed: {' '.join(lines)}")
        return json.loads(lines[-1])

    def events(self):
        """Of `watch`: [(microseconds, "gained" or "lost")]."""
        return [tuple(json.loads(line)) for line in self.running.text().splitlines()
                if line.startswith("[") and line.endswith("]")]


class Capture:
    """What goes over the wire, seen at the switch by tshark."""

    def __init__(self, lab, capture_filter="ip proto 112 or ip6 proto 112 or "
                 "arp or icmp6"):
        self.file = os.path.join(lab.home, f"wire-{now_us()}.pcapng")
        self.lab = lab
        self.running = lab.switch.start("tshark", "tshark", "-q", "-i", "br0", "-w", self.file,
                                        "-f", capture_filter)
        # tshark says so before dumpcap listens; the file's header comes after.
        wait_for("tshark captures", lambda: os.path.exists(self.file) and
                 os.path.getsize(self.file) > 0)

    def stop(self):
        # dumpcap hands over in blocks: what was sent before now must be in the file.
        self.lab.run_client_mark()
        wait_for("the capture holds all that was sent", lambda: self.count(
            f"arp.dst.proto_ipv4 == {NETWORK}253") > 0, every=0.2)
        self.running.signal(signal.SIGINT)
        self.running.wait()

    def packets(self, display_filter, *fields):
        """The fields of each packet that matches."""
        argv = ["tshark", "-n", "-r", self.file, "-Y", display_filter, "-T", "fields"]
        for field in fields or ("frame.number",):
            argv += ["-e", field]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        # The end of a file that is still written to may be cut off (status 2, said on stderr).
        check(done.returncode == 0 or "cut short" in done.stderr, f"tshark: {done.stderr}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def count(self, display_filter):
        return len(self.packets(display_filter))

    def malformed(self):
        """VRRP packets that Wireshark finds wrong, as text."""
        wrong = self.packets('vrrp and (_ws.malformed or vrrp.checksum.status == "Bad" or '
                             '_ws.expert.severity == "Error")',
                             "frame.number", "ip.src", "_ws.expert.message")
        return [" ".join(packet) for packet in wrong]


class Node(Host):
    """A host with its own /etc, /run and /var; it may run nginx, keepalived and tandem."""

    def __init__(self, lab, name, index):
        super().__init__(lab, name, index)
        self.tools = "/var/opt/tandem/tests/net"
        etc = os.path.join(self.home, "etc")
        os.makedirs(os.path.join(etc, "ssl"))
        for item in ETC:
            source, target = os.path.join("/etc", item), os.path.join(etc, item)
            if os.path.isdir(source):
                shutil.copytree(source, target, symlinks=True)
            elif os.path.lexists(source):
                shutil.copy2(source, target, follow_symlinks=False)
        for folder, mode in (("etc/keepalived", 0o755), ("etc/tandem", 0o755),
                             ("var/lib/nginx", 0o755), ("var/log/nginx", 0o755),
                             ("var/tmp", 0o1777), ("var/opt/tandem", 0o755),
                             ("var/www/html", 0o755)):
            os.makedirs(self.path(folder), exist_ok=True)
            os.chmod(self.path(folder), mode)
        os.symlink("/run", self.path("/var/run"))
        write(self.path("/var/www/html/index.html"), f"this is {name}\n")
        # The host that answers says so; $hostname is the same text in every node's copy.
        write(self.path("/etc/nginx/conf.d/node.conf"), "add_header X-Node $hostname always;\n")

    def path(self, inside):
        """The same file, as seen from outside."""
        return os.path.join(self.home, inside.lstrip("/"))

    def mounts(self):
        lines = [f"mount --bind '{self.lab.build}' '{self.path('/var/opt/tandem')}'"]
        # /var last: the laboratory's own folder lies below it, and the checkout may.
        for folder in ("etc", "run", "var"):
            lines.append(f"mount --rbind '{self.path(folder)}' /{folder}")
        return "\n".join(lines) + "\n"

    def power_on(self):
        shutil.rmtree(self.path("/run"), ignore_errors=True)  # a tmpfs on real hosts
        os.makedirs(self.path("/run/lock"))
        super().power_on()
        self.lab.plug(self)
        Probe(self, "answer", self.name, "9")

    def power_off(self):
        if self.process is not None:
            self.lab.unplug(self)
        super().power_off()

    # nginx

    def start_nginx(self):
        self.run("nginx")
        wait_for(f"nginx answers on {self.name}", lambda: self.get("127.0.0.1")[0] != 0)

    def nginx_master(self):
        """Its pid as the machine sees it; 0 if it does not run."""
        inner = read(self.path("/run/nginx.pid")).strip()
        return self.outer_pid(int(inner)) if inner else 0

    def kill_nginx(self):
        """As the out-of-memory killer does: all of it, nothing cleaned up."""
        def there():
            return {pid for pid, _, command in self.processes() if command == "nginx"}

        for pid in there():
            kill(pid, signal.SIGSTOP)  # so that the master does not replace a worker meanwhile
        killed = there()
        for pid in killed:
            kill(pid, signal.SIGKILL)
        # A check may start it again at once: what must be gone is what was there.
        wait_for(f"nginx is gone from {self.name}",
                 lambda: not killed & {pid for pid, _, _ in self.processes()})

    # keepalived

    def start_keepalived(self, configuration):
        write(self.path("/etc/keepalived/keepalived.conf"), configuration)
        # Newer ones read what they were built with from a file, and end without it.
        options = os.path.join(os.environ.get("KEEPALIVED_ROOT", "/"),
                               "etc/keepalived/keepalived.config-opts")
        if os.path.exists(options):
            shutil.copy(options, self.path("/etc/keepalived"))
        return self.start("keepalived", *keepalived_argv(), "--dont-fork", "--log-console",
                          "--log-detail", "--vrrp")

    # tandem

    def configure(self, text):
        write(self.path("/etc/tandem/tandem.conf"), text)

    def keygen(self):
        """Makes the node's key and returns its pin."""
        return re.search(r"SHA256:\S+", self.run("tandem", "keygen")).group(0)

    def start_agent(self):
        running = self.start("agent", "tandem-agent", "--foreground", "--node", self.name)
        wait_for(f"tandem-agent answers on {self.name}",
                 lambda: self.agent().get("ok") or not running.alive())
        check(running.alive(), f"tandem-agent on {self.name} ended: {running.text()}")
        return running

    def start_syncd(self):
        running = self.start("syncd", "tandem-syncd", "--foreground", "--node", self.name)
        wait_for(f"tandem-syncd answers on {self.name}",
                 lambda: self.syncd() or not running.alive())
        check(running.alive(), f"tandem-syncd on {self.name} ended: {running.text()}")
        return running

    def call(self, control, command, timeout=PATIENCE_SECONDS / 2, **arguments):
        """One request to a control socket; {} if nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout)
                connection.connect(self.path(f"/run/tandem/{control}.sock"))
                connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
                for line in connection.makefile("rb"):
                    answer = json.loads(line)
                    if "ok" in answer:
                        return answer
        except OSError:
            pass
        return {}

    def agent(self):
        return self.call("agent", "status")

    def syncd(self):
        return self.call("syncd", "status")

    def instance(self, name="VI_1"):
        """What the agent says of one virtual router; {} if it says nothing."""
        return next((i for i in self.agent().get("instances", ()) if i["name"] == name), {})

    def mirror(self, name="nginx"):
        return next((m for m in self.syncd().get("mirrors", ()) if m["name"] == name), {})


def keepalived_argv():
    """The machine's keepalived, or with KEEPALIVED_ROOT=DIR that of another system's unpacked root:
    run by that system's loader with its libraries, among the machine's files."""
    root = os.environ.get("KEEPALIVED_ROOT")
    if not root:
        return ["keepalived"]
    loader = glob.glob(f"{root}/lib*/ld-linux-*.so.*")
    program = f"{root}/usr/sbin/keepalived"
    check(loader and os.path.exists(program), f"{root} holds no loader or no keepalived: "
          "`make interop-13` makes one")
    return [loader[0], "--library-path", ":".join(glob.glob(f"{root}/usr/lib/*-linux-gnu*")), program]


class Lab:
    """A switch, a client and nodes."""

    current = None

    def __init__(self, nodes=("web1", "web2"), build=None):
        self.build = os.path.abspath(build or os.environ.get("B", os.path.join(TOP, "build")))
        self.tools = os.path.join(self.build, "tests/net")
        check(os.geteuid() == 0, "the laboratory makes namespaces and so needs root")
        check(os.access(os.path.join(self.tools, "lab_init"), os.X_OK),
              f"{self.tools}/lab_init is not there: run `make build-all`")
        self.names = nodes
        self.home = None
        self.probes = 0
        self.cuts = []

    def __enter__(self):
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signo, _interrupted)
        remove_stale_homes()
        self.home = tempfile.mkdtemp(prefix=f"{HOME_PREFIX}{os.getpid()}-", dir=SPACES_DIR)
        atexit.register(shutil.rmtree, self.home, ignore_errors=True)
        Lab.current = self
        try:
            self.switch = Host(self, "switch", 254)
            self.client = Host(self, "client", 100)
            self.nodes = [Node(self, name, n + 1) for n, name in enumerate(self.names)]
            self.switch.power_on()
            # No spanning tree, no forward delay: a port works as soon as it is plugged in.
            self.switch.ip("link add br0 type bridge forward_delay 0", "link set br0 up")
            self.client.power_on()
            self.plug(self.client)
            for node in self.nodes:
                node.power_on()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, error, _):
        findings = self.findings() if error is None else []
        if findings or (error is not None and not isinstance(error, Interrupted)):
            self.show_logs()
        self.close()
        check(not findings, "; ".join(findings))

    def __getitem__(self, name):
        return next(node for node in self.nodes if node.name == name)

    def close(self):
        """Everything goes: nothing of the laboratory is left after this."""
        # A second Ctrl-C must not stop the clean-up half-way.
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signo, signal.SIG_IGN)
        for host in [*getattr(self, "nodes", []), getattr(self, "client", None),
                     getattr(self, "switch", None)]:
            if host is not None:
                Host.power_off(host)
        shutil.rmtree(self.home, ignore_errors=True)

    def findings(self):
        """What no program may say, whatever became of it afterwards: a daemon that dies (by a bug,
        or by a system call that its table lacks) is started again, and the test might not notice."""
        found = []
        for name in sorted(os.listdir(self.home)):
            if name.endswith(".log"):
                found += [f"{name}: {line}" for line in
                          read(os.path.join(self.home, name)).splitlines()
                          if re.search(r"Sanitizer|runtime error:|Assertion .* failed|by SIGSYS",
                                       line)]
        return found

    def show_logs(self):
        for name in sorted(os.listdir(self.home)):
            if name.endswith(".log") and not name.split("-")[1].startswith("probe"):
                lines = read(os.path.join(self.home, name)).splitlines()
                say(f"---- {name} ({len(lines)} lines, the last 120)")
                say("\n".join(lines[-120:]))
        for node in self.nodes:
            text = read(node.path("/var/log/nginx/error.log")).splitlines()
            if text:
                say(f"---- {node.name}: nginx error.log, the last 20 of {len(text)} lines")
                say("\n".join(text[-20:]))

    # The switch

    def plug(self, host):
        port = "s-" + host.name
        # The same hardware address at each start, as a real host has it: what the others remember
        # of it stays true.
        self.switch.ip(f"link add {port} type veth peer name eth0 address 02:00:5e:00:53:"
                       f"{host.index:02x} netns {host.pid}",
                       f"link set {port} master br0", f"link set {port} up")
        host.ip(f"address add {host.address}/24 dev eth0", "link set eth0 up")

    def unplug(self, host):
        self.switch.ip(f"link delete s-{host.name}")

    def port_down(self, host):
        self.switch.ip(f"link set s-{host.name} down")

    def port_up(self, host):
        self.switch.ip(f"link set s-{host.name} up")

    def cut(self, from_host, to_host, match="", both=True):
        """Drops what goes from one host to the other (and back, if both). match narrows it down in
        nft's language: "ip protocol 112"."""
        self.cuts.append((from_host.name, to_host.name, match))
        if both:
            self.cuts.append((to_host.name, from_host.name, match))
        self._apply_cuts()

    def heal(self):
        self.cuts.clear()
        self._apply_cuts()

    def _apply_cuts(self):
        rules = "".join(f'iifname "s-{a}" oifname "s-{b}" {match} counter drop\n'
                        for a, b, match in self.cuts)
        self.switch.run("nft", "-f", "-", stdin=f"""
table bridge cut
delete table bridge cut
table bridge cut {{
    chain forward {{
        type filter hook forward priority 0; policy accept;
{rules}    }}
}}
""")

    def run_client_mark(self):
        """Puts a packet on the wire that nobody else sends: an ARP request for .253."""
        with self.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as mark:
            mark.sendto(b"", (NETWORK + "253", 9))

    # Who holds what

    def holders(self, address):
        return [node.name for node in self.nodes if node.process and node.has(address)]

    def wait_holder(self, name, address):
        wait_for(f"{name} alone holds {address}", lambda: self.holders(address) == [name],
                 also=lambda: f"held by {self.holders(address)}")

    def all_text(self, name):
        """The logs of one program, over all nodes and starts."""
        return "\n".join(read(os.path.join(self.home, f"{node.name}-{name}.log"))
                         for node in self.nodes)


def _interrupted(signo, _frame):
    raise Interrupted(signal.Signals(signo).name)


def remove_stale_homes():
    """Folders that a killed run left behind; its hosts died with it."""
    for name in os.listdir(SPACES_DIR):
        match = re.fullmatch(HOME_PREFIX + r"(\d+)-\w+", name)
        if match and not os.path.exists(f"/proc/{match.group(1)}"):
            shutil.rmtree(os.path.join(SPACES_DIR, name), ignore_errors=True)


sys.dont_write_bytecode = True
