"""What every application leaves behind after a training."""

import pytest

FILES = {
    "model_dir": "vocab.txt tokenizer_config.json plots/confusion.png",
    "ner_dir": "vocab.txt",
    "bert_dir": "vocab.txt tokenizer_config.json",
    "gpt_dir": "vocab.json merges.txt tokenizer_config.json",
    "writer_dir": "vocab.txt generation_config.json",
}
ALL = ("config.json", "model.safetensors", "metrics.json", "README.md", "plots/curves.png")


@pytest.mark.parametrize("fixture", FILES)
def test_holds_everything_and_nothing_is_beside_it(fixture, request):
    directory = request.getfixturevalue(fixture)
    names = {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}
    assert names >= {*ALL, *FILES[fixture].split()}
    assert any(name.startswith("logs/train/events.") for name in names)
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]
