"""Figs. 5 and 6: a module's run time, mean and maximum, against the sockets of the process that it looks for.

The paper's filter finds the process by its name and compares its sockets with the packet. hyperward's own way, straight
to the socket, stands beside it on the same flows.
"""

import json
import statistics
import subprocess

import guest as guests
import plots
import published
from figures import percentile, series
from web import BUILD

MODULE_RUN = BUILD / "bench/module_run"
WALK = BUILD / "modules/deny_process.so"
EVERY_PACKET = BUILD / "bench/every_packet.so"
HOLDER = "hold"  # tests/guest/programs/hold.c
SETTINGS = json.dumps({"processes": [HOLDER]})
COUNTS = [10, 20, 30, 40, 50, 100, 1000, 10000]
QUESTIONS = 2000
COMPARED_MAX = 2_000_000  # sockets, in one run: with many of them fewer questions
READY_TIMEOUT_S = 240
# Until the last of their sockets is closed.
END_HOLDERS = """
for pid in $(pidof hold); do
  kill -9 $pid
  while [ "$(ls /proc/$pid/fd 2>/dev/null)" ]; do sleep 0.1; done
done
"""


def measure(quick: bool, rounds: int) -> dict:
    counts = [10, 50] if quick else COUNTS
    missing = [] if WALK.exists() else ["the module: not measured, deny_process.so is not built"]
    rows = []
    with guests.Guest("6.1", ram_mib=512 if quick else 1024) as guest:
        if not quick:  # some company, as on a server: 200 sockets of 20 processes
            guest.start("load -s 200 -p 20", READY_TIMEOUT_S)
        for count in counts:
            guest.start(f"exec hold -n {count}", READY_TIMEOUT_S)
            measured = [_run(guest.pid, min(QUESTIONS, COMPARED_MAX // count)) for _ in range(rounds)]
            guest.must(END_HOLDERS, READY_TIMEOUT_S)
            rows += _rows(count, measured, missing)
    return {
        "title": "Figs. 5 and 6: a module's run time against the sockets of the process it looks for",
        "rows": rows,
        "missing": missing,
        "published": {
            "run time over the sockets (figures 5 and 6)": published.SOCKETS_US,
            "run time of the module": {
                "mean": f"{published.MODULE_MEAN_US} us",
                "max": f"{published.MODULE_MAX_US} us",
            },
        },
    }


def _run(pid: int, questions: int) -> dict:
    module, settings = (WALK, SETTINGS) if WALK.exists() else (EVERY_PACKET, "{}")
    command = [MODULE_RUN, str(pid), module, settings, HOLDER, str(questions)]
    return json.loads(subprocess.check_output(command))


def _rows(count: int, measured: list[dict], missing: list[str]) -> list[dict]:
    rows = [_row(count, "hyperward's look-up", [run["of_process"]["owner_ns"] for run in measured])]
    if not WALK.exists():
        return rows
    for part, name in ("of_process", "the module, a flow to deny"), ("of_others", "the module, a flow to allow"):
        runs = [run[part] for run in measured if run[part]["flows"]]
        if faults := sum(run["faults"] for run in runs):
            missing.append(f"{count} sockets, {name}: {faults} questions ended as faults: {measured[-1]['last_fault']}")
            continue
        row = _row(count, name, [run["module_ns"] for run in runs])
        cpu_us = [max(run["module_cpu_ns"]) / 1000 for run in runs]
        row["figures"]["max_cpu"] = _unnamed(series("max_cpu", "us", cpu_us))
        row["figures"]["reads"] = _unnamed(series("reads", "", [run["reads_per_question"] for run in runs]))
        row["denied_part"] = sum(run["denied"] for run in runs) / sum(len(run["module_ns"]) for run in runs)
        rows.append(row)
    return rows


def _row(count: int, name: str, runs_ns: list[list[int]]) -> dict:
    runs_us = [[ns / 1000 for ns in run] for run in runs_ns]
    figures = {
        "mean": [statistics.mean(run) for run in runs_us],
        "median": [statistics.median(run) for run in runs_us],
        "p99": [percentile(run, 0.99) for run in runs_us],
        "max": [max(run) for run in runs_us],
    }
    named = {key: _unnamed(series(key, "us", us)) for key, us in figures.items()}
    return {"way": name, "sockets": count, "figures": named}


def _unnamed(figure: dict) -> dict:
    del figure["name"]
    return figure


def plot(result: dict, path) -> None:
    plots.over_sockets(result, path)
