"""What hyperward reads from outside equals what the guest's own /proc says, for every process, socket and flow.

Each class boots one guest and sets up the mixed load of programs/load.c. The guest gives its own account just
before it is paused and again after it goes on; in between, all questions are put to its standing memory: to the
running QEMU by each way of access, and to dumps of that moment. What both accounts have must be found, what
neither has must not.
"""

import concurrent.futures
import os
import pathlib
import shutil
import tempfile
import time
import unittest

import hyperward
import truth
from guest import Guest
from initramfs import USERS

LOAD = "load -s 300 -p 35"
# Programs that are not where they were, and one in a control group of its own. Each sleeps until the guest ends.
PLACES = {
    "bind": "mkdir /tmp/a /tmp/b; cp /bin/busybox /tmp/a; mount --bind /tmp/a /tmp/b; /tmp/b/busybox sleep 9999 &",
    "deleted": "mkdir /tmp/c; cp /bin/busybox /tmp/c; /tmp/c/busybox sleep 9999 & sleep 1; rm /tmp/c/busybox",
    "moved": "mkdir /tmp/d; cp /bin/busybox /tmp/d; /tmp/d/busybox sleep 9999 & sleep 1; mv /tmp/d /tmp/e",
    "fileless": "fileless /bin/busybox sleep 9999 &",
    "group": "G=/sys/fs/cgroup/system.slice/cron.service; mkdir -p $G; sleep 9999 & echo $! >$G/cgroup.procs",
}  # fmt: skip
EXECUTABLES_AMONG = {
    "/tmp/b/busybox", "/tmp/c/busybox (deleted)", "/tmp/e/busybox", "/memfd:fileless (deleted)", "/bin/busybox",
}  # fmt: skip
CGROUP_AMONG = "/system.slice/cron.service"
SOCKETS_LEAST = 200
PROCESSES_LEAST = 70
HELD_SOCKETS_LEAST = 180
STRANGER = {"v4": "203.0.113.9:4444", "v6": "[2001:db8::9]:4444"}
ALL_FLOWS = 1 << 20


