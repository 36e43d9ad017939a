"""The end of `make demo`: a server at a terminal, and a line elsewhere."""

import sys

import pytest

from applications import demo


@pytest.mark.parametrize(
    "terminal, variable, started",
    [(True, None, True), (True, "1", True), (True, "0", False), (False, None, False)],
)
def test_the_server_is_for_people(terminal, variable, started, monkeypatch, capsys):
    commands = []
    monkeypatch.setattr(demo.os, "execv", lambda program, command: commands.append(command))
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: terminal, raising=False)
    monkeypatch.delenv("DEMO_SERVE", raising=False)
    if variable is not None:
        monkeypatch.setenv("DEMO_SERVE", variable)
    demo.serve_here()
    assert bool(commands) == started
    if started:
        assert commands[0][1:4] == ["-m", "applications", "serve"]
    else:
        assert "tfmodels serve saved_models" in capsys.readouterr().out
