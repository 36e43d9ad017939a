"""States on disk: which are kept, which are refused. `test_loop.py` resumes from them."""

import errno

import keras
import numpy as np
import pytest

from tfmodels.errors import InputError
from tfmodels.training.losses import Accuracy, Crossentropy
from tfmodels.training.optimizer import AdamW, WarmupLinear
from tfmodels.training.state import restore_newest, save_state, states

STEPS, BATCH = 12, 4
IDS = np.random.default_rng(0).integers(0, 11, size=(STEPS * BATCH, 5)).astype("int32")
LABELS = (IDS.sum(1) % 2).astype("int32")


def model(hidden_dim=4):
    """Small, with dropout: its random state must be restored as well."""
    keras.utils.set_random_seed(0)
    classifier = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(11, hidden_dim),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(2),
        ]
    )
    optimizer = AdamW(WarmupLinear(1e-1, STEPS, 2), use_ema=True, ema_momentum=0.9)
    classifier.compile(optimizer, Crossentropy(), metrics=[Accuracy()])
    return classifier


def test_the_newest_two_are_kept(tmp_path):
    trained = model()
    for step in (9, 10, 11):
        save_state(tmp_path, trained, step)
    assert [path.name for path in states(tmp_path)] == ["step-000000010", "step-000000011"]


def test_another_model_is_refused(tmp_path):
    save_state(tmp_path, model(), 1)
    with pytest.raises(InputError, match=r"another model \(\d+ variables differ.*same settings"):
        restore_newest(tmp_path, model(hidden_dim=2))


@pytest.mark.parametrize("name", ["variables.npz", "state.json"])
def test_a_damaged_state_is_refused(tmp_path, name):
    save_state(tmp_path, model(), 1)
    path = states(tmp_path)[-1] / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged .* remove its folder to start over"):
        restore_newest(tmp_path, model())


def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path, capsys):
    trained = model()
    save_state(tmp_path, trained, 1)
    save_state(tmp_path, trained, 2)
    newest = states(tmp_path)[-1]
    (newest / "variables.npz").write_bytes(b"half")
    assert restore_newest(tmp_path, model())["step"] == 1
    assert f"{newest}: damaged; resuming from {states(tmp_path)[0]}" in capsys.readouterr().err


def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch):
    save_state(tmp_path, model(), 1)

    def full(path, **arrays):
        path.with_suffix(".npz").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match="No space left on device.*free space there"):
        save_state(tmp_path, model(), 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
    assert restore_newest(tmp_path, model())["step"] == 1
