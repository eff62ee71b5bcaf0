# SPDX-License-Identifier: Apache-2.0
"""What strangers, mistaken peers and full disks do to a running pair: nothing, and it is said."""
import os
import socket
import ssl
import struct

from adverts import advert_v2, advert_v3, send
from lab import PATIENCE_SECONDS, Lab, check, figure, read, save, test, wait_for
from pairs import (MIRROR, VIP, difference, router, start_pair, tandem_conf, tree, vhost,
                   wait_in_step, wait_mirror, wait_refused, wait_same_trees, wait_state)

ADVERT_INT = 1


@test()
def p12_each_kind_of_wrong_advert_is_refused_counted_and_named():
    """web2 is a configured node without an agent: what it sends comes from a known source."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        start_pair(lab, tandem_conf(lab, [router(version=2, advert_int=ADVERT_INT,
                                                 auth_type='"PASS"', auth_pass='"1111"')]),
                   agents=False, nginx=False)
        web1.start_agent()
        wait_state(web1, "MASTER")
        strange = ("198.51.100.77",)
        cases = {
            "too-short": (web2, b"\x21\x33\xc8", 255),
            "bad-version": (web2, advert_v2(version=5), 255),
            "bad-type": (web2, advert_v2(kind=3), 255),
            "bad-ttl": (web2, advert_v2(), 64),
            "no-addresses": (web2, advert_v2(addresses=()), 255),
            "bad-length": (web2, advert_v2(count=9), 255),
            "bad-checksum": (web2, advert_v2(good_sum=False), 255),
            "unknown-source": (lab.client, advert_v2(), 255),
            "bad-auth-type": (web2, advert_v2(auth_type=2), 255),
            "bad-interval": (web2, advert_v2(interval=0), 255),
            "strange-password": (web2, advert_v2(password=b"wrong", addresses=strange), 255),
            "strange-auth-type": (web2, advert_v2(auth_type=0, addresses=strange), 255),
            "strange-interval": (web2, advert_v2(interval=9, addresses=strange), 255),
            "strange-version": (web2, advert_v3(web2.address, web1.address, addresses=strange),
                                255),
        }
        before = {r["verdict"] for r in web1.instance()["refused"]}
        check(not before, f"refused before anything was sent: {before}")
        for verdict, (sender, payload, ttl) in cases.items():
            send(sender, web1.address, payload, ttl, times=3)
            entry = wait_refused(web1, verdict)
            wait_for(f"all three are counted as {verdict}",
                     lambda: wait_refused(web1, verdict)["count"] >= 3)
            check(entry["source"] == sender.address and len(entry["text"]) > 10,
                  f"{verdict} is not explained: {entry}")
            check(web1.instance()["state"] == "MASTER", f"{verdict} moved the address")
        # A configured peer with a mistake in its file, and an address in common: alive, so it is
        # obeyed as an advert, and shown as a mistake.
        for verdict, payload in (("other-password", advert_v2(password=b"wrong", priority=50)),
                                 ("other-interval", advert_v2(interval=9, priority=50)),
                                 ("other-auth-type", advert_v2(auth_type=0, priority=50)),
                                 ("other-addresses", advert_v2(addresses=(VIP,) + strange,
                                                               priority=50)),
                                 ("other-version", advert_v3(web2.address, web1.address,
                                                             priority=50))):
            send(web2, web1.address, payload)
            wait_refused(web1, verdict)
        check(lab.holders(VIP) == ["web1"], f"the address is on {lab.holders(VIP)}")
        shown = web1.run("tandem", "status", check_status=False).stdout
        check("password" in shown and web2.name in shown, f"not on the screen: {shown}")
        figure(f"{len(cases) + 5} kinds of wrong adverts, each counted under its name")


@test()
def p15_a_peer_with_another_password_is_alive_and_named():
    with Lab() as lab:
        web1, web2 = lab.nodes
        settings = {"version": 2, "advert_int": 1, "auth_type": '"PASS"'}
        # No digits: the status is full of numbers.
        one, other = "onlyWeb1", "andOther"
        web1.configure(tandem_conf(lab, [router(**settings, auth_pass=f'"{one}"')]))
        web2.configure(tandem_conf(lab, [router(**settings, auth_pass=f'"{other}"')]))
        for node in lab.nodes:
            node.start_agent()
        lab.wait_holder("web1", VIP)
        wait_refused(web2, "other-password")
        said = str(web1.agent()) + str(web2.agent()) + lab.all_text("agent")
        check(one not in said and other not in said, "a password is shown")


@test()
def p03_a_wrong_file_is_refused_whole_and_a_reload_keeps_the_old_one():
    with Lab() as lab:
        web1 = lab["web1"]
        good = tandem_conf(lab, [router()])
        bad = (good.replace("virtual_router_id = 51", "virtual_router_id = 300")
               .replace('interface = "eth0"', 'interfase = "eth0"'))
        web1.configure(bad)
        done = web1.run("tandem-agent", "--foreground", "--node", "web1", check_status=False)
        check(done.returncode not in (0, -6, -11), f"exit {done.returncode}")
        for word in ("/etc/tandem/tandem.conf:", "virtual_router_id", "255", "interfase",
                     "interface"):
            check(word in done.stderr, f"{word} is not in: {done.stderr}")
        web1.configure(good)
        agent = web1.start_agent()
        wait_state(web1, "MASTER")
        snapshot = web1.agent()["snapshot"]
        web1.configure(bad)
        answer = web1.run("tandem", "reload", check_status=False)
        check(answer.returncode != 0 and "virtual_router_id" in answer.stdout + answer.stderr,
              f"`tandem reload` says: {answer.stdout}{answer.stderr}")
        agent.signal(1)
        wait_for("the log says why", lambda: agent.text().count("virtual_router_id") >= 2)
        check(web1.agent()["snapshot"] == snapshot and web1.has(VIP), "the old file is gone")
        web1.configure(good.replace("};\n    virtual_ipaddress", "};\n    virtual_ipaddress")
                       .replace(f'[ "{VIP}/24" ]', f'[ "{VIP}/24", "198.51.100.202/24" ]'))
        web1.run("tandem", "reload", check_status=False)
        wait_for("the new address is there", lambda: web1.has("198.51.100.202") and web1.has(VIP))


def credentials(node, name, signer="/var/lib/tandem/node.key"):
    """A chain as tandem's link shows it: an ephemeral key, certified by a node key."""
    node.run("sh", "-ec", f"""
        cd /run
        openssl req -x509 -new -key {signer} -subj /CN={name} -days 30 -out {name}-node.pem
        openssl genpkey -algorithm ed25519 -out {name}.key
        openssl req -new -key {name}.key -subj /CN={name}-link -out {name}.csr
        openssl x509 -req -in {name}.csr -CA {name}-node.pem -CAkey {signer} -set_serial 7 \\
                -days 30 -out {name}-leaf.pem
        cat {name}-leaf.pem {name}-node.pem > {name}.pem""")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["tandem/1"])
    context.load_cert_chain(node.path(f"/run/{name}.pem"), node.path(f"/run/{name}.key"))
    return context


