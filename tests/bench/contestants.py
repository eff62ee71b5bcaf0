# SPDX-License-Identifier: Apache-2.0
"""The two that are compared, each as a pair of nodes: the same virtual routers, said in the
language of either, and the same things done to both."""
import os
import random
import re
import signal
import subprocess
import time

from lab import Host, Lab, Probe, Running, _die_with_parent, check, kill, read, wait_for, write
from pairs import VIP, tandem_conf

PRIORITIES = {"web1": 100, "web2": 90}
FAR_NETWORK = "203.0.113."  # the addresses of many instances; the client has a route to it
CHECK_SH = "#!/bin/sh\n# Does nginx run?\npidof nginx > /dev/null\n"


class Settings:
    """What the pair is to do. check: None, "script" (a script each second, two failures, weight),
    "best" (what each has that is quickest to notice a process's end), or "file" (a number in a
    file, by which keepalived is moved on purpose)."""

    def __init__(self, advert_int=1.0, instances=1, nopreempt=False, check=None):
        self.advert_int, self.instances = advert_int, instances
        self.nopreempt, self.check = nopreempt, check

    def vips(self):
        if self.instances == 1:
            return [VIP]
        return [FAR_NETWORK + str(n) for n in range(1, self.instances + 1)]

    def master_down_s(self):
        """RFC 9568: three intervals and the skew of the backup's priority."""
        return self.advert_int * (3 + (256 - PRIORITIES["web2"]) / 256)


class QuietLab(Lab):
    """A failure is one line of the report, not two logs of a thousand."""

    loud = False

    def show_logs(self):
        if self.loud:
            super().show_logs()


class Pair:
    """A laboratory with two nodes that run one of the contestants."""

    name = ""

    def __init__(self, settings, build):
        self.settings = settings
        self.lab = QuietLab(build=build)
        self.bystander = None
        self.stood_still_ms = 0  # the longest since somebody looked
        self.daemons = {}
        self.deaths = 0  # of the master's engine, since it was started
        self.extra_vips = {"web1": [], "web2": []}  # of the first instance, by node
        self.tuned = set()                          # nodes whose file has another harmless setting

    def __enter__(self):
        self.lab.__enter__()
        try:
            self.web1, self.web2 = self.lab.nodes
            self.client = self.lab.client
            self.bystander = Host(self.lab, "bystander", 101)
            self.bystander.power_on()
            self.lab.plug(self.bystander)
            Probe(self.bystander, "answer", "bystander", "9")
            self.client.ip(f"route add {FAR_NETWORK}0/24 dev eth0")
            for node in self.lab.nodes:
                self.prepare(node)
            # One after the other: with nopreempt it is the first that keeps it.
            self.start(self.web1)
            wait_for(f"{self.name} on web1 holds what it keeps",
                     lambda: self.holds(self.web1) == len(self.settings.vips()), 30)
            self.start(self.web2)
            self.settle()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind, error, traceback):
        if self.bystander:
            self.bystander.power_off()
        return self.lab.__exit__(kind, error, traceback)

    def prepare(self, node):
        for folder in ("tandem", "keepalived"):
            write(node.path(f"/etc/{folder}/check_nginx.sh"), CHECK_SH, 0o755)
            write(node.path(f"/etc/{folder}/load"), "0\n")
        if self.settings.check in ("script", "best"):
            self.nginx_starts(node)

    def vips_of(self, node):
        """Those of the first instance as that node's file has them."""
        return [self.settings.vips()[0], *self.extra_vips[node.name]]

    def power_on(self, node):
        node.power_on()
        self.prepare(node)
        self.start(node)

    def stop(self, node):
        self.daemons[node.name].stop()

    def kill_all(self, node):
        self.daemons[node.name].kill_all()

    def freeze(self, node):
        self.daemons[node.name].freeze()

    def thaw(self, node):
        self.daemons[node.name].thaw()

    def nginx_name(self, _node):
        return "nginx"

    def nginx_dies(self, node):
        """All of it at once, and without a look in between: what is stopped does not answer."""
        found = [pid for pid, _, name in node.processes() if name == self.nginx_name(node)]
        check(found, "nginx does not run")
        for signo in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                kill(pid, signo)

    def nginx_starts(self, node):
        node.start_nginx()

    def holds(self, node):
        """How many of the addresses that node has."""
        return len(node.addresses() & set(self.settings.vips())) if node.process else 0

    def settle(self, holder="web1", timeout=30.0):
        """Waits until one node holds everything and the other listens, and then for some part of
        an interval, so that what comes next falls anywhere between two adverts."""
        everything = len(self.settings.vips())

        def settled():
            return all(self.holds(node) == (everything if node.name == holder else 0)
                       for node in self.lab.nodes)
        wait_for(f"{holder} alone holds what {self.name} keeps", settled, timeout)
        for node in self.lab.nodes:
            if node.name != holder:
                wait_for(f"{self.name} on {node.name} listens",
                         lambda node=node: self.listens(node), timeout)
        time.sleep(random.uniform(0.2, 0.2 + self.settings.advert_int))

    # What each contestant does its own way

    def start(self, node):
        raise NotImplementedError

    def listens(self, node):
        raise NotImplementedError

    def engine(self, node):
        """The pid of the process that decides and sends."""
        raise NotImplementedError

    def reload(self, node):
        raise NotImplementedError

    def hand_over(self):
        """Moves everything to the other node on purpose."""
        raise NotImplementedError

    def take_back(self):
        raise NotImplementedError


