# SPDX-License-Identifier: Apache-2.0
"""accept = false: addresses that are held for others to route through, and not served."""
from lab import Lab, Probe, check, test, wait_for
from pairs import VIP, VIP6, router, start_pair, tandem_conf, wait_state

VIP_B = "198.51.100.202"


def tables(node):
    return node.run("nft", "list", "tables").split("\n")[:-1]


def answers(lab, address, timeout=10.0):
    return lab.client.get(address, timeout=timeout)[0] == 200


@test()
def what_is_held_and_not_accepted_answers_arp_and_nothing_else():
    with Lab() as lab:
        web1, web2 = lab.nodes

        def text(accept):
            return tandem_conf(lab, [
                router(advert_int=0.2, accept=accept),
                router("VI_2", 52, VIP_B, advert_int=0.2),
                # The owner of an address serves it.
                router("VI_3", 53, "198.51.100.203", {"web1": 255, "web2": 90}, advert_int=0.2,
                       accept=accept)])

        start_pair(lab, text("false"))
        for address in (VIP, VIP_B, "198.51.100.203"):
            lab.wait_holder("web1", address)
        wait_state(web2, "BACKUP")
        check(tables(web1) == tables(web2) == ["table inet tandem_edge"], f"{tables(web1)}")
        for address in (VIP_B, "198.51.100.203"):
            wait_for(f"{address} is served", lambda a=address: answers(lab, a))
        check(not answers(lab, VIP, 1), "an address that is only held is served")
        wait_for(f"ARP for {VIP} is answered", lambda: not answers(lab, VIP, 1) and
                 "lladdr" in lab.client.run("ip", "neigh", "show", VIP))
        # The host itself may still look at what serves there.
        wait_for("the host itself reaches it", lambda: web1.get(VIP)[0] == 200)
        # It takes a reload to serve it, and no change of state.
        before = web1.instance()["transitions"]
        for node in lab.nodes:
            node.configure(text("true"))
            check(node.call("agent", "reload").get("ok"), f"{node.name} does not reload")
        wait_for("the address is served", lambda: answers(lab, VIP))
        check(web1.instance()["transitions"] == before, "the reload was a change of state")
        check(not tables(web2), f"left behind: {tables(web2)}")
        # Whoever dies takes the rules along.
        web1.configure(text("false"))
        check(web1.call("agent", "reload").get("ok"), "no reload")
        wait_for("it is not served", lambda: not answers(lab, VIP, 1))
        agent = next(r for r in web1.started if r.name == "agent")
        agent.kill_all()
        wait_for("nothing is left behind", lambda: not tables(web1))


@test()
def neighbours_find_an_ipv6_address_that_is_not_accepted():
    with Lab() as lab:
        for host in (*lab.nodes, lab.client):
            host.use_ipv6()
        sources = " ".join(f'{node.name} = "{node.address6}";' for node in lab.nodes)

        def text(accept):
            return tandem_conf(lab, [router(vip=VIP6, advert_int=0.2, accept=accept,
                                            unicast_src_ip=f"{{ {sources} }}")])

        start_pair(lab, text("false"), nginx=False)
        lab.wait_holder("web1", VIP6)
        client = Probe(lab.client, "ask", VIP6, "9", "10000", ready=False)
        wait_for("the client has its hardware address", lambda: "lladdr" in lab.client.run(
            "ip", "-6", "neigh", "show", VIP6))
        check(client.stop()["answered"] == 0, "an address that is only held is served")
        for node in lab.nodes:
            node.configure(text("true"))
            check(node.call("agent", "reload").get("ok"), f"{node.name} does not reload")
        Probe(lab.client, "ask", VIP6, "9", "10000").stop()  # waits for its first answer
