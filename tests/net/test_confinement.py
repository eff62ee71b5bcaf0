# SPDX-License-Identifier: Apache-2.0
"""What the parts of a running daemon may do. That they work all the same is what every other test
here shows; tests/unit/test_confine tries the forbidden acts one by one."""
import re
import socket
import struct
import threading

from lab import Lab, check, figure, read, test, wait_for, write
from pairs import MIRROR, VIP, pretty, router, start_pair, tandem_conf, wait_in_step

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13


def status_of(pid):
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", read(f"/proc/{pid}/status"), re.MULTILINE))


def check_confined(pid, what, capabilities=0):
    status = status_of(pid)
    check(status["Seccomp"] == "2", f"the {what} has no filter: Seccomp {status['Seccomp']}")
    check(status["NoNewPrivs"] == "1", f"the {what} may gain privileges by what it executes")
    for kind, most in (("CapEff", capabilities), ("CapPrm", capabilities),
                       ("CapBnd", capabilities), ("CapInh", 0), ("CapAmb", 0)):
        check(int(status[kind], 16) == most, f"the {what}: {kind} is {status[kind]}")
    check("0" not in status["Uid"].split() and "0" not in status["Gid"].split() and
          not status["Groups"].strip(), f"the {what}: {status['Uid']}; {status['Groups']}")


@test()
def the_engine_is_nobody_with_two_capabilities_behind_a_filter():
    with Lab() as lab:
        start_pair(lab, tandem_conf(lab, [router()]), nginx=False)
        lab.wait_holder("web1", VIP)
        for node in lab.nodes:
            agent = next(r for r in node.started if r.name == "agent")
            engine = max(agent.parts(privileged=False), key=lambda pid: int(
                status_of(pid)["CapEff"], 16))
            check_confined(engine, "engine", 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW)


@test()
def the_link_is_nobody_behind_a_filter_and_comes_back_behind_it():
    with Lab() as lab:
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, mirrors=MIRROR, keys=keys), agents=False, syncds=True)
        before = wait_in_step(lab)
        for node in lab.nodes:
            syncd = next(r for r in node.started if r.name == "syncd")
            for pid in syncd.parts(privileged=False):
                check_confined(pid, "link")
            # A new snapshot, by which it also listens and dials anew.
            node.configure(tandem_conf(lab, mirrors=MIRROR, keys=keys).replace(
                'address = "198.51.100.2";', 'address = "198.51.100.2"; link_port = 8430;'))
        for node in lab.nodes:
            node.run("tandem", "reload")
        wait_for("they are connected at the new port", lambda: all(
            peer["connected"] for node in lab.nodes for peer in node.syncd().get("peers", ())) and
            ":20EE" in read(f"/proc/{lab['web2'].pid}/net/tcp"))
        write(lab["web2"].path("/etc/nginx/conf.d/new.conf"), "# new\n")
        wait_in_step(lab, generation_after=before)


def answer_names(node, names):
    """A name server on the node's loopback: A records alone. Ends with the test."""
    server = node.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def run():
        while True:
            query, client = server.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            name, at = [], 12
            while query[at]:
                name.append(query[at + 1:at + 1 + query[at]].decode())
                at += query[at] + 1
            wanted = names.get(".".join(name).lower())
            is_a = query[end - 4:end - 2] == b"\0\1"
            answer = b""
            if wanted and is_a:
                answer = (b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) +
                          socket.inet_aton(wanted))
            flags = 0x8580 if wanted else 0x8583  # there is no such name
            server.sendto(query[:2] + struct.pack("!HHHHH", flags, 1, bool(answer), 0, 0) +
                          query[12:end] + answer, client)
    threading.Thread(target=run, daemon=True).start()


@test()
def the_prober_asks_a_name_server_and_trusts_an_authority_behind_its_filter():
    with Lab(nodes=("web1",)) as lab:
        web1 = lab["web1"]
        pem, key = "/etc/nginx/www.pem", "/etc/nginx/www.key"
        web1.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "30", "-subj",
                 "/CN=www.example.org", "-addext", "subjectAltName=DNS:www.example.org",
                 "-keyout", key, "-out", pem)
        # What this machine's libcurl takes for the list of authorities.
        write(web1.path("/etc/ssl/certs/ca-certificates.crt"), read(web1.path(pem)))
        write(web1.path("/etc/resolv.conf"), "nameserver 127.0.0.1\n")
        write(web1.path("/etc/nsswitch.conf"), "hosts: files dns\n")
        answer_names(web1, {"www.example.org": "127.0.0.1", "other.example.org": "127.0.0.1"})
        write(web1.path("/etc/nginx/conf.d/site.conf"),
              f"server {{ listen 443 ssl; ssl_certificate {pem}; ssl_certificate_key {key};\n"
              ' location / { return 200 "sealed\\n"; } }\n')
        web1.start_nginx()
        checks = [f'{{ name = "{name}"; http = "https://{host}/"; http_verify = true; '
                  'http_status = 200; interval = 0.3; timeout = 2; }'
                  for name, host in (("named", "www.example.org"), ("wrong", "other.example.org"),
                                     ("none", "none.example.org"))]
        web1.configure(tandem_conf(lab, [router(priority={"web1": 100}, track='[ "named" ]')],
                                   checks=checks))
        web1.start_agent()

        def said(name):
            return next((c for c in web1.agent().get("checks", ()) if c["name"] == name), {})

        for name, state, word in (("named", "ok", "answered 200"), ("wrong", "failed", "certif"),
                                  ("none", "failed", "esolve")):
            wait_for(f"{name} is {state}", lambda n=name, s=state, w=word: said(n).get("state") == s
                     and w in said(n)["detail"], also=lambda n=name: pretty(said(n)))
        prober = next(pid for pid, _, command in web1.processes() if command == "tandem-prober")
        check_confined(prober, "prober")
        figure(f"{said('named')['detail']}; {said('none')['detail']}")
