# SPDX-License-Identifier: Apache-2.0
"""How adverts come in: one socket for all routers of an interface and family."""
import re
import signal

from lab import Lab, check, kill, read, test, wait_for
from pairs import router, start_pair, tandem_conf

VRRP = 0x70


def sockets(node, table):
    """Those of the node that receive VRRP."""
    return len(re.findall(rf":{VRRP:04X} ", read(f"/proc/{node.pid}/net/{table}"), re.IGNORECASE))


def roles(node):
    return {i["vrid"]: i["state"] for i in node.agent().get("instances", ())}


@test()
def forty_routers_of_an_interface_hear_with_one_socket():
    # At the edges of the words in which the kernel's filter looks them up, and between them.
    vrids = [1, *range(28, 37), *range(60, 69), 127, 128, *range(220, 238), 255]
    routers = [router(f"VI_{vrid}", vrid, f"198.51.100.{150 + at}", advert_int=0.3,
                      priority={"web1": 100 + at % 2, "web2": 101 - at % 2},
                      multicast="true" if vrid > 100 else "false")
               for at, vrid in enumerate(vrids)]
    expected = [{vrid: "MASTER" if at % 2 == first else "BACKUP" for at, vrid in enumerate(vrids)}
                for first in (1, 0)]
    expected[0][6], expected[1][6] = "MASTER", "BACKUP"

    with Lab() as lab:
        for node in lab.nodes:
            node.use_ipv6()
        sources = " ".join(f'{node.name} = "{node.link_local}";' for node in lab.nodes)
        routers.append(router("VI_6", 6, "2001:db8::200", advert_int=0.3, multicast="true",
                              mcast_src_ip=f"{{ {sources} }}"))
        start_pair(lab, tandem_conf(lab, routers), nginx=False)

        def settled():
            return [roles(node) for node in lab.nodes] == expected

        def shared():
            # One by the address, one by the interface; and one for IPv6.
            return all((sockets(node, "raw"), sockets(node, "raw6")) == (2, 1)
                       for node in lab.nodes)

        wait_for("each node has its half", settled)
        check(shared(), f"more sockets: {read(f'/proc/{lab.nodes[0].pid}/net/raw')}")
        # They outlive the engine, and the next one goes on with what they hold.
        agent = next(r for r in lab["web1"].started if r.name == "agent")
        engine = agent.parts(privileged=False)
        kill(engine[0], signal.SIGKILL)
        wait_for("a new engine knows all of them", lambda: agent.parts(privileged=False)
                 not in ([], engine) and len(roles(lab["web1"])) == len(expected[0]))
        wait_for("each node has its half again", settled)
        check(shared(), f"more sockets: {read(f'/proc/{lab.nodes[0].pid}/net/raw')}")
        # A reload that takes away all that multicast: nobody hears for them any more.
        rest = [r for at, r in enumerate(routers[:-1]) if vrids[at] < 100]
        for node in lab.nodes:
            node.configure(tandem_conf(lab, rest))
            check(node.call("agent", "reload").get("ok"), f"{node.name} does not reload")
        wait_for("one socket is left on each node", lambda: all(
            (sockets(node, "raw"), sockets(node, "raw6")) == (1, 0) for node in lab.nodes))
