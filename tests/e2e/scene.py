"""The stage of the end-to-end tests: a real guest on a guarded tap, and a world that it talks to.

    host (a network namespace of ours)            world (another one)
      guest eth0 10.9.0.2 ── tap ── bridge ── veth ── 10.9.0.1, and all of 203.0.113.0/24

Both namespaces have no name: they are gone with the processes in them, however these end.

    with Scene() as scene:
        scene.guard("default allow\\n")
        scene.guest.must("...")             in the guest
        scene.world(["ping", ...])          a command in the world
        scene.hyperward("flows", "NAME")    the program under test

A daemon in the guard's place guards all guests of the scene, and answers commands and requests:

    with Scene(neighbour=True) as scene:
        scene.daemon("default allow\\n", detect="learning = true")
        scene.hyperward("alerts"), scene.api("GET", "/v1/status")
"""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests" / "guest"))

import guest as guests  # noqa: E402  (its folder is found above)
import initramfs  # noqa: E402
import kernels  # noqa: E402

HYPERWARD = os.environ.get("HYPERWARD", str(TREE / "build/release/src/cli/hyperward"))
CLONE_NEWNET = 0x40000000
GUEST_ADDRESS, WORLD_ADDRESS, WORLD_NETWORK = "10.9.0.2", "10.9.0.1", "203.0.113.0/24"
NEIGHBOUR_ADDRESS = "10.9.0.3"
DARK_NETWORK = "198.51.100.0/24"  # routed to the world, where nobody answers
GUARD_READY_TIMEOUT_S = 20
USERS = "\n".join(f"{name} = {uid}" for name, uid in initramfs.USERS.items())


def unshare_network() -> None:
    """This process, and what it starts from now on, gets a network of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare the network (are you root?)")


@dataclass
class Place:
    """Where a guest is on the stage."""

    name: str
    tap: str
    address: str
    mac: str

    @property
    def kernel_words(self) -> str:
        return f"hw.ip4={self.address}/24 hw.gw4={WORLD_ADDRESS}"

    def config(self, default: str, more: str = "") -> str:
        """A guest's file."""
        return (
            f'[guest]\nname = "{self.name}"\n'
            f'[guard]\ntap = "{self.tap}"\nrules = "rules"\ndefault = "{default}"\n'
            f"[users]\n{USERS}\n{more}"
        )


