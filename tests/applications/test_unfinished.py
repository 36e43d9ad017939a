"""`unfinished`: what a training goes on from, or is refused to."""

import errno

import pytest

from applications.unfinished import SETTINGS, STATES, unfinished
from tfmodels.errors import InputError


def stopped(tmp_path):
    """A training that was stopped after its first state; its folder."""
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "model", {"epochs": 3}) as folder:
        (folder / STATES / "step-000000001").mkdir(parents=True)
        raise KeyboardInterrupt
    return folder


def test_resumes_with_the_same_settings_and_is_gone_at_the_end(tmp_path):
    folder = stopped(tmp_path)
    with unfinished(tmp_path / "model", {"epochs": 3, "strategy": "single"}, ["strategy"]) as again:
        assert again == folder and (again / STATES / "step-000000001").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 4}, "training with --epochs 3, and now it is 4; give the same to resume"),
        ({"epochs": 3, "train_file": "0a1b"}, "with --train_file of other contents; give the same"),
    ],
)
def test_other_settings_are_refused_and_lose_nothing(settings, message, tmp_path):
    folder = stopped(tmp_path)
    with pytest.raises(InputError, match=message), unfinished(tmp_path / "model", settings):
        pass
    assert (folder / STATES / "step-000000001").exists()


@pytest.mark.parametrize("text", [None, "{", "\xff"])
def test_states_of_unknown_settings_are_refused(text, tmp_path):
    folder = stopped(tmp_path)
    (folder / SETTINGS).unlink()
    if text is not None:
        (folder / SETTINGS).write_bytes(text.encode("latin-1"))
    message = "settings.json: .* remove the folder"
    with pytest.raises(InputError, match=message), unfinished(tmp_path / "model", {"epochs": 3}):
        pass


def test_nothing_is_left_of_what_had_no_state(tmp_path):
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "model", {"epochs": 3}):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "vocab.txt"))
    message = "vocab.txt: cannot be written .No space left on device.; free space"
    with pytest.raises(InputError, match=message), unfinished(tmp_path / "model", {"epochs": 3}):
        raise full
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="Broken pipe"), unfinished(tmp_path / "model", {}):
        raise OSError(errno.EPIPE, "Broken pipe")
