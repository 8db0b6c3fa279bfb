"""The stage of scene.py with a guest that libvirt runs: a libvirtd of our own, a transient domain, a tap that it makes.

libvirtd has its folders compiled in. It gets a mount namespace in which each of them is an empty one of ours, so that it
neither sees nor touches a libvirt of this host; its socket and its guest are found from outside as any are.
"""

import os
import pathlib
import subprocess
import time

import scene as stage
from guest import QEMU, Guest  # (scene.py has made its folder known)
import initramfs
import kernels

FOLDERS = ("/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
START_TIMEOUT_S = 30
BOOT_TIMEOUT_S = 120
QEMU_CONF = """
security_driver = "none"
user = "root"
group = "root"
namespaces = []
dynamic_ownership = 0
cgroup_controllers = []
stdio_handler = "file"
"""
# no_timer_check and cx16: see guest.py. romfile: no firmware for network boot is needed, nor installed.
DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{ram_mib}</memory>
  {backing}
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 no_timer_check {words}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'><feature policy='disable' name='la57'/><feature policy='disable' name='cx16'/></cpu>
  <devices>
    <emulator>{emulator}</emulator>
    <interface type='bridge'>
      <source bridge='br0'/><model type='virtio'/><rom enabled='no'/>
    </interface>
    <serial type='file'><source path='{state}/serial.log'/></serial>
    <channel type='unix'>
      <source mode='bind' path='{state}/agent.sock'/><target type='virtio' name='agent'/>
    </channel>
    <memballoon model='none'/>
  </devices>
</domain>
"""


class LibvirtScene(stage.Scene):
    def __init__(self, *words, machine: str = "pc", **options):
        super().__init__(*words, **options)
        self._machine = machine

    @property
    def uri(self) -> str:
        return f"qemu:///system?socket={self.folder}/libvirt-sock"

    def virsh(self, *words) -> str:
        done = subprocess.run(["virsh", "-q", "-c", self.uri, *map(str, words)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"virsh {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout.strip()

    def libvirtd_log(self) -> str:
        return (self.folder / "libvirtd.log").read_text(errors="replace")

    def _boot(self, place: stage.Place) -> Guest:
        self._start_libvirtd()
        os.environ["LIBVIRT_DEFAULT_URI"] = self.uri  # for hyperward
        kernel = kernels.get(self._kernel)
        shared = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
        (self.folder / "domain.xml").write_text(
            DOMAIN.format(
                name=place.name,
                ram_mib=self._ram_mib,
                backing=shared if self._memory == "memfd" else "",
                machine=self._machine,
                kernel=kernel.image,
                initrd=initramfs.build(kernel),
                words=place.kernel_words,
                emulator=subprocess.check_output(["which", QEMU], text=True).strip(),
                state=self.folder,
            )
        )
        self.virsh("create", self.folder / "domain.xml")
        # libvirt's own word, to hold what hyperward finds against; a mount namespace hides the file from others.
        pid_file = f"/proc/{self._libvirtd.pid}/root/run/libvirt/qemu/{place.name}.pid"
        (self.folder / "pid").write_text(pathlib.Path(pid_file).read_text())
        guest = Guest.attach(self.folder)
        guest.must("true", timeout=BOOT_TIMEOUT_S)
        return guest

    def __exit__(self, *_) -> None:
        # QEMU is a child of nobody: it outlives its libvirtd, so it is ended by libvirtd, while there is one.
        subprocess.run(["virsh", "-q", "-c", self.uri, "destroy", self.name], capture_output=True, check=False)
        super().__exit__()

    def _start_libvirtd(self) -> None:
        (self.folder / "qemu.conf").write_text(QEMU_CONF)
        (self.folder / "libvirtd.conf").write_text(f'unix_sock_dir = "{self.folder}"\nauth_unix_rw = "none"\n')
        steps = [f"mkdir -p {folder} && mount -t tmpfs tmpfs {folder}" for folder in FOLDERS]
        steps.append(f"cp {self.folder}/qemu.conf /etc/libvirt/")
        steps.append(f"exec libvirtd --config {self.folder}/libvirtd.conf --pid-file {self.folder}/libvirtd.pid")
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", " && ".join(steps)]
        with open(self.folder / "libvirtd.log", "wb") as log:
            self._libvirtd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._started.append(self._libvirtd)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.virsh("list")
                return
            except RuntimeError as error:
                if self._libvirtd.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"libvirtd does not serve: {error}\n{self.libvirtd_log()[-2000:]}") from None
            time.sleep(0.1)
