"""Builds the initramfs of a test guest: busybox, the modules it needs, our programs. Needs no root.

The archive is cpio "newc" (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst),
uncompressed: under software emulation unpacking costs more than loading.
"""

import hashlib
import lzma
import pathlib
import subprocess

import kernels

HERE = pathlib.Path(__file__).parent
PROGRAMS = HERE / "programs"
BUSYBOX = pathlib.Path("/bin/busybox")
# Programs of this host that the guest gets too, with the libraries they need: peers for the end-to-end tests.
HOST_PROGRAMS = [pathlib.Path("/usr/bin/iperf3")]
COMPILE = ["gcc", "-std=gnu11", "-Os", "-static", "-s", "-Wall", "-Wextra", "-pthread"]

# Loaded at boot where the kernel has them as modules; what they depend on goes first.
MODULES = ["virtio_pci", "virtio_console", "virtio_net", "qemu_fw_cfg"]

USERS = {"root": 0, "mail": 8, "www-data": 33, "alice": 1000, "bob": 1001}


def build(kernel: kernels.Kernel, more: tuple[str, ...] = ()) -> pathlib.Path:
    """The initramfs for that kernel, from the cache where nothing that goes into it has changed.

    more: files of this host, data or programs, that shall be in it too.
    """
    host_files = [*HOST_PROGRAMS, *map(pathlib.Path, more)]
    sources = [*sorted(PROGRAMS.glob("*.[ch]")), HERE / "init", pathlib.Path(__file__), BUSYBOX, *host_files]
    digest = hashlib.sha256(kernel.release.encode() + " ".join(COMPILE).encode())
    for source in sources:
        digest.update(source.read_bytes())
    path = kernels.cache_root() / f"initramfs-{kernel.name}-{digest.hexdigest()[:16]}"
    return kernels.cached(path, lambda unfinished: unfinished.write_bytes(_archive(kernel, host_files)))


def _archive(kernel: kernels.Kernel, host_files: list[pathlib.Path]) -> bytes:
    archive = _Newc()
    for folder in ("bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "sys", "tmp", "var"):
        archive.folder(folder)
    archive.device("dev/console", 5, 1)
    archive.file("init", (HERE / "init").read_bytes(), 0o755)
    archive.file("etc/passwd", "".join(f"{n}:x:{i}:{i}::/:/bin/sh\n" for n, i in USERS.items()).encode())
    archive.file("etc/group", "".join(f"{n}:x:{i}:\n" for n, i in USERS.items()).encode())

    archive.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            archive.link(f"bin/{applet}", "busybox")
    for source in sorted(PROGRAMS.glob("*.c")):
        archive.file(f"bin/{source.stem}", program(source.stem).read_bytes(), 0o755)

    for path in sorted({path for file in host_files for path in _with_libraries(file)}):
        archive.file_with_folders(str(path).lstrip("/"), path.read_bytes(), 0o755)

    order = []
    for path in _in_load_order(kernel):
        data = path.read_bytes()
        name = path.name.removesuffix(".xz")
        archive.file(f"lib/modules/{name}", lzma.decompress(data) if path.suffix == ".xz" else data)
        order.append(name)
    archive.file("lib/modules/order", "\n".join(order).encode())
    return archive.finish()


def program(name: str) -> pathlib.Path:
    """The program of that name, static, so that it runs in the guest and on the host; compiled if it has changed."""
    source = PROGRAMS / f"{name}.c"
    digest = hashlib.sha256(" ".join(COMPILE).encode() + source.read_bytes())
    for header in sorted(PROGRAMS.glob("*.h")):
        digest.update(header.read_bytes())
    path = kernels.cache_root() / "programs" / f"{name}-{digest.hexdigest()[:16]}"
    return kernels.cached(path, lambda unfinished: subprocess.run([*COMPILE, "-o", unfinished, source], check=True))


def _with_libraries(program: pathlib.Path) -> list[pathlib.Path]:
    """The program, its loader and its shared libraries, as ldd(1) finds them; of data, the file alone."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    words = [word for line in listed.splitlines() for word in line.split()]
    return [program, *(pathlib.Path(word) for word in words if word.startswith("/"))]


def _in_load_order(kernel: kernels.Kernel) -> list[pathlib.Path]:
    dependencies = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        # modprobe(8): the list is to be loaded from its end.
        dependencies[_module_name(path)] = [path, *needs.split()][::-1]
    ordered: dict[str, None] = {}
    for wanted in MODULES:
        for path in dependencies.get(wanted, []):  # absent: built in
            ordered[path] = None
    return [kernel.modules / path for path in ordered]


def _module_name(path: str) -> str:
    return pathlib.PurePath(path).name.split(".")[0].replace("-", "_")


class _Newc:
    def __init__(self):
        self._parts: list[bytes] = []
        self._folders: set[str] = set()
        self._inode = 0

    def file(self, name: str, data: bytes, permissions: int = 0o644) -> None:
        self._entry(name, 0o100000 | permissions, data)

    def folder(self, name: str) -> None:
        if name not in self._folders:
            self._folders.add(name)
            self._entry(name, 0o040755)

    def file_with_folders(self, name: str, data: bytes, permissions: int) -> None:
        for folder in reversed(pathlib.PurePath(name).parents[:-1]):
            self.folder(str(folder))
        self.file(name, data, permissions)

    def link(self, name: str, target: str) -> None:
        self._entry(name, 0o120777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        self._entry(name, 0o020600, device=(major, minor))

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return b"".join(self._parts)

    def _entry(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        owner, links, time, check = 0, 1, 0, 0
        numbers = [self._inode, mode, owner, owner, links, time, len(data), 0, 0, *device, len(name) + 1, check]
        header = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
        self._parts += [_padded(header), _padded(data)]


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
