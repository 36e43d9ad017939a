"""The language of texts, by their letters."""

import pytest

from tfmodels.text.languages import guess_language


@pytest.mark.parametrize(
    ("text", "language"),
    [("你好，世界", "zh"), ("これは新しいペンです", "ja"), ("最高裁判所の判決です", "ja"),
     ("他在东京开了一家名叫の的小店铺", "zh"), ("안녕하세요", "ko"), ("สวัสดีชาวโลก", "th"),
     ("Grüße, Привет", ""), ("The word 你好 is a greeting.", ""),
     ("Keras 训练", "zh"), ("123", "")],
)  # fmt: skip
def test_of_a_text(text, language):
    assert guess_language([text]) == language


def test_of_the_first_texts():
    assert guess_language(iter(["你好"] + ["Good morning"])) == ""
    assert guess_language(["你好"] * 200 + ["Good morning"] * 200) == "zh"
    assert guess_language([]) == ""
