"""What is refused before TensorFlow waits: TF_CONFIG, workers that do not come or differ."""

import json
import threading

import pytest

from tests.models.distributed import free_addresses
from tfmodels.errors import InputError
from tfmodels.training.distribution import choose_strategy, read_cluster
from tfmodels.training.meeting import meet


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG: no JSON"),
        ("{}", "TF_CONFIG: give .* lacks or has a wrong 'cluster'"),
        ('{"cluster": {"worker": ["a:1"]}}', "lacks or has a wrong 'task'"),
        (config({"worker": ["a:1", "b:2"]}, index=2), "task worker 2, and the cluster has 2 of"),
        (config({"worker": ["a:1"]}, kind="chief"), "task chief 0, and the cluster has 0 of"),
        (config({"worker": ["a:1", "a:1"]}), "a:1 is there twice"),
        (config({"worker": ["a"]}), "'a' is not host:port"),
        (config({"worker": ["a:1"], "ps": ["b:1"]}), "jobs are chief and worker, not ps"),
    ],
)
def test_a_wrong_tf_config(text, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=message):
        choose_strategy("multi_worker")


def test_the_chief_comes_first(monkeypatch):
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    monkeypatch.setenv("TF_CONFIG", config(cluster, index=1))
    assert read_cluster() == (["a:1", "b:1", "c:1"], 2)


def test_no_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="--strategy multi_worker: TF_CONFIG is not set"):
        choose_strategy("multi_worker")


@pytest.mark.parametrize("name", ["two", "tpu"])
def test_no_such_strategy(name):
    message = f"--strategy {name}: give one of auto, single, mirrored, multi_worker$"
    with pytest.raises(InputError, match=message):
        choose_strategy(name)


def problems(number, settings_of, wait=10.0, absent=()):
    """What each worker is told, `None` if nothing."""
    addresses, told = free_addresses(number), [None] * number

    def worker(index):
        try:
            meet(addresses, index, settings_of(index), wait)
        except InputError as error:
            told[index] = str(error)

    threads = [threading.Thread(target=worker, args=(n,)) for n in range(number) if n not in absent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return told


def test_workers_that_agree_go_on():
    assert problems(3, lambda index: {"seed": 1}) == [None] * 3


def test_other_flags_are_named_on_all():
    told = problems(2, lambda index: {"seed": 1, "batch_size": 16 + index})
    line = "--batch_size: 16 on the chief and 17 on worker 1; give all workers the same"
    assert told == [line, line]


def test_a_worker_that_does_not_come():
    told = problems(3, lambda index: {}, wait=1.0, absent=[2])
    assert "worker 2 (127.0.0.1:" in told[0]
    assert "did not come within 1 seconds" in told[0] and told[1] == told[0]


def test_a_chief_that_does_not_come():
    told = problems(2, lambda index: {}, wait=0.5, absent=[0])
    assert "the chief (127.0.0.1:" in told[1] and "did not answer within 0.5" in told[1]
