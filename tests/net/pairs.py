# SPDX-License-Identifier: Apache-2.0
"""Configurations that the network tests and the demo use, and how a pair is brought up."""
import json
import os
import re

from lab import wait_for

VIP = "198.51.100.200"
VIP2 = "198.51.100.201"
VIP6 = "2001:db8::200"
NGINX_CHECK = '{ name = "nginx"; process = "/run/nginx.pid"; weight = -20; interval = 0.5; fall = 1; }'
MIRROR = """
mirrors = (
  { name = "nginx"; paths = [ "/etc/nginx" ]; exclude = [ "*.swp", "*~" ];
    validate = "nginx -t"; reload = "nginx -s reload"; resync = "15m"; }
);
"""


def router(name="VI_1", vrid=51, vip=VIP, priority=None, **settings):
    """One entry of `vrrp`. Settings are written as they are given: text must bring its quotes."""
    priority = priority or {"web1": 100, "web2": 90}
    lines = [f'name = "{name}"', 'interface = "eth0"', f"virtual_router_id = {vrid}",
             "priority = { " + " ".join(f"{n} = {p};" for n, p in priority.items()) + " }",
             f'virtual_ipaddress = [ "{vip}/{64 if ":" in vip else 24}" ]']
    lines += [f"{key} = {value}" for key, value in settings.items()]
    return "  { " + ";\n    ".join(lines) + "; }"


def tandem_conf(lab, routers=(), mirrors="", checks=(), keys=None, extra=""):
    nodes = []
    for node in lab.nodes:
        key = f' key = "{keys[node.name]}";' if keys else ""
        nodes.append(f'  {{ name = "{node.name}"; address = "{node.address}";{key} }}')
    text = 'cluster = "edge";\n' + extra + "nodes = (\n" + ",\n".join(nodes) + "\n);\n"
    if checks:
        text += "checks = (\n  " + ",\n  ".join(checks) + "\n);\n"
    if routers:
        text += "vrrp = (\n" + ",\n".join(routers) + "\n);\n"
    return text + mirrors


def keepalived_conf(lab, node, version, multicast, priority, advert_int, password=None,
                    vip=VIP, extra=""):
    def source(of):
        return of.address6 if ":" in vip else of.address

    peers = "".join(f" {source(other)}\n" for other in lab.nodes if other is not node)
    unicast = "" if multicast else (f"  unicast_src_ip {source(node)}\n"
                                    f"  unicast_peer {{\n{peers}  }}\n")
    auth = f"  authentication {{\n auth_type PASS\n auth_pass {password}\n }}\n" if password else ""
    return f"""global_defs {{
  router_id {node.name}
  vrrp_version {version}
  script_user root
  enable_script_security
}}
vrrp_instance VI_1 {{
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int {advert_int}
{auth}{unicast}{extra}  virtual_ipaddress {{
    {vip}/{64 if ":" in vip else 24}
  }}
}}
"""


# What keepalived 2.2 says of a packet that it does not take.
KEEPALIVED_REFUSALS = re.compile(
    r"[Ii]nvalid|too short|mismatch|wrong version|incomplete|bogus|[Dd]ropp|received a \d+ auth|"
    r"expected \d+|not present in MASTER advert|unexpected|unknown")


def keepalived_refusals(log):
    return [line for line in log.splitlines() if KEEPALIVED_REFUSALS.search(line)]


def start_pair(lab, text, agents=True, syncds=False, nginx=True):
    """The same file on every node, and everything started; the nodes' order is the file's."""
    for node in lab.nodes:
        node.configure(text)
    for node in lab.nodes:
        if nginx:
            node.start_nginx()
        if syncds:
            node.start_syncd()
        if agents:
            node.start_agent()


def wait_state(node, state, name="VI_1"):
    wait_for(f"{name} is {state} on {node.name}",
             lambda: node.instance(name).get("state") == state)


def wait_refused(node, verdict, name="VI_1"):
    """Waits until the status names this verdict; returns its entry."""
    return wait_for(
        f"{node.name} counts {verdict}",
        lambda: next((r for r in node.instance(name).get("refused", ())
                      if r["verdict"] == verdict), None))


def wait_in_step(lab, generation_after=None, mirror="nginx"):
    """Waits until all running nodes say that they are in step with one generation; returns its
    id."""
    def equal():
        mirrors = [node.mirror(mirror) for node in lab.nodes if node.process]
        ids = {m.get("id") for m in mirrors}
        return (all(m.get("state") == "in-step" for m in mirrors) and len(ids) == 1 and
                None not in ids and ids != {generation_after} and ids.pop())
    return wait_for("all nodes are in step", equal, also=lambda: "; ".join(
        f"{node.name}: {pretty(node.mirror(mirror))}" for node in lab.nodes if node.process))


def tree(node, folder="/etc/nginx"):
    """What a mirror replicates of a folder: names, kinds, modes, contents. Once more if something
    goes while it is looked at."""
    while True:
        try:
            return _tree(node.path(folder))
        except FileNotFoundError:
            pass


def _tree(top):
    found = {}
    for parent, folders, files in os.walk(top):
        folders[:] = [f for f in folders if f != ".tandem-stage"]
        for name in folders + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            key = os.path.relpath(path, top)
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[key] = ("dir", status.st_mode, status.st_uid, status.st_gid)
            else:
                with open(path, "rb") as file:
                    found[key] = ("file", status.st_mode, status.st_uid, status.st_gid, file.read())
    return found


def difference(one, other):
    """Names of what two trees do not have in common."""
    return sorted(k for k in set(one) | set(other) if one.get(k) != other.get(k))


def about(node, other, mirror="nginx"):
    """What node says of other's part in a mirror."""
    return next((n for n in node.mirror(mirror).get("nodes", ()) if n["node"] == other.name), {})


def wait_mirror(node, state, *words, of=None):
    """Waits until one answer of the node has both: its mirror (or, with `of`, that node's part in
    it) in this state, and the words in the reason. Returns the reason. A mirror that is looked at
    once more is pending in between, so the two must not be asked for one after the other."""
    def look():
        return about(node, of) if of else node.mirror()

    def fits():
        one = look()
        reason = one.get("reason") or ""
        return one.get("state") == state and all(w in reason for w in words) and (reason, )
    what = f"{of.name} is" if of else "it is"
    return wait_for(f"{node.name} says that {what} {state}: {' '.join(words)}", fits,
                    also=lambda: pretty(look()))[0]


def wait_same_trees(lab, but=()):
    """But for these names. What was saved in several steps may be published in several, and in step
    is whoever has not noticed the next one yet: so the trees become equal, and need not be at the
    first look."""
    def differences(one, other):
        return [name for name in difference(tree(one), tree(other)) if name not in but]

    first, *others = lab.nodes
    for other in others:
        wait_for(f"{first.name} and {other.name} have the same files",
                 lambda o=other: not differences(first, o),
                 also=lambda o=other: ", ".join(differences(first, o)[:10]))


def vhost(name, text, port=80, extra=""):
    return (f"server {{\n\tlisten {port};\n\tserver_name {name};\n{extra}"
            f"\tlocation / {{\n\t\treturn 200 \"{text}\\n\";\n\t}}\n}}\n")


def pretty(value):
    return json.dumps(value, indent=1, sort_keys=True)