class Tandem(Pair):
    name = "tandem"

    def text(self, node):
        s = self.settings
        track, checks = "", []
        if s.check == "script":
            checks = ['{ name = "nginx"; script = "/etc/tandem/check_nginx.sh"; interval = 1.0; '
                      'fall = 2; rise = 1; weight = -20; user = "root"; }']
        elif s.check == "best":
            checks = ['{ name = "nginx"; process = "/run/nginx.pid"; fall = 1; }']
        if checks:
            track = '    track = [ "nginx" ];\n'
        routers = []
        for n, vip in enumerate(s.vips(), 1):
            vips = self.vips_of(node) if n == 1 else [vip]
            prefix = 24 if s.instances == 1 else 32
            routers.append(
                f'  {{ name = "VI_{n}"; interface = "eth0"; virtual_router_id = {n};\n'
                f'    advert_int = {s.advert_int:.2f}; priority = {{ web1 = 100; web2 = 90; }};\n'
                f'    nopreempt = {"true" if s.nopreempt else "false"};\n{track}'
                + ("    garp_master_refresh = 60;\n" if node.name in self.tuned else "") +
                "    virtual_ipaddress = [ "
                + ", ".join(f'"{v}/{prefix}"' for v in vips) + " ]; }")
        return tandem_conf(self.lab, routers, checks=checks)

    def start(self, node):
        node.configure(self.text(node))
        self.daemons[node.name] = node.start_agent()

    def listens(self, node):
        instances = node.agent().get("instances", ())
        return instances and all(i["state"] == "BACKUP" for i in instances)

    def engine(self, node):
        return wait_for("an engine runs",
                        lambda: self.daemons[node.name].parts(privileged=False))[0]

    def reload(self, node):
        node.configure(self.text(node))
        self.daemons[node.name].signal(signal.SIGHUP)

    def hand_over(self):
        self.web1.run("tandem", "handover", "--all")

    def take_back(self):
        self.web1.run("tandem", "handover", "--lift", "--all")


