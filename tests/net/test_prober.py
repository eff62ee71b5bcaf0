# SPDX-License-Identifier: Apache-2.0
"""The prober: TCP and HTTP(S) checks, whatever answers them."""
import json
import re
import signal
import socket
import threading

from lab import Lab, check, figure, kill, now_us, read, test, wait_for, write
from pairs import VIP, pretty, router, start_pair, tandem_conf, wait_state

SITE = """
server {
    listen 80 default_server;
    location = /ok { return 200 "all is well here\\n"; }
    location = /broken { return 500 "no\\n"; }
    location = /moved { return 301 /ok; }
    location = /away { return 302 ftp://127.0.0.1/; }
    location = /round { return 302 /round; }
    location = /huge { root /var/www/html; }
}
server {
    listen 443 ssl;
    ssl_certificate /etc/nginx/self.pem;
    ssl_certificate_key /etc/nginx/self.key;
    location / { return 200 "sealed\\n"; }
}
"""


def http_check(name, path, url=None, **settings):
    lines = [f'name = "{name}"', f'http = "{url or "http://127.0.0.1" + path}"', "interval = 0.3"]
    lines += [f"{key} = {value}" for key, value in settings.items()]
    return "{ " + "; ".join(lines) + "; }"


def check_of(node, name):
    return next((c for c in node.agent().get("checks", ()) if c["name"] == name), {})


def wait_check(node, name, state, *words):
    """Waits until the check is in the state and says so; returns what it says."""
    return wait_for(
        f"{name} is {state} on {node.name} and says {words}",
        lambda: (c := check_of(node, name)) and c["state"] == state and
        all(word in c["detail"] for word in words) and c["detail"],
        also=lambda: pretty(check_of(node, name)))


def prober(node):
    return next((pid for pid, _, command in node.processes() if command == "tandem-prober"), 0)


def serve(node, port, behave):
    """A server that does to each connection what behave does; it ends with the test."""
    listener = node.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(16)

    def one(connection):
        try:
            behave(connection)
            connection.close()
        except OSError:
            pass  # the prober has seen enough

    def run():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=one, args=(connection,), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()


def endless(head, piece):
    def behave(connection):
        connection.recv(4096)
        connection.sendall(head)
        while True:
            connection.sendall(piece)
    return behave


def silent(connection):
    while connection.recv(4096):
        pass


def garbage(connection):
    connection.recv(4096)
    connection.sendall(bytes(range(256)) * 64)


