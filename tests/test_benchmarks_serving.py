"""The figures of `benchmarks/serving.py`, each in its short form."""

import json

from benchmarks.serving import main as measure
from tests.applications.conftest import model_dir, reviews  # noqa: F401 - fixtures
from tests.applications.verbs import main


def test_fuzz_and_threads(model_dir, tmp_path, capsys):  # noqa: F811
    arguments = ["--model_dir", str(model_dir), "--export_dir", str(tmp_path / "x")]
    assert main(["export", *arguments]) == 0
    capsys.readouterr()
    short = ["--only", "fuzz", "threads", "--inputs", "300", "--minutes", "0.05"]
    measure([str(tmp_path / "x" / "1"), *short])
    fuzz, threads = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert fuzz["held"] and fuzz["answered"] == 300 and fuzz["refused"] == 0
    assert threads["requests"] > 32 and threads["wrong"] == 0
