"""The model card: what the hub reads in it, what a reader can run, and what is not in it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from applications.cards import is_chinese, public
from tests.applications.conftest import write_conll, write_documents, write_reviews
from tests.applications.verbs import printed
from tfmodels.data import open_entities, open_table, open_texts
from tfmodels.serving.cards import exported_card

# The hub's name of the task, and a metric of it.
CARDS = {
    "model_dir": ("text-classification", "accuracy"), "ner_dir": ("token-classification", "f1"),
    "bert_dir": ("fill-mask", "masked_lm_accuracy"), "gpt_dir": ("text-generation", "perplexity"),
    "writer_dir": ("summarization", "rougeL"),
}  # fmt: skip
OF_0_1 = Path(__file__).parent.parent / "golden" / "written_0_1" / "summarization" / "model"


def card_of(directory):
    return (directory / "README.md").read_text(encoding="utf-8")


def python_of(card):
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    return code


@pytest.fixture(params=CARDS)
def trained(request):
    return request.getfixturevalue(request.param), *CARDS[request.param]


def test_the_header_is_what_the_hub_reads(trained):
    directory, pipeline, metric = trained
    _, header, text = card_of(directory).split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["library_name"] == "keras" and header["pipeline_tag"] == pipeline
    assert not {"license", "base_model", "language"} & header.keys()
    ((result,),) = (model["results"] for model in header["model-index"])
    assert result["task"]["type"] == pipeline and "/" not in result["dataset"]["name"]
    values = {entry["name"]: entry["value"] for entry in result["metrics"]}
    measured = json.loads((directory / "metrics.json").read_text())
    assert values[metric] == pytest.approx(measured[metric], abs=1e-4)
    assert {entry["type"] for entry in result["metrics"]} == set(header["metrics"])
    headings = re.findall("^## (.*)", text, re.MULTILINE)
    assert headings == ["Training data", "Intended use and limits", "Results", "Training",
                        "How to use it"]  # fmt: skip


def test_its_python_runs_from_the_directory_above(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0].parent)
    exec(python_of(card_of(trained[0])), {})  # noqa: S102
    assert capsys.readouterr().out.startswith("[")


def test_no_file_has_a_path_of_the_machine(trained, tmp_path_factory):
    paths = [str(tmp_path_factory.getbasetemp()).encode(), str(Path.home()).encode() + b"/"]
    for file in filter(Path.is_file, trained[0].rglob("*")):
        assert not any(path in file.read_bytes() for path in paths), file


def test_only_pictures_that_are_there(trained):
    pictures = re.findall(r"\]\((plots/[a-z]+\.png)\)", card_of(trained[0]))
    assert pictures and all((trained[0] / picture).is_file() for picture in pictures)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("train_file", "/home/me/reviews.tsv", "reviews.tsv"),
        ("eval_file", "../../home/me/reviews.tsv", "reviews.tsv"),
        ("text_files", ["books/*.txt", r"C:\me\a.txt"], ["*.txt", "a.txt"]),
        ("train_file", "tfds:glue/sst2:train", "tfds:glue/sst2:train"),
        ("checkpoint", "google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("checkpoint", "~/models/bert/", "bert"),
        ("checkpoint", str(OF_0_1), "model"),
        ("vocabulary", "runs/vocab.txt", "vocab.txt"),
        ("separator", " / ", " / "),
        ("epochs", 3, 3),
    ],
)
def test_settings_without_folders(name, value, shown):
    assert public(name, value) == shown


def test_the_language_is_guessed_where_it_is_chinese(tmp_path):
    table, tagged, text = (tmp_path / name for name in ("rows.tsv", "tagged.txt", "text.txt"))
    write_reviews(table, 20)
    write_conll(tagged, 20)
    write_documents(text, 5)
    assert not is_chinese(open_table(table, "text", "label"))
    assert not is_chinese(open_entities(tagged)) and not is_chinese(open_texts(text))
    table.write_text("text\tlabel\n很好看的电影 film\t好\n难看\t坏\n", encoding="utf-8")
    tagged.write_text("李 B-PER\n小 I-PER\n龙 I-PER\n在 O\n", encoding="utf-8")
    text.write_text("今天的新闻。\n", encoding="utf-8")
    assert is_chinese(open_table(table, "text", "label"))
    assert is_chinese(open_entities(tagged)) and is_chinese(open_texts(text))
    text.write_text("今日は良い天気です。\n", encoding="utf-8")  # Japanese
    assert not is_chinese(open_texts(text)) and not is_chinese(object())


@pytest.mark.parametrize("old", [False, True])
def test_no_held_out_text_is_exported(old, request):
    """Also not of a model directory that 0.1 wrote; the header and the results are."""
    directory = OF_0_1 if old else request.getfixturevalue("writer_dir")
    card = card_of(directory)
    exported = exported_card(directory / "README.md", Path("served/1"), {})
    for text in ("What it writes", "| source | reference |", "my sister", "plots/"):
        assert text in card and text not in exported
    assert (
        "| this model |" in exported and "```json" in exported and "tfmodels.load" not in exported
    )
    assert old or yaml.safe_load(exported.split("---\n")[1])["pipeline_tag"] == "summarization"


def test_the_card_of_a_version(model_dir, tmp_path, monkeypatch, capsys):
    """It says how to ask that version, whatever the model's own says."""
    (printed_line,) = printed(
        capsys, "sentiment", "export", "--model_dir", model_dir, "--export_dir", tmp_path / "served"
    )
    assert printed_line == {"saved_model": str(tmp_path / "served" / "1")}
    card = card_of(tmp_path / "served" / "1")
    assert yaml.safe_load(card.split("---\n")[1])["metrics"] == ["accuracy", "f1"]
    assert "`signatures.json` describes `serving_default`, `token_ids`." in card
    monkeypatch.chdir(tmp_path / "served")
    exec(python_of(card), {})  # noqa: S102
    assert "'label': <tf.Tensor" in capsys.readouterr().out
