"""`Generation` refuses what cannot be meant."""

import math

import pytest

from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation

WRONG = {
    "max_new_tokens": (0, -1, 2.5, True),
    "min_new_tokens": (-1,),
    "temperature": (0, -0.5, math.nan, math.inf),
    "top_k": (-1,),
    "top_p": (0, 1.1, -0.1, math.nan),
    "repetition_penalty": (0.0, math.nan),
    "no_repeat_ngram": (-2,),
    "num_beams": (0,),
    "length_penalty": (math.nan, "long"),
    "pad_id": (-1,),
    "stop_ids": ((3, -1), ("a",)),
    "forced_first_id": (-1, True),
    "forced_last_id": (2.0, (2,)),
    "early_stopping": (1, None, "never"),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(InputError) as error:
        Generation(**{name: value})
    message = str(error.value)
    assert message.startswith(f"{name} {value!r}: give ") and "\n" not in message


def test_values_that_do_not_go_together():
    with pytest.raises(InputError, match="min_new_tokens 5: give at most max_new_tokens=4"):
        Generation(max_new_tokens=4, min_new_tokens=5)
    with pytest.raises(InputError, match="num_beams 2: give 1 with sample=True"):
        Generation(num_beams=2, sample=True)


def test_stop_ids_count_once():
    assert Generation(stop_ids=[3, 1, 3]).stop_ids == (3, 1)
