"""The benchmarks: each gives named series of measurements, of which median and spread are printed.

A benchmark's name is stable, so that its figures can be followed over time; what a name measures does not change.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TREE / "tests/guest"), str(TREE / "tests/e2e")]

import guest as guests  # noqa: E402
import kernels  # noqa: E402
from figures import machine, percentile, series  # noqa: E402

BUILD = TREE / "build/release"
BENCHMARKS = {}


def benchmark(function):
    BENCHMARKS[function.__name__.replace("_", "-")] = function
    return function


def guest_bench(target: int | pathlib.Path, access: str, attaches: int = 11, lookups: int = 50000) -> dict:
    """`target` is a QEMU's pid or a dump."""
    output = subprocess.check_output([BUILD / "bench/guest_bench", str(target), access, str(attaches), str(lookups)])
    measured = json.loads(output)
    if measured["named"] != lookups:
        print(f"  note: {lookups - measured['named']} of {lookups} look-ups named no process", file=sys.stderr)
    return measured


def lookups(name: str, guest: guests.Guest, access: str, unit: str = "us", runs: int = 5) -> list[dict]:
    """Median and p99 of one run's look-ups; of several runs, their spread."""
    medians, tails, reads = [], [], []
    for _ in range(runs):
        measured = guest_bench(guest.pid, access, attaches=1)
        times = [ns / 1000 for ns in measured["lookup_ns"]]
        reads.append(measured["reads_per_lookup"])
        medians.append(statistics.median(times))
        tails.append(percentile(times, 0.99))
    return [series(f"{name}-median", unit, medians), series(f"{name}-p99", unit, tails), series(f"{name}-reads", "", reads)]


def loaded_guest(sockets: int, processes: int, **options) -> guests.Guest:
    guest = guests.Guest("6.1", **options)
    guest.must(f"load -s {sockets} -p {processes} >/tmp/load.log 2>&1 &")
    deadline = time.monotonic() + 240
    while "ready" not in guest.must("cat /tmp/load.log"):
        if time.monotonic() > deadline:
            guest.close()
            raise RuntimeError("the load in the guest did not become ready")
        time.sleep(0.5)
    return guest


@benchmark
def attach():
    """Finding the kernel of a 512 MB guest and resolving everything: the time until the first question can be asked."""
    with loaded_guest(200, 20) as guest:
        return [
            series("attach-mapped", "ms", guest_bench(guest.pid, "mapped", attaches=21, lookups=1)["attach_ms"]),
            series("attach-readv", "ms", guest_bench(guest.pid, "readv", attaches=11, lookups=1)["attach_ms"]),
        ]


@benchmark
def owner():
    """flow -> owner, warm; the xFilter paper: 19 us mean, 178 us at most."""
    with loaded_guest(200, 20) as guest:
        return lookups("owner-mapped", guest, "mapped") + lookups("owner-readv", guest, "readv")


@benchmark
def owner_10000():
    """The same with 10,000 sockets and 1,000 processes in the guest: it must not grow with them."""
    with loaded_guest(10000, 1000, ram_mib=1024) as guest:
        return lookups("owner-mapped-10000-sockets", guest, "mapped")


def datapath_bench(*arguments) -> dict:
    return json.loads(subprocess.check_output([BUILD / "bench/datapath_bench", *map(str, arguments)]))


@benchmark
def known_flow():
    """One packet of a known flow in the BPF programs, run repeatedly: what every packet costs."""
    figures = []
    for flows in (1, 1_000_000):
        measured = datapath_bench("known", flows, 51)
        for program in ("from_guest", "to_guest"):
            name = program.replace("_", "-")
            figures.append(series(f"known-flow-{name}-{flows}", "ns", measured[f"{program}_ns"]))
    return [series("known-flow-empty-program", "ns", measured["empty_ns"])] + figures


@benchmark
def new_flow():
    """tap -> hold -> verdict -> put back -> bridge -> tap, the verdict being given at once; a known flow's way beside."""
    runs = [datapath_bench("held", 2000) for _ in range(5)]
    return [
        series("new-flow", "us", [statistics.median(run["held_ns"]) / 1000 for run in runs]),
        series("new-flow-p99", "us", [percentile(run["held_ns"], 0.99) / 1000 for run in runs]),
        series("new-flow-known-beside", "us", [statistics.median(run["known_ns"]) / 1000 for run in runs]),
    ]


@benchmark
def throughput():
    """iperf3 out of a network namespace through a veth pair, without and with hyperward on the host's end."""
    output = subprocess.check_output([TREE / "bench/guarded_iperf", BUILD / "bench/datapath_bench", "7", "2"], text=True)
    rounds = [[float(value) for value in line.split()] for line in output.splitlines()]
    return [
        series("throughput-without", "Gb/s", [without / 1e9 for without, _ in rounds]),
        series("throughput-with", "Gb/s", [with_it / 1e9 for _, with_it in rounds]),
        series("throughput-ratio", "", [with_it / without for without, with_it in rounds]),
    ]


@benchmark
def flow_rate():
    """10,000 new flows a second of a guest with 10,000 sockets: hold, owner, rules, detection, back; on one core."""
    with loaded_guest(10000, 1000, ram_mib=1024) as guest:
        measured = json.loads(subprocess.check_output([BUILD / "bench/guard_bench", str(guest.pid), "5", "3"]))
    runs = measured["answered"] + measured["unanswered"]
    return [
        series("flow-rate-sent", "1/s", [run["per_second"] for run in runs]),
        series("flow-rate-lost", "frames", [run["lost"] for run in runs]),
        series("flow-rate-judged-part", "", [run["judged"] / run["sent"] for run in runs]),
        series("flow-rate-named-part", "", [run["named_part"] for run in runs]),
        series("flow-rate-cpu", "us", [run["cpu_us_per_flow"] for run in measured["answered"]]),
        series("flow-rate-cpu-unanswered", "us", [run["cpu_us_per_flow"] for run in measured["unanswered"]]),
        series("flow-rate-highest", "1/s", [measured["highest_per_second"]]),
    ]


