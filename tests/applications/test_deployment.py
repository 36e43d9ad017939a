"""`tfmodels export` and `query`: what they are told, checked before anything is asked."""

import io
import sys

import pytest

from applications import deployment
from tests.applications.verbs import refused


@pytest.mark.parametrize(
    "options, words",
    [
        ('{"stop": "END"}', "stop"),
        ('{"seed": "one"}', "seed"),
        ('{"max_new_tokens": [8]}', "max_new_tokens"),
        ('{"beams": 2}', "beams: unknown setting"),
    ],
)
def test_options_have_the_types_of_the_flags(options, words, gpt_dir, tmp_path, capsys):
    flags = ["--model_dir", gpt_dir, "--export_dir", tmp_path / "served", "--options", options]
    line = refused(capsys, "export", *flags)
    assert "--options" in line and words in line
    assert not (tmp_path / "served").exists()


class Server:
    """A client of a model that takes a text; nothing may be asked of it."""

    def signatures(self):
        return {"serving_default": {"inputs": {"text": {"dtype": "string"}}}}


def test_queries_that_are_not_utf8(monkeypatch, capsys):
    monkeypatch.setattr(deployment, "_client", lambda settings: Server())
    assert "text 1: character 4" in refused(capsys, "query", "http://host/m", "caf\udce9")
    stdin = io.TextIOWrapper(io.BytesIO(b"fine\ncaf\xe9\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert "standard input:2: byte 4" in refused(capsys, "query", "http://host/m")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "no text; give texts" in refused(capsys, "query", "http://host/m")
