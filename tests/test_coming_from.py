"""The pages for people who come from KerasHub and from transformers: every block runs."""

import os

import pytest

import tfmodels
from tests.checkpoints import hub_presets
from tests.test_docs import blocks, run

PRESETS = {"roberta_base_en": "Roberta", "xlm_roberta_base_multi": "XLMRoberta",
           "gpt2_base_en": "GPT2"}  # fmt: skip
PRINTED = {"docs/kerashub.md": ("[{'label': '", "[[", "2\n"),
           "docs/from_transformers.md": ("[{'label': '", "[{'label': '")}  # fmt: skip


@pytest.mark.parametrize("page", PRINTED)
def test_python_of_a_page(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if page == "docs/kerashub.md":
        pytest.importorskip("keras_hub")
        for name, family in PRESETS.items():
            hub_presets.write_preset(family, tmp_path / name)
    else:
        bert = tfmodels.MaskedLM.from_scratch(
            hub_presets.TEXTS, size="tiny", vocabulary_size=90, max_length=32
        )
        os.makedirs("google-bert")
        bert.save("google-bert/bert-base-uncased")
    names = {}
    for number, (code, wanted) in enumerate(
        zip(blocks(page, "python"), PRINTED[page], strict=True)
    ):
        run(page, number + 1, code, names)
        assert wanted in capsys.readouterr().out