class Scene:
    def __init__(
        self,
        kernel: str = "6.1",
        *,
        memory: str = "memfd",
        default: str = "deny",
        ram_mib: int = 512,
        neighbour: bool = False,
        programs: tuple[str, ...] = (),
        extra: tuple[str, ...] = (),
        own_network: bool = True,
    ):
        """neighbour: there is a second guest; programs: of this host, that the guests get too; extra: words for QEMU;
        own_network: False where this process is in a network of the test's already, with others that shall share it.
        """
        self.place = Place(f"hyperward-{os.getpid()}", f"hwt{os.getpid()}", GUEST_ADDRESS, "52:54:00:12:34:56")
        second = Place(f"{self.place.name}-b", f"hwn{os.getpid()}", NEIGHBOUR_ADDRESS, "52:54:00:12:34:57")
        self.places = [self.place, second] if neighbour else [self.place]
        self.name = self.place.name
        self._kernel, self._memory, self._default, self._ram_mib = kernel, memory, default, ram_mib
        self._programs = programs
        self._extra = extra
        self._own_network = own_network
        self._started: list[subprocess.Popen] = []
        self.guest: guests.Guest | None = None
        self.neighbour: guests.Guest | None = None
        self.guard_process: subprocess.Popen | None = None
        self.daemon_process: subprocess.Popen | None = None

    @property
    def tap(self) -> str:
        return self.place.tap

    def __enter__(self) -> "Scene":
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="hyperward-e2e-")
            self.folder = pathlib.Path(self._folder.name)
            kernels.get(self._kernel)  # perhaps fetched: not from inside a network that leads nowhere
            guests.chosen_accelerator()
            self._build_network()
            self.guest = self._boot(self.place)
            if len(self.places) > 1:
                self.neighbour = self._boot(self.places[1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop_guard()
        self.stop_daemon()
        self.detach()
        for process in self._started:
            process.kill()
            process.wait()
        for guest in (self.guest, self.neighbour):
            if guest is not None:
                guest.close()
        if not self._own_network:
            for link in ("veth0", "br0", *(place.tap for place in self.places)):
                subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)
        self._folder.cleanup()

    def _boot(self, place: Place) -> guests.Guest:
        return guests.Guest(
            self._kernel,
            memory=self._memory,
            ram_mib=self._ram_mib,
            tap=place.tap,
            mac=place.mac,
            append=place.kernel_words,
            extra=["-name", place.name, *self._extra],
            programs=self._programs,
        )

    def _build_network(self) -> None:
        if self._own_network:
            unshare_network()
        self._world_holder = subprocess.Popen(["sleep", "infinity"], preexec_fn=unshare_network)
        self._started.append(self._world_holder)
        time.sleep(0.05)  # the child is in its own network only after preexec_fn
        for command in f"""
            ip link set lo up
            ip link add br0 type bridge
            ip link set br0 up
            ip link add veth0 type veth peer name world netns {self._world_holder.pid}
            ip link set veth0 master br0 up
        """.strip().splitlines():
            subprocess.run(command.split(), check=True)
        for place in self.places:
            subprocess.run(["ip", "tuntap", "add", place.tap, "mode", "tap"], check=True)
            subprocess.run(["ip", "link", "set", place.tap, "master", "br0", "up"], check=True)
        for command in f"""
            ip link set lo up
            ip addr add {WORLD_ADDRESS}/24 dev world
            ip link set world up
            ip route add local {WORLD_NETWORK} dev lo
        """.strip().splitlines():
            self.world(command.split())

    # -- the world -------------------------------------------------------------------------------------------

    def _in_world(self, command: list) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._world_holder.pid}/ns/net", *map(str, command)]

    def world(self, command: list, **options) -> str:
        done = subprocess.run(self._in_world(command), capture_output=True, text=True, check=False, **options)
        if done.returncode != 0:
            raise RuntimeError(f"in the world: {' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    def start_in_world(self, command: list, **options) -> subprocess.Popen:
        process = subprocess.Popen(self._in_world(command), **options)
        self._started.append(process)
        return process

    @property
    def world_pid(self) -> int:
        """A process in the world's network."""
        return self._world_holder.pid

    def program(self, name: str) -> pathlib.Path:
        """One of the guests' programs, for the host."""
        return initramfs.program(name)

    # -- hyperward -------------------------------------------------------------------------------------------

    @property
    def rules(self) -> pathlib.Path:
        return self.folder / "rules"

    def guard(self, rules: str, more: str = "") -> None:
        """Starts the guard in the background, and returns when it judges. more: of the guest's file."""
        self.rules.write_text(rules)
        config = self.folder / "guard.toml"
        config.write_text(self.place.config(self._default, more))
        self._log = open(self.folder / "guard.log", "ab")
        self.guard_process = subprocess.Popen([HYPERWARD, "guard", "--config", config], stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + GUARD_READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.guard_process.poll() is not None:
                raise RuntimeError(f"the guard ended: {self.guard_log()}")
            state = subprocess.run([HYPERWARD, "flows", self.name, "--json"], capture_output=True, check=False)
            if state.returncode == 0 and json.loads(state.stdout)["guard"]["pid"] == self.guard_process.pid:
                return
            time.sleep(0.02)
        raise RuntimeError(f"the guard is not ready: {self.guard_log()}")

    def guard_log(self) -> str:
        return (self.folder / "guard.log").read_text()

    def stop_guard(self, by: int = signal.SIGTERM) -> None:
        if self.guard_process is None:
            return
        self.guard_process.send_signal(by)
        self.guard_process.wait()
        self.guard_process = None
        self._log.close()

    def reload(self, rules: str) -> None:
        self.rules.write_text(rules)
        self.hyperward("reload", self.name)

    def hyperward(self, *words) -> str:
        done = subprocess.run([HYPERWARD, *map(str, words)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"hyperward {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def flows(self) -> list[dict]:
        return json.loads(self.hyperward("flows", self.name, "--json"))["flows"]

    def detach(self) -> None:
        """Takes away whatever guards the taps."""
        for place in self.places:
            for words in (("--tap", place.tap), (place.name,)):
                subprocess.run([HYPERWARD, "detach", *words], capture_output=True, check=False)

    # -- the daemon ------------------------------------------------------------------------------------------

    def daemon(self, rules: str, *, detect: str = "", respond: str = "", more: str = "") -> None:
        """A new daemon, with a new database, that guards all guests by these rules: returns when it does.

        detect, respond: lines of those sections of the guests' files; more: of the daemon's own.
        """
        self.daemon_folder = pathlib.Path(tempfile.mkdtemp(prefix="daemon-", dir=self.folder))
        (self.daemon_folder / "guests.d").mkdir()
        (self.daemon_folder / "guests.d" / "rules").write_text(rules)
        for place in self.places:
            text = place.config(self._default, f"[detect]\n{detect}\n[respond]\n{respond}\n")
            (self.daemon_folder / "guests.d" / f"{place.name}.toml").write_text(text)
        (self.daemon_folder / "hyperward.toml").write_text(
            f'[daemon]\nsocket = "{self.socket}"\ndatabase = "{self.daemon_folder}/hyperward.db"\n'
            f'guests = "guests.d"\n{more}\n'
        )
        os.environ["HYPERWARD_SOCKET"] = str(self.socket)
        self.start_daemon()

    @property
    def socket(self) -> pathlib.Path:
        return self.daemon_folder / "control.sock"

    def start_daemon(self) -> None:
        """The last one anew, after stop_daemon(): returns when it guards."""
        self.launch_daemon()
        self.await_guarded()

    def launch_daemon(self) -> None:
        command = [HYPERWARD, "daemon", "--config", self.daemon_folder / "hyperward.toml"]
        with open(self.daemon_folder / "log", "ab") as log:
            self.daemon_process = subprocess.Popen(command, stdout=log, stderr=log)

    def await_guarded(self) -> None:
        deadline = time.monotonic() + GUARD_READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.daemon_process.poll() is not None:
                raise RuntimeError(f"the daemon ended: {self.daemon_log()}")
            try:
                guarded = [guest["state"] == "guarded" for guest in self.api("GET", "/v1/guests")]
            except OSError:
                guarded = []
            if len(guarded) == len(self.places) and all(guarded):
                return
            time.sleep(0.02)
        raise RuntimeError(f"the daemon is not ready: {self.daemon_log()}")

    def stop_daemon(self, by: int = signal.SIGTERM) -> None:
        if self.daemon_process is None:
            return
        self.daemon_process.send_signal(by)
        self.daemon_process.wait()
        self.daemon_process = None

    def daemon_log(self) -> str:
        return (self.daemon_folder / "log").read_text()

    def api(self, method: str, path: str, body=None):
        """What the daemon answers; RuntimeError with its sentence when that is an error."""
        with contextlib.closing(_UnixConnection(self.socket)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status}: {text}")
        return json.loads(text) if answer.getheader("Content-Type", "").startswith("application/json") else text


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: pathlib.Path):
        super().__init__("localhost", timeout=10)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
