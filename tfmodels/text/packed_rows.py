"""Several sequences in one row, so that little of a batch is padding.

In: what the sequences of a batch have, one a row. Out: the same in fewer rows, with `sequence_ids`,
by which a model keeps the sequences apart (`layers.masks.sequence_attention_mask`). Ops only.

B = sequences of a batch, T = tokens of the longest, R = rows, S = tokens of a row.
"""

import tensorflow as tf

from tfmodels.text.batching import to_few_lengths


class PackedRows:
    """The sequences of a batch in as few rows as first-fit needs, the longest first.

    The batch stays the same batch: the same sequences with the same labels, so that a mean over
    them has the same value and gradient.

    Args:
        lengths: int32 [B], tokens of each sequence, at most `room`.
        room: S, tokens of a row.

    Attributes:
        sequence_ids: int32 [R, S]: 1 and so on for the sequences of a row, 0 for padding.
    """

    def __init__(self, lengths: tf.Tensor, room: int) -> None:
        self._real = tf.sequence_mask(lengths)  # [B, T]
        self._room = room
        row, start = _first_fit(lengths, room)  # [B] each
        self._rows = tf.reduce_max(row) + 1  # R
        self._first = row * room + start  # [B], places in the flat [R * S]
        before = (row[:, None] == row) & (start[:, None] > start)  # [B, B]
        number = tf.reduce_sum(tf.cast(before, tf.int32), 1) + 1  # [B]
        self.sequence_ids = self.tokens(tf.zeros_like(self._real, tf.int32) + number[:, None], 0)

    def tokens(self, values: tf.Tensor, filler: int) -> tf.Tensor:
        """Return what each token has, [B, S], in the rows: [R, S], `filler` at padding."""
        real = self._real
        places = (self._first[:, None] + tf.range(tf.shape(real)[1]))[real]
        values = values[:, : tf.shape(real)[1]][real]
        flat = tf.fill([self._rows * self._room], tf.cast(filler, values.dtype))
        flat = tf.tensor_scatter_nd_update(flat, places[:, None], values)
        return tf.reshape(flat, [self._rows, self._room])

    def positions(self, positions: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return positions in sequences as positions in the rows, with their labels.

        Args:
            positions: int32 [B, M], in the sequences.
            labels: int32 [B, M], negative where the position is unused.

        Returns:
            `(positions, labels)`, int32 [R, N] each, ascending, 0 and -1 where unused. N is the
            largest number in a row, rounded up so that few shapes occur.
        """
        used = labels >= 0
        places = (self._first[:, None] + positions)[used]
        order = tf.argsort(places)
        places, labels = tf.gather(places, order), tf.gather(labels[used], order)
        columns = []
        for values, filler in ((places % self._room, 0), (labels, -1)):
            rows = tf.RaggedTensor.from_value_rowids(values, places // self._room, self._rows)
            columns.append(to_few_lengths(rows, filler, self._room))
        return columns[0], columns[1]


def _first_fit(lengths, room):
    """Return the row of each sequence and where it starts there: int32 [B] each."""
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    count = tf.size(lengths)

    def place(state, sequence):
        used, *_ = state
        length = lengths[sequence]
        row = tf.argmax(used + length <= room, output_type=tf.int32)
        start = used[row]
        return tf.tensor_scatter_nd_add(used, [[row]], [length]), row, start

    empty = (tf.zeros([count], tf.int32), tf.constant(0), tf.constant(0))
    _, row, start = tf.scan(place, order, empty)  # in the order of their lengths
    back = tf.argsort(order)
    return tf.gather(row, back), tf.gather(start, back)
