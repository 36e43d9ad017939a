"""The figures of `benchmarks/serving.py`, each in its short form."""

import json

from benchmarks.serving import main as measure
from tests.applications.conftest import model_dir, reviews  # noqa: F401 - fixtures
from tests.applications.verbs import main


def test_short_forms(model_dir, tmp_path, capsys):  # noqa: F811
    arguments = ["--model_dir", str(model_dir), "--export_dir", str(tmp_path / "x")]
    assert main(["export", *arguments]) == 0
    capsys.readouterr()
    table = tmp_path / "table.tsv"
    table.write_text('sentence\tlabel\na joy\tpos\n"a dull\tneg\na joy\tneg\n')
    short = ["--only", "fuzz", "threads", "speed", "accuracy"]
    short += ["--inputs", "300", "--minutes", "0.05", "--runs", "2"]
    short += ["--table", str(table), "--text_column", "sentence"]
    measure([str(tmp_path / "x" / "1"), *short])
    lines = capsys.readouterr().out.splitlines()
    fuzz, threads, speed, accuracy = (json.loads(line) for line in lines)
    assert fuzz["held"] and fuzz["answered"] == 300 and fuzz["refused"] == 0
    assert threads["requests"] > 32 and threads["wrong"] == 0
    assert list(speed["batch_ms"]) == ["1", "2", "4", "8", "16", "32", "64"]
    assert speed["exported_mb"] > 0 and min(speed["batch_ms"].values()) > 0
    assert accuracy["rows"] == 3 and accuracy["accuracy"] == 0.6667
