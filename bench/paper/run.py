"""The experiments of the xFilter paper, with hyperward and a real guest: docs/paper-experiments.md."""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(TREE / "bench"), str(TREE / "tests/guest"), str(TREE / "tests/e2e")]


def missing_packages() -> list[str]:
    """What tools/setup installs, and this machine lacks."""
    missing = [] if shutil.which("httperf") else ["httperf"]
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        missing.append("python3-matplotlib")
    return missing


if packages := missing_packages():
    sys.exit(f"paper: Debian's {' and '.join(packages)} must be installed: tools/setup does that")

import cache  # noqa: E402
import figures  # noqa: E402
import process  # noqa: E402
import request_time  # noqa: E402
import sockets  # noqa: E402
import tables  # noqa: E402
from web import Web  # noqa: E402

OF_THE_WEB = {"request-time": request_time, "cache": cache, "process": process}
EXPERIMENTS = {"sockets": sockets, **OF_THE_WEB}
ROUNDS = 5


def commit() -> str:
    """The tree's, with what it was changed by."""
    command = ["git", "-C", TREE, "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def httperf_version() -> str:
    told = subprocess.run(["httperf", "--version"], capture_output=True, text=True, check=False).stdout
    return told.split("httperf-", 1)[-1].split()[0]


def measure(names: list[str], quick: bool, rounds: int) -> dict:
    measured = {}
    if "sockets" in names:
        print("sockets ...", file=sys.stderr)
        measured["sockets"] = sockets.measure(quick, rounds)
    if wanted := [name for name in OF_THE_WEB if name in names]:
        with Web() as web:
            for name in wanted:
                print(f"{name} ...", file=sys.stderr)
                measured[name] = OF_THE_WEB[name].measure(web, quick, rounds)
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/paper/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="only these")
    parser.add_argument("--quick", action="store_true", help="shows that it works, within 90 s")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"instead of {ROUNDS}, or 1 when quick")
    parser.add_argument("--note", default="", metavar="TEXT", help="what a reader of the figures must know")
    parser.add_argument("--out", type=pathlib.Path, default=TREE / "build/paper", metavar="DIR")
    parser.add_argument("--list", action="store_true", help="tell the experiments' names")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:14} {module.__doc__.strip().splitlines()[0]}" for name, module in EXPERIMENTS.items()))
        return 0
    if unknown := [name for name in options.names if name not in EXPERIMENTS]:
        print(f"paper: no experiment '{unknown[0]}'; there are: {', '.join(EXPERIMENTS)}", file=sys.stderr)
        return 2

    rounds = options.rounds or (1 if options.quick else ROUNDS)
    load = os.getloadavg()[0]
    results = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": figures.machine(),
        "commit": commit(),
        "httperf": httperf_version(),
        "quick": options.quick,
        "rounds": rounds,
        "load": load,
        "note": options.note,
        "experiments": measure(options.names or list(EXPERIMENTS), options.quick, rounds),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "tables.md").write_text(tables.markdown(results))
    for name, result in results["experiments"].items():
        if result["rows"]:
            EXPERIMENTS[name].plot(result, options.out / f"{name}.png")
    print((options.out / "tables.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
