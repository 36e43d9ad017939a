"""Batches for a model that predicts the next token: blocks of running text, or responses.

In: unchanged text in pieces (`block_passes`), or rows of a prompt and a response
(`response_batches`). Out: `tf.data` datasets of `(inputs, labels)`, where a label is the token
after the one at its place.

Running text is one long row of tokens, documents separated by the token that ends a text, cut
into blocks: a block may contain the end of one document and the beginning of another, as with
GPT-2 (Radford et al. 2019). Every pass cuts at other places. Nothing is padded.

B = examples of a batch, S = tokens of an example, T = tokens of a text.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.batching import (
    by_length,
    mapped,
    no_autograph,
    number_of_rows,
    to_few_lengths,
)
from tfmodels.text.bpe import LanguageTokenizer
from tfmodels.text.masking import hashed_int
from tfmodels.text.pretraining import FEW, Passes, Texts, generated_passes, held_out_numbers

NONE = -1  # label of a place that does not count

_CHUNK_CHARACTERS = 400_000  # tokenized at once
_OFFSET = 6  # start of the hash, which makes it independent of others


@functools.lru_cache(8)
def _traced(tokenizer):
    """Return `tokenize` as one function for all passes, which is faster than op by op."""
    specs = [tf.TensorSpec([None], tf.string)]
    return tf.function(tokenizer.tokenize, input_signature=specs, autograph=False)


def tokenized_passages(
    passages: Iterable[tuple[int, str, bool]],
    tokenizer: LanguageTokenizer,
    chosen: Callable[[int], bool] = lambda number: True,
) -> Iterator[np.ndarray]:
    """Tokenize running text.

    Args:
        passages: of `Texts.passages`.
        tokenizer: a `BytePairTokenizer` or `CharacterTokenizer`.
        chosen: which passages, by number. What was not chosen separates documents.

    Yields:
        int32 `[T]`, documents separated by `tokenizer.end_id` where there is one.
    """
    tokenize = _traced(tokenizer)
    end = [] if tokenizer.end_id is None else [tokenizer.end_id]
    texts, ends, size = list[str](), list[bool](), 0

    def flushed():
        rows = tokenize(tf.constant(texts, tf.string))
        splits, flat = rows.row_splits.numpy(), rows.flat_values.numpy()
        parts = zip(splits[:-1], splits[1:], ends, strict=True)
        return [part for a, b, last in parts for part in (flat[a:b], end if last else [])]

    for number, text, last in passages:
        if not chosen(number):
            if ends:
                ends[-1] = True
            continue
        texts.append(text)
        ends.append(last)
        size += len(text)
        if size >= _CHUNK_CHARACTERS:
            yield np.concatenate(flushed()).astype(np.int32)
            texts, ends, size = [], [], 0
    if texts:
        yield np.concatenate(flushed()).astype(np.int32)


def block_passes(
    texts: Texts, tokenizer: LanguageTokenizer, length: int, *, split: str = "all",
    held_out: float = 0.0, seed: int | None = None, hold_seed: int = 0,
) -> Passes:  # fmt: skip
    """Return passes over running text, cut into blocks.

    Args:
        texts: to read.
        tokenizer: a `BytePairTokenizer` or `CharacterTokenizer`.
        length: S.
        split: "all" passages, "train" without those held out, or "validation", only those.
        held_out: the share of passages held out, of a text of few passages the share of smaller
            pieces; at least one.
        seed: shuffles the blocks and shifts where they are cut, anew in every pass; None does
            neither, and pads the last block with `NONE`.
        hold_seed: of the choice of what is held out.

    Returns:
        function from a pass number to a dataset of int32 `[S + 1]`: the last token of a block
        is the first of the next.
    """

    def chosen_tokens():
        if split == "all":
            return tokenized_passages(texts.passages(), tokenizer)
        is_held_out = held_out_numbers(_enough(texts.passages()), held_out, hold_seed)
        chosen = lambda number: is_held_out(number) == (split == "validation")  # noqa: E731
        return tokenized_passages(_enough(texts.passages()), tokenizer, chosen)

    def blocks(pass_number):
        skipped = 0 if seed is None else hashed_int(_OFFSET, seed, pass_number) % length
        rest, started = np.zeros(0, np.int32), False
        for tokens in chosen_tokens():
            rest = np.concatenate([rest, tokens])
            if not started:  # a text shorter than two blocks has none to lose
                rest = rest[skipped if len(rest) > skipped + length else 0 :]
            number = max(len(rest) - 1, 0) // length
            if number:
                started = True
                whole = np.lib.stride_tricks.sliding_window_view(rest, length + 1)
                yield whole[: number * length : length]
                rest = rest[number * length :]
        if seed is None and len(rest) > 1:
            yield np.pad(rest, (0, length + 1 - len(rest)), constant_values=NONE)[None]
        elif not started:
            raise InputError(
                f"{split} text: no block of {length} tokens; give more text, a smaller max_length "
                "or, where much of it is held out, text to evaluate on (--eval_files)"
            )

    return generated_passes(blocks, texts, tf.TensorSpec([None, length + 1], tf.int32), seed)


def _enough(passages):
    """Yield passages, in smaller pieces if they are fewer than `FEW`, to hold little out."""
    first = list(itertools.islice(passages, FEW))
    if len(first) == FEW:
        yield from itertools.chain(first, passages)
        return
    size = max(sum(len(text) for _, text, _ in first) // FEW, 1)
    numbers = itertools.count()
    for _, text, ends in first:
        # Each to the end of a word.
        pieces = re.findall(rf"(?s:.{{1,{size}}})\S{{0,99}}", text) or [text]
        for piece in pieces[:-1]:
            yield next(numbers), piece, False
        yield next(numbers), pieces[-1], ends


def block_batches(
    one_pass: Passes, batch_size: int, *, passes: int | None = None, start: int = 0,
    drop_remainder: bool = True,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of blocks, pass after pass.

    Args:
        one_pass: from `block_passes`.
        batch_size: B.
        passes: number of passes; None never ends.
        start: number of batches to skip; the rest is as if they had been read.
        drop_remainder: whether to drop a last batch that is not full.

    Returns:
        dataset of `({"token_ids": int32 [B, S]}, labels int32 [B, S])`; a label is `NONE` where
        there is nothing to predict.
    """

    def shifted(blocks):
        return {"token_ids": tf.maximum(blocks[:, :-1], 0)}, blocks[:, 1:]

    numbers = tf.data.Dataset.range(2**40 if passes is None else passes)
    blocks = numbers.flat_map(no_autograph(one_pass)).skip(start * batch_size)
    batches = blocks.batch(batch_size, drop_remainder=drop_remainder)
    return mapped(batches, shifted).prefetch(tf.data.AUTOTUNE)


