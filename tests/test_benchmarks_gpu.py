"""The benchmark of GPUs, at its smallest size on the CPU; `tfmodels` on JAX without TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

MISSING = [name for name in ("jax", "torch", "transformers") if not importlib.util.find_spec(name)]
JAX = {**os.environ, "KERAS_BACKEND": "jax"}


@pytest.mark.skipif("jax" in MISSING, reason="jax is not installed: pip install '.[test]'")
def test_models_and_names_of_weights_need_no_tensorflow():
    code = (
        "import sys; sys.modules.update(tensorflow=None, tensorflow_text=None)\n"
        "import tfmodels.models.classifier, tfmodels.models.transformer\n"
        "import tfmodels.training.losses, tfmodels.training.optimizer\n"
        "import tfmodels.checkpoints.bert, tfmodels.checkpoints.gpt2\n"
    )
    subprocess.run([sys.executable, "-c", code], env=JAX, check=True, timeout=100)


@pytest.mark.skipif(MISSING, reason=f"not installed: {', '.join(MISSING)}")
def test_every_row_is_measured_and_logits_agree():
    command = [sys.executable, "-m", "benchmarks.gpu", "--sizes", "tiny", "--rounds", "2"]
    command += ["--runners", "tfmodels", "torch"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, last = done.stdout.splitlines()
    found = json.loads(last)
    expected = [
        (size, kind, runner)
        for size in ("bert-tiny", "gpt2-tiny")
        for kind in ("forward", "training step")
        for runner in ("tfmodels", "torch")
    ]
    assert [(row["size"], row["kind"], row["runner"]) for row in found["rows"]] == expected
    assert all(row["ms"] > 0 and row["share_of_peak"] > 0 for row in found["rows"])
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line[:1] == "|"]
    assert cells[2:] == [[f"{size}, 4x32", kind, runner] for size, kind, runner in expected]
    exact = [row for row in found["logits"] if row["precision"] == "float32"]
    assert len(exact) == 4 and all(row["difference"] < 1e-5 for row in exact)
    assert len(found["logits"]) == 8 and all(row["agrees"] for row in found["logits"])


def test_no_memory_is_an_answer_of_its_row(monkeypatch, capsys):
    from benchmarks import gpu

    class Small:
        def prepare(self, size, kind):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")

    monkeypatch.setattr(sys, "stdin", ['["prepare", "bert-large", "forward"]\n'])
    small = Small()
    gpu.serve(small, sys.stdout)
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"error": "out of memory"}
    row = {"size": "bert-large", "batch": "32x512", "kind": "forward", "runner": "tfmodels"}
    assert gpu.line_of({**row, **answer}).split("|")[4].strip() == "out of memory"