def forger(connection):
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 302 \x1b[31m\nError: forged\r\nLocation: http://\x07bell/\r\n\r\n")


@test()
def each_answer_of_a_server_is_judged_and_named():
    with Lab() as lab:
        web1 = lab["web1"]
        write(web1.path("/etc/nginx/conf.d/site.conf"), SITE)
        web1.run("rm", "-f", "/etc/nginx/sites-enabled/default")
        web1.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=other",
                 "-days", "30", "-keyout", "/etc/nginx/self.key", "-out", "/etc/nginx/self.pem")
        write(web1.path("/var/www/html/huge"), "x" * 300_000 + "needle\n")
        serve(web1, 8001, silent)
        serve(web1, 8002, garbage)
        serve(web1, 8003, endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 1000 + b"\r\n"))
        serve(web1, 8004, endless(b"HTTP/1.1 200 OK\r\n\r\n", b"z" * 4096))
        serve(web1, 8005, forger)
        local = "http://127.0.0.1:"
        checks = {
            # name: (settings, state, words that must be said)
            "good": (http_check("good", "/ok"), "ok", ["answered 200"]),
            "broken": (http_check("broken", "/broken"), "failed", ["answered 500", "200-399"]),
            "listed": (http_check("listed", "/broken", http_status='[ "500-599", "204" ]'), "ok",
                       ["answered 500"]),
            "moved": (http_check("moved", "/moved"), "ok", ["answered 301"]),
            "strict": (http_check("strict", "/moved", http_status=200), "failed",
                       ["answered 301; good are 200"]),
            "followed": (http_check("followed", "/moved", http_status=200, http_redirects=1), "ok",
                         ["answered 200"]),
            "elsewhere": (http_check("elsewhere", "/away", http_redirects=3), "failed",
                          ["rotocol"]),
            "round": (http_check("round", "/round", http_redirects=3), "failed", ["redirects"]),
            "word": (http_check("word", "/ok", http_body='"is well"'), "ok", []),
            "noword": (http_check("noword", "/ok", http_body='"is ill"'), "failed",
                       ['without "is ill"']),
            "huge": (http_check("huge", "/huge"), "ok", []),
            "deep": (http_check("deep", "/huge", http_body='"needle"'), "failed",
                     ["first 65536 bytes"]),
            "slow": (http_check("slow", "", local + "8001/", timeout=0.5), "failed",
                     ["no whole answer within 0.5 s"]),
            "garbage": (http_check("garbage", "", local + "8002/"), "failed", ["HTTP/0.9"]),
            "headers": (http_check("headers", "", local + "8003/"), "failed", []),
            "endless": (http_check("endless", "", local + "8004/"), "ok", []),
            "forger": (http_check("forger", "", local + "8005/", http_redirects=1), "failed", []),
            "nobody": (http_check("nobody", "", local + "8999/"), "failed", ["8999"]),
            "sealed": (http_check("sealed", "", "https://127.0.0.1/"), "ok", []),
            "unknown": (http_check("unknown", "", "https://127.0.0.1/", http_verify="true"),
                        "failed", ["certificate"]),
            "port": ('{ name = "port"; tcp = "127.0.0.1:80"; interval = 0.3; }', "ok",
                     ["accepted"]),
            "noport": ('{ name = "noport"; tcp = "127.0.0.1:8998"; interval = 0.3; }', "failed",
                       ["8998"]),
            "name": ('{ name = "name"; tcp = "localhost:80"; interval = 0.3; }', "ok", []),
            "both": ('{ name = "both"; process = "/run/nginx.pid"; http = "http://127.0.0.1/ok"; '
                     'interval = 0.3; }', "ok", ["answered 200"]),
        }
        web1.start_nginx()
        web1.configure(tandem_conf(lab, [router(track='[ "good" ]')],
                                   checks=[c[0] for c in checks.values()]))
        # No proxy is asked, though the environment names one.
        agent = web1.start("agent", "tandem-agent", "--foreground", "--node", "web1",
                           environment=("http_proxy=http://127.0.0.1:8001",
                                        "ALL_PROXY=http://127.0.0.1:8001"))
        for name, (_, state, words) in checks.items():
            said = wait_check(web1, name, state, *words)
            check("\x1b" not in said and "\n" not in said, f"{name} says {said!r}")
        wait_state(web1, "MASTER")
        screen = web1.run("tandem", "status", check_status=False).stdout
        check("broken" in screen and "answered 500" in screen, f"not on the screen: {screen}")
        check(not re.search(r"^Error: forged", agent.text(), re.MULTILINE), "a line is forged")
        figure(f"{len(checks)} kinds of answers")


@test()
def the_prober_is_nobody_and_its_death_harms_nothing():
    with Lab() as lab:
        web1 = lab["web1"]
        web1.start_nginx()
        # One outlasts the death of a prober, and the other one's time is over before a prober that
        # hangs is replaced.
        text = tandem_conf(lab, [router(track='[ "web" ]')],
                           checks=[http_check("web", "/", timeout=10),
                                   http_check("quick", "/", timeout=0.8)])
        web1.configure(text)
        agent = web1.start_agent()
        wait_check(web1, "web", "ok")
        wait_state(web1, "MASTER")
        transitions = web1.instance()["transitions"]
        status = read(f"/proc/{prober(web1)}/status")
        check(re.search(r"^Uid:\s+([1-9]\d*)\s+\1\s+\1\s+\1$", status, re.MULTILINE),
              f"it is root: {status}")
        for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
            check(re.search(rf"^Cap{kind}:\s+0+$", status, re.MULTILINE), f"Cap{kind}: {status}")
        check("NoNewPrivs:\t1" in status, "it may gain privileges")
        engines = {pid for pid, _, command in web1.processes() if command == "tandem-agent"}
        for pid in engines:
            check("libcurl" not in read(f"/proc/{pid}/maps"), "libcurl is in another process")
        # It dies: another one takes its place before the check's time is over.
        for _ in range(2):
            old, killed_us = prober(web1), now_us()
            kill(old, signal.SIGKILL)
            wait_for("another prober runs", lambda: prober(web1) not in (0, old))
            wait_for("it is asked", lambda: check_of(web1, "web")["age_us"] < now_us() - killed_us)
        check(web1.instance()["transitions"] == transitions, "the address has moved")
        check(check_of(web1, "web")["state"] == "ok", "the check has failed")
        # It hangs: the check fails, by name; the prober is killed and the next one is believed.
        old, begun = prober(web1), now_us()
        kill(old, signal.SIGSTOP)
        wait_for("the check fails by its name", lambda: "the prober does not" in
                 check_of(web1, "quick")["last_failure"]["detail"])
        wait_for("another prober runs", lambda: prober(web1) not in (0, old))
        wait_check(web1, "quick", "ok")
        figure(f"a frozen prober was noticed and replaced within {(now_us() - begun) / 1e6:.1f} s")
        check({pid for pid, _, command in web1.processes() if command == "tandem-agent"} ==
              engines, "a process of the agent was started again")
        # The engine dies: the new one finds the prober that is there.
        old, killed_us = prober(web1), now_us()
        engine = next(pid for pid in agent.parts(privileged=False) if pid != old)
        kill(engine, signal.SIGKILL)
        wait_for("the new engine asks", lambda: engine not in agent.parts(privileged=False) and
                 (c := check_of(web1, "web"))["age_us"] < now_us() - killed_us and
                 c["state"] == "ok")
        check(prober(web1) == old, "the prober was started again")
        # Nothing to ask: no prober; and none is left behind.
        web1.configure(tandem_conf(lab, [router()]))
        web1.run("tandem", "reload")
        wait_for("there is no prober", lambda: not prober(web1))
        web1.configure(text)
        web1.run("tandem", "reload")
        wait_check(web1, "web", "ok")
        agent.stop()
        wait_for("no prober is left behind", lambda: not prober(web1))