@benchmark
def module():
    """The built-in rules as a module: called in the daemon, and in a process of its own; and that one's restart."""
    measured = json.loads(subprocess.check_output([BUILD / "bench/module_bench", "7"]))
    figures = {
        "module-here": "here_ns",
        "module-process": "one_ns",
        "module-process-p99": "one_p99_ns",
        "module-process-asleep": "asleep_ns",
        "module-process-asleep-p99": "asleep_p99_ns",
        "module-process-batch-of-32": "batch_ns",
    }
    return [series(name, "us", [ns / 1000 for ns in measured[key]]) for name, key in figures.items()] + [
        series("module-restart", "ms", measured["restart_ms"])
    ]


@benchmark
def detect_event():
    """The detectors alone, per new flow of 1,000 processes: innocent ones, and with a scan as every tenth."""
    measured = json.loads(subprocess.check_output([BUILD / "bench/detect_bench", "time", "11"]))
    return [series("detect-event", "ns", measured["innocent_ns"]), series("detect-event-scan", "ns", measured["scan_ns"])]


@benchmark
def detect_memory():
    """The heap that detection takes when a guest does its worst."""
    command = [BUILD / "bench/detect_bench", "memory"]
    runs = [json.loads(subprocess.check_output(command)) for _ in range(3)]
    return [
        series("detect-memory-million-destinations", "MB", [run["million"]["heap_bytes"] / 1e6 for run in runs]),
        series("detect-memory-accounts-full", "MB", [run["full"]["heap_bytes"] / 1e6 for run in runs]),
        series("detect-memory-history-full", "MB", [run["history"]["heap_bytes"] / 1e6 for run in runs]),
    ]


def daemon_figures(guarded: int) -> list[dict]:
    command = [BUILD / "bench/daemon_bench", str(guarded), "500"]
    runs = [json.loads(subprocess.check_output(command)) for _ in range(3)]
    figures = []
    for name, key in {
        "status": "status_us",
        "status-http": "http_us",
        "rule-add": "rule_us",
        "rule-add-10000-flows": "rule_with_flows_us",
    }.items():
        name = f"{name}-{guarded}-guests"
        figures.append(series(name, "ms", [statistics.median(run[key]) / 1000 for run in runs]))
        figures.append(series(f"{name}-p99", "ms", [percentile(run[key], 0.99) / 1000 for run in runs]))
    figures.append(series(f"daemon-memory-{guarded}-guests", "MB", [run["memory_bytes"] / 1e6 for run in runs]))
    figures.append(series(f"daemon-idle-{guarded}-guests", "cores", [run["idle_cores"] for run in runs]))
    return figures


@benchmark
def daemon():
    """What a daemon answers and takes with 1 and with 50 taps guarded: status, a rule into force, memory, idle."""
    return daemon_figures(1) + daemon_figures(50)


@benchmark
def memory():
    """What the process takes while it guards one guest, without the guest's RAM that it maps."""
    hyperward = os.environ.get("HYPERWARD", BUILD / "src/cli/hyperward")
    os.environ["HYPERWARD"] = str(hyperward)
    command = [sys.executable, TREE / "bench/guard_memory.py"]
    runs = [float(subprocess.check_output(command, text=True)) for _ in range(3)]
    return [series("guard-memory", "MB", runs)]


@benchmark
def drgn():
    """drgn and hyperward on one dump of one guest: until ready, then all tasks, then all TCP sockets."""
    debug_image = kernels.debug_image("6.1")
    with tempfile.TemporaryDirectory() as folder, loaded_guest(200, 20, extra=["-device", "vmcoreinfo"]) as guest:
        dump = pathlib.Path(folder) / "dump"
        guest.qmp("dump-guest-memory", paging=True, protocol=f"file:{dump}")
        ours = guest_bench(dump, "mapped", attaches=11, lookups=1)
        command = ["/usr/bin/python3", TREE / "bench/drgn_peer.py", dump, debug_image]
        theirs = [json.loads(subprocess.check_output(command, text=True)) for _ in range(5)]
    figures = []
    for what in ("attach", "processes", "sockets"):
        figures.append(series(f"dump-{what}-hyperward", "ms", ours[f"{what}_ms"]))
        figures.append(series(f"dump-{what}-drgn", "ms", [run[f"{what}_ms"] for run in theirs]))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these benchmarks")
    parser.add_argument("--json", metavar="FILE", help="write the figures as a list")
    parser.add_argument("--list", action="store_true", help="tell the benchmarks' names")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:16} {function.__doc__.strip()}" for name, function in BENCHMARKS.items()))
        return 0
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        print(f"bench: no benchmark '{unknown[0]}'; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2

    print(f"machine: {machine()}")
    print(f"{'name':36} {'median':>10} {'min':>10} {'max':>10} {'runs':>5}  unit")
    figures = []
    for name in options.names or BENCHMARKS:
        for figure in BENCHMARKS[name]():
            figures.append(figure)
            values = " ".join(f"{figure[key]:10.4g}" for key in ("median", "min", "max"))
            print(f"{figure['name']:36} {values} {figure['runs']:5}  {figure['unit']}", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
