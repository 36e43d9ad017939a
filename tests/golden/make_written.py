"""Make `written_0_1` beside this file: what version 0.1 wrote, which must stay readable.

Out: for each kind a directory with `model/` (what `train` wrote, without plots and logs),
`1.tar.xz` (what `export` wrote of it) and `answers.json`: `predict` is what
`tfmodels KIND predict` printed of `texts`, `served` the outputs of `serving_default`. Run in a
checkout of commit c955a1a, the last of version 0.1:

    PYTHONPATH=. python .../tests/golden/make_written.py
"""

import contextlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import tensorflow as tf

from applications.__main__ import main
from tests.applications import conftest
from tfmodels.checkpoints.bert import save_bert
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.text.vocabulary import learn_wordpiece

HERE = Path(__file__).parent / "written_0_1"
SMALL = ["--epochs", "12", "--batch_size", "16", "--max_length", "24",
         "--learning_rate", "1e-2", "--precision", "float32", "--dropout", "0"]  # fmt: skip
REVIEWS = ["a joy", "很难看的电影 😀", ""]
NAMES = ["Ada Lovelace flew to New York .", "北京 and Zoë Müller", ""]
STORIES = ["the captain found the moon. my sister sold some bread.", "two horses", "很"]


def verb(*arguments):
    """Run one command; return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*map(str, arguments)]) == 0
    return out.getvalue()


def served(version, texts):
    """Return what a version answers: a dict of lists."""
    function = tf.saved_model.load(version).signatures["serving_default"]
    (key,) = function.structured_input_signature[1]
    answer = function(**{key: tf.constant(texts)})
    return {name: plain(value.numpy().tolist()) for name, value in answer.items()}


def plain(value):
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


def make(kind, texts, train, *, name=None, export=()):
    """Write the directory of one kind with the flags of its training."""
    directory = HERE / (name or kind)
    shutil.rmtree(directory, ignore_errors=True)
    model = directory / "model"
    verb(kind, *train, "--output_dir", model)
    for folder in ("plots", "logs"):
        shutil.rmtree(model / folder, ignore_errors=True)
    said = verb(kind, "predict", *texts, "--model_dir", model, "--precision", "float32", *export)
    answers = {"kind": kind, "flags": export, "texts": texts}
    answers["predict"] = [json.loads(line) for line in said.splitlines()]
    verb(kind, "export", "--model_dir", model, "--export_dir", "exported", *export)
    answers["served"] = served("exported/1", texts)
    text = json.dumps(answers, indent=1, ensure_ascii=False) + "\n"
    (directory / "answers.json").write_text(text, encoding="utf-8")
    with tarfile.open(directory / "1.tar.xz", "w:xz") as archive:  # a tenth of the size
        archive.add("exported/1", "1")
    shutil.rmtree("exported")


def encoder(path, texts):
    """Write a small BERT to start from."""
    vocabulary = learn_wordpiece(texts, 200)
    config = BertConfig(len(vocabulary), 1, 16, 2, 32, max_length=96, initializer_range=0.2)
    model = Bert(config)
    model.build()
    save_bert(model, path, vocabulary, {"lowercase": True})
    return ["--checkpoint", path]


def run(folder):
    reviews = conftest.write_reviews(folder / "reviews.tsv", 240)
    tagged = conftest.write_conll(folder / "tagged.txt", 240)
    documents = conftest.write_documents(folder / "documents.txt", 100)
    pairs = conftest.write_pairs(folder / "pairs.jsonl", 160)

    def lines(path):
        return path.read_text(encoding="utf-8").splitlines()

    bert = encoder(folder / "reviews", lines(reviews))
    for pooling in ("mean", "first"):
        flags = ["train", "--train_file", reviews, *bert, *SMALL, "--pooling", pooling]
        make("sentiment", REVIEWS, flags, name=f"sentiment_{pooling}")
    bert = encoder(folder / "tagged", lines(tagged))
    for crf in ("true", "false"):
        flags = ["train", "--train_file", tagged, *bert, *SMALL, "--crf", crf]
        make("ner", NAMES, flags, name=f"ner_crf_{crf}")
    bert = encoder(folder / "documents", lines(documents))
    flags = ["pretrain", "--text_files", documents, *bert, *SMALL, "--held_out", "0.2"]
    make(
        "bert", ["the [MASK] king", "[MASK] sold [MASK].", "no mask"], flags, export=("--top_k", 2)
    )
    flags = ["train", "--train_file", pairs, *bert, *SMALL, "--max_target_length", "12",
             "--rouge_examples", "8", "--num_decoder_layers", "1"]  # fmt: skip
    make("summarization", STORIES, flags, export=("--max_new_tokens", 8))
    flags = ["pretrain", "--text_files", documents, "--vocabulary_size", "300", "--num_layers", 1,
             "--hidden_dim", "16", "--num_heads", 2, "--eval_files", documents, *SMALL,
             "--max_length", 48]  # fmt: skip
    make("gpt", STORIES, flags, export=("--max_new_tokens", 8))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        run(Path())
