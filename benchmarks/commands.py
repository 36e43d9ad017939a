"""Runs our command line for a benchmark, as a user does: in a process of its own."""

import argparse
import json
import subprocess
import sys
import tempfile
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


def timed(clock, made, *arguments):
    """Runs a verb of the command line unless what it makes is there already.

    Args:
        clock: `Path` of a file that keeps the seconds of all attempts together: a training that was
            stopped goes on.
        made: `Path` that the verb makes.
        *arguments: of the verb.

    Returns:
        the seconds.
    """
    seconds = float(clock.read_text()) if clock.exists() else 0.0
    if not made.exists():
        start = time.perf_counter()
        try:
            tfmodels(*arguments)
        finally:
            seconds += time.perf_counter() - start
            clock.write_text(str(seconds))
    return seconds


def same_options(work, options):
    """Ends us if a folder holds the results of other options: what lies there is not made again."""
    path, asked = work / "options.json", json.dumps(options, sort_keys=True)
    if path.exists() and json.loads(path.read_text()) != json.loads(asked):
        sys.exit(f"--work {work}: made with {path.read_text()}; give another directory")
    path.write_text(asked)


def print_figures(title, figures, add_flags=lambda parser: None):
    """Prints the figures that the command line asks for, a line of JSON each.

    Args:
        title: of the command.
        figures: dict from name to function of the options and a folder to work in, which
            gives a dict with `held`: whether the figure reaches its goal. What lies in the folder
            already is not made again.
        add_flags: function that adds further flags to the parser.

    Returns:
        exit status: 1 if one misses its goal.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", help="directory of MiniLM; that of `make demo` if not given"
    )
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(figures), default=list(figures))
    add_flags(parser)
    options = parser.parse_args()
    options.data = options.data.resolve()
    if options.checkpoint is None:
        from applications.demo import minilm

        options.checkpoint = minilm()
    work = (options.work or Path(tempfile.mkdtemp())).resolve()
    work.mkdir(parents=True, exist_ok=True)
    missed = 0
    for name in options.only:
        found = figures[name](options, work)
        missed += not found["held"]
        print(json.dumps(found, ensure_ascii=False), flush=True)
    return int(missed > 0)
