"""A real Linux guest under QEMU, for tests.

    with Guest("6.1", ram_mib=512, memory="memfd") as guest:
        status, output = guest.run("load & sleep 1; cat /proc/net/tcp")
        guest.pid            QEMU's pid
        guest.qmp_path       a QMP socket for the program under test
        guest.dump("x.raw")

Hardware virtualization is used only if a guest has really booted with it (asked once per boot of the host).
"""

import base64
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import initramfs
import kernels

QEMU = "qemu-system-x86_64"
BOOT_TIMEOUT_S = 120
PROBE_TIMEOUT_S = 20
CPU = "max,la57=off"  # 4-level paging; "max" alone has 5 levels


class GuestError(Exception):
    pass


class Guest:
    def __init__(
        self,
        kernel: str = "6.1",
        *,
        memory: str = "memfd",
        ram_mib: int = 512,
        cpus: int = 1,
        cpu: str = CPU,
        machine: str = "pc",
        name: str | None = None,
        tap: str | None = None,
        mac: str | None = None,
        append: str = "",
        extra: list[str] | None = None,
        programs: tuple[str, ...] = (),
        accelerator: str | None = None,
        boots: bool = True,
        state: str | os.PathLike | None = None,
        boot_timeout_s: float = BOOT_TIMEOUT_S,
    ):
        """Starts QEMU and waits until the guest serves commands.

        memory: "memfd" (shared) or "anon"; tap: an existing device; programs: files of this host that the guest gets
        too; state: a folder that outlives this object, made if need be; boots=False: QEMU starts with no kernel and
        stays in its firmware.
        """
        self._own_state = state is None
        self.state = pathlib.Path(state or tempfile.mkdtemp(prefix="hyperward-guest-"))
        self.state.mkdir(parents=True, exist_ok=True)
        self.qmp_path = self.state / "qmp.sock"
        self._qmp = None
        self._port = None
        self.pid = 0
        try:
            command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
            accelerator = accelerator or chosen_accelerator()
            if accelerator.startswith("tcg"):
                # QEMU 7.2 emulates cmpxchg16b wrongly: 6.12's slab allocator uses it, and every other boot panics.
                cpu += ",cx16=off"
            command += ["-m", f"{ram_mib}M", "-smp", str(cpus), "-cpu", cpu, "-accel", accelerator]
            if memory == "memfd":
                command += ["-object", f"memory-backend-memfd,id=ram,size={ram_mib}M,share=on"]
                command += ["-machine", f"{machine},memory-backend=ram"]
            elif memory == "anon":
                command += ["-machine", machine]
            else:
                raise GuestError(f"memory is memfd or anon, not {memory!r}")
            command += ["-serial", f"file:{self.state}/serial.log"]
            command += ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
            # A second one, so that the program under test and the test can both have theirs.
            command += ["-qmp", f"unix:{self.state}/control.sock,server=on,wait=off"]
            command += ["-device", "virtio-serial-pci"]
            command += ["-chardev", f"socket,id=agent,path={self.state}/agent.sock,server=on,wait=off"]
            command += ["-device", "virtserialport,chardev=agent,name=agent,nr=1"]
            if name:
                command += ["-name", name]
            if tap:
                command += ["-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"]
                command += ["-device", f"virtio-net-pci,netdev=net,mac={mac or '52:54:00:12:34:56'},romfile="]
            if boots:
                found = kernels.get(kernel)
                # no_timer_check: on a busy host an emulated timer looks dead to the kernel, which then panics.
                words = f"console=ttyS0 quiet panic=-1 no_timer_check {append}".strip()
                command += ["-kernel", found.image, "-initrd", initramfs.build(found, programs), "-append", words]
            command += extra or []
            self._start([str(word) for word in command])
            if boots:
                self._await_ready(boot_timeout_s)
        except BaseException:
            self.close()
            raise

    @classmethod
    def attach(cls, state: str | os.PathLike) -> "Guest":
        """The guest whose state lies in that folder, started by another process."""
        guest = cls.__new__(cls)
        guest.state = pathlib.Path(state)
        guest.qmp_path = guest.state / "qmp.sock"
        guest._own_state, guest._process, guest._qmp, guest._port = False, None, None, None
        try:
            guest.pid = int((guest.state / "pid").read_text())
        except OSError as error:
            raise GuestError(f"{state} holds no guest: {error.strerror}") from None
        if not guest.is_running():
            raise GuestError(f"the guest of {state} has ended")
        return guest

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # -- commands --------------------------------------------------------------------------------------------

    def run(self, command: str, timeout: float = 30) -> tuple[int, str]:
        """Runs it in a shell in the guest: (exit status, standard output). What it leaves in the background stays."""
        status, output = self.run_bytes(command, timeout)
        return status, output.decode(errors="replace")

    def run_bytes(self, command: str, timeout: float = 30) -> tuple[int, bytes]:
        """The protocol is described in programs/agent.c."""
        identity = secrets.token_hex(8)
        encoded = base64.b64encode(command.encode()).decode()
        deadline = time.monotonic() + timeout + 2  # the guest's own limit comes first
        if self._port is None:
            self._port = _connect(self.state / "agent.sock", deadline)
        self._port.sendall(f"\n{identity} {int(timeout)} {encoded}\n".encode())
        output, pending = [], b""
        prefix = identity.encode() + b" "
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuestError(f"no answer within {timeout:g} s to: {command}")
            self._port.settimeout(left)
            try:
                data = self._port.recv(1 << 20)
            except TimeoutError:
                continue
            except ConnectionError:
                data = b""
            if not data:
                raise GuestError(f"the guest ended during: {command}{self._serial_tail()}")
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if line.startswith(prefix):
                    kind, value = line.removeprefix(prefix).split(b" ")
                    if kind == b"end":
                        return int(value), b"".join(output)
                    output.append(base64.b64decode(value))

    def must(self, command: str, timeout: float = 30) -> str:
        status, output = self.run(command, timeout)
        if status != 0:
            raise GuestError(f"status {status} from: {command}\n{output}")
        return output

    def start(self, command: str, timeout: float = 30) -> str:
        """Starts a program of ours in the background and waits for its line "ready". Returns the log's path there."""
        log = f"/tmp/{secrets.token_hex(4)}.log"
        self.must(
            f"({command}) >{log} 2>&1 & program=$!\n"
            f"until grep -q ^ready {log}; do kill -0 $program || {{ cat {log}; exit 1; }}; sleep 0.05; done",
            timeout,
        )
        return log

    # -- the machine -----------------------------------------------------------------------------------------

    def qmp(self, command: str, **arguments):
        if self._qmp is None:
            self._qmp = _Qmp(self.state / "control.sock")
        return self._qmp.execute(command, **arguments)

    def pause(self) -> None:
        self.qmp("stop")

    def resume(self) -> None:
        self.qmp("cont")

    def dump(self, path: str | os.PathLike, form: str = "raw") -> None:
        """Writes guest memory to a file, "raw" (physical addresses as offsets; RAM below 2 GiB) or "elf"."""
        path = pathlib.Path(path).absolute()
        if form == "elf":
            self.qmp("dump-guest-memory", paging=False, protocol=f"file:{path}")
        elif form == "raw":
            size = self.qmp("query-memory-size-summary")["base-memory"]
            self.qmp("pmemsave", val=0, size=size, filename=str(path))
        else:
            raise GuestError(f"a dump is raw or elf, not {form!r}")

    def reboot(self, timeout: float = BOOT_TIMEOUT_S) -> None:
        """As by the reset button: same QEMU, memory and sockets; a new kernel at other addresses."""
        self._known_boot_id = self._boot_id()
        self.qmp("system_reset")
        self.await_reboot(timeout)

    def await_reboot(self, timeout: float = BOOT_TIMEOUT_S) -> None:
        """Waits until a guest that is being reset has come up again."""
        deadline = time.monotonic() + timeout
        while (now := self._boot_id()) == self._known_boot_id:
            if time.monotonic() >= deadline:
                raise GuestError(f"no reboot within {timeout:g} s{self._serial_tail()}")
            time.sleep(0.05)
        self._known_boot_id = now

    def is_running(self) -> bool:
        try:
            return QEMU.encode() in pathlib.Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False

    def wait(self) -> None:
        """Returns when the guest has ended by itself."""
        self._process.wait()

    def serial(self) -> str:
        with contextlib.suppress(OSError):
            return (self.state / "serial.log").read_text(errors="replace")
        return ""

    def close(self) -> None:
        """Ends QEMU, by its pid, whatever state it is in."""
        for channel in (self._qmp, self._port):
            if channel is not None:
                channel.close()
        self._qmp = self._port = None
        if self.pid and self.is_running():
            os.kill(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        else:
            deadline = time.monotonic() + 10
            while self.is_running() and time.monotonic() < deadline:
                time.sleep(0.02)
        self.pid = 0
        if self._own_state:
            shutil.rmtree(self.state, ignore_errors=True)

    # ---------------------------------------------------------------------------------------------------------

    _process: subprocess.Popen | None = None
    _known_boot_id = ""

    def _start(self, command: list[str]) -> None:
        with open(self.state / "qemu.log", "wb") as log:
            if self._own_state:  # ends with its test, however that ends
                command = ["setpriv", "--pdeathsig", "KILL", *command]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.pid = self._process.pid
        (self.state / "pid").write_text(f"{self.pid}\n")
        deadline = time.monotonic() + 10
        _connect(self.state / "control.sock", deadline, alive=self._is_alive).close()

    def _await_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self._port = _connect(self.state / "agent.sock", deadline, alive=self._is_alive)
        try:
            self._known_boot_id = self.must("cat /proc/sys/kernel/random/boot_id", timeout_s)
            # Until now a kernel that panics ended QEMU; from now on a reset is one.
            self.qmp("set-action", reboot="reset")
        except GuestError as error:
            raise GuestError(f"the guest did not come up: {error}{self._serial_tail()}") from None

    def _boot_id(self) -> str:
        """The one known before while nobody serves commands."""
        try:
            return self.must("cat /proc/sys/kernel/random/boot_id", timeout=2)
        except GuestError:
            return self._known_boot_id

    def _is_alive(self) -> None:
        if self._process.poll() is not None:
            raise GuestError(f"QEMU ended: {(self.state / 'qemu.log').read_text().strip()}")

    def _serial_tail(self) -> str:
        tail = self.serial()[-1500:].strip()
        return f"\nits serial port's last words:\n{tail}" if tail else ""


class _Qmp:
    def __init__(self, path: pathlib.Path):
        self._socket = _connect(path, time.monotonic() + 10)
        self._socket.settimeout(60)
        self._reader = self._socket.makefile("r")
        self._reader.readline()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments):
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        for line in self._reader:
            reply = json.loads(line)
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise GuestError(f"QMP {command}: {reply['error']['desc']}")
        raise GuestError(f"QMP {command}: QEMU ended")

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def _connect(path: pathlib.Path, deadline: float, alive=lambda: None) -> socket.socket:
    while True:
        alive()
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.connect(str(path))
            return channel
        except OSError as error:
            channel.close()
            if time.monotonic() >= deadline:
                raise GuestError(f"cannot connect to {path}: {error.strerror}") from None
            time.sleep(0.02)


def chosen_accelerator() -> str:
    """"kvm" if a guest boots with it here, else "tcg". /dev/kvm alone proves nothing: nested KVM may hang."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = kernels.cache_root() / f"accelerator-{boot}"
    with kernels.locked("accelerator"):
        if not known.exists():
            for stale in known.parent.glob("accelerator-*-*"):
                stale.unlink()
            try:
                kernel = next(iter(kernels.matrix()))
                with Guest(kernel, accelerator="kvm", cpu="host", boot_timeout_s=PROBE_TIMEOUT_S):
                    known.write_text("kvm")
            except GuestError:
                known.write_text("tcg")
        return known.read_text()
