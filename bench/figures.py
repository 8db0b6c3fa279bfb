"""What all benchmarks tell in the same way: a series of values, and the machine they come from.

tests/guest must be in sys.path.
"""

import os
import platform
import statistics

import guest as guests


def series(name: str, unit: str, values: list[float]) -> dict:
    return {
        "name": name,
        "unit": unit,
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "runs": len(values),
    }


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, guests under {guests.chosen_accelerator()}"
