"""What every training checks before it starts."""

import pytest
import tensorflow as tf

from applications.process import start_training, training_of
from applications.sentiment import Train
from tfmodels.data import open_table
from tfmodels.errors import InputError


def test_workers_compare_their_data(tmp_path, monkeypatch):
    """With other rows they would wait for each other for ever."""
    compared = {}

    def choose(_, settings, wait):
        compared.update(settings)
        return tf.distribute.get_strategy()

    monkeypatch.setattr("tfmodels.training.distribution.choose_strategy", choose)
    settings = Train(train_file="rows.tsv", output_dir=str(tmp_path))
    start_training(settings, {"train_file": "0123"})
    assert compared["train_file"] == "0123" and compared["batch_size"] == 32
    assert "output_dir" not in compared


def test_a_resumed_training_knows_its_rows(tmp_path):
    """Files of the same name and size with other contents are other rows."""
    file = tmp_path / "rows.tsv"
    settings = Train(train_file=str(file), output_dir=str(tmp_path / "model"))

    def training(content):
        file.write_text(f"text\tlabel\n{content}\t1\n")
        with training_of(settings, {"train_file": open_table(file).fingerprint()}) as (_, folder):
            (folder / "states" / "step-000000001").mkdir(parents=True, exist_ok=True)
            raise KeyboardInterrupt

    for content in ("good", "good"):
        with pytest.raises(KeyboardInterrupt):
            training(content)
    with pytest.raises(
        InputError, match="an unfinished training with --train_file .*; give the same"
    ):
        training("gold")
