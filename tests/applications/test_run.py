"""What every training does: here, which batch it writes when the loss is no number."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from applications import run
from applications.sentiment import Train, load
from tfmodels.data import datasets
from tfmodels.data.sources import open_source
from tfmodels.errors import InputError

ROWS, MARKED = 120, 57


class Spoiled:
    """A loss that is no number where one row is in the batch."""

    def __call__(self, labels, logits):
        loss = keras.losses.sparse_categorical_crossentropy(labels % 2, logits, from_logits=True)
        return tf.where(tf.reduce_any(labels == MARKED), np.nan, 1.0) * tf.reduce_mean(loss)


def test_the_batch_that_is_written_is_the_one_that_spoiled_it(model_dir, tmp_path):
    rows = "".join(f"a dull film {'again ' * (row % 7)}\t{row}\n" for row in range(ROWS))
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + rows)
    source = open_source(str(tmp_path / "rows.tsv"), ("text", "label"))
    model, tokenizer, _ = load(model_dir, "float32")
    labels = list(map(str, range(ROWS)))

    def batches(seed=None):
        chunks = datasets.text_label_dataset(source, labels, seed=seed)
        words = 0.5 if seed is not None else 0.0
        return run.counted(run.batches(chunks, ROWS, tokenizer, 16, 16, seed, words))

    settings = Train(train_file="", output_dir=str(tmp_path / "model"), batch_size=16)
    objective = {"loss": Spoiled(), "metrics": ["accuracy"]}
    arguments = [lambda: batches(7), batches(), settings, tmp_path, objective]
    with pytest.raises(InputError, match="its batch is in"):
        run.fit(model, *arguments, monitor="val_accuracy")
    with np.load(tmp_path / "model.nonfinite.npz") as batch:
        assert MARKED in batch["1"]


def test_workers_compare_their_data(tmp_path, monkeypatch):
    """With other rows they would wait for each other for ever."""
    compared = {}

    def start(*_, settings, wait):
        compared.update(settings)
        return tf.distribute.get_strategy()

    monkeypatch.setattr(run, "start", start)
    settings = Train(train_file="rows.tsv", output_dir=str(tmp_path))
    run.start_training(settings, files={"rows.tsv": 12})
    assert compared["files"] == {"rows.tsv": 12} and compared["train_file"] == "rows.tsv"
    assert "output_dir" not in compared