@test()
def an_nginx_that_answers_500_moves_the_address():
    with Lab() as lab:
        web1, web2 = lab.nodes
        for node in lab.nodes:
            write(node.path("/etc/nginx/conf.d/site.conf"), SITE.split("server {\n    listen 443")[0])
            node.run("rm", "-f", "/etc/nginx/sites-enabled/default")
        both = ('{ name = "nginx"; process = "/run/nginx.pid"; http = "http://127.0.0.1/ok"; '
                'weight = -20; interval = 0.2; fall = 2; }')
        start_pair(lab, tandem_conf(lab, [router(track='[ "nginx" ]')], checks=[both]))
        lab.wait_holder("web1", VIP)
        wait_check(web2, "nginx", "ok")
        # The process lives, and serves errors.
        write(web1.path("/etc/nginx/conf.d/site.conf"),
              SITE.split("server {\n    listen 443")[0].replace('200 "all is well', '500 "all is'))
        begun = now_us()
        web1.run("nginx", "-s", "reload")
        lab.wait_holder("web2", VIP)
        figure(f"the address moved {(now_us() - begun) / 1e6:.1f} s after nginx went wrong")
        wait_check(web1, "nginx", "failed", "answered 500")
        # And the process alone: noticed without anybody being asked.
        write(web1.path("/etc/nginx/conf.d/site.conf"), SITE.split("server {\n    listen 443")[0])
        web1.run("nginx", "-s", "reload")
        lab.wait_holder("web1", VIP)
        web1.kill_nginx()
        lab.wait_holder("web2", VIP)
        wait_check(web1, "nginx", "failed", "/run/nginx.pid")


# A real SMTP server that keeps what it is given: one line of JSON for each mail.
KEEPER = """
import asyncio, json, sys
from aiosmtpd.controller import UnthreadedController

class Keep:
    async def handle_DATA(self, server, session, envelope):
        with open(sys.argv[1], "a") as file:
            file.write(json.dumps({"helo": session.host_name, "from": envelope.mail_from,
                                   "to": envelope.rcpt_tos,
                                   "text": envelope.content.decode("ascii")}) + "\\n")
        return "250 kept"

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
UnthreadedController(Keep(), hostname="127.0.0.1", port=2525, loop=loop).begin()
print("ready", flush=True)
loop.run_forever()
"""


def mails_on(node):
    """What the server there was given so far."""
    lines = read(node.path("/var/tmp/mails")).splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


