"""How long packets take from the guest's tap to the world: the filter's own share of a request, which a slow guest
cannot hide.

Two packet sockets, one on the tap and one at the world's end of the bridge, collect a web server's packets with the
kernel's time of arrival. They are read when the run is over, so that collecting costs next to nothing meanwhile. The
tap's socket sees a frame before the tap's BPF programs do; what comes back from hyperward it sees a second time, and
the first one counts.
"""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 26, 33, 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER_BYTES = 128 << 20
HEADERS_BYTES = 96


def _from_port(port: int) -> list[tuple[int, int, int, int]]:
    """A classic BPF program (Documentation/networking/filter.rst): IPv4 TCP from that port, no later fragments."""
    return [
        (0x28, 0, 0, 12),  # the ethertype
        (0x15, 0, 8, ETH_P_IP),
        (0x30, 0, 0, 23),  # the protocol
        (0x15, 0, 6, socket.IPPROTO_TCP),
        (0x28, 0, 0, 20),
        (0x45, 4, 0, 0x1FFF),  # the fragment's offset
        (0xB1, 0, 0, 14),  # x: the IP header's length
        (0x48, 0, 0, 14),  # the source port
        (0x15, 0, 1, port),
        (0x06, 0, 0, HEADERS_BYTES),
        (0x06, 0, 0, 0),
    ]


@contextlib.contextmanager
def _network_of(pid: int) -> Iterator[None]:
    """This thread is in that process's network for a while."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as own, open(f"/proc/{pid}/ns/net", "rb") as other:
        for namespace in (other, own):
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            if namespace is other:
                yield


class Collector:
    def __init__(self, interface: str, port: int):
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        program = b"".join(struct.pack("HBBI", *one) for one in _from_port(port))
        buffer = ctypes.create_string_buffer(program)
        filter_ = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)

    def take(self) -> tuple[dict[tuple, int], int]:
        """When each packet first arrived, in ns, and how many were lost, since the last time."""
        arrivals: dict[tuple, int] = {}
        while True:
            try:
                frame, control, _, address = self._socket.recvmsg(HEADERS_BYTES, 64)
            except BlockingIOError:
                break
            if address[2] == socket.PACKET_OUTGOING:
                continue
            seconds, ns = struct.unpack("ll", control[0][2])
            arrivals.setdefault(_identity(frame), seconds * 10**9 + ns)
        _, lost = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return arrivals, lost

    def close(self) -> None:
        self._socket.close()


def _identity(frame: bytes) -> tuple:
    """The same at both ends: the client's port, the IP identification, and TCP's numbers and flags."""
    tcp = 14 + (frame[14] & 0x0F) * 4
    (identification,) = struct.unpack_from("!H", frame, 18)
    port, sequence, acknowledged = struct.unpack_from("!HII", frame, tcp + 2)
    return port, identification, sequence, acknowledged, frame[tcp + 13]


class Wire:
    def __init__(self, tap: str, world_pid: int, world: str, port: int):
        self._tap = Collector(tap, port)
        with _network_of(world_pid):
            self._world = Collector(world, port)

    def clear(self) -> None:
        self._tap.take()
        self._world.take()

    def take(self) -> dict:
        """Of every packet that arrived in the world since clear(): the time since the tap had it, by packet, and added
        up by connection. uncounted: packets that came too fast to be collected."""
        sent, lost_here = self._tap.take()
        arrived, lost_there = self._world.take()
        by_packet, by_connection = [], {}
        for identity, at in arrived.items():
            began = sent.get(identity)
            if began is None or at < began:
                continue
            took_us = (at - began) / 1000
            by_packet.append(took_us)
            by_connection[identity[0]] = by_connection.get(identity[0], 0) + took_us
        return {
            "packets_us": by_packet,
            "connections_us": list(by_connection.values()),
            "uncounted": lost_here + lost_there,
        }

    def close(self) -> None:
        self._tap.close()
        self._world.close()