def dial(host, node, context=None, port=8427):
    raw = host.socket(socket.AF_INET, socket.SOCK_STREAM)
    raw.settimeout(PATIENCE_SECONDS)
    raw.connect((node.address, port))
    return context.wrap_socket(raw) if context else raw


def told(host, node, words, context=None):
    """What is answered to these bytes until the other side ends it, one way or the other: it may do
    so before it has read all of them."""
    heard = b""
    try:
        connection = dial(host, node, context)
    except OSError:
        return heard
    try:
        connection.sendall(words)
        while part := connection.recv(65536):
            heard += part
    except OSError:
        pass
    connection.close()
    return heard


@test()
def a_stranger_and_malformed_frames_are_turned_away_and_said():
    with Lab() as lab:
        web1, web2 = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, mirrors=MIRROR, keys=keys), agents=False, syncds=True)
        generation = wait_in_step(lab)
        syncd = next(r for r in web2.started if r.name == "syncd")

        def said(*words):
            return any(all(w.lower() in line.lower() for w in words)
                       for line in syncd.text().splitlines())

        # Not TLS at all, and too much of it.
        told(lab.client, web2, b"GET / HTTP/1.0\r\n\r\n" + b"x" * 100_000)
        wait_for("web2 says that it is no TLS", lambda: said(lab.client.address, "TLS"))
        # A key that nobody configured. Python's end sees the refusal at its first read.
        lab.client.run("sh", "-c", "true")
        web1.run("openssl", "genpkey", "-algorithm", "ed25519", "-out", "/run/stranger-node.key")
        told(lab.client, web2, b"", credentials(web1, "stranger", "/run/stranger-node.key"))
        wait_for("web2 does not know the key", lambda: said(lab.client.address, "key"))
        # web1's own key, and nonsense for frames: it says so and drops the link. Should web1 itself
        # call meanwhile, it takes the place of this connection, which is then made anew.
        context = credentials(web1, "web1")
        # (A frame is its length, its type, its payload.)
        for nonsense, words in ((b"\xff" * 64, ("4294967295",)),
                                (b"\x00\x00\x00\x04\xee" + b"x" * 8, ("bad-type",)),
                                (b"\x00\x00\x00\x21\x01" + b"\xfe" * 64, ("WELCOME",))):
            def turned_away(nonsense=nonsense, words=words):
                told(web1, web2, nonsense, context)
                return said(web1.address, *words)

            wait_for(f"web2 says {' '.join(words)}", turned_away, every=0.5)
        # All of that did nothing to the pair.
        for node in lab.nodes:
            wait_for(f"{node.name} is linked", lambda: any(
                p["connected"] for p in node.syncd().get("peers", ())))
        save(web1.path("/etc/nginx/conf.d/after.conf"), vhost("after.test", "after"))
        wait_in_step(lab, generation)
        check(read(web2.path("/etc/nginx/conf.d/after.conf")) != "", "the pair no longer works")


