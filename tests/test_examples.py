"""Every example runs as it stands, and stays short."""

import ast
import pathlib
import shutil
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
PRINTED = {
    "answers": "{'answer': '", "roles": "left [('ARG0', 'Bo')",
    "classify": "'label': 'positive'", "entities": "LOC Paris 10 15", "fill_mask": "'token':",
    "generate": "['", "summarize": "['",
    "translate": "'translation': '",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_runs(script, tmp_path):
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")
    environment = {"PYTHONPATH": str(EXAMPLES.parent), "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert PRINTED[script.stem] in done.stdout
    # Progress and nothing of TensorFlow's own: no line of a C++ log.
    assert not [line for line in done.stderr.splitlines() if line[:2] in ("E0", "I0", "W0")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_is_short(script):
    source = script.read_text(encoding="utf-8")
    body = ast.parse(source).body[1:]  # without its docstring
    lines = source.splitlines()[body[0].lineno - 1 :]
    assert len([line for line in lines if line.strip()]) <= 12
