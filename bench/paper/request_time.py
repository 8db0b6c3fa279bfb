"""Fig. 4: a request's time at rising rates, without the filter and with it."""

import json
import statistics
import subprocess

import plots
import published
from figures import series
from web import BUILD, RULES_ALONE, WITHOUT, Way, Web

# The paper's own filter: for each new flow it walks the guest's tasks, and compares the sockets of the one it looks for.
WALK = Way(
    "hyperward, the paper's walk as a module",
    module=BUILD / "modules/deny_process.so",
    module_lines='run = "daemon"\nsettings = { processes = ["hold"] }',
)


def measure(web: Web, quick: bool, rounds: int) -> dict:
    rates, seconds = ([50], 1) if quick else ([25, 50, 100, 200, 300, 400, 500], 4)
    rows, missing = web.compare([WITHOUT, RULES_ALONE, WALK], rates, rounds, seconds)
    return {
        "title": "Fig. 4: request time against requests a second",
        "rows": rows,
        "calls": over_veth(rounds),
        "missing": missing,
        "published": {
            "request time at 100 to 500 requests/s": published.REQUEST_TIME_MS,
            "degradation": published.DEGRADATION_MAX,
        },
    }


def over_veth(runs: int) -> list[dict]:
    """A packet's way with no guest behind it, as tools/bench new-flow measures it: the verdict is given at once."""
    command = [BUILD / "bench/datapath_bench", "held", "2000"]
    measured = [json.loads(subprocess.check_output(command)) for _ in range(runs)]
    names = {"a packet held, judged at once, put back (over veth)": "held_ns", "one of a known flow": "known_ns"}
    return [series(name, "us", [statistics.median(run[key]) / 1000 for run in measured]) for name, key in names.items()]


def plot(result: dict, path) -> None:
    plots.over_rates(
        result,
        path,
        [("request_mean", "request time (ms, mean)"), ("share_request", "tap to world, all packets of a request (us)")],
    )
