"""Two workers, each in a network of its own: one is cut off in mid-training, and brought back.

Needs the right to make network namespaces (`ip netns`), as root in most containers has.
"""

import contextlib
import os
import subprocess
import time

import pytest

from tests.applications.conftest import GPT_FLAGS
from tests.applications.test_workers import LOST, assert_same_weights, ended, started
from tfmodels.training.state import states

pytestmark = pytest.mark.slow
HOSTS = ("10.91.7.1", "10.91.7.2")
FLAGS = [
    *GPT_FLAGS,
    "--steps",
    "150",
    "--save_steps",
    "50",
    "--sample_tokens",
    "0",
    "--save_every",
    "5",
]


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


def begun(documents, output_dir, networks):
    """The two processes of a training."""
    return started(
        documents, output_dir, [f"{host}:29500" for host in HOSTS], settings=FLAGS,
        within=[("ip", "netns", "exec", name) for name, _ in networks],
    )  # fmt: skip


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


def test_cut_off_and_brought_back(documents, tmp_path, networks):
    alone = tmp_path / "left_alone"
    for status, errors in ended(begun(documents, alone, networks)):
        assert status == 0, errors[-3000:]
    # For a moment: the network sends again what was lost, and nobody notices.
    shortly = tmp_path / "shortly"
    processes = begun(documents, shortly, networks)
    cut_off(processes, shortly, networks, 3)
    for status, errors in ended(processes):
        assert status == 0, errors[-3000:]

    # For good: both end within a bounded time, and go on when they are started again.
    longer = tmp_path / "longer"
    processes = begun(documents, longer, networks)
    cut_off(processes, longer, networks, 240)
    for status, errors in ended(processes):
        assert status == LOST and "lost another worker" in errors, (status, errors[-3000:])
    for status, errors in ended(begun(documents, longer, networks)):
        assert status == 0, errors[-3000:]

    for directory in (shortly, longer):
        assert_same_weights(directory, alone)
