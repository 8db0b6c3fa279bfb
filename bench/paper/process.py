"""Fig. 7: the module in a process of its own, with and without batches. Every packet is judged: no cache hides it."""

import json
import subprocess

import plots
import published
from figures import series
from web import BUILD, EVERY_IN_DAEMON, WITHOUT, Web, every_in_process

MODULE_BENCH = BUILD / "bench/module_bench"
CALLS = {
    "called in the daemon": "here_ns",
    "in a process, one by one": "one_ns",
    "in a process, both asleep between packets": "asleep_ns",
    "in a process, batches of 32": "batch_ns",
}


def measure(web: Web, quick: bool, rounds: int) -> dict:
    rates, seconds = ([50], 1) if quick else ([50, 100], 4)
    ways = [WITHOUT, EVERY_IN_DAEMON, every_in_process(1), every_in_process(32)]
    rows, missing = web.compare(ways, rates, rounds, seconds)
    calls, missing_calls = _calls(rounds)
    return {
        "title": "Fig. 7: the module in a process of its own",
        "rows": rows,
        "calls": calls,
        "missing": missing + missing_calls,
        "published": {"a process of its own, with and without batches": published.PROCESS},
    }


def _calls(runs: int) -> tuple[list[dict], list[str]]:
    """What one question costs, with nothing around it."""
    if not MODULE_BENCH.exists():
        return [], ["the call alone: not measured, module_bench is not built"]
    output = subprocess.check_output([MODULE_BENCH, str(runs)], text=True)
    measured = json.loads(output.splitlines()[-1])  # lines of its log may stand before
    return [series(name, "us", [ns / 1000 for ns in measured[key]]) for name, key in CALLS.items()], []


def plot(result: dict, path) -> None:
    plots.bars(
        result, path, [("request_mean", "request time (ms, mean)"), ("share_mean", "tap to world, a packet (us, mean)")]
    )
