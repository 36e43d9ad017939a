"""Runs our command line for a benchmark, as a user does: in a process of its own."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments, stdout=subprocess.PIPE):
    """Runs a module from the root of the checkout; `(status, its output, seconds)`."""
    start = time.perf_counter()
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=stdout, text=True)
    return done.returncode, done.stdout, time.perf_counter() - start


def tfmodels(*arguments):
    """Runs a verb, with its output to our standard error; its seconds. Ends us if it fails."""
    status, _, seconds = run("applications", *arguments, stdout=sys.stderr)
    if status:
        sys.exit(f"tfmodels {arguments[0]} {arguments[1]} failed with status {status}")
    return seconds
