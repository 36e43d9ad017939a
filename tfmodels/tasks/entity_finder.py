"""A tagger as signatures: strings in, entities with their characters out.

In: a `Tagger` and its tokenizer. Out: what `saved_model.save` writes. Tokenizer, windows,
model, the best path through the tags and the way back to characters are all in the graph.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfmodels.models.tagger import Tagger
from tfmodels.tasks.signatures import BATCH, TEXT, WORDS, longest_text
from tfmodels.text.cutting import default_stride
from tfmodels.text.spans import PADDING, entity_spans
from tfmodels.text.tags import labels_of, types_of
from tfmodels.text.windows import merge_words, paragraphs, tag_inputs, text_labels
from tfmodels.text.wordpiece import WordPieceTokenizer


def entity_finder(
    model: Tagger,
    tokenizer: WordPieceTokenizer,
    max_length: int | None = None,
    stride: int | None = None,
) -> Callable:
    """The function from texts to entities, of which the signature is made.

    Args:
        model: a `Tagger` with `labels`.
        tokenizer: a `WordPieceTokenizer`.
        max_length: maximum number of tokens of a window; the positions of the model if not given.
            A longer paragraph is read in windows, and tagged as one.
        stride: tokens that two windows share; a quarter of `max_length` if not given.

    Returns:
        function of `text` string `[B]` that gives `(entities, starts, ends, tags)`: the dict of
        `entity_spans`, the characters of the words int32 `[B, L]`, and their tags int32 `[B, L]`;
        -1 for padding. Paragraphs, separated by blank lines, are tagged independently.

    Raises:
        InputError: the model has fewer positions than `max_length`.
    """
    max_length = longest_text(model.encoder.config, max_length)
    stride = default_stride(max_length) if stride is None else stride

    def find(text):
        parts = paragraphs(text)
        batch, words = tag_inputs(tokenizer, parts.text, max_length, stride)
        logits = merge_words(model(batch, training=False), words)  # [P, L, C]
        tags, scores = best_tags(model, logits, words.mask)
        entities = _entities(parts, tags, scores, words, model.labels)
        starts, ends = parts.moved(words.starts), parts.moved(words.ends)
        return entities, *(parts.joined(values, words.mask, -1) for values in (starts, ends, tags))

    return find


def word_aligner(
    tokenizer: WordPieceTokenizer, labels: Sequence[str], max_length: int, stride: int
) -> Callable:
    """The function from the entities of texts to those that training teaches: of whole words.

    Args:
        tokenizer, max_length, stride: see `entity_finder`.
        labels: of the model.

    Returns:
        function of `text` string `[B]` and `types`, `starts`, `ends` int32 `[B, (E)]` that gives
        the dict of `entity_spans`.
    """

    def align(text, types, starts, ends):
        parts = paragraphs(text)
        _, words = tag_inputs(tokenizer, parts.text, max_length, stride)
        given = (tf.gather(values, parts.row) for values in (types, starts, ends))
        tags = text_labels(parts.moved(words.starts), parts.moved(words.ends), *given)
        return _entities(parts, tags, tf.ones_like(tags), words, labels_of(types_of(labels)))

    return align


def entity_signatures(
    model: Tagger,
    tokenizer: WordPieceTokenizer,
    max_length: int | None = None,
    stride: int | None = None,
) -> dict:
    """The signatures of a tagger.

    Args:
        model, tokenizer, max_length, stride: see `entity_finder`.

    Returns:
        dict from signature name to `(function, specs)`, see `saved_model.save`:
        `serving_default` on `text` string `[B]` gives `entity`, `type` string `[B, N]`,
        `start`, `end` int32 `[B, N]` (Unicode characters, end exclusive, -1 for none) and
        `score` float32 `[B, N]`: the product, over the words of the entity, of the
        probability of their tags (with a CRF, their marginals). `token_ids` on
        `token_ids`, `segment_ids`, `word_positions` int32 and `padding_mask`, `word_mask`
        bool gives `tag` string `[B, W]` and `score` float32 `[B, W]`.
    """
    find = entity_finder(model, tokenizer, max_length, stride)

    def from_text(text):
        entities, *_ = find(text)
        return entities

    return {
        "serving_default": (from_text, TEXT),
        "token_ids": (tag_signature(model), {**BATCH, **WORDS}),
    }


def tag_signature(model: Tagger) -> Callable:
    """The function of the signature `token_ids` of a tagger, see `entity_signatures`."""
    labels = tf.constant(list(model.labels))

    def from_ids(word_mask, **batch):
        logits = model(batch, training=False)
        tags, score = best_tags(model, logits, word_mask)
        return {
            "tag": tf.where(word_mask, tf.gather(labels, tf.maximum(tags, 0)), ""),
            "score": tf.where(word_mask, score, 0.0),
        }

    return from_ids


def _entities(parts, tags, scores, words, labels):
    """The entities that the tags of paragraphs mark, as `entity_spans` of the whole texts."""
    entities = entity_spans(parts.text, tags, scores, words.starts, words.ends, labels)
    real = entities["start"] >= 0
    entities |= {name: parts.moved(entities[name]) for name in ("start", "end")}
    return {name: parts.joined(entities[name], real, PADDING[name]) for name in entities}


def best_tags(model: Tagger, logits: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the tags of words, int32 `[B, W]`, and their probabilities, float32 `[B, W]`.

    Args:
        model: a `Tagger`.
        logits: float32 `[B, W, C]`, of it.
        mask: bool `[B, W]`, True for a word.
    """
    tags = model.decode(logits, mask)
    return tags, tf.gather(model.probabilities(logits, mask), tf.maximum(tags, 0), batch_dims=2)
