"""What the world sees of a guest, measured outside of it: run in the world's network, it prints one JSON line
per 100 ms until its standard input closes.

  syn_mail, syn_scan   TCP SYNs to port 25 that arrived since the last line: for the mail host, for any other
  web_ok, web_failed   requests to the guest's web server since the last line
  at                   CLOCK_MONOTONIC, in seconds
"""

import http.client
import json
import selectors
import socket
import struct
import sys
import threading
import time

ETH_P_IP = 0x0800
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


def is_syn_to_mail(packet: bytes) -> bool:
    if len(packet) < 34 or packet[9] != socket.IPPROTO_TCP:
        return False
    header = (packet[0] & 0x0F) * 4
    (port,) = struct.unpack_from("!H", packet, header + 2)
    return port == 25 and packet[header + 13] & 0x12 == 0x02


def main() -> None:
    guest_address, mail_address = sys.argv[1], socket.inet_aton(sys.argv[2])
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    wire.bind(("world", ETH_P_IP))
    wire.setblocking(False)
    web = Web(guest_address)
    web.start()

    selector = selectors.DefaultSelector()
    selector.register(wire, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    counts = {"syn_mail": 0, "syn_scan": 0}
    web_ok = web_failed = 0
    due = time.monotonic() + LINE_EVERY_S
    while True:
        for key, _ in selector.select(max(0, due - time.monotonic())):
            if key.fileobj is sys.stdin:
                return
            packet, address = wire.recvfrom(2048)
            if address[2] != socket.PACKET_OUTGOING and is_syn_to_mail(packet):
                counts["syn_mail" if packet[16:20] == mail_address else "syn_scan"] += 1
        if time.monotonic() >= due:
            ok, failed = web.ok, web.failed
            line = {"at": time.monotonic(), **counts, "web_ok": ok - web_ok, "web_failed": failed - web_failed}
            print(json.dumps(line), flush=True)
            counts = dict.fromkeys(counts, 0)
            web_ok, web_failed = ok, failed
            due += LINE_EVERY_S


main()
