"""What `make lint` checks of the imports (setup.cfg), and what no linter knows."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def test_imports_point_one_way():
    lint = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=1))"
    command = [sys.executable, "-c", lint]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_no_array_is_unpickled():
    sources = [p for room in ("tfmodels", "applications") for p in (ROOT / room).rglob("*.py")]
    given = [
        (path.name, value)
        for path in sources
        for value in re.findall(r"allow_pickle\s*=\s*(\w+)", path.read_text(encoding="utf-8"))
    ]
    assert ("characters.py", "False") in given
    assert {value for _, value in given} == {"False"}
