"""The READMEs: their Python runs as it stands, and the Chinese one says what the English does."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")


def blocks(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_python_runs(tmp_path):
    # In a process of its own, as a reader would run it; one for both, it starts slowly.
    program = "import os, runpy, sys\n"
    program += "for f in sys.argv[1:]: os.chdir(f); runpy.run_path('script.py')"
    for name in READMES:
        (code,) = blocks(name, "python")
        (tmp_path / name).mkdir()
        (tmp_path / name / "script.py").write_text(code, encoding="utf-8")
    folders = [str(tmp_path / name) for name in READMES]
    done = subprocess.run([sys.executable, "-c", program, *folders], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    for name in READMES:
        assert (tmp_path / name / "saved_models" / "mine" / "1" / "saved_model.pb").exists()


def test_chinese_readme_has_the_same_commands():
    def commands(name):
        return [re.sub(r" *#.*", "", block) for block in blocks(name, "sh")]

    assert commands("README.zh-CN.md") == commands("README.md")


@pytest.mark.parametrize("name", READMES)
def test_flags_and_verbs_exist(name):
    """Every `tfmodels` command in a README parses."""
    from applications.__main__ import build_parser

    parser = build_parser()
    found = 0
    for block in blocks(name, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("tfmodels "):
                parser.parse_args(shlex.split(line)[1:])
                found += 1
    assert found == 29


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / target).exists(), target
