"""`tfmodels baseline` and `compare` on a small file, a card's line about it, and `few_shot`."""

import json

from tests.applications.conftest import TRAIN_FLAGS
from tests.applications.verbs import printed, refused

TINY = '{"size": "tiny", "vocabulary_size": 300, "batch_size": 16, "precision": "float32"}'


def test_baseline(reviews, tmp_path, capsys):
    path = tmp_path / "baseline"
    flags = ["--train_file", reviews, "--output_dir", path]
    (metrics,) = printed(capsys, "baseline", *flags)
    assert metrics["accuracy"] == 1 and metrics["examples"] == 24
    assert json.loads((path / "metrics.json").read_text()) == metrics
    lines = (path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 24 and {"text", "true", "predicted"} == json.loads(lines[0]).keys()
    assert "another --output_dir" in refused(capsys, "baseline", *flags)


def test_compare(reviews, tmp_path, capsys):
    path = tmp_path / "compared"
    flags = ["--train_file", reviews, "--output_dir", path, "--max_length", 16, "--epochs", 2]
    flags += ["--options", TINY]
    some = printed(capsys, "compare", *flags, "--models", "[tfidf, bag]")[-1]
    assert {model["model"] for model in some["models"]} == {"tfidf", "bag"}
    before = (path / "bag.json").read_text()
    found = printed(capsys, "compare", *flags, "--models", "[tfidf, bag, cnn]")[-1]["models"]
    assert (path / "bag.json").read_text() == before  # not trained again
    assert [model["accuracy"] for model in found] == sorted(
        (model["accuracy"] for model in found), reverse=True
    )
    for model in found:
        assert model["latency_ms"] > 0 and model["megabytes"] > 0 and model["seconds"] >= 0
    rows = (path / "compare.md").read_text().splitlines()
    assert len(rows) == 5 and rows[0].startswith("| model | accuracy |")
    assert (path / "compare.png").stat().st_size > 5000
    config = json.loads((path / "cnn" / "config.json").read_text())
    assert config["model_type"] == "tfmodels-cnn" and config["tfmodels"]["pooling"] == "max"
    # Its weights were chosen on a tenth of the other 216 rows, not on the 24 that were measured.
    chosen_on = json.loads((path / "cnn" / "metrics.json").read_text())["examples"]
    assert 20 <= chosen_on <= 22
    other = [*flags, "--seed", 1]
    assert "a comparison with other settings" in refused(capsys, "compare", *other)


def test_compare_refuses_unknown_names(reviews, tmp_path, capsys):
    flags = ["--train_file", reviews, "--output_dir", tmp_path / "new"]
    assert "--models rnn: give some of tfidf, bag" in refused(
        capsys, "compare", *flags, "--models", "[rnn]"
    )
    options = ["--options", '{"size": "giant"}']
    assert "--options" in refused(capsys, "compare", *flags, "--models", "[bag]", *options)


def test_a_comparison_that_cannot_begin_leaves_nothing(reviews, tmp_path, capsys):
    """So that the corrected command runs as it stands."""
    output = tmp_path / "compared"
    flags = ["--output_dir", output, "--train_file"]
    (tmp_path / "rows.bin").write_bytes(b"a\0b")
    refused(capsys, "compare", *flags, tmp_path / "rows.bin")
    assert not output.exists()
    # Before TF-IDF is measured.
    refused(capsys, "compare", *flags, reviews, "--options", '{"size": "middle"}')
    assert not output.exists()


def test_card_has_the_line_of_the_baseline(model_dir):
    metrics = json.loads((model_dir / "metrics.json").read_text())
    assert metrics["baseline"]["rows"] == 216 and metrics["baseline"]["accuracy"] == 1
    card = (model_dir / "README.md").read_text(encoding="utf-8")
    assert "a linear model on TF-IDF of words and characters, trained on 216 of the rows" in card


def test_few_shot(reviews, tmp_path, capsys):
    model = tmp_path / "model"
    flags = ["--train_file", reviews, "--output_dir", model, *TRAIN_FLAGS, "--epochs", 1]
    (answer,) = printed(capsys, "classification", "train", *flags, "--method", "few_shot")
    assert answer["accuracy"] > 0.9
    metrics = json.loads((model / "metrics.json").read_text())
    assert metrics["steps"] == [135]  # 216 rows, ten times, in batches of 16
    found = printed(
        capsys, "classification", "predict", "--model_dir", model, "I loved it", "a bore"
    )
    assert [answer["label"] for answer in found] == ["pos", "neg"]
    wrong = [*flags, "--method", "few_shot", "--class_weights", "balanced"]
    assert "--class_weights balanced: has no effect here" in refused(
        capsys, "classification", "train", *wrong[:3], tmp_path / "other", *wrong[4:]
    )
