# SPDX-License-Identifier: Apache-2.0
"""VRRP adverts made by hand, right and wrong in each way that there is: RFC 3768 section 5.1 with
the authentication of RFC 2338, and RFC 9568 section 5.1."""
import socket
import struct

from pairs import VIP


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def advert_v2(vrid=51, priority=200, addresses=(VIP,), auth_type=1, interval=1,
              password=b"1111", version=2, kind=1, count=None, good_sum=True, tail=b""):
    body = b"".join(socket.inet_aton(a) for a in addresses) + password.ljust(8, b"\0") + tail
    head = bytes((version << 4 | kind, vrid, priority, len(addresses) if count is None else count,
                  auth_type, interval))
    total = checksum(head + b"\0\0" + body) ^ (0 if good_sum else 0x5555)
    return head + struct.pack("!H", total) + body


def advert_v3(source, destination, vrid=51, priority=200, addresses=(VIP,), interval_cs=100):
    body = b"".join(socket.inet_aton(a) for a in addresses)
    head = bytes((0x31, vrid, priority, len(addresses))) + struct.pack("!H", interval_cs & 0xfff)
    pseudo = (socket.inet_aton(source) + socket.inet_aton(destination) +
              struct.pack("!BBH", 0, 112, len(head) + 2 + len(body)))
    return head + struct.pack("!H", checksum(pseudo + head + b"\0\0" + body)) + body


def send(host, to, payload, ttl=255, times=1):
    with host.socket(socket.AF_INET, socket.SOCK_RAW, 112) as raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        for _ in range(times):
            raw.sendto(payload, (to, 0))
