"""Asks a SavedModel, as a server would: only TensorFlow and TF-Text, none of our code.

    python ask.py saved_models/sentiment/1 "Such a warm and funny film." ...

In: the directory of a version and texts. Out: one JSON object a text.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402 - after the log level
import tensorflow_text  # noqa: E402, F401 - registers the tokenizer's ops


def main(directory, texts):
    """Prints what the model answers to each text."""
    loaded = tf.saved_model.load(directory)
    answers = loaded.signatures["serving_default"](text=tf.constant(texts))
    for row, text in enumerate(texts):
        values = {name: plain(answer[row].numpy()) for name, answer in answers.items()}
        print(json.dumps({"text": text, **values}, ensure_ascii=False))


def plain(value):
    """Returns numbers and texts of a value, or lists of them."""
    if isinstance(value, bytes):
        return value.decode()
    return [plain(part) for part in value] if value.ndim else value.item()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} SAVED_MODEL TEXT ...")
    main(sys.argv[1], sys.argv[2:])
