"""Two workers, each in a network of its own: one is cut off in mid-training, and brought back.

Needs the right to make network namespaces (`ip netns`), as root in most containers has.
"""

import contextlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.applications.conftest import GPT_FLAGS
from tests.applications.test_workers import LOST, ROOT, ended
from tfmodels.training.state import states

pytestmark = pytest.mark.slow
HOSTS = ("10.91.7.1", "10.91.7.2")
FLAGS = [*GPT_FLAGS, "--steps", "150", "--save_steps", "50", "--sample_tokens", "0"]


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def networks():
    """The names of two namespaces with a cable between them."""
    names = [f"tfm{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to make network namespaces here")
    try:
        cable = [f"v{name[3:]}" for name in names]
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for name, end, host in zip(names, cable, HOSTS, strict=True):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"{host}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield list(zip(names, cable, strict=True))
    finally:
        for name in names:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


def started(documents, output_dir, networks):
    """The two processes of a training."""
    arguments = ["--text_files", documents, "--eval_files", documents, "--output_dir", output_dir]
    command = [sys.executable, "-m", "applications", "gpt", "pretrain", *map(str, arguments)]
    found = []
    for index, (name, _) in enumerate(networks):
        cluster = {"worker": [f"{host}:29500" for host in HOSTS]}
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"}
        found.append(
            subprocess.Popen(
                ["ip", "netns", "exec", name, *command, *FLAGS, "--save_every", "5"],
                cwd=ROOT, env=environment, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    return found


def cut_off(processes, output_dir, networks, seconds):
    """Takes the cable of the second worker away after the first state, for some seconds."""
    deadline = time.monotonic() + 200
    while not states(f"{output_dir}.unfinished/states") and time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    name, end = networks[1]
    ip("-n", name, "link", "set", end, "down")
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.1)
    ip("-n", name, "link", "set", end, "up")


def weights(directory):
    from safetensors.numpy import load_file

    return load_file(directory / "model.safetensors")


def test_cut_off_and_brought_back(documents, tmp_path, networks):
    alone = tmp_path / "left_alone"
    for status, errors in ended(started(documents, alone, networks)):
        assert status == 0, errors[-3000:]
    expected = weights(alone)

    # For a moment: the network sends again what was lost, and nobody notices.
    shortly = tmp_path / "shortly"
    processes = started(documents, shortly, networks)
    cut_off(processes, shortly, networks, 3)
    for status, errors in ended(processes):
        assert status == 0, errors[-3000:]

    # For good: both end within a bounded time, and go on when they are started again.
    longer = tmp_path / "longer"
    processes = started(documents, longer, networks)
    cut_off(processes, longer, networks, 240)
    for status, errors in ended(processes):
        assert status == LOST and "lost another worker" in errors, (status, errors[-3000:])
    for status, errors in ended(started(documents, longer, networks)):
        assert status == 0, errors[-3000:]

    for directory in (shortly, longer):
        for name, value in weights(directory).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-6, err_msg=name)
