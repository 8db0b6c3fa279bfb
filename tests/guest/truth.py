"""What the guest itself says, parsed from the output of its `snapshot` program, as plain values to compare with."""

import ipaddress
from dataclasses import dataclass, field

# /proc/net/{tcp,udp} number -> the name that `ss` prints
STATES = {
    1: "ESTAB", 2: "SYN-SENT", 3: "SYN-RECV", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT",
    7: "UNCONN", 8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN-RECV",
}  # fmt: skip


@dataclass
class Process:
    pid: int
    ppid: int = 0
    uid: int = 0
    gid: int = 0
    state: str = "?"
    comm: str = ""
    threads: int = 0
    args: list[str] = field(default_factory=list)
    executable: str | None = None  # kernel threads have none
    cgroup: str = ""


@dataclass(frozen=True)
class Socket:
    netns: int
    protocol: str
    family: str
    state: str
    local: str
    remote: str
    uid: int
    inode: int  # 0: no process has it


@dataclass
class Truth:
    processes: dict[int, Process]
    sockets: list[Socket]
    holders: dict[int, set[tuple[int, int]]]  # inode -> {(pid, fd)}
    netns: dict[int, int]  # pid -> inode of its network namespace

    @property
    def netns_of_init(self) -> int:
        return self.netns[1]

    def sockets_of(self, pid: int) -> set[tuple[int, int]]:
        """(fd, inode) of the sockets it has open, of any family."""
        return {(fd, inode) for inode, holders in self.holders.items() for holder, fd in holders if holder == pid}

    def held_by(self, socket: Socket) -> set[tuple[int, int]]:
        return self.holders.get(socket.inode, set())


def parse(text: str) -> Truth:
    processes: dict[int, Process] = {}
    sockets: list[Socket] = []
    holders: dict[int, set[tuple[int, int]]] = {}
    namespaces: dict[int, int] = {}
    for line in text.split("\n"):
        kind, _, rest = line.partition(" ")
        if kind == "net":
            netns, table, row = rest.split(" ", 2)
            sockets.append(_socket(int(netns), table, row.split()))
        elif kind == "fd":
            pid, fd, inode = map(int, rest.split())
            holders.setdefault(inode, set()).add((pid, fd))
        elif kind == "netns":
            pid, inode = map(int, rest.split())
            namespaces[pid] = inode
        elif kind == "status":
            pid, _, value = rest.partition(" ")
            _status(processes.setdefault(int(pid), Process(int(pid))), value)
        elif kind == "exe":
            pid, _, value = rest.partition(" ")
            processes[int(pid)].executable = value
        elif kind == "cgroup":
            pid, _, value = rest.partition(" ")
            processes[int(pid)].cgroup = value
        elif kind == "arg":
            pid, _, value = rest.partition(" ")
            processes[int(pid)].args.append(_unescaped(value))
    return Truth(processes, sockets, holders, namespaces)


def endpoint(text: str) -> tuple[str, int]:
    """"127.0.0.1:25", "[::1]:25", "::1:25" or "*:25" as (address, port); a v4-mapped address as the v4 one."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    address = ipaddress.ip_address(host)
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port)


def _status(process: Process, line: str) -> None:
    name, _, value = line.partition(":")
    value = value.strip("\t")
    match name:
        case "Name":
            process.comm = _unescaped(value)
        case "State":
            process.state = value[0]
        case "PPid":
            process.ppid = int(value)
        case "Uid":
            process.uid = int(value.split()[0])
        case "Gid":
            process.gid = int(value.split()[0])
        case "Threads":
            process.threads = int(value)


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\\\", "\\")


def _socket(netns: int, table: str, columns: list[str]) -> Socket:
    return Socket(
        netns=netns,
        protocol=table[:3],
        family="v6" if table.endswith("6") else "v4",
        state=STATES[int(columns[3], 16)],
        local=_endpoint(columns[1]),
        remote=_endpoint(columns[2]),
        uid=int(columns[7]),
        inode=int(columns[9]),
    )


def _endpoint(hexadecimal: str) -> str:
    """The kernel prints an address as 32-bit words in host order, and the port as a number."""
    words, port = hexadecimal.split(":")
    packed = b"".join(int(words[i : i + 8], 16).to_bytes(4, "little") for i in range(0, len(words), 8))
    address = ipaddress.ip_address(packed)
    mapped = address.version == 6 and address.ipv4_mapped
    host = str(mapped or address)
    return f"[{host}]:{int(port, 16)}" if ":" in host else f"{host}:{int(port, 16)}"