@test()
def a_change_of_state_is_told_by_mail_and_a_dead_server_holds_nothing_up():
    with Lab() as lab:
        web1 = lab["web1"]
        write(web1.path("/var/tmp/keeper.py"), KEEPER)
        extra = ('notification_email = [ "admin@example.org", "second@example.org" ];\n'
                 'notification_email_from = "tandem@example.org";\n'
                 'smtp_server = "127.0.0.1:2525";\nsmtp_helo_name = "web1.example.org";\n'
                 'smtp_connect_timeout = 2;\n')
        routers = [router(smtp_alert="true"),
                   router(name="VI_2", vrid=52, vip="198.51.100.201")]
        web1.configure(tandem_conf(lab, routers, extra=extra))
        # Nobody takes mail: nothing else is the worse for it.
        web1.start_agent()
        wait_state(web1, "MASTER")
        wait_state(web1, "MASTER", "VI_2")
        wait_for("the status says that no mail can be sent", lambda:
                 (web1.agent().get("mail") or {}).get("error"))
        wait_for("both wait", lambda: web1.agent()["mail"]["queued"] == 2,
                 also=lambda: web1.agent()["mail"])
        server = web1.start("smtp", "/usr/bin/python3", "/var/tmp/keeper.py", "/var/tmp/mails")
        wait_for("the server listens", lambda: "ready" in server.text())
        wait_for("what waited is sent", lambda: len(mails_on(web1)) == 2)
        first, second = mails_on(web1)
        check(first["to"] == ["admin@example.org", "second@example.org"] and
              first["from"] == "tandem@example.org" and first["helo"] == "web1.example.org",
              f"the envelope: {first}")
        for mail, state in ((first, "BACKUP"), (second, "MASTER")):
            head, _, body = mail["text"].replace("\r\n", "\n").partition("\n\n")
            check(f"Subject: [edge/web1] VI_1 is {state}\n" in head + "\n" and
                  "From: tandem on web1 <tandem@example.org>\n" in head and
                  "To: <admin@example.org>" in head and "Auto-Submitted: auto-generated" in head and
                  re.search(r"^Date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000$", head, re.M) and
                  re.search(r"^Message-ID: <\S+@\S+>$", head, re.M), f"the head: {head}")
            check(f"-> {state}" in body and VIP in body and "Cause: " in body, f"the body: {body}")
        wait_for("the status says so", lambda: web1.agent()["mail"] ==
                 {"queued": 0, "sent": 2, "dropped": 0, "error": None})
        # A server that takes the connection and says nothing, then one that can again; a fault.
        server.kill()
        silence = web1.socket()
        silence.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silence.bind(("127.0.0.1", 2525))
        silence.listen()
        begun = now_us()
        web1.ip("link set eth0 down")
        wait_state(web1, "FAULT")
        web1.ip("link set eth0 up")
        wait_state(web1, "MASTER")
        figure(f"with a silent mail server: fault and back in {(now_us() - begun) / 1e6:.1f} s")
        silence.close()
        server = web1.start("smtp", "/usr/bin/python3", "/var/tmp/keeper.py", "/var/tmp/mails")
        wait_for("all of it arrives, in order", lambda: [
            re.search(r"VI_1 is (\w+)", m["text"]).group(1) for m in mails_on(web1)[2:]][-3:] ==
            ["FAULT", "BACKUP", "MASTER"])


@test()
def a_group_tells_by_mail_that_all_of_it_moved():
    with Lab(nodes=("web1",)) as lab:
        web1, = lab.nodes
        write(web1.path("/var/tmp/keeper.py"), KEEPER)
        write(web1.path("/etc/tandem/notify.sh"),
              '#!/bin/sh\necho "$3 by $(id -un)" >> /etc/tandem/told\n', 0o755)
        write(web1.path("/etc/tandem/told"), "", 0o666)
        server = web1.start("smtp", "/usr/bin/python3", "/var/tmp/keeper.py", "/var/tmp/mails")
        wait_for("the server listens", lambda: "ready" in server.text())
        routers = [router(name, vrid, vip, {"web1": 100}, advert_int=0.1)
                   for name, vrid, vip in (("VI_1", 51, VIP), ("VI_2", 52, "198.51.100.201"))]
        web1.configure(tandem_conf(lab, routers, extra=(
            'notification_email = [ "admin@example.org" ];\nsmtp_server = "127.0.0.1:2525";\n'
            'script_user = "nobody";\n'), mirrors=(
                'groups = ( { name = "both"; members = [ "VI_1", "VI_2" ]; smtp_alert = true;\n'
                '  notify = "/etc/tandem/notify.sh"; } );\n')))
        web1.start_agent()
        wait_for("two mails", lambda: len(mails_on(web1)) == 2)
        for mail, state in zip(mails_on(web1), ("BACKUP", "MASTER")):
            check(f"Subject: [edge/web1] both is {state}" in mail["text"] and
                  f"-> {state}" in mail["text"] and "Members: VI_1 VI_2" in mail["text"],
                  f"the mail of {state}: {mail}")
        wait_for("its script runs as script_user", lambda: read(
            web1.path("/etc/tandem/told")).splitlines() == ["BACKUP by nobody",
                                                            "MASTER by nobody"])
