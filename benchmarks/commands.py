"""Run our command line for a benchmark, as a user does: in a process of its own."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments, stdout=subprocess.PIPE):
    """Run a module from the root of the checkout; return `(status, its output, seconds)`."""
    start = time.perf_counter()
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=stdout, text=True)
    return done.returncode, done.stdout, time.perf_counter() - start


def tfmodels(*arguments, stdout=sys.stderr):
    """Run a verb; return what it prints, unless that goes to `stdout`. Exit if it fails."""
    status, output, _ = run("applications", *arguments, stdout=stdout)
    if status:
        sys.exit(f"tfmodels {arguments[0]} {arguments[1]} failed with status {status}")
    return output


def evaluated(application, *arguments):
    """Return the metrics that `evaluate` prints."""
    output = tfmodels(application, "evaluate", *arguments, stdout=subprocess.PIPE)
    return json.loads(output.splitlines()[-1])


def served(work, application, name, texts):
    """Return what the export of a model answers to texts, a dictionary for each 500 of them.

    It is exported to `work / "served"`, unless it is there, and asked in a process of its own,
    without our package.
    """
    from tests.serving.fresh import ask

    exported = work / "served"
    if not exported.exists():
        tfmodels(application, "export", "--model_dir", work / name, "--export_dir", exported)
    calls = [
        ("serving_default", {"text": ("string", texts[first : first + 500])})
        for first in range(0, len(texts), 500)
    ]
    return ask(exported / "1", *calls, timeout=3600)[1]


def trained(work, name, *arguments):
    """Train in `work / name`, unless it is there; what was stopped is resumed.

    Args:
        work, name: folder, and name of the model directory in it.
        *arguments: of the command line, without `--output_dir`.

    Returns:
        `(model directory, its metrics, seconds of all attempts together)`.
    """
    model, clock = work / name, work / f"{name}.seconds"
    seconds, processor = json.loads(clock.read_text()) if clock.exists() else (0.0, 0.0)
    if not model.exists():
        start, used = time.perf_counter(), _of_children()
        try:
            tfmodels(*arguments, "--output_dir", model)
        finally:
            seconds += time.perf_counter() - start
            processor += _of_children() - used
            clock.write_text(json.dumps([seconds, processor]))
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    return model, metrics, round(seconds)


def _of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor_seconds(work, name):
    """Return the seconds of all cores of what `trained` made, to compare beside other work."""
    return round(json.loads((work / f"{name}.seconds").read_text())[1])


def same_options(work, options):
    """Exit if a folder holds the results of other options: what is there is not made again."""
    path, asked = work / "options.json", json.dumps(options, sort_keys=True)
    if path.exists() and json.loads(path.read_text()) != json.loads(asked):
        sys.exit(f"--work {work}: made with {path.read_text()}; give another directory")
    path.write_text(asked)


def print_figures(title, figures, add_flags=lambda parser: None, checkpoint=True):
    """Print the figures that the command line asks for, a line of JSON each.

    Args:
        title: of the command.
        figures: dict from name to function of the options and a folder to work in, which
            gives a dict with `held`: whether the figure reaches its goal. What is in the folder
            already is not made again.
        add_flags: function that adds further flags to the parser.
        checkpoint: whether there is a flag for the weights to start from.

    Returns:
        exit status: 1 if one misses its goal.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--data", type=Path, required=True)
    if checkpoint:
        what = "directory of MiniLM; that of `make demo` if not given"
        parser.add_argument("--checkpoint", help=what)
    parser.add_argument("--work", type=Path, help="folder of what is made; a temporary one")
    parser.add_argument("--only", nargs="+", choices=list(figures), default=list(figures))
    add_flags(parser)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"--data {options.data}: no such directory; see docs/results.md")
    options.data = options.data.resolve()
    if checkpoint and options.checkpoint is None:
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
