"""`tfmodels classification`: several labels, scores and pairs through every verb."""

import json
import random
import re
import shlex

import numpy as np
import pytest
import tensorflow as tf

from applications.__main__ import main
from tests.applications.verbs import printed, refused

FLAGS = [
    "--size", "tiny", "--vocabulary_size", "200", "--batch_size", "16", "--max_length", "16",
    "--learning_rate", "2e-3", "--precision", "float32", "--epochs", "8", "--dropout", "0",
    "--ema", "0",
]  # fmt: skip
COLOURS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Directory of `labels.tsv`, columns of 0 and 1, and `pairs.jsonl`, with scores."""
    folder, rng = tmp_path_factory.mktemp("labelling"), random.Random(0)
    rows = [[rng.choice(COLOURS) for _ in range(2)] for _ in range(320)]
    with open(folder / "labels.tsv", "w") as file:
        file.write("\t".join(["text", *COLOURS, "source"]) + "\n")
        for number, words in enumerate(rows):
            there = [str(int(colour in words)) for colour in COLOURS]
            text = f"a {words[0]} hat and a {words[1]} box"
            file.write("\t".join([text, *there, "web" if number % 4 else "mail"]) + "\n")
    with open(folder / "pairs.jsonl", "w") as file:
        for one, other in rows:
            score = 2.5 * (one == "red") + (other == "red")
            row = {"a": f"a {one} hat", "b": f"the {other} box", "score": score}
            file.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture(scope="module")
def several(data, tmp_path_factory):
    model = tmp_path_factory.mktemp("several") / "model"
    arguments = ["--train_file", data / "labels.tsv", "--label_column", "[red, green, blue]"]
    arguments += ["--held_out", "0.4", "--output_dir", model, *FLAGS]
    assert main(["classification", "train", *map(str, arguments)]) == 0
    return model


@pytest.fixture(scope="module")
def scored(data, tmp_path_factory):
    model = tmp_path_factory.mktemp("scored") / "model"
    arguments = ["--train_file", data / "pairs.jsonl", "--text_column", "a", "--pair_column", "b"]
    arguments += ["--label_column", "score", "--target", "score", "--output_dir", model, *FLAGS]
    assert main(["classification", "train", *map(str, arguments)]) == 0
    return model


def test_several_labels(several, data, tmp_path, capsys):
    metrics = json.loads((several / "metrics.json").read_text())
    assert metrics["examples"] == 128 and metrics["micro_f1"] > 0.9
    assert len(metrics["thresholds"]) == 3
    rows = ["--eval_file", data / "labels.tsv", "--label_column", "[red, green, blue]"]
    rows += ["--group_column", "source", "--report_dir", tmp_path / "report"]
    *_, found = printed(capsys, "classification", "evaluate", "--model_dir", several, *rows)
    assert {name: part["examples"] for name, part in found["by_group"].items()} == {
        "mail": 80, "web": 240,
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["mistakes.jsonl"]
    (answer,) = printed(capsys, "classification", "predict", "--model_dir", several, "a red hat")
    assert answer["labels"] == ["red"] and answer["text"] == "a red hat"
    flags = ["--model_dir", several, "--export_dir", tmp_path / "served"]
    printed(capsys, "classification", "export", *flags)
    (checked,) = printed(capsys, "check", tmp_path / "served" / "1")
    outputs = checked["signatures"]["serving_default"]["outputs"]
    assert outputs.keys() == {"labels", "probabilities", "classes"}
    described = json.loads((tmp_path / "served" / "1" / "signatures.json").read_text())
    assert sorted(described["labels"]) == ["blue", "green", "red"]
    assert "tensorflow-text" in described["needs"]
    card = (several / "README.md").read_text()
    assert "Jaccard" in card and "were fitted on these rows" in card


def test_scores_of_pairs(scored, data, tmp_path, capsys):
    metrics = json.loads((scored / "metrics.json").read_text())
    assert metrics["examples"] == 32 and metrics["pearson"] > 0.9
    predict = ["classification", "predict", "--model_dir", scored]
    (answer,) = printed(capsys, *predict, "a red hat", "--pair", "the red box")
    assert answer["pair"] == "the red box" and answer["value"] > 2
    columns = ["--input_file", data / "pairs.jsonl", "--text_column", "a", "--pair_column", "b"]
    table = printed(capsys, *predict, *columns)
    assert len(table) == 320 and table[0].keys() == {"text", "pair", "value"}
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"{row['text']}\t{row['pair']}\n" for row in table[:9]))
    by_line = printed(capsys, *predict, "--input_file", lines)
    for one, other in zip(by_line, table, strict=False):
        assert one["value"] == pytest.approx(other["value"], abs=1e-4)
    printed(capsys, "export", "--model_dir", scored, "--export_dir", tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served" / "1")).signatures["serving_default"]
    sides = ([row[key] for row in table[:5]] for key in ("text", "pair"))
    found = served(**dict(zip(("text", "pair"), map(tf.constant, sides), strict=True)))
    np.testing.assert_allclose(found["value"], [row["value"] for row in table[:5]], atol=1e-4)
    assert "give the second one with --pair" in refused(capsys, *predict, "a red hat")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--train_file: give it, or the name of a --dataset"),
        (["--dataset", "mrpcs"], "dataset mrpcs: unknown; give one of cola"),
        (["--dataset", "lcqmc"], "TensorFlow Datasets does not have it; give the --data_dir"),
        (["--dataset", "mrpc", "--text_column", "x"], "--text_column x: has no effect here"),
        (["--dataset", "mrpc", "--data_dir", "nowhere"], "no such directory"),
        (["--train_file", "PAIRS", "--text_column", "a", "--label_column", "score"],
         "has fractions such as 0.25: give --target score"),
    ],
)  # fmt: skip
def test_mistakes(flags, message, data, tmp_path, capsys):
    (tmp_path / "rows.tsv").write_text(
        "a\tscore\n" + "".join(f"text {n}\t{n / 4}\n" for n in range(40))
    )
    flags = [str(tmp_path / "rows.tsv") if flag == "PAIRS" else flag for flag in flags]
    line = refused(capsys, "classification", "train", "--output_dir", tmp_path / "m", *flags)
    assert message in line


def test_a_named_set(data, tmp_path, capsys):
    """From a directory of its files; `evaluate` reads the validation rows and says the metric."""
    folder, model = tmp_path / "rte", tmp_path / "model"
    folder.mkdir()
    for split in ("train", "dev"):
        lines = ["index\tsentence1\tsentence2\tlabel"]
        lines += [f"{n}\tred {n % 5}\tblue\t{'x' if n % 2 else 'y'}" for n in range(60)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    named = ["--dataset", "rte", "--data_dir", folder]
    flags = [*FLAGS, "--epochs", "1", "--output_dir", model]
    assert main(["classification", "train", *map(str, [*named, *flags])]) == 0
    capsys.readouterr()
    assert main(["classification", "evaluate", "--model_dir", str(model), *map(str, named)]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1])["examples"] == 60
    assert "rte: accuracy 0." in shown.err or "rte: accuracy 1." in shown.err


def test_the_card_of_pairs_can_be_run(scored, monkeypatch, capsys):
    monkeypatch.chdir(scored.parent)
    (code,) = re.findall(r"```python\n(.*?)```", (scored / "README.md").read_text(), re.DOTALL)
    exec(code, {})  # noqa: S102
    assert "'value': " in capsys.readouterr().out
    (shell,) = re.findall(r"```sh\n(.*?)```", (scored / "README.md").read_text(), re.DOTALL)
    (answer,) = printed(capsys, *shlex.split(shell.splitlines()[0])[1:])
    assert answer.keys() == {"text", "pair", "value"}
