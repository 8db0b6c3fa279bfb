"""Guards one guest on a tap, lets it open some flows, and prints the megabytes that are the guard's own.

Its own network namespace goes with it, so it is a program beside tools/bench and no function in it.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))

import scene as stage  # noqa: E402

FLOWS = 2000

with stage.Scene() as scene:
    scene.guard("default allow\n")
    scene.guest.must(f"scan -u alice -r 0 -n {FLOWS} -t 500 203.0.113.1 200 >/dev/null 2>&1", timeout=60)
    status = pathlib.Path(f"/proc/{scene.guard_process.pid}/status").read_text()
    # RssShmem is the mapped RAM of the guest, which QEMU holds anyway.
    own_kb = sum(int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) for field in ("RssAnon", "RssFile"))
    print(own_kb / 1000)
