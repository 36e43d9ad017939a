"""The settings of a generation: a frozen dataclass that validates its values.

In: values of the caller. Out: `Generation`, for `decoding.generate`. The fields have the
semantics of `transformers`' `GenerationConfig`.
"""

import dataclasses
import math
import numbers

from tfmodels.errors import InputError


@dataclasses.dataclass(frozen=True)
class Generation:
    """The settings of `tfmodels.generation.decoding.generate`; the default is greedy decoding.

    Args:
        max_new_tokens: T, the maximum number of new tokens of a row, 1 or more.
        min_new_tokens: the minimum number of new tokens of a row, 0 to `max_new_tokens`. Before
            that, stop ids are forbidden and no other condition ends the row.
        sample: whether to sample tokens; if `False`, the most likely token is taken.
        temperature: with `sample`, the divisor of the logits, above 0.
        top_k: with `sample`, the number of most likely tokens to keep (and all as likely as the
            last of these); 0: all.
        top_p: with `sample`, keep the smallest set of most likely tokens whose probabilities
            sum to this or more; above 0 and at most 1; 1: all.
        repetition_penalty: logits of tokens that are already in the row are divided by this if
            positive, multiplied if negative; above 0, 1: off.
        no_repeat_ngram: size of the n-grams that may occur only once in a row; 0: off.
        forced_first_id: the first token of every row, overriding the settings above; `None`:
            not forced. `transformers`' `forced_bos_token_id`, which has no effect there if the
            prompt is longer than one token.
        forced_last_id: the token at the last position, `max_new_tokens`, of a row that has not
            ended before; `None`: not forced. Overrides `forced_first_id` at the same position.
            `transformers`' `forced_eos_token_id`.
        forbidden_ids: tokens that are never written; `forced_first_id` and `forced_last_id` come
            before it. Of one token each, `transformers`' `bad_words_ids`.
        renormalize: whether beam search makes probabilities of what is left of a token's
            distribution when all of the above are applied; `transformers`' `renormalize_logits`.
        num_beams: number of beams for each row; 1: no beam search.
        num_return: number of sequences that beam search returns for each row, best first, at most
            `num_beams`; `transformers`' `num_return_sequences`.
        length_penalty: exponent of the number of new tokens, by which beam search divides the
            log-probability of a sequence.
        early_stopping: whether beam search ends a row once `num_beams` sequences have ended;
            otherwise it continues while a better one seems possible.
        stop_ids: tokens that end a row; they are part of the output.
        pad_id: token after the end of a row.

    Raises:
        InputError: if a value is out of range, or `sample` is combined with `num_beams`.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    forced_first_id: int | None = None
    forced_last_id: int | None = None
    forbidden_ids: tuple[int, ...] = ()
    renormalize: bool = False
    num_beams: int = 1
    num_return: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    stop_ids: tuple[int, ...] = ()
    pad_id: int = 0

    def __post_init__(self) -> None:
        for name, minimum in _INTEGERS.items():
            if not _is_integer(getattr(self, name), minimum):
                raise self._wrong(name, f"an integer, {minimum} or more")
        for name in ("temperature", "repetition_penalty"):
            if not (_is_number(getattr(self, name)) and getattr(self, name) > 0):
                raise self._wrong(name, "a number above 0")
        if not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise self._wrong("top_p", "a number above 0 and at most 1")
        if not _is_number(self.length_penalty):
            raise self._wrong("length_penalty", "a number")
        for name in ("early_stopping", "renormalize"):
            if not isinstance(getattr(self, name), bool):
                raise self._wrong(name, "True or False")
        for name in ("forced_first_id", "forced_last_id"):
            token_id = getattr(self, name)
            if token_id is not None and not _is_integer(token_id, 0):
                raise self._wrong(name, "the id of a token, 0 or more, or None")
        for name in ("stop_ids", "forbidden_ids"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
            if not all(_is_integer(token_id, 0) for token_id in getattr(self, name)):
                raise self._wrong(name, "ids of tokens, 0 or more")
        if self.min_new_tokens > self.max_new_tokens:
            raise self._wrong("min_new_tokens", f"at most max_new_tokens={self.max_new_tokens}")
        if self.sample and self.num_beams > 1:
            raise self._wrong("num_beams", "1 with sample=True, or sample=False with beams")

        if self.num_return > self.num_beams:
            raise self._wrong("num_return", f"at most num_beams={self.num_beams}")

    def _wrong(self, name, wanted):
        return InputError(f"{name} {getattr(self, name)!r}: give {wanted}")


def given_fields(fields: dict) -> dict:
    """Return the fields of a `Generation` that are not `None`.

    Raises:
        InputError: if there is no such field.
    """
    known = {field.name for field in dataclasses.fields(Generation)}
    for name in sorted(fields.keys() - known):
        raise InputError(
            f"{name}: no setting of generation; give one of {', '.join(sorted(known))}"
        )
    return {name: value for name, value in fields.items() if value is not None}


# Field: its minimum value.
_INTEGERS = {
    "max_new_tokens": 1,
    "min_new_tokens": 0,
    "top_k": 0,
    "no_repeat_ngram": 0,
    "num_beams": 1,
    "num_return": 1,
    "pad_id": 0,
}


def _is_integer(value, minimum):
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return integer and value >= minimum


def _is_number(value):
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)
