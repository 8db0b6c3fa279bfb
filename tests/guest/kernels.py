"""Debian's own kernels for test guests, fetched with an apt configuration of our own.

The system's apt is only asked where its mirror is and which key signs it; its sources, lists and
archives are neither used nor changed. A kernel, once unpacked, stays in the cache and needs no network.

    kernel = kernels.get("6.1")
    kernel.image      the bzImage
    kernel.modules    the folder that holds modules.dep
"""

import contextlib
import fcntl
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from dataclasses import dataclass

MATRIX = pathlib.Path(__file__).with_name("kernels.toml")
FETCH_TIMEOUT_S = 300
UNUSED_AFTER_S = 24 * 3600


class KernelError(Exception):
    pass


@dataclass(frozen=True)
class Kernel:
    name: str
    release: str
    image: pathlib.Path
    modules: pathlib.Path


def cache_root() -> pathlib.Path:
    home_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    root = pathlib.Path(os.environ.get("HYPERWARD_CACHE") or os.path.join(home_cache, "hyperward"))
    root.mkdir(parents=True, exist_ok=True)
    return root


@contextlib.contextmanager
def locked(name: str):
    """One builder at a time for what is called `name` in the cache, across processes."""
    with open(cache_root() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(path: pathlib.Path, build) -> pathlib.Path:
    """`path`, named "WHAT-DIGEST", made by `build(unfinished path)` if it is not there. Old versions of WHAT go once
    nobody has used them for a day: another tree may be about to boot what this one no longer wants."""
    path.parent.mkdir(parents=True, exist_ok=True)
    what = path.name.rpartition("-")[0]
    with locked(what):
        if not path.exists():
            unfinished = path.with_name(f".{path.name}")
            build(unfinished)
            unfinished.rename(path)
        os.utime(path)
        for stale in path.parent.glob(f"{what}-*"):
            if time.time() - stale.stat().st_mtime > UNUSED_AFTER_S:
                stale.unlink()
    return path


def matrix() -> dict[str, dict]:
    return {entry["name"]: entry for entry in tomllib.loads(MATRIX.read_text())["kernel"]}


def get(name: str) -> Kernel:
    """The kernel of that name from the matrix, fetched and unpacked first where the cache lacks it."""
    entry = matrix().get(name)
    if entry is None:
        raise KernelError(f"no kernel {name!r} in {MATRIX.name}; it has {', '.join(matrix())}")
    home = cache_root() / "kernels" / name
    with locked(f"kernel-{name}"):
        if not home.is_dir():
            _fetch(entry, home)
    images = list(home.glob("boot/vmlinuz-*"))
    if len(images) != 1:
        raise KernelError(f"{home} holds {len(images)} kernel images instead of one: remove it to fetch again")
    release = images[0].name.removeprefix("vmlinuz-")
    return Kernel(name, release, images[0], home / "lib/modules" / release)


def debug_image(name: str) -> pathlib.Path:
    """The kernel's vmlinux with debug information, for tools that need it: a large download, made when asked for."""
    kernel = get(name)
    image = cache_root() / "debug" / f"vmlinux-{kernel.release}"
    image.parent.mkdir(parents=True, exist_ok=True)
    with locked(f"debug-{name}"):
        if not image.exists():
            with tempfile.TemporaryDirectory(prefix=".debug-", dir=image.parent) as folder:
                work = pathlib.Path(folder)
                apt = Apt(work / "apt", matrix()[name]["suite"])
                apt.run("apt-get", "download", f"linux-image-{kernel.release}-dbg", cwd=work)
                (archive,) = work.glob("*.deb")
                member = f"./usr/lib/debug/boot/vmlinux-{kernel.release}"
                unpack = f"dpkg-deb --fsys-tarfile '{archive}' | tar -x --occurrence=1 -C '{work}' '{member}'"
                _run(["bash", "-o", "pipefail", "-c", f"{unpack} || [ -e '{work}/{member}' ]"])
                (work / member).rename(image)
    return image


def _fetch(entry: dict, home: pathlib.Path) -> None:
    """Downloads and unpacks into a folder beside `home`, which appears only when it is complete."""
    home.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{entry['name']}-", dir=home.parent))
    try:
        apt = Apt(work / "apt", entry["suite"])
        package = _newest(apt, entry)
        apt.run("apt-get", "download", package, cwd=work)
        (archive,) = work.glob("*.deb")
        tree = work / "tree"
        _run(["dpkg-deb", "-x", str(archive), str(tree)])
        (image,) = tree.glob("boot/vmlinuz-*")
        _run(["depmod", "-b", str(tree), image.name.removeprefix("vmlinuz-")])
        work.chmod(0o755)
        tree.rename(home)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _newest(apt: "Apt", entry: dict) -> str:
    pattern = re.compile(entry["package"])
    names = [name for name in apt.run("apt-cache", "pkgnames", "linux-image-").split() if pattern.fullmatch(name)]
    if not names:
        raise KernelError(f"suite {entry['suite']} has no package {entry['package']}")

    def version(name: str) -> str:
        return re.search(r"^Version: (\S+)", apt.run("apt-cache", "show", "--no-all-versions", name), re.M)[1]

    def order(a: str, b: str) -> int:
        older = subprocess.run(["dpkg", "--compare-versions", version(a), "lt", version(b)], check=False)
        return -1 if older.returncode == 0 else 1

    return max(names, key=functools.cmp_to_key(order))


class Apt:
    """apt with suites of the system's mirror and every file it writes under `home`."""

    def __init__(self, home: pathlib.Path, *suites: str):
        for folder in ("lists/partial", "cache/archives/partial"):
            (home / folder).mkdir(parents=True)
        uri, key = _system_mirror()
        signed = f" signed-by={key}" if key else ""
        lines = [f"deb [arch=amd64{signed}] {uri} {suite} main\n" for suite in suites]
        (home / "sources.list").write_text("".join(lines))
        (home / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{home}/sources.list";\n'
            'Dir::Etc::sourceparts "/nonexistent";\n'
            f'Dir::State::lists "{home}/lists";\n'
            f'Dir::Cache "{home}/cache";\n'
            'APT::Sandbox::User "";\n'
            'Acquire::Retries "5";\n'
            'APT::Update::Error-Mode "any";\n'  # else lists that did not come look like lists that are empty
        )
        self._environment = {**os.environ, "APT_CONFIG": str(home / "apt.conf"), "LC_ALL": "C"}
        self.run("apt-get", "update", "-qq")

    def run(self, *command: str, cwd: pathlib.Path | None = None) -> str:
        return _run(list(command), env=self._environment, cwd=cwd)


def _system_mirror(etc: pathlib.Path = pathlib.Path("/etc/apt")) -> tuple[str, str]:
    """URI and signing key of the first Debian archive (not the security one) that the system's apt uses."""
    for path in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.M))
            if "deb" in fields.get("Types", "").split() and _is_main_archive(fields.get("Suites", "")):
                key = fields.get("Signed-By", "")
                return fields["URIs"].split()[0], key if key.startswith("/") else ""
    for path in [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]:
        for line in path.read_text().splitlines() if path.exists() else []:
            match = re.match(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)", line)
            if match and _is_main_archive(match["suite"]):
                key = re.search(r"signed-by=(\S+)", match["options"] or "")
                return match["uri"], key[1] if key else ""
    raise KernelError("apt is configured with no Debian archive, so there is nowhere to fetch a kernel from")


def _is_main_archive(suites: str) -> bool:
    names = suites.split()
    return bool(names) and not any("security" in name for name in names)


def _run(command: list[str], env=None, cwd=None) -> str:
    done = subprocess.run(
        command, env=env, cwd=cwd, text=True, capture_output=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise KernelError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