class Subject:
    """One guest's truth, and what hyperward answered about it, each way."""

    def __init__(self, kernel: str, accesses: list[str], forms: list[str], flows_most: int, **machine):
        self.ps, self.ss, self.owners = {}, {}, []
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="hyperward-test-"))
        try:
            with Guest(kernel, **machine) as guest:
                guest.start(LOAD)
                for command in PLACES.values():
                    guest.must(f"({command}) >/dev/null 2>&1")
                time.sleep(1)
                self.before = truth.parse(guest.must("exec snapshot"))
                guest.pause()
                ways = {access: ["--pid", guest.pid, "--access", access] for access in accesses}
                ways["qmp"] = ["--qmp", guest.qmp_path]
                for form in forms:
                    guest.dump(self._folder / form, form)
                    ways[form] = ["--memory", self._folder / form]
                for way, words in ways.items():
                    self.ps[way] = hyperward.ask("ps", *words)
                    self.ss[way] = hyperward.ask("ss", *words)
                self._ask_owners(ways[accesses[0]], flows_most)
                guest.resume()
                self.after = truth.parse(guest.must("exec snapshot"))
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask_owners(self, way: list, flows_most: int) -> None:
        """Asks for every socket's flow, or for some that are spread evenly over all."""
        sockets = self.before.sockets
        chosen = sockets[:: -(-len(sockets) // flows_most)]

        def ask(socket: truth.Socket):
            return socket, hyperward.ask("owner", *way, socket.protocol, *flow_of(socket))

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            self.owners = list(pool.map(ask, chosen))


def flow_of(socket: truth.Socket) -> tuple[str, str]:
    """The socket's own flow; for one that has no peer, the flow of a stranger's packet to it."""
    local, remote = socket.local, socket.remote
    _, port = truth.endpoint(remote)
    if port != 0:
        return local, remote
    address, port = truth.endpoint(local)
    if address in ("0.0.0.0", "::"):
        local = f"127.0.0.1:{port}" if address == "0.0.0.0" else f"[::1]:{port}"
    return local, STRANGER["v4" if "." in local else "v6"]


def identity_true(socket: truth.Socket) -> tuple:
    ends = truth.endpoint(socket.local), truth.endpoint(socket.remote)
    return socket.netns, socket.protocol, socket.family, *ends, socket.inode


def identity_seen(socket: dict) -> tuple:
    ends = truth.endpoint(socket["local"]), truth.endpoint(socket["remote"])
    return socket["netns"], socket["protocol"], socket["family"], *ends, socket["inode"]


def is_kernel_thread(process: truth.Process) -> bool:
    return process.pid == 2 or process.ppid == 2


class Claims:
    """The tests, for whatever guest a subclass boots. Not a TestCase itself, so that it is not run alone."""

    machine: dict = {}
    accesses: list[str] = []
    forms: list[str] = []
    flows_most = ALL_FLOWS
    kernel = ""
    subject: Subject

    @classmethod
    def setUpClass(cls):
        cls.subject = Subject(cls.kernel, cls.accesses, cls.forms, cls.flows_most, **cls.machine)

    def test_the_load_is_as_large_as_it_claims(self):
        self.assertGreaterEqual(len(self.subject.before.sockets), SOCKETS_LEAST)
        self.assertGreaterEqual(len(self.subject.before.processes), PROCESSES_LEAST)
        states = {socket.state for socket in self.subject.before.sockets}
        self.assertLessEqual({"ESTAB", "LISTEN", "UNCONN", "TIME-WAIT", "SYN-SENT", "SYN-RECV", "CLOSE-WAIT"}, states)

    def test_ps_has_every_process_as_the_guest_has_it(self):
        for way, answer in self.subject.ps.items():
            found = {process["pid"]: process for process in answer}
            # One that is gone in the second account may have ended before the pause.
            for pid in self.subject.before.processes.keys() & self.subject.after.processes.keys():
                true = self.subject.before.processes[pid]
                with self.subTest(way=way, true=true):
                    self.check_process(found[pid], true)

    def check_process(self, seen: dict, true: truth.Process):
        self.assertEqual((seen["ppid"], seen["uid"], seen["gid"]), (true.ppid, true.uid, true.gid))
        self.assertEqual(seen["args"], true.args)
        self.assertEqual(seen["user"], user_name(true.uid))
        if is_kernel_thread(true):
            self.assertTrue(true.comm.startswith(seen["comm"]), seen)  # /proc adds what a worker works on
        else:
            self.assertEqual(seen["comm"], true.comm)
        if true.comm.startswith("load"):  # it stands still; others may run at one moment and sleep at the next
            self.assertEqual(seen["state"], true.state)

    def test_ps_has_the_program_and_the_control_group_of_every_process(self):
        processes = self.subject.before.processes
        self.assertLessEqual(EXECUTABLES_AMONG, {process.executable for process in processes.values()})
        self.assertIn(CGROUP_AMONG, {process.cgroup for process in processes.values()})
        for way, answer in self.subject.ps.items():
            found = {process["pid"]: process for process in answer}
            for pid in processes.keys() & self.subject.after.processes.keys():
                seen, true = found[pid], processes[pid]
                with self.subTest(way=way, true=true):
                    self.assertEqual((seen["executable"], seen["cgroup"]), (true.executable, true.cgroup))

    def test_ps_has_the_open_sockets_of_every_process(self):
        before, after = self.subject.before, self.subject.after
        self.assertGreaterEqual(sum(map(len, before.holders.values())), HELD_SOCKETS_LEAST)
        for way, answer in self.subject.ps.items():
            for process in answer:
                pid = process["pid"]
                if before.sockets_of(pid) == after.sockets_of(pid):
                    with self.subTest(way=way, pid=pid, comm=process["comm"]):
                        seen = {(socket["fd"], socket["inode"]) for socket in process["sockets"]}
                        self.assertEqual(seen, before.sockets_of(pid))

    def test_ps_has_no_process_that_the_guest_has_not(self):
        known = self.subject.before.processes.keys() | self.subject.after.processes.keys()
        for way, answer in self.subject.ps.items():
            with self.subTest(way=way):
                # A kernel worker can come and go between the two accounts.
                strangers = [p for p in answer if p["pid"] not in known and not p["comm"].startswith("kworker/")]
                self.assertEqual(strangers, [])

    def test_ss_has_every_socket_as_the_guest_has_it(self):
        held = [true for true in self.subject.before.sockets if self.subject.before.held_by(true)]
        self.assertGreaterEqual(len(held), HELD_SOCKETS_LEAST)
        for way, answer in self.subject.ss.items():
            found = {identity_seen(seen): seen for seen in answer}
            for true in self.subject.before.sockets:
                with self.subTest(way=way, true=true):
                    self.check_socket(found[identity_true(true)], true)

    def check_socket(self, seen: dict, true: truth.Socket):
        self.assertEqual(seen["state"], true.state)
        if true.inode:  # without one /proc shows user 0, whoever it was
            self.assertEqual(seen["uid"], true.uid)
            self.assertEqual(seen["user"], user_name(true.uid))
        holders = {(holder["pid"], holder["fd"]) for holder in seen["processes"]}
        self.assertEqual(holders, self.subject.before.held_by(true))
        for holder in seen["processes"]:
            self.assertEqual(holder["comm"], self.subject.before.processes[holder["pid"]].comm)

    def test_ss_has_no_socket_that_the_guest_has_not(self):
        accounts = (self.subject.before, self.subject.after)
        known = {identity_true(true) for account in accounts for true in account.sockets}
        for way, answer in self.subject.ss.items():
            with self.subTest(way=way):
                self.assertEqual([seen for seen in answer if identity_seen(seen) not in known], [])

    def test_owner_names_the_user_and_process_of_every_held_socket(self):
        checked = 0
        for true, answer in self.subject.owners:
            if not true.inode:
                continue
            candidates = self.sockets_that_may_answer(true)
            pids = {pid for socket in candidates for pid, _ in self.subject.before.held_by(socket)}
            with self.subTest(flow=flow_of(true), answer=answer):
                self.assertIn(answer["uid"], {socket.uid for socket in candidates})
                self.assertIn(answer["gid"], (None, answer["uid"]))  # in the load every user's group has his number
                self.assertEqual(answer["user"], user_name(answer["uid"]))
                self.assertIsNotNone(answer["process"])
                self.assertIn(answer["process"]["pid"], pids)
                self.assertEqual(
                    answer["process"]["comm"], self.subject.before.processes[answer["process"]["pid"]].comm
                )
                checked += 1
        self.assertGreaterEqual(checked, min(self.flows_most, HELD_SOCKETS_LEAST) // 2)

    def test_owner_of_a_handshake_under_way_is_the_listener(self):
        self.check_unheld("SYN-RECV")

    def test_owner_of_a_connection_nobody_accepted_is_the_listener(self):
        self.check_unheld("ESTAB")

    def test_owner_of_a_connection_in_time_wait_is_no_process(self):
        for true, answer in self.subject.owners:
            if true.state == "TIME-WAIT":
                with self.subTest(flow=flow_of(true), answer=answer):
                    self.assertIsNone(answer["process"])

    def check_unheld(self, state: str):
        """Sockets in no process: a name, if one is given, is that of the listener they belong to."""
        for true, answer in self.subject.owners:
            if true.state != state or true.inode:
                continue
            listeners = [
                socket
                for socket in self.subject.before.sockets
                if socket.state == "LISTEN" and truth.endpoint(socket.local)[1] == truth.endpoint(true.local)[1]
            ]
            pids = {pid for socket in listeners for pid, _ in self.subject.before.held_by(socket)}
            with self.subTest(flow=flow_of(true), answer=answer):
                self.assertIn(answer["uid"], {socket.uid for socket in listeners})
                if answer["process"] is not None:
                    self.assertIn(answer["process"]["pid"], pids)

    def sockets_that_may_answer(self, true: truth.Socket) -> list[truth.Socket]:
        """The socket asked for, and others with the same endpoints: SO_REUSEPORT, and the first network namespace,
        which has precedence over others."""
        same = [
            socket
            for socket in self.subject.before.sockets
            if (socket.protocol, socket.local, socket.remote) == (true.protocol, true.local, true.remote)
        ]
        first_netns = self.subject.before.netns_of_init
        return [socket for socket in same if socket.netns == first_netns] or same


def user_name(uid: int) -> str | None:
    return next((name for name, number in USERS.items() if number == uid), None)


class SharedMemory(Claims):
    """The usual guest: memfd, 4-level paging; every way of access, every flow, both kinds of dump."""

    accesses = ["mapped", "readv"]
    forms = ["raw", "elf"]


class PrivateMemory(Claims):
    """Anonymous memory with a hole below 4 GiB, 5-level paging, two processors, the other machine type."""

    machine = {"memory": "anon", "ram_mib": 3072, "cpus": 2, "cpu": "max", "machine": "q35"}
    accesses = ["readv"]
    flows_most = 40


def load_tests(loader, tests, pattern):
    suite = unittest.TestSuite()
    for kernel in os.environ.get("HYPERWARD_KERNELS", "6.1").split():
        for claims in (SharedMemory, PrivateMemory):
            name = f"{claims.__name__} of {kernel}"
            suite.addTests(loader.loadTestsFromTestCase(type(name, (claims, unittest.TestCase), {"kernel": kernel})))
    return suite
