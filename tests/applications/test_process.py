"""What every training checks before it starts."""

import tensorflow as tf

from applications.process import start_training
from applications.sentiment import Train


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
