"""A tagger of roles as signatures: strings in, predicates with their arguments out.

In: a `Tagger` whose first type is the predicate, and its tokenizer. Out: what `saved_model.save`
writes. One pass over the texts finds the predicates, one over a window around each of them its
arguments, in one graph.

B = texts, F = predicates of a text, P = predicates of all texts, A = arguments of a predicate.
"""

from collections.abc import Callable

import tensorflow as tf

from tfmodels.models.tagger import Tagger
from tfmodels.tasks.entity_finder import best_tags, tag_signature
from tfmodels.tasks.signatures import BATCH, TEXT, WORDS
from tfmodels.text.marked_windows import marked_windows
from tfmodels.text.spans import PADDING, entity_spans
from tfmodels.text.tags import split_label, types_of
from tfmodels.text.windows import merge_words, paragraphs, tag_inputs
from tfmodels.text.wordpiece import WordPieceTokenizer

_NAMES = {"entity": "argument", "type": "role", "start": "start", "end": "end", "score": "score"}


def argument_finder(
    model: Tagger, tokenizer: WordPieceTokenizer, max_length: int, marker: str
) -> Callable:
    """The function from predicates to their arguments.

    Args:
        model: a `Tagger` with `labels`, of which the first type is the predicate.
        tokenizer, max_length, marker: see `marked_windows`.

    Returns:
        function of `text` string `[B]`, `row` int64 `[P]` and `start`, `end` int32 `[P]` that gives
        the dict of `entity_spans`, `[P, A]`.
    """
    of_predicate = _of_predicate(model)

    def label(text, row, start, end):
        windows = marked_windows(tokenizer, text, row, start, end, max_length, marker)
        batch = windows.batch(tokenizer, max_length)
        mask = batch["word_mask"]
        logits = model(batch, training=False)  # [P, W, C]
        tags, scores = best_tags(model, logits, mask)
        tags = tf.where(tf.gather(of_predicate, tf.maximum(tags, 0)), 0, tags)
        return entity_spans(
            tf.gather(text, row), tags, scores, windows.starts, windows.ends, model.labels
        )

    return label


def predicate_finder(
    model: Tagger, tokenizer: WordPieceTokenizer, max_length: int, stride: int
) -> Callable:
    """The function from paragraphs, string `[B]`, to predicates: the dict of `entity_spans`."""
    of_predicate = _of_predicate(model)

    def find(text):
        batch, words = tag_inputs(tokenizer, text, max_length, stride)
        logits = merge_words(model(batch, training=False), words)
        tags, scores = best_tags(model, logits, words.mask)
        tags = tf.where(tf.gather(of_predicate, tf.maximum(tags, 0)), tags, 0)
        return entity_spans(text, tags, scores, words.starts, words.ends, model.labels)

    return find


def _of_predicate(model):
    """Return which labels are of the first type, the predicate: bool `[C]`."""
    first = types_of(model.labels)[0]
    return tf.constant([split_label(label)[1] == first for label in model.labels])


def frame_finder(
    model: Tagger, tokenizer: WordPieceTokenizer, max_length: int, stride: int, marker: str
) -> Callable:
    """The function from texts to frames, of which the signature is made.

    Args:
        model, tokenizer, max_length, stride, marker: see `argument_finder` and `tag_inputs`.

    Returns:
        function of `text` string `[B]` that gives a dict of `predicate` string `[B, F]`,
        `predicate_start`, `predicate_end` int32 `[B, F]`, `predicate_score` float32 `[B, F]`, and
        `argument`, `role` string, `start`, `end` int32 and `score` float32 `[B, F, A]`; padding as
        of `entity_spans`. Paragraphs, separated by blank lines, are read independently.
    """
    predicates = predicate_finder(model, tokenizer, max_length, stride)
    arguments = argument_finder(model, tokenizer, max_length, marker)

    def find(text):
        parts = paragraphs(text)
        found = predicates(parts.text)
        real = found["start"] >= 0
        row = tf.where(real)[:, 0]  # [P]: the paragraph of each predicate
        spans = arguments(parts.text, row, found["start"][real], found["end"][real])  # [P, A]
        origin = tf.gather(parts.origin, row)
        of_text = tf.gather(parts.row, row)

        def joined(values, name):
            if name in ("start", "end"):
                there = values >= 0
                shape = [-1] + [1] * (len(values.shape) - 1)
                values = tf.where(there, values + tf.reshape(origin, shape), -1)
            rows = tf.RaggedTensor.from_value_rowids(values, of_text, parts.texts, validate=False)
            return rows.to_tensor(PADDING[name])

        names = {"entity": "predicate", "start": "predicate_start", "end": "predicate_end",
                 "score": "predicate_score"}  # fmt: skip
        frames = {new: joined(found[name][real], name) for name, new in names.items()}
        return frames | {new: joined(spans[name], name) for name, new in _NAMES.items()}

    return find


def role_signatures(
    model: Tagger, tokenizer: WordPieceTokenizer, max_length: int, stride: int, marker: str
) -> dict:
    """The signatures of a tagger of roles.

    Args:
        model, tokenizer, max_length, stride, marker: see `frame_finder`.

    Returns:
        dict from signature name to `(function, specs)`, see `saved_model.save`: `serving_default`
        on `text` string `[B]` gives what `frame_finder` does; `token_ids` is that of
        `entity_signatures`.
    """
    find = frame_finder(model, tokenizer, max_length, stride, marker)
    return {
        "serving_default": (find, TEXT),
        "token_ids": (tag_signature(model), {**BATCH, **WORDS}),
    }
