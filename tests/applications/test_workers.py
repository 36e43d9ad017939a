"""`tfmodels gpt pretrain` on two workers: one is killed, all are started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.applications.conftest import GPT_FLAGS
from tests.models.distributed import ROOT, free_addresses

pytestmark = pytest.mark.slow
FLAGS = [*GPT_FLAGS, "--steps", "60", "--save_steps", "5", "--sample_tokens", "0"]
LOST = 75


def started(documents, output_dir, addresses, *flags, settings=FLAGS, within=((), ())):
    """The processes of a training, a worker each; `flags` go to all but the chief.

    Args:
        documents, output_dir: of the training.
        addresses: of the workers.
        settings: flags of all of them.
        within: beginnings of their commands, such as those of a network of its own.
    """
    arguments = ["--text_files", documents, "--eval_files", documents, "--output_dir", output_dir]
    command = [sys.executable, "-m", "applications", "gpt", "pretrain", *map(str, arguments)]
    found = []
    for index in range(len(addresses)):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        found.append(
            subprocess.Popen(
                [*within[index], *command, *settings, *(flags if index else ())],
                cwd=ROOT, text=True,
                env={**os.environ, "TF_CONFIG": config, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    return found


def ended(processes):
    """The status and the errors of each; killed if they take too long."""
    try:
        return [(p.communicate(timeout=300)[1], p.returncode)[::-1] for p in processes]
    finally:
        for process in processes:
            process.kill()


def saved(output_dir):
    """Wait for the state after ten steps; return the directory of the states."""
    states, deadline = Path(f"{output_dir}.unfinished", "states"), time.monotonic() + 200
    while not (states / "step-000000010").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return states


def assert_same_weights(one, other):
    expected = load_file(other / "model.safetensors")
    for name, value in load_file(one / "model.safetensors").items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6, err_msg=name)


def test_one_is_killed_and_all_go_on(documents, tmp_path):
    several = tmp_path / "several"
    processes = started(documents, several, free_addresses(2))
    saved(several)
    processes[1].send_signal(signal.SIGKILL)
    (status, errors), _ = ended(processes)
    assert status == LOST and "lost another worker" in errors, errors[-3000:]

    for directory in (several, tmp_path / "left_alone"):
        for status, errors in ended(started(documents, directory, free_addresses(2))):
            assert status == 0, errors[-3000:]
    assert_same_weights(several, tmp_path / "left_alone")


def test_all_are_told_to_leave_and_the_chief_saves(documents, tmp_path):
    """The other one hears of it first, as it may where a cluster takes all machines away."""
    processes = started(documents, tmp_path / "m", free_addresses(2))
    states = saved(tmp_path / "m")
    processes[1].send_signal(signal.SIGTERM)
    time.sleep(0.1)
    processes[0].send_signal(signal.SIGTERM)
    (chief, errors), (other, _) = ended(processes)
    assert chief == 128 + signal.SIGTERM, errors[-3000:]
    assert other in (LOST, 128 + signal.SIGTERM)
    newest = sorted(states.iterdir())[-1].name
    step = int(newest.removeprefix("step-"))
    assert f"the state after step {step} is saved" in errors


def test_other_flags_end_all(documents, tmp_path):
    processes = started(documents, tmp_path / "m", free_addresses(2), "--clip_norm", "2")
    for status, errors in ended(processes):
        assert status == 2
        assert "--clip_norm: 1.0 on the chief and 2.0 on worker 1" in errors
