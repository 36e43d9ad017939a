"""Every application killed in mid-training and started again: `benchmarks/survival.py`."""

import json
import subprocess
import sys

import pytest

from benchmarks.commands import ROOT


def points(number, *names):
    """The points that the benchmark prints."""
    command = [sys.executable, "-m", "benchmarks.survival", "--points", str(number)]
    done = subprocess.run(
        [*command, "--only", *names], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == number, done.stderr[-2000:]
    return found, done.returncode


@pytest.mark.slow  # `tests/training/test_loop.py` has it in one process
def test_all():
    found, status = points(
        12, "sentiment", "ner", "summarization", "gpt", "gpt_workers", "ner_workers"
    )
    assert status == 0 and all(point["held"] for point in found)