class Keepalived(Pair):
    name = "keepalived"

    def __exit__(self, kind, error, traceback):
        # Those that run outside of their host do not end with it.
        if self.outside():
            for daemon in self.daemons.values():
                if daemon.alive():
                    daemon.kill_all()
        return super().__exit__(kind, error, traceback)

    def outside(self):
        """The kernel tells of processes only in the machine's first network and process
        namespaces, so where keepalived is to hear of nginx's end it runs there, with the network
        of its node as its net_namespace."""
        return self.settings.check == "best"

    def nginx_name(self, node):
        """One of its own where keepalived counts names over the whole machine."""
        return f"ngx{os.getpid() % 1000000}{node.name}" if self.outside() else "nginx"

    def text(self, node):
        s = self.settings
        lines = []
        if self.outside():
            lines.append(f"net_namespace {node.name}")
        lines += ["global_defs {", f"  router_id {node.name}", "  vrrp_version 3",
                  "  script_user root", "  enable_script_security", "}"]
        track = ""
        if s.check == "script":
            lines += ["vrrp_script nginx {", '  script "/etc/keepalived/check_nginx.sh"',
                      "  interval 1", "  fall 2", "  rise 1", "  weight -20", "}"]
            track = "  track_script {\n    nginx\n  }\n"
        elif s.check == "best":
            lines += ["vrrp_track_process nginx {", f"  process {self.nginx_name(node)}", "}"]
            track = "  track_process {\n    nginx\n  }\n"
        elif s.check == "file":
            lines += ["vrrp_track_file load {", "  file /etc/keepalived/load", "}"]
            track = "  track_file {\n    load weight -20\n  }\n"
        peers = "".join(f"    {other.address}\n" for other in self.lab.nodes if other is not node)
        for n, vip in enumerate(s.vips(), 1):
            vips = self.vips_of(node) if n == 1 else [vip]
            prefix = 24 if s.instances == 1 else 32
            lines += [f"vrrp_instance VI_{n} {{", "  state BACKUP", "  interface eth0",
                      f"  virtual_router_id {n}", f"  priority {PRIORITIES[node.name]}",
                      f"  advert_int {s.advert_int:.2f}", *(["  nopreempt"] if s.nopreempt else []),
                      f"  unicast_src_ip {node.address}", "  unicast_peer {", peers + "  }",
                      *(["  garp_master_refresh 60"] if node.name in self.tuned else []),
                      "  virtual_ipaddress {", *[f"    {v}/{prefix}" for v in vips], "  }",
                      track + "}"]
        return "\n".join(lines) + "\n"

    def start(self, node):
        # A pid file that is left over would end it at once, with exit status 0.
        for name in ("keepalived.pid", "vrrp.pid"):
            for place in (f"/run/{name}", f"/run/keepalived/{name}"):
                if os.path.exists(node.path(place)):
                    os.unlink(node.path(place))
        if self.outside():
            self.daemons[node.name] = self.start_outside(node)
        else:
            self.daemons[node.name] = node.start_keepalived(self.text(node))

    def start_outside(self, node):
        write(node.path("/etc/keepalived/keepalived.conf"), self.text(node))
        argv = ["unshare", "-m", "sh", "-ec",
                f"mount -t tmpfs tmpfs /run && mkdir /run/netns && : > /run/netns/{node.name} && "
                f"mount --bind /proc/{node.pid}/ns/net /run/netns/{node.name} && "
                "exec keepalived --dont-fork --log-console --log-detail --vrrp "
                f"--use-file '{node.path('/etc/keepalived/keepalived.conf')}' "
                "--pid /run/keepalived.pid --vrrp_pid /run/vrrp.pid"]
        log = os.path.join(self.lab.home, f"{node.name}-keepalived.log")
        with open(log, "ab") as output:
            # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)
        return Running(node, "keepalived", process, process.pid, log)

    def log_of(self, node):
        return read(os.path.join(self.lab.home, f"{node.name}-keepalived.log"))

    def listens(self, node):
        entered = re.findall(r"\(VI_\d+\) Entering (\w+) STATE", self.log_of(node))
        return entered and entered[-1] == "BACKUP"

    def engine(self, node):
        return wait_for("the VRRP process runs",
                        lambda: self.daemons[node.name].family()[1:])[0]

    def reload(self, node):
        write(node.path("/etc/keepalived/keepalived.conf"), self.text(node))
        self.daemons[node.name].signal(signal.SIGHUP)

    def hand_over(self):
        write(self.web1.path("/etc/keepalived/load"), "1\n")

    def take_back(self):
        write(self.web1.path("/etc/keepalived/load"), "0\n")

    def nginx_starts(self, node):
        if not self.outside():
            super().nginx_starts(node)
            return
        link = node.path(f"/etc/{self.nginx_name(node)}")
        if not os.path.islink(link):
            os.symlink("/usr/sbin/nginx", link)
        node.run(f"/etc/{self.nginx_name(node)}")
        wait_for(f"nginx answers on {node.name}", lambda: node.get("127.0.0.1")[0] != 0)


CONTESTANTS = (Tandem, Keepalived)
