"""Frozen weights and bfloat16 ones: the same answers from a smaller or a single file."""

import json

import numpy as np
import pytest

from applications.__main__ import main
from tests.applications.conftest import OPTIONS
from tests.serving.fresh import ask
from tfmodels.serving import saved_model

TEXTS = ["a joy", "", "Ada 😀", "很难看", "a [MASK] king"]


def exported(directory, root, options, *flags):
    arguments = ["--model_dir", str(directory), "--export_dir", str(root), "--options", options]
    assert main(["export", *arguments, *flags]) == 0
    return root / "1"


def answers(version):
    signatures = json.loads((version / "signatures.json").read_text())["signatures"]
    (name,) = signatures["serving_default"]["inputs"]
    return ask(version, ("serving_default", {name: ("string", TEXTS)}))[1][0]


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["model_dir", "gpt_dir", "ner_dir", "bert_dir", "writer_dir"])
def test_frozen_answers_as_variables_do(fixture, request, version_of, tmp_path, capsys):
    directory, options = request.getfixturevalue(fixture), OPTIONS.get(fixture, "{}")
    variables = version_of(fixture)
    frozen = exported(directory, tmp_path, options, "--weights", "frozen")
    assert "MB exported; the weights in float32 are" in capsys.readouterr().err
    data = [sum(p.stat().st_size for p in v.glob("variables/*")) for v in (variables, frozen)]
    assert data[1] < 1000 < data[0]
    expected, found = answers(variables), answers(frozen)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(np.asarray(value[-1]).ravel()[0], np.floating):
            np.testing.assert_allclose(found[name], value, atol=1e-5)
        else:
            assert found[name] == value


def test_bfloat16_takes_half_the_room(model_dir, version_of, tmp_path):
    bfloat16 = exported(model_dir, tmp_path, "{}", "--precision", "bfloat16")
    versions = [version_of("model_dir"), bfloat16]
    data = [sum(p.stat().st_size for p in v.glob("variables/*data*")) for v in versions]
    assert 0.45 < data[1] / data[0] < 0.55
    expected, found = (answers(version) for version in versions)
    # Of texts like those it learned from: the others may lie at the border of two labels.
    assert found["label"][0] == expected["label"][0]
    np.testing.assert_allclose(found["probabilities"][0], expected["probabilities"][0], atol=0.05)


def test_weights_that_no_graph_holds(model_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(saved_model, "LARGEST_GRAPH", 1e5)
    root = tmp_path / "x"
    arguments = ["--model_dir", str(model_dir), "--export_dir", str(root), "--weights", "frozen"]
    assert main(["export", *arguments]) == 2
    assert "in 2 signatures, and a graph holds" in capsys.readouterr().err
    assert not list(root.glob("*"))
