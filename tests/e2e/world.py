"""What the world sees of a guest, measured outside of it: run in the world's network, it prints one JSON line
per 100 ms until its standard input closes.

    world.py WEB_SERVER NAME=PROTOCOL:NETWORK:PORT[-PORT] ...

  seen                 for each NAME of which packets arrived since the last line: how many, how many of them TCP
                       SYNs (begun), and when the first and the last came
  web_ok, web_failed   requests to the web server since the last line
  lost                 packets that came too fast to be counted, since the last line
  at                   CLOCK_MONOTONIC, in seconds, as all times
"""

import http.client
import ipaddress
import json
import selectors
import socket
import struct
import sys
import threading
import time

ETH_P_IP = 0x0800
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 64 << 20
PACKETS_AT_ONCE = 256
LINE_EVERY_S = 0.1
WEB_EVERY_S = 0.02
WEB_TIMEOUT_S = 2


class Web(threading.Thread):
    """Asks the guest's web server for a page, over a new connection each time."""

    def __init__(self, address: str):
        super().__init__(daemon=True)
        self.address, self.ok, self.failed = address, 0, 0

    def run(self) -> None:
        while True:
            try:
                connection = http.client.HTTPConnection(self.address, timeout=WEB_TIMEOUT_S)
                connection.request("GET", "/")
                self.ok += connection.getresponse().status == 200
                connection.close()
            except OSError:
                self.failed += 1
            time.sleep(WEB_EVERY_S)


class Watched:
    """Packets to ports of a network."""

    def __init__(self, words: str):
        self.name, _, rest = words.partition("=")
        protocol, network, ports = rest.split(":")
        first, _, last = ports.partition("-")
        self._protocol = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}[protocol]
        addresses = ipaddress.ip_network(network)
        self._mask, self._network = int(addresses.netmask), int(addresses.network_address)
        self._first_port, self._last_port = int(first), int(last or first)
        self.take()

    def matches(self, protocol: int, address: int, port: int) -> bool:
        return (
            protocol == self._protocol
            and self._first_port <= port <= self._last_port
            and address & self._mask == self._network
        )

    def count(self, is_syn: bool) -> None:
        self._last = time.monotonic()
        self._first = self._first or self._last
        self._packets += 1
        self._begun += is_syn

    def take(self) -> dict | None:
        """What was counted since it was last called."""
        taken = None
        if getattr(self, "_packets", 0):
            taken = {"packets": self._packets, "begun": self._begun, "first": self._first, "last": self._last}
        self._packets = self._begun = 0
        self._first = self._last = 0.0
        return taken


def count(packet: bytes, watched: list[Watched]) -> None:
    header = (packet[0] & 0x0F) * 4
    protocol = packet[9]
    if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) or len(packet) < header + 14:
        return
    (address,) = struct.unpack_from("!I", packet, 16)
    (port,) = struct.unpack_from("!H", packet, header + 2)
    for one in watched:
        if one.matches(protocol, address, port):
            one.count(protocol == socket.IPPROTO_TCP and packet[header + 13] & 0x12 == 0x02)
            return


def main() -> None:
    watched = [Watched(words) for words in sys.argv[2:]]
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    wire.bind(("world", ETH_P_IP))
    wire.setblocking(False)
    web = Web(sys.argv[1])
    web.start()

    selector = selectors.DefaultSelector()
    selector.register(wire, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    web_ok = web_failed = 0
    due = time.monotonic() + LINE_EVERY_S
    while True:
        for key, _ in selector.select(max(0, due - time.monotonic())):
            if key.fileobj is sys.stdin:
                return
            for _ in range(PACKETS_AT_ONCE):
                try:
                    packet, address = wire.recvfrom(128)
                except BlockingIOError:
                    break
                if address[2] != socket.PACKET_OUTGOING and len(packet) >= 34:
                    count(packet, watched)
        if time.monotonic() >= due:
            ok, failed = web.ok, web.failed
            seen = {one.name: taken for one in watched if (taken := one.take())}
            _, lost = struct.unpack("II", wire.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            line = {"at": time.monotonic(), "web_ok": ok - web_ok, "web_failed": failed - web_failed}
            print(json.dumps({**line, "seen": seen, "lost": lost}), flush=True)
            web_ok, web_failed = ok, failed
            due += LINE_EVERY_S


main()
