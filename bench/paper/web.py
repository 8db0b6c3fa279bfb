"""A web server in a real guest, httperf in the world, and hyperward between them in one of several ways."""

import json
import pathlib
import random
import statistics
import time
from dataclasses import dataclass

import httperf
import scene as stage
from figures import percentile, series
from wire import Wire

PAGE_BYTES, PORT = 3918, 80  # the paper's page
HELD_SOCKETS = 20
RULES = """
default allow
deny to tcp port smtp from user alice
deny in to tcp port 80 from process sendmail
"""
SETTLES_S = 0.3
BUILD = stage.TREE / "build/release"
BEARS_PART = 0.95  # of a rate: with fewer replies the guest does not bear it


@dataclass(frozen=True)
class Way:
    """How packets go between the guest and the world."""

    name: str
    guarded: bool = True
    module: pathlib.Path | None = None
    module_lines: str = ""

    @property
    def in_process(self) -> bool:
        return '"process"' in self.module_lines

    @property
    def config(self) -> str:
        return f'[[module]]\nfile = "{self.module}"\n{self.module_lines}\n' if self.module else ""


EVERY_PACKET = BUILD / "bench/every_packet.so"
WITHOUT = Way("without hyperward", guarded=False)
RULES_ALONE = Way("hyperward, rules")
EVERY_IN_DAEMON = Way("every packet, module in the daemon", module=EVERY_PACKET, module_lines='run = "daemon"')


def every_in_process(batch: int) -> Way:
    lines = f'run = "process"\nbatch = {batch}\n'
    return Way(f"every packet, module in a process, batch {batch}", module=EVERY_PACKET, module_lines=lines)


class Web:
    """The stage. One run at a time."""

    def __init__(self):
        self._scene = stage.Scene(default="allow")

    def __enter__(self) -> "Web":
        self._scene.__enter__()
        self._scene.guest.start(f"serve -u www-data -p {PORT} -b {PAGE_BYTES} web")
        self._scene.guest.start(f"hold -n {HELD_SOCKETS}")  # somebody else, for filters to look at
        self._wire = Wire(self._scene.tap, self._scene.world_pid, "world", PORT)
        self._request(rate=20, seconds=1)  # warm
        return self

    def __exit__(self, *_) -> None:
        self._wire.close()
        self._scene.__exit__()

    def _request(self, rate: int, seconds: float) -> dict:
        command = httperf.command(stage.GUEST_ADDRESS, rate, seconds)
        figures = httperf.read(self._scene.world(command, timeout=seconds + 10 * httperf.TIMEOUT_S))
        if figures["replies"] and figures["page_bytes"] != PAGE_BYTES:
            raise RuntimeError(f"the page has {figures['page_bytes']:g} bytes")
        return figures

    # -- hyperward -------------------------------------------------------------------------------------------

    def can(self, way: Way) -> str:
        """ "", or why this way cannot be gone here."""
        if way.module is None:
            return ""
        if not way.module.exists():
            return f"{way.module.name} is not built"
        try:
            self._begin(way)
            maps = [pathlib.Path(f"/proc/{pid}/maps").read_text() for pid in self._processes()]
            guard, *others = [way.module.name in text for text in maps]
        except RuntimeError as error:
            return str(error)
        finally:
            self._end()
        if way.in_process:
            return "" if any(others) and not guard else "this build has no processes for modules"
        return "" if guard else "this build does not load the modules of a guest's file"

    def _begin(self, way: Way) -> None:
        if way.guarded:
            self._scene.guard(RULES, way.config)
            time.sleep(SETTLES_S)

    def _end(self) -> None:
        self._scene.stop_guard()
        self._scene.detach()

    def _processes(self) -> list[int]:
        """The guard's, and those that it has started."""
        found = [self._scene.guard_process.pid]
        for pid in found:
            for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found

    def _cpu_us(self) -> float:
        """Time on a core, the kernel's work for them included (Documentation/scheduler/sched-stats.rst)."""
        ns = 0
        for pid in self._processes():
            for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
                ns += int((thread / "schedstat").read_text().split()[0])
        return ns / 1000

    def _held(self) -> int:
        return json.loads(self._scene.hyperward("flows", self._scene.name, "--json"))["counters"]["held"]

    # -- runs ------------------------------------------------------------------------------------------------

    def run(self, way: Way, rate: int, seconds: float) -> dict:
        """httperf at that rate, and what the packets' way cost meanwhile."""
        self._begin(way)
        try:
            held, cpu_us = (self._held(), self._cpu_us()) if way.guarded else (0, 0.0)
            self._wire.clear()
            figures = self._request(rate, seconds)
            figures |= self._wire.take()
            if way.guarded:
                figures["cpu_us"] = self._cpu_us() - cpu_us
                figures["held"] = self._held() - held
        finally:
            self._end()
        return figures

    def compare(self, ways: list[Way], rates: list[int], rounds: int, seconds: float) -> tuple[list[dict], list[str]]:
        """Every way at every rate, round after round, each round in an order of its own. And what could not be done.

        The first way is the one that others are held against, in the same round.
        """
        missing = {way: why for way in ways if (why := self.can(way))}
        ways = [way for way in ways if way not in missing]
        runs = {(way, rate): [] for way in ways for rate in rates}
        order = random.Random(1)
        for _ in range(rounds):
            for rate in rates:
                for way in order.sample(ways, len(ways)):
                    runs[way, rate].append(self.run(way, rate, seconds))
        rows = [_row(way, rate, of_it, beside=runs[ways[0], rate]) for (way, rate), of_it in runs.items()]
        return rows, [f"{way.name}: not measured, {why}" for way, why in missing.items()]


