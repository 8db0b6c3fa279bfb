"""httperf(1), the paper's client: so many requests a second, each over a connection of its own."""

import re

# In the words of its report.
FIGURES = {
    "replies": r"^Total: connections \d+ requests \d+ replies (\d+)",
    "took_s": r"test-duration ([\d.]+) s",
    "request_mean_ms": r"^Connection time \[ms\]: min [\d.]+ avg ([\d.]+)",
    "request_median_ms": r"^Connection time \[ms\]: .* median ([\d.]+)",
    "request_max_ms": r"^Connection time \[ms\]: .* max ([\d.]+)",
    "connect_mean_ms": r"^Connection time \[ms\]: connect ([\d.]+)",
    "reply_mean_ms": r"^Reply time \[ms\]: response ([\d.]+)",
    "page_bytes": r"^Reply size \[B\]: header [\d.]+ content ([\d.]+)",
    "errors": r"^Errors: total (\d+)",
}
TIMEOUT_S = 5


def command(address: str, rate: int, seconds: float) -> list[str]:
    connections = max(1, int(rate * seconds))
    words = {"server": address, "uri": "/", "rate": rate, "num-conns": connections, "timeout": TIMEOUT_S}
    return ["httperf", "--hog", "--num-calls=1", *(f"--{key}={value}" for key, value in words.items())]


def read(report: str) -> dict:
    """A request's time is its connection's: from connect() until the server has closed it."""
    figures = {}
    for name, pattern in FIGURES.items():
        found = re.search(pattern, report, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"httperf's report lacks {name}:\n{report}")
        figures[name] = float(found[1])
    return figures
