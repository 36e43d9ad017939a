"""An encoder-decoder as signatures: a text in, the text written for it out.

In: a `Transformer`, its tokenizer and the settings of decoding. Out: what `saved_model.save`
writes; tokenizer, both stacks, cache, search and detokenizer are all in the graph.

B texts, R rows (B, or more where long texts are read in parts), S tokens of the longest, T =
`max_new_tokens`.
"""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.generation.decoding import generate
from tfmodels.generation.rows import Generated
from tfmodels.generation.settings import Generation
from tfmodels.models.model import cast_once
from tfmodels.models.transformer import Transformer
from tfmodels.tasks.signatures import TEXT, TOKENS, longest_text
from tfmodels.text.document_parts import LINE_BREAK, split_document
from tfmodels.text.pairs import PairTokens, in_parts, source_batch
from tfmodels.text.sentence_pieces import in_front, language_ids

ROWS = 32  # parts of long texts that are searched for together
LONG_TEXTS = ("cut", "parts", "sentences")
SEPARATOR = "\x1f"  # U+001F, the unit separator: hardly any text has it
# Characters without a space around them: ideographs, kana, their punctuation.
_WIDE = r"\p{Han}\p{Hiragana}\p{Katakana}\x{3000}-\x{303F}\x{FF01}-\x{FF5E}"
WIDE, WIDE_OR_QUOTE = f"[{_WIDE}]", rf"[{_WIDE}\x{{2018}}-\x{{201D}}\x{{2026}}]"


