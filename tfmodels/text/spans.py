"""Tags of words to entities of texts, in the graph: the answers of a tagger.

In: texts, a tag for each word (labels as of `tags.labels_of`) and the places of the words. Out:
the entities with their characters, as strings. Ops only, so it runs in a SavedModel.

B = texts, W = words of a text, N = maximum number of entities of a text, E = entities of all
texts.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfmodels.text.tags import types_of

PADDING = {"entity": "", "type": "", "start": -1, "end": -1, "score": 0.0}
"""The values after the last entity in a row of `entity_spans`."""


def entity_spans(
    text: tf.Tensor, tags: tf.Tensor, scores: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor,
    labels: Sequence[str],
) -> dict[str, tf.Tensor]:  # fmt: skip
    """Return the entities that the tags of the words mark.

    A `B-` begins an entity and an `I-` of the same type continues it; an `I-` that continues none
    begins one.

    Args:
        text: string [B], UTF-8.
        tags: integer [B, W]: labels of the words; those in the padding are ignored.
        scores: float [B, W]: the probability of each of these tags.
        starts: integer [B, W]: first character of each word, -1 for padding (`windows.Words`).
        ends: likewise, the character after each word.
        labels: as of `tags.labels_of`.

    Returns:
        `entity` string [B, N], `type` string [B, N], `start`, `end` int32 [B, N] and `score`
        float32 [B, N], the product over the words; in the order of the text, padded with "", -1
        and 0. Characters are those of `bytes.decode(errors="replace")`: a broken byte sequence
        is one U+FFFD, in `entity` as well.
    """
    with tf.device("CPU:0"):
        tags = tf.where(starts >= 0, tf.cast(tags, tf.int32), 0)  # [B, W]
        kind = (tags - 1) // 2  # type; -1 outside
        before = tf.pad(tags, [[0, 0], [1, 0]])[:, :-1]
        continued = (tags % 2 == 0) & (kind == (before - 1) // 2)
        begins = (tags > 0) & ~continued

        # Words of entities, of all texts one after the other, with the number of their entity.
        inside = tags > 0
        number = tf.cumsum(tf.cast(begins[inside], tf.int32)) - 1
        size = tf.math.count_nonzero(begins, dtype=tf.int32)
        start = tf.cast(starts[begins], tf.int32)  # [E]
        end = tf.math.unsorted_segment_max(tf.cast(ends[inside], tf.int32), number, size)
        score = tf.cast(scores[inside], tf.float32)
        score = tf.math.unsorted_segment_prod(score, number, size)

        row = tf.where(begins)[:, 0]
        codes = tf.strings.unicode_decode(text, "UTF-8")  # [B, (characters)]
        origin = tf.cast(tf.gather(codes.row_starts(), row), tf.int32)
        characters = tf.ragged.range(origin + start, origin + end)
        entity = tf.strings.unicode_encode(tf.gather(codes.values, characters), "UTF-8")
        names = tf.constant(types_of(labels))

        kinds = tf.gather(names, kind[begins])
        spans = {"entity": entity, "type": kinds, "start": start, "end": end, "score": score}
        for name, values in spans.items():
            ragged = tf.RaggedTensor.from_value_rowids(values, row, codes.nrows(), validate=False)
            spans[name] = ragged.to_tensor(PADDING[name])  # [B, N]
        return spans
