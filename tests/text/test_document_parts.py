"""Documents in sentences, and together again."""

import pytest
import tensorflow as tf

from tfmodels.tasks.text_writer import joined
from tfmodels.text.document_parts import split_document


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Mr. Smith went. He slept! At 3.5 percent?",
         ["Mr. Smith went.", "He slept!", "At 3.5 percent?"]),
        ('"Really?" she said. J. R. Brown left.', ['"Really?" she said.', "J. R. Brown left."]),
        ("Am 3. Oktober kam z. B. Dr. Müller. Das war's. Ja.",
         ["Am 3. Oktober kam z. B. Dr. Müller.", "Das war's.", "Ja."]),
        ("Es kostet ca. 5 Mio. Euro usw. und so.", ["Es kostet ca. 5 Mio. Euro usw. und so."]),
        ("他来了。“真的吗？”她说。好！！", ["他来了。", "“真的吗？”", "她说。", "好！！"]),
        ("Title\n\nOne. Two.\r\n Three", ["Title", "\n\n", "One.", "Two.", "\r\n ", "Three"]),
        ("", [""]),
        ("no end", ["no end"]),
    ],
)  # fmt: skip
def test_parts(text, parts):
    found = split_document(tf.constant([text]))
    assert [part.decode() for part in found.to_list()[0]] == parts
    if "  " not in text:
        assert joined(found).numpy()[0].decode() == text


def test_many_texts_at_once():
    texts = ["one. B.", "", "\n", "c"]
    found = split_document(tf.constant(texts))
    assert found.row_lengths().numpy().tolist() == [2, 1, 1, 1]
