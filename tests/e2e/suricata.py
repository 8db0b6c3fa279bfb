"""Suricata, for the tests: Debian's backport of it, fetched as the kernels are and never installed.

    with Suricata(scene, 'alert tcp any any -> any any (msg:"..."; content:"..."; sid:1;)') as suricata:
        suricata.eve          the file of its alerts
        suricata.rotate()     as logrotate(8) does
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import kernels  # its folder is found by scene.py

SUITES = ("bookworm-backports", "bookworm")
READY_TIMEOUT_S = 60

CONFIG = """%YAML 1.1
---
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types: [alert]
logging:
  default-log-level: notice
  outputs:
    - console: {{enabled: yes}}
af-packet:
  - interface: {tap}
    threads: 1
    cluster-id: 99
    cluster-type: cluster_flow
default-rule-path: {folder}
rule-files: [test.rules]
classification-file: {tree}/etc/suricata/classification.config
reference-config-file: {tree}/etc/suricata/reference.config
unix-command: {{enabled: no}}
"""


def get() -> pathlib.Path:
    """The folder that Suricata, and what this machine lacks for it, is unpacked in. KernelError: not to be had."""
    tree = kernels.cache_root() / "suricata"
    with kernels.locked("suricata"):
        if not tree.is_dir():
            _fetch(tree)
    return tree


def _fetch(tree: pathlib.Path) -> None:
    work = pathlib.Path(tempfile.mkdtemp(prefix=".suricata-", dir=tree.parent))
    try:
        apt = kernels.Apt(work / "apt", *SUITES)
        listed = apt.run("apt-get", "install", "-s", "--no-install-recommends", "-t", SUITES[0], "suricata")
        packages = re.findall(r"^Inst (\S+)(?: \[\S+\])? \((\S+)", listed, re.M)
        apt.run("apt-get", "download", *(f"{name}={version}" for name, version in packages), cwd=work)
        for archive in work.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, work / "tree"], check=True)
        (work / "tree").rename(tree)
    finally:
        shutil.rmtree(work, ignore_errors=True)


class Suricata:
    """Watches the scene's tap, in the scene's network."""

    def __init__(self, scene, rules: str):
        self._tree = get()
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="suricata-", dir=scene.folder))
        self.eve = self._folder / "eve.json"
        (self._folder / "test.rules").write_text(rules + "\n")
        (self._folder / "suricata.yaml").write_text(CONFIG.format(tap=scene.tap, folder=self._folder, tree=self._tree))

    def __enter__(self) -> "Suricata":
        command = [self._tree / "usr/bin/suricata", "-c", self._folder / "suricata.yaml", "--af-packet", "-l", self._folder]
        libraries = {"LD_LIBRARY_PATH": str(self._tree / "usr/lib/x86_64-linux-gnu")}
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **libraries})
        deadline = time.monotonic() + READY_TIMEOUT_S
        while "Engine started" not in self.log():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"Suricata did not start: {self.log()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def pause(self) -> None:
        """Its packets wait."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def rotate(self) -> None:
        self.eve.rename(self.eve.with_suffix(".json.1"))
        self._process.send_signal(signal.SIGHUP)
