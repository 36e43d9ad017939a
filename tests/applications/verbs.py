"""Runs verbs in the tests: what they print, and the one line of a refusal."""

import json

from applications.__main__ import main


def printed(capsys, *arguments):
    """The JSON objects that a verb prints, one a line; it must succeed."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def refused(capsys, *arguments):
    """The one line that a refused command prints."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfmodels: ")]
    assert len(lines) == 1
    return lines[0]
