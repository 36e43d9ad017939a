"""An encoder-decoder as signatures: a text in, the text written for it out.

In: a `Transformer`, its tokenizer and the settings of decoding. Out: what `saved_model.save`
writes; tokenizer, both stacks, cache, search and detokenizer are all in the graph.

B texts, R rows (B, or more where long texts are read in parts), S tokens of the longest, T =
`max_new_tokens`.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.generation.decoding import generate
from tfmodels.generation.rows import Generated
from tfmodels.generation.settings import Generation
from tfmodels.models.transformer import Transformer
from tfmodels.tasks.signatures import TEXT, TOKENS, longest_text
from tfmodels.text.pairs import PairTokens, in_parts, source_batch

ROWS = 32  # parts of long texts that are searched for together
SEPARATOR = "\x1f"  # U+001F, the unit separator: hardly any text has it
# Characters without a space around them: ideographs, kana, their punctuation.
WIDE = r"[\p{Han}\p{Hiragana}\p{Katakana}\x{3000}-\x{303F}\x{FF01}-\x{FF5E}]"


class TextWriter:
    """Writes a text for each text, in the graph.

    Args:
        model: a `Transformer`.
        tokenizer: of sources and targets; has `tokenize` and `detokenize`.
        tokens: `PairTokens`.
        settings: a `Generation`, without sampling; the tokens that end and fill up a text are
            put to it.
        max_length: maximum number of tokens of a source, with the special ones; the positions of
            the model if not given.
        long_texts: what becomes of a longer source: `"cut"` at the end, or `"parts"`: it is
            read in parts of equal length, and what is written for each stands one behind the
            other.

    Attributes:
        settings: as they are used.

    Raises:
        InputError: the settings do not fit the model.
    """

    def __init__(
        self, model: Transformer, tokenizer: Any, tokens: PairTokens, settings: Generation,
        max_length: int | None = None, long_texts: str = "cut",
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.tokens = model, tokenizer, tokens
        positions = model.config.max_length
        self.max_length = longest_text(model.config, max_length)
        if settings.max_new_tokens >= positions:
            raise InputError(
                f"max_new_tokens {settings.max_new_tokens}: the model has positions for "
                f"{positions} tokens, the start token included; give at most {positions - 1}"
            )
        if settings.sample:
            raise InputError("sample: texts are searched for, not drawn; leave it out")
        if long_texts not in ("cut", "parts"):
            raise InputError(f"long_texts {long_texts!r}: give cut or parts")
        self.long_texts = long_texts
        self.settings = dataclasses.replace(
            settings, stop_ids=(*settings.stop_ids, tokens.end_id), pad_id=tokens.pad_id
        )

    def __call__(self, text: tf.Tensor) -> dict:
        """Writes for texts.

        Args:
            text: string `[B]`.

        Returns:
            dict of `summary` string `[B]`, `""` for a text of nothing; `score` float32 `[B]`,
            see `Generated`, the mean over the parts; `parts` int32 `[B]`, how many were read,
            and `truncated` bool `[B]`, whether the end of the text was not.
        """
        ids = self.tokenizer.tokenize(text)  # [B, (tokens)]
        empty = tf.equal(ids.row_lengths(), 0)
        room = self.max_length - len(self.tokens.source_bos) - 1
        too_long = ids.row_lengths() > room
        number = tf.ones_like(ids.row_lengths())
        if self.long_texts == "parts":
            ids, number = in_parts(ids, room)
            too_long = tf.zeros_like(too_long)
            written, scores = self._in_slices(ids)
            in_rows = tf.RaggedTensor.from_row_lengths
            written = joined(in_rows(written, number))
            scores = tf.reduce_mean(in_rows(scores, number), 1)
        else:
            written, scores = self._written(ids)
        empty |= tf.strings.regex_full_match(text, r"[\s\p{Z}]*")
        return {
            "summary": tf.where(empty, "", written),
            "score": tf.where(empty, 0.0, scores),
            "parts": tf.cast(number, tf.int32),
            "truncated": too_long,
        }

    def _written(self, ids):
        """What is written for tokens `[R, (tokens)]`: string and float32 `[R]`."""
        result = self.write(source_batch(ids, self.tokens, self.max_length))
        return self.text(result), result.scores

    def _in_slices(self, ids):
        """The same, some rows at a time: a text of 50,000 words has hundreds of parts."""
        rows = tf.cast(ids.nrows(), tf.int32)
        number = (rows + ROWS - 1) // ROWS
        types = ((tf.string, [None]), (tf.float32, [None]))
        arrays = [
            tf.TensorArray(of, number, element_shape=shape, infer_shape=False)
            for of, shape in types
        ]

        def step(place, texts, scores):
            text, score = self._written(ids[place * ROWS : (place + 1) * ROWS])
            return place + 1, texts.write(place, text), scores.write(place, score)

        _, *arrays = tf.while_loop(
            lambda place, *_: place < number, step, (0, *arrays), parallel_iterations=1
        )
        return [array.concat() for array in arrays]

    def write(self, batch: dict) -> Generated:
        """The targets of sources.

        Args:
            batch: dict of `token_ids` int32 and `padding_mask` bool `[R, S]`.

        Returns:
            `Generated` of T tokens a row.
        """
        start = tf.fill([tf.shape(batch["token_ids"])[0], 1], self.tokens.start_id)
        length = 1 + self.settings.max_new_tokens
        logits, state = self.model.prompt({**batch, "decoder_token_ids": start}, length)
        mask = tf.ones_like(start, tf.bool)
        return generate(self.model.step, logits, state, start, mask, self.settings)

    def text(self, generated: Generated) -> tf.Tensor:
        """Generated tokens as text: string `[R]`, valid UTF-8, without the tokens around it."""
        ids, mask = generated.token_ids, generated.mask
        tokens = self.tokens
        around = [tokens.end_id, tokens.start_id, tokens.pad_id, *tokens.source_bos]
        mask &= tf.reduce_all(ids[..., None] != tf.constant(around), -1)
        text = self.tokenizer.detokenize(tf.ragged.boolean_mask(ids, mask))
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        return tf.strings.strip(text)


def joined(parts: tf.RaggedTensor) -> tf.Tensor:
    """What was written for the parts of texts, one behind the other.

    Args:
        parts: ragged string `[B, (parts)]`.

    Returns:
        string `[B]`: a space between two parts, but none between two that are Chinese or Japanese,
        and none for a part for which nothing was written.
    """
    text = tf.strings.reduce_join(parts, 1, separator=SEPARATOR)
    for _ in range(2):  # a part of one character is behind one separator and before the next
        text = tf.strings.regex_replace(text, f"({WIDE}){SEPARATOR}+({WIDE})", r"\1\2")
    return tf.strings.strip(tf.strings.regex_replace(text, f"{SEPARATOR}+", " "))


def text_to_text_signatures(writer: TextWriter) -> dict:
    """The signatures of a `TextWriter`.

    Returns:
        dict from signature name to `(function, specs)`, see `saved_model.save`:
        `serving_default` on `text` string `[B]` gives what the writer does. `token_ids` on
        `token_ids` int32 and `padding_mask` bool `[B, S]`, padding right, gives `token_ids`
        int32, `mask` bool `[B, T]` and `score` float32 `[B]`.
    """

    def on_ids(token_ids, padding_mask):
        result = writer.write({"token_ids": token_ids, "padding_mask": padding_mask})
        return {"token_ids": result.token_ids, "mask": result.mask, "score": result.scores}

    return {"serving_default": (writer, TEXT), "token_ids": (on_ids, TOKENS)}
