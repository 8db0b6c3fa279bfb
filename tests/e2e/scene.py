"""The stage of the end-to-end tests: a real guest on a guarded tap, and a world that it talks to.

    host (a network namespace of ours)            world (another one)
      guest eth0 10.9.0.2 ── tap ── bridge ── veth ── 10.9.0.1, and all of 203.0.113.0/24

Both namespaces have no name: they are gone with the processes in them, however these end.

    with Scene() as scene:
        scene.guard("default allow\\n")
        scene.guest.must("...")             in the guest
        scene.world(["ping", ...])          a command in the world
        scene.hyperward("flows", "NAME")    the program under test
"""

import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests" / "guest"))

import guest as guests  # noqa: E402  (its folder is found above)
import initramfs  # noqa: E402
import kernels  # noqa: E402

HYPERWARD = os.environ.get("HYPERWARD", str(TREE / "build/release/src/cli/hyperward"))
CLONE_NEWNET = 0x40000000
GUEST_ADDRESS, WORLD_ADDRESS, WORLD_NETWORK = "10.9.0.2", "10.9.0.1", "203.0.113.0/24"
KERNEL_WORDS = f"hw.ip4={GUEST_ADDRESS}/24 hw.gw4={WORLD_ADDRESS}"
GUARD_READY_TIMEOUT_S = 20
USERS = "\n".join(f"{name} = {uid}" for name, uid in initramfs.USERS.items())


def unshare_network() -> None:
    """This process, and what it starts from now on, gets a network of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare the network (are you root?)")


class Scene:
    def __init__(self, kernel: str = "6.1", *, memory: str = "memfd", default: str = "deny", ram_mib: int = 512):
        self.name = f"hyperward-{os.getpid()}"
        self.tap = f"hwt{os.getpid()}"
        self._kernel, self._memory, self._default, self._ram_mib = kernel, memory, default, ram_mib
        self._started: list[subprocess.Popen] = []
        self.guest: guests.Guest | None = None
        self.guard_process: subprocess.Popen | None = None

    def __enter__(self) -> "Scene":
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="hyperward-e2e-")
            self.folder = pathlib.Path(self._folder.name)
            kernels.get(self._kernel)  # perhaps fetched: not from inside a network that leads nowhere
            guests.chosen_accelerator()
            self._build_network()
            self.guest = self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop_guard()
        subprocess.run([HYPERWARD, "detach", "--tap", self.tap], capture_output=True, check=False)
        subprocess.run([HYPERWARD, "detach", self.name], capture_output=True, check=False)
        for process in self._started:
            process.kill()
            process.wait()
        if self.guest is not None:
            self.guest.close()
        self._folder.cleanup()

    def _boot(self) -> guests.Guest:
        return guests.Guest(
            self._kernel,
            memory=self._memory,
            ram_mib=self._ram_mib,
            tap=self.tap,
            append=KERNEL_WORDS,
            extra=["-name", self.name],
        )

    def _build_network(self) -> None:
        unshare_network()
        self._world_holder = subprocess.Popen(["sleep", "infinity"], preexec_fn=unshare_network)
        self._started.append(self._world_holder)
        time.sleep(0.05)  # the child is in its own network only after preexec_fn
        for command in f"""
            ip link set lo up
            ip link add br0 type bridge
            ip link set br0 up
            ip tuntap add {self.tap} mode tap
            ip link set {self.tap} master br0 up
            ip link add veth0 type veth peer name world netns {self._world_holder.pid}
            ip link set veth0 master br0 up
        """.strip().splitlines():
            subprocess.run(command.split(), check=True)
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

    def program(self, name: str) -> pathlib.Path:
        """One of the guests' programs, for the host."""
        return initramfs.program(name)

    # -- hyperward -------------------------------------------------------------------------------------------

    @property
    def rules(self) -> pathlib.Path:
        return self.folder / "rules"

    def guard(self, rules: str) -> None:
        """Starts the guard in the background, and returns when it judges."""
        self.rules.write_text(rules)
        config = self.folder / "guard.toml"
        config.write_text(
            f'[guest]\nname = "{self.name}"\n'
            f'[guard]\ntap = "{self.tap}"\nrules = "rules"\ndefault = "{self._default}"\n'
            f"[users]\n{USERS}\n"
        )
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