def _row(way: Way, rate: int, runs: list[dict], beside: list[dict]) -> dict:
    """Each figure's median and spread over the runs."""
    borne = [run for run in runs if run["replies"]]
    figures = [
        series("replies", "1/s", [run["replies"] / max(run["took_s"], 1e-9) for run in runs]),
        series("errors", "", [run["errors"] for run in runs]),
        *(series(name, "ms", [run[f"{name}_ms"] for run in borne]) for name in REQUEST_FIGURES if borne),
    ]
    if runs is not beside:
        pairs = [(run["request_mean_ms"], first["request_mean_ms"]) for run, first in zip(runs, beside)]
        if more := [100 * (ms / first_ms - 1) for ms, first_ms in pairs if ms and first_ms]:
            figures.append(series("more", "%", more))
    if all(run["packets_us"] for run in borne) and borne:
        figures += [
            series("share_mean", "us", [statistics.mean(run["packets_us"]) for run in borne]),
            series("share_median", "us", [statistics.median(run["packets_us"]) for run in borne]),
            series("share_p99", "us", [percentile(run["packets_us"], 0.99) for run in borne]),
            series("share_max", "us", [max(run["packets_us"]) for run in borne]),
            series("share_request", "us", [statistics.mean(run["connections_us"]) for run in borne]),
            series("packets_per_request", "packets", [len(run["packets_us"]) / run["replies"] for run in borne]),
        ]
    if way.guarded and borne:
        figures += [
            series("held_per_request", "packets", [run["held"] / run["replies"] for run in borne]),
            series("cpu_per_request", "us", [run["cpu_us"] / run["replies"] for run in borne]),
            series("cpu_per_held", "us", [run["cpu_us"] / run["held"] for run in borne if run["held"]] or [0]),
        ]
    figures.append(series("uncounted", "packets", [run["uncounted"] for run in runs]))
    named = {figure.pop("name"): figure for figure in figures}
    bears = named["replies"]["median"] >= BEARS_PART * rate and named["errors"]["max"] == 0
    return {"way": way.name, "rate": rate, "bears": bears, "figures": named}


REQUEST_FIGURES = ["request_mean", "request_median", "request_max", "connect_mean", "reply_mean"]
