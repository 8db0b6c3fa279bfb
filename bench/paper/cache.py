"""Table 1: without the filter, with a cache of verdicts, and without that cache."""

import plots
import published
from web import EVERY_IN_DAEMON, RULES_ALONE, WITHOUT, Web


def measure(web: Web, quick: bool, rounds: int) -> dict:
    rates, seconds = ([50], 1) if quick else ([50, 100], 4)
    rows, missing = web.compare([WITHOUT, RULES_ALONE, EVERY_IN_DAEMON], rates, rounds, seconds)
    return {
        "title": "Table 1: the cache of verdicts on (rules), off (every packet), and no filter",
        "rows": rows,
        "missing": missing,
        "published": {"request time and throughput, cache on and off": published.CACHE},
    }


def plot(result: dict, path) -> None:
    plots.bars(
        result, path, [("request_mean", "request time (ms, mean)"), ("share_mean", "tap to world, a packet (us, mean)")]
    )