class SourceParts(NamedTuple):
    """What texts are read in.

    Attributes:
        sentences: ragged string `[B, (sentences)]`, each with its language in front; a text is one
            sentence unless `long_texts` is `"sentences"`, and a line break is one.
        ids: ragged int32 `[R, (tokens)]`, the parts of all sentences one after the other; none for
            a line break.
        number: int64 `[sentences]`, how many parts a sentence has.
    """

    sentences: tf.RaggedTensor
    ids: tf.RaggedTensor
    number: tf.Tensor


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
            other. `"sentences"`: every source is read sentence by sentence, a longer sentence in
            parts, and the line breaks of the source stay.
        output: name of the text in the answers.
        whole: whether `truncated` also says that an answer reached `max_new_tokens` without an end.

    Attributes:
        settings: as they are used.

    Raises:
        InputError: the settings do not fit the model.
    """

    def __init__(
        self, model: Transformer, tokenizer: Any, tokens: PairTokens, settings: Generation,
        max_length: int | None = None, long_texts: str = "cut", output: str = "summary",
        whole: bool = False,
    ) -> None:  # fmt: skip
        self.output, self._whole = output, whole
        self.model, self.tokenizer, self.tokens = model, tokenizer, tokens
        self._languages = list(language_ids(tokenizer.vocabulary).values())
        positions = model.config.max_length
        self.max_length = longest_text(model.config, max_length)
        if settings.max_new_tokens >= positions:
            raise InputError(
                f"max_new_tokens {settings.max_new_tokens}: the model has positions for "
                f"{positions} tokens, the start token included; give at most {positions - 1}"
            )
        if settings.sample:
            raise InputError("sample: texts are searched for, not drawn; leave it out")
        if long_texts not in LONG_TEXTS:
            raise InputError(f"long_texts {long_texts!r}: give one of {', '.join(LONG_TEXTS)}")
        self.long_texts = long_texts
        self.settings = dataclasses.replace(
            settings, stop_ids=(*settings.stop_ids, tokens.end_id), pad_id=tokens.pad_id
        )

    def __call__(self, text: tf.Tensor) -> dict:
        """Writes for texts.

        Args:
            text: string `[B]`.

        Returns:
            dict of `summary` (or `output`) string `[B]`, `""` for a text of nothing; `score`
            float32 `[B]`, see `Generated`, the mean over the parts; `parts` int32 `[B]`, how many
            were read, and `truncated` bool `[B]`, whether the end of the text was not.
        """
        if self.long_texts == "cut":
            ids = self.tokenizer.tokenize(text)  # [B, (tokens)]
            too_long = ids.row_lengths() > self.tokens.source_room(self.max_length)
            empty, number = tf.equal(ids.row_lengths(), 0), tf.ones_like(ids.row_lengths())
            written, scores, cut = self._written(ids)
            too_long |= cut
        else:
            written, scores, too_long, number = self._in_parts(text)
            empty = tf.equal(number, 0)
        bare = in_front(text)[1] if self._languages else text
        empty |= tf.strings.regex_full_match(bare, r"[\s\p{Z}]*")
        return {
            self.output: tf.where(empty, "", written),
            "score": tf.where(empty, 0.0, scores),
            "parts": tf.cast(tf.maximum(number, 1), tf.int32),
            "truncated": too_long,
        }

    def parts(self, text: tf.Tensor) -> SourceParts:
        """The parts that texts, string `[B]`, are read in, as `long_texts` says."""
        named = tf.zeros_like(text)
        if self.long_texts == "sentences":
            if self._languages:
                named, text = in_front(text)
                named = tf.where(named == "", "", named + " ")  # as in the pairs of the training
            sentences = split_document(text)  # [B, (sentences)], line breaks among them
        else:
            sentences = tf.RaggedTensor.from_row_lengths(text, tf.ones_like(text, tf.int64))
        nothing = tf.strings.regex_full_match(sentences.values, LINE_BREAK)
        nothing |= tf.equal(sentences.values, "")
        named = tf.where(nothing, "", tf.gather(named, sentences.value_rowids()))
        whole = sentences.with_values(tf.strings.join([named, sentences.values]))
        ids = self.tokenizer.tokenize(tf.where(nothing, "", whole.values))
        if self.long_texts == "cut":
            return SourceParts(whole, ids, tf.ones_like(ids.row_lengths()))
        room = self.tokens.source_room(self.max_length)
        if not self._languages:
            return SourceParts(whole, *in_parts(ids, room))
        # The language of a sentence stands in front of each of its parts.
        first = ids[:, :1]
        is_language = tf.reduce_any(first.values[:, None] == tf.constant(self._languages), 1)
        front = tf.ragged.boolean_mask(first, first.with_values(is_language))
        rest = tf.concat([tf.ragged.boolean_mask(first, first.with_values(~is_language)),
                          ids[:, 1:]], 1)  # fmt: skip
        rest, number = in_parts(rest, room - front.row_lengths())
        front = tf.gather(front, tf.repeat(tf.range(tf.size(number)), number))
        return SourceParts(whole, tf.concat([front, rest], 1), number)

    def _in_parts(self, text):
        """What is written for the parts of texts: string, float32, bool, number of parts `[B]`."""
        sentences, ids, parts = self.parts(text)
        is_break = tf.strings.regex_full_match(sentences.values, LINE_BREAK)
        read = ids.row_lengths() > 0
        written, scores, cut = self._in_slices(tf.ragged.boolean_mask(ids, read))
        place = tf.where(read, tf.cumsum(tf.cast(read, tf.int32)), 0)
        written = tf.gather(tf.concat([[""], written], 0), place)  # [R]
        written = tf.where(tf.repeat(is_break, parts), tf.repeat(sentences.values, parts), written)
        row = tf.repeat(sentences.value_rowids(), parts)
        number = tf.math.unsorted_segment_sum(tf.cast(read, tf.int64), row, sentences.nrows())
        of_read = tf.boolean_mask(row, read)
        score, cut = (
            tf.math.unsorted_segment_sum(values, of_read, sentences.nrows())
            for values in (scores, tf.cast(cut, tf.int32))
        )
        by_text = tf.RaggedTensor.from_value_rowids(written, row, sentences.nrows())
        score /= tf.cast(tf.maximum(number, 1), tf.float32)
        return joined(by_text), score, cut > 0, number

    def _written(self, ids):
        """What is written for tokens `[R, (tokens)]`: string, float32 and bool `[R]`."""
        result = self.write(source_batch(ids, self.tokens, self.max_length))
        ended = self.ended(result)
        return self.text(result), result.scores, ~ended if self._whole else tf.zeros_like(ended)

    def ended(self, result: Generated) -> tf.Tensor:
        """Whether targets end before there is no room for more: bool `[R]`."""
        shorter = ~result.mask[:, -1]
        if self.settings.forced_last_id is not None:  # which is there in every target that is cut
            return shorter
        return shorter | (result.token_ids[:, -1] == self.tokens.end_id)

    def _in_slices(self, ids):
        """The same, some rows at a time: a text of 50,000 words has hundreds of parts."""
        rows = tf.cast(ids.nrows(), tf.int32)
        number = (rows + ROWS - 1) // ROWS
        types = ((tf.string, [None]), (tf.float32, [None]), (tf.bool, [None]))
        arrays = [
            tf.TensorArray(of, number, element_shape=shape, infer_shape=False)
            for of, shape in types
        ]

        def step(place, *arrays):
            found = self._written(ids[place * ROWS : (place + 1) * ROWS])
            return place + 1, *(array.write(place, values)
                                for array, values in zip(arrays, found, strict=True))  # fmt: skip

        _, *arrays = tf.while_loop(
            lambda place, *_: place < number, step, (0, *arrays), parallel_iterations=1
        )
        return [array.concat() for array in arrays]

    def write(
        self, batch: dict, settings: Generation | None = None, rows: dict | None = None
    ) -> Generated:
        """The targets of sources.

        Args:
            batch: dict of `token_ids` int32 and `padding_mask` bool `[R, S]`.
            settings: in place of its own.
            rows: see `generate`.

        Returns:
            `Generated` of T tokens a row.
        """
        settings = settings or self.settings
        start = tf.fill([tf.shape(batch["token_ids"])[0], 1], self.tokens.start_id)
        batch, mask = {**batch, "decoder_token_ids": start}, tf.ones_like(start, tf.bool)
        with cast_once(self.model):
            logits, state = self.model.prompt(batch, 1 + settings.max_new_tokens)
            return generate(self.model.step, logits, state, start, mask, settings, rows=rows)

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
        and none for a part for which nothing was written. Parts that are line breaks stay as they
        are.
    """
    text = tf.strings.reduce_join(parts, 1, separator=SEPARATOR)
    text = tf.strings.regex_replace(text, f"{SEPARATOR}*({LINE_BREAK}){SEPARATOR}*", r"\1")
    for _ in range(2):  # a part of one character is behind one separator and before the next
        for left, right in ((WIDE, WIDE_OR_QUOTE), (WIDE_OR_QUOTE, WIDE)):
            text = tf.strings.regex_replace(text, f"({left}){SEPARATOR}+({right})", r"\1\2")
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
