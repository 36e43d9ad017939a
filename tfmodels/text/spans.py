"""Tags of words to entities of texts, in the graph: the answers of a tagger.

In: texts, a tag for each word (labels of any scheme) and the places of the words. Out: the entities
with their characters, as strings. Ops only, so it runs in a SavedModel.

Codes are tags without a scheme: 0 outside, 1 + 2t for the first word and 2 + 2t for the others of
an entity of type t of `tags.types_of`; so they are the labels of `tags.labels_of`.

B = texts, W = words of a text, N = maximum number of entities of a text, E = entities of all
texts.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfmodels.text.tags import split_label, types_of

PADDING = {"entity": "", "type": "", "start": -1, "end": -1, "score": 0.0}
"""The values after the last entity in a row of `entity_spans`."""


def codes_of(tags: tf.Tensor, words: tf.Tensor, labels: Sequence[str]) -> tf.Tensor:
    """Return the codes of tags.

    A `B-` begins an entity, as do `S-` and `U-`; a tag of the type of the word before continues
    it, unless that ended it (`E-`, `L-`, `S-`, `U-`); else it begins one.

    Args:
        tags: integer [B, W]: labels of the words.
        words: bool [B, W], True for a word.
        labels: names of the labels.

    Returns:
        int32 [B, W]; 0 where there is no word.
    """
    prefixes, kinds = zip(*map(split_label, labels), strict=True)
    types = types_of(labels)
    kind = tf.constant([types.index(kind) if kind else -1 for kind in kinds])
    kind = tf.where(words, tf.gather(kind, tf.maximum(tags, 0)), -1)  # [B, W]
    begins = tf.gather([prefix in "BSU" for prefix in prefixes], tf.maximum(tags, 0))
    ends = tf.gather([prefix in "ELSU" for prefix in prefixes], tf.maximum(tags, 0))
    same = kind == tf.pad(kind, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
    continues = same & ~begins & ~tf.pad(ends, [[0, 0], [1, 0]])[:, :-1]
    return tf.where(kind >= 0, 1 + 2 * kind + tf.cast(continues, tf.int32), 0)


def tags_of(codes: tf.Tensor, labels: Sequence[str]) -> tf.Tensor:
    """Return the tags that codes have in the scheme of a model: the inverse of `codes_of`.

    Args:
        codes: int32 [B, W]; negative ones stay.
        labels: names of the labels.

    Returns:
        int32 [B, W]; -1, which does not count, for a word outside where no label says that.
    """
    number = {split_label(label): i for i, label in reversed(list(enumerate(labels)))}
    # The label of a first, an inner, a last and a single word: the first of these that there is.
    order = ("BISUMEL", "IMBELSU", "ELIMBSU", "SUBIELM")
    table = [
        next((number[p, kind] for p in prefixes if (p, kind) in number), -1)
        for kind in types_of(labels) for prefixes in order
    ]  # fmt: skip
    kind, inner = (codes - 1) // 2, (codes > 0) & (codes % 2 == 0)
    continued = tf.pad(codes[:, 1:], [[0, 0], [0, 1]]) == 2 + 2 * kind
    place = tf.where(inner, tf.where(continued, 1, 2), tf.where(continued, 0, 3))
    tags = tf.gather(table, tf.maximum(4 * kind + place, 0))
    return tf.where(codes > 0, tags, tf.where(codes == 0, number.get(("O", ""), -1), codes))


def entity_spans(
    text: tf.Tensor, tags: tf.Tensor, scores: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor,
    labels: Sequence[str],
) -> dict[str, tf.Tensor]:  # fmt: skip
    """Return the entities that the tags of the words mark, see `codes_of`.

    Args:
        text: string [B], UTF-8.
        tags: integer [B, W]: labels of the words; those in the padding are ignored.
        scores: float [B, W]: the probability of each of these tags.
        starts: integer [B, W]: first character of each word, -1 for padding (`windows.Words`).
        ends: likewise, the character after each word.
        labels: names of the labels.

    Returns:
        `entity` string [B, N], `type` string [B, N], `start`, `end` int32 [B, N] and `score`
        float32 [B, N], the product over the words; in the order of the text, padded with "", -1
        and 0. Characters are those of `bytes.decode(errors="replace")`: a broken byte sequence
        is one U+FFFD, in `entity` as well.
    """
    with tf.device("CPU:0"):
        codes = codes_of(tf.cast(tags, tf.int32), starts >= 0, labels)  # [B, W]
        kind, begins = (codes - 1) // 2, codes % 2 == 1

        # Words of entities, of all texts one after the other, with the number of their entity.
        inside = codes > 0
        number = tf.cumsum(tf.cast(begins[inside], tf.int32)) - 1
        size = tf.math.count_nonzero(begins, dtype=tf.int32)
        start = tf.cast(starts[begins], tf.int32)  # [E]
        end = tf.math.unsorted_segment_max(tf.cast(ends[inside], tf.int32), number, size)
        score = tf.cast(scores[inside], tf.float32)
        score = tf.math.unsorted_segment_prod(score, number, size)

        row = tf.where(begins)[:, 0]
        entity = slices(text, row, start, end)
        names = tf.constant(types_of(labels))

        kinds = tf.gather(names, kind[begins])
        spans = {"entity": entity, "type": kinds, "start": start, "end": end, "score": score}
        for name, values in spans.items():
            ragged = tf.RaggedTensor.from_value_rowids(
                values, row, tf.size(text, tf.int64), validate=False
            )
            spans[name] = ragged.to_tensor(PADDING[name])  # [B, N]
        return spans


def slices(text: tf.Tensor, row: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Return parts of texts.

    Args:
        text: string [B], UTF-8.
        row: integer [E]: the text of each part.
        start: int32 [E]: its first character.
        end: int32 [E]: the character after its last one.

    Returns:
        string [E]; a broken byte sequence is one U+FFFD.
    """
    with tf.device("CPU:0"):
        codes = tf.strings.unicode_decode(text, "UTF-8")  # [B, (characters)]
        origin = tf.cast(tf.gather(codes.row_starts(), row), tf.int32)
        characters = tf.ragged.range(origin + start, origin + end)
        return tf.strings.unicode_encode(tf.gather(codes.values, characters), "UTF-8")