def frame(kind, *fields):
    payload = bytes((kind,)) + b"".join(fields)
    return struct.pack("!I", len(payload)) + payload


def text(value):
    return struct.pack("!H", len(value)) + value.encode()


@test()
def a_stolen_key_of_a_link_learns_nothing():
    """It is certified for ever; but only the node itself can sign the connection."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, mirrors=MIRROR, keys=keys), agents=False, syncds=True)
        generation = wait_in_step(lab)
        syncd = next(r for r in web2.started if r.name == "syncd")
        context = credentials(web1, "web1")
        # WELCOME; then HELLO with the mirror that web2 has, and with a signature of nothing.
        words = (frame(1, struct.pack("!H", 1), text("edge"), text("web1")) +
                 frame(16, bytes(32), text("0.1.0"), b"\x01", text("nginx"), bytes(32), bytes(96)))

        def answered():
            """Until it is: web1 itself may call meanwhile, and take the thief's place."""
            heard, kinds = told(lab.client, web2, words, context), set()
            while len(heard) >= 5:
                size, kind = struct.unpack("!IB", heard[:5])
                kinds.add(kind)
                heard = heard[4 + size:]
            # WELCOME, PING, HELLO, BYE: no HEAD, and nothing of what is mirrored.
            check(kinds <= {1, 2, 3, 4, 16}, f"it heard frames of the types {kinds}")
            return {1, 4} <= kinds and "not signed with the node's key" in syncd.text()

        wait_for("web2 turns the thief away, and says what has happened", answered, every=0.5)
        save(web1.path("/etc/nginx/conf.d/after.conf"), vhost("after.test", "after"))
        wait_in_step(lab, generation)


@test()
def a_file_that_cannot_be_read_blocks_and_is_named():
    """Root reads everything; what it cannot take is what is neither file, directory nor link."""
    with Lab() as lab:
        web1, web2 = lab.nodes
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, mirrors=MIRROR, keys=keys), agents=False, syncds=True)
        generation = wait_in_step(lab)
        os.mkfifo(web1.path("/etc/nginx/conf.d/pipe"))
        save(web1.path("/etc/nginx/conf.d/site.conf"), vhost("site.test", "x"))
        wait_mirror(web1, "invalid", "/etc/nginx/conf.d/pipe")
        check(web2.mirror()["id"] == generation, "something was published all the same")
        os.remove(web1.path("/etc/nginx/conf.d/pipe"))
        wait_in_step(lab, generation)


@test()
def a_full_disk_on_the_receiver_refuses_and_keeps_the_old_tree():
    with Lab() as lab:
        web1, web2 = lab.nodes
        # web2's state directory on a small disk of its own.
        os.makedirs(web2.path("/var/lib/tandem"), 0o700)
        web2.run("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", "/var/lib/tandem")
        keys = {node.name: node.keygen() for node in lab.nodes}
        start_pair(lab, tandem_conf(lab, mirrors=MIRROR, keys=keys), agents=False, syncds=True)
        generation = wait_in_step(lab)
        before = tree(web2)
        save(web1.path("/etc/nginx/blob.bin"), os.urandom(8 * 1024 * 1024))
        wait_mirror(web1, "refused", "space", of=web2)
        check(not difference(before, tree(web2)), "web2's tree was touched")
        web2.run("mount", "-o", "remount,size=64m", "/var/lib/tandem")
        web2.run("tandem", "sync")
        wait_in_step(lab, generation)
        wait_same_trees(lab)