def response_batches(
    chunks: tf.data.Dataset, tokenizer: LanguageTokenizer, batch_size: int, max_length: int,
    seed: int | None = None, rows: int | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of prompts with their responses; the loss is on the responses alone.

    A response ends with `tokenizer.end_id`, if there is one. An example that is too long loses
    the beginning of its prompt, and if that is not enough the end of its response.

    Args:
        chunks: dataset of `(prompt, response)`, string `[C]` each.
        tokenizer: a `BytePairTokenizer` or `CharacterTokenizer`.
        batch_size: B.
        max_length: maximum number of tokens of prompt and response together.
        seed: for training: the batches in random order.
        rows: number of rows, if known; see `batching.length_bucketed`.

    Returns:
        dataset of `(inputs, labels)`: `token_ids` int32 `[B, S]`, `padding_mask` bool
        `[B, S]`; labels int32 `[B, S]`, `NONE` at the prompt and at padding.
    """
    end = [] if tokenizer.end_id is None else [tokenizer.end_id]

    def tokenized(prompt, response):
        prompt, response = tokenizer.tokenize(prompt), tokenizer.tokenize(response)
        ends = tf.tile(tf.constant([end], tf.int32), [response.nrows(), 1])
        # At least one token of the prompt stays: the first of the response is predicted there.
        response = tf.concat([response[:, : max_length - 1 - len(end)], ends], 1)
        room = max_length - response.row_lengths()
        first = tf.maximum(prompt.row_lengths() - room, 0)
        place = tf.ragged.range(prompt.row_lengths())
        prompt = tf.ragged.boolean_mask(prompt, place >= tf.expand_dims(first, 1))
        return tf.concat([prompt, response], 1), tf.cast(prompt.row_lengths(), tf.int32)

    def padded(ids, prompt_length):
        ids = to_few_lengths(ids, NONE, max_length)  # [B, S]
        after = tf.pad(ids[:, 1:], [[0, 0], [0, 1]], constant_values=NONE)
        of_response = tf.range(1, tf.shape(ids)[1] + 1)[None] >= prompt_length[:, None]
        inputs = {"token_ids": tf.maximum(ids, 0), "padding_mask": ids != NONE}
        return inputs, tf.where(of_response, after, NONE)

    rows = number_of_rows(chunks) if rows is None else rows
    batches = by_length(mapped(chunks, tokenized).unbatch(), batch_size, seed, rows)
    return mapped(batches, padded).prefetch(tf.data.AUTOTUNE)


def windows(
    tokens: Iterable[np.ndarray], length: int, stride: int, start_id: int | None, batch_size: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield windows that move over running text, so that each token is predicted once.

    Args:
        tokens: int32 `[T]` each, see `tokenized_passages`.
        length: S, tokens of a window.
        stride: how far a window moves; only its last `stride` tokens are predicted, in the
            first one all.
        start_id: token to put before the text; None: the first token is not predicted.
        batch_size: B.

    Yields:
        `(token_ids, labels)`, int32 `[B, S]` each; a label is `NONE` where there is nothing to
        predict.

    Raises:
        InputError: there is no token to predict.
    """
    rest = np.array([] if start_id is None else [start_id], np.int32)
    rows, old = [], 0  # `old` tokens of a window were predicted in the one before

    def row(part, old):
        part = np.pad(part, (0, length + 1 - len(part)), constant_values=NONE)
        return np.maximum(part[:-1], 0), np.where(np.arange(length) < old, NONE, part[1:])

    empty = True
    for part in itertools.chain(tokens, [None]):
        ends = part is None
        rest = rest if ends else np.concatenate([rest, part])
        while len(rest) > length or (ends and len(rest) - 1 > old):
            rows.append(row(rest[: length + 1], old))
            rest, old = rest[stride:], length - stride
            empty = False
            if len(rows) == batch_size:
                yield tuple(map(np.stack, zip(*rows, strict=True)))
                rows = []
    if rows:
        yield tuple(map(np.stack, zip(*rows, strict=True)))
    if empty:
        raise InputError("the text has no token to predict; give more text to evaluate on")
