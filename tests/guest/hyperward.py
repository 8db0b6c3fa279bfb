"""Runs the program under test, `hyperward`, and reads its JSON."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = 60


def binary() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("HYPERWARD") or ROOT / "build/release/src/cli/hyperward")
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"{path} is not there: build it first, or set HYPERWARD")
    return path


def run(*words, timeout: float = TIMEOUT_S) -> subprocess.CompletedProcess:
    command = [str(binary()), *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)


def ask(*words):
    """The JSON that a subcommand answers."""
    done = run(*words, "--json")
    if done.returncode != 0:
        raise AssertionError(f"hyperward {' '.join(map(str, words))}: status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)
