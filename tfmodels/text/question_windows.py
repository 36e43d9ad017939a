"""Contexts of questions in windows, each behind its question.

In: questions and contexts of any length. Out: windows to pack, which of their tokens may begin and
end an answer, and where given answers are in them. Ops only.

B = questions, N = windows of all contexts, S = their padded length.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text import batching
from tfmodels.text.cutting import best_windows, check_windows, cut_texts, tokens_of
from tfmodels.text.packing import pack, special_tokens
from tfmodels.text.wordpiece import WordPieceTokenizer


class QuestionWindows(NamedTuple):
    """Windows of contexts, each to be packed behind its question.

    Positions are those of the packed row: [CLS] question [SEP] window [SEP]. An answer begins with
    a word and ends with one. A word that is in two windows may begin an answer in the one with the
    most context on its shorter side only, so that no answer comes twice.
    """

    question: tf.RaggedTensor  # int32 [N, (tokens)]: the question of each
    ids: tf.RaggedTensor  # int32 [N, (tokens)]: of the context
    context: tf.Tensor  # int64 [N]: the context, among B, of each; in order
    starts: tf.Tensor  # int32 [N, S]: first character of each token, -1 where none is
    ends: tf.Tensor  # int32 [N, S]: likewise, the character after it
    words: tf.Tensor  # bool [N, S]: whether a token is the first of its word
    begins: tf.Tensor  # bool [N, S]: whether an answer may begin with it
    lasts: tf.Tensor  # bool [N, S]: whether one may end with it

    def batch(self, tokenizer: Any, max_length: int) -> dict[str, tf.Tensor]:
        """Return the windows as the batch of an encoder, see `pack`."""
        return pack(tokenizer, self.question, max_length, self.ids)

    def labels(self, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
        """Return where answers are in the windows.

        Args:
            start: int32 [B]: the first character of the answer in each context, -1 for none.
            end: int32 [B]: the character after it.

        Returns:
            int32 [N, 2]: positions of the first piece of its first word and of the last of its
            last; 0, of [CLS], where the window does not have the whole answer. An answer that
            begins or ends inside of a word grows to the whole word.
        """
        start, end = (tf.gather(place, self.context)[:, None] for place in (start, end))
        place = tf.range(tf.shape(self.starts)[1])
        first = tf.where(self.words & (self.starts <= start), place, -1)
        last = tf.where(self.lasts & (self.ends >= end), place, tf.int32.max)
        first, last = tf.reduce_max(first, 1), tf.reduce_min(last, 1)
        inside = (start[:, 0] >= 0) & (first >= 0) & (last < tf.int32.max)
        return tf.where(inside[:, None], tf.stack([first, last], 1), 0)


def question_windows(
    tokenizer: WordPieceTokenizer, question: tf.Tensor, context: tf.Tensor, max_length: int,
    stride: int, max_question_length: int,
) -> QuestionWindows:  # fmt: skip
    """Return contexts in windows that have room for their questions.

    Args:
        tokenizer: a `WordPieceTokenizer`.
        question: string [B]; the rest of one with more than `max_question_length` tokens is cut.
        context: string [B].
        max_length: maximum number of tokens of a row, with the special ones.
        stride: minimum number of tokens that two windows share.
        max_question_length: maximum number of tokens of a question.

    Raises:
        InputError: there is no room for a window, or `stride` is out of range.
    """
    special = special_tokens(tokenizer, 2)
    if max_length - special - max_question_length < 1:
        raise InputError(
            f"max_length {max_length}: leaves no room for a context beside a question of "
            f"max_question_length {max_question_length} tokens; give a larger max_length, or a "
            "smaller max_question_length"
        )
    check_windows(max_length - special - max_question_length + 2, stride)
    with tf.device("CPU:0"):
        questions = tokenizer.tokenize(question)[:, :max_question_length]
        tokens = tokens_of(tokenizer, context)
        cut = cut_texts(tokens, max_length - special - questions.row_lengths(), stride)
        questions = tf.gather(questions, cut.text)  # [N, (tokens)]
        before = questions.row_lengths() + special - 1  # tokens in front of a window
        length = tf.reduce_max(tf.concat([before + cut.ids.row_lengths() + 1, [1]], 0))
        shape = tf.stack([-1, length])
        front = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(before)], tf.constant(-1, tf.int64)), before, validate=False
        )
        token = tf.concat([front, cut.tokens], 1).to_tensor(-1, shape=shape)  # [N, S]

        def of_tokens(values, none):
            values = tf.concat([values, tf.cast([none], values.dtype)], 0)  # there may be none
            return tf.gather(values, tf.where(token >= 0, token, tf.size(values, tf.int64) - 1))

        window = tf.gather(cut.words.value_rowids(), best_windows(cut))  # [words]: to take it from
        own = of_tokens(tf.gather(window, tokens.word), -1)
        words = of_tokens(tokens.begins, False)
        return QuestionWindows(
            question=questions,
            ids=cut.ids,
            context=cut.text,
            starts=of_tokens(tokens.starts.values, -1),
            ends=of_tokens(tokens.ends.values, -1),
            words=words,
            begins=words & (own == tf.range(cut.ids.nrows())[:, None]),
            lasts=of_tokens(tokens.lasts, False),
        )


def question_batches(
    chunks: tf.data.Dataset, tokenizer: WordPieceTokenizer, batch_size: int, max_length: int,
    stride: int, max_question_length: int, seed: int | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Return batches of questions, each with a window of its context, of similar length.

    Args:
        chunks: dataset of `(question, context, start, end)`: string [C] and int32 [C], see
            `QuestionWindows.labels`.
        tokenizer, max_length, stride, max_question_length: see `question_windows`.
        batch_size: windows of a batch, on all replicas together.
        seed: see `tagged_batches`.

    Returns:
        dataset of `(batch dict, labels)`; see `packing.pack` and `QuestionWindows.labels`.
    """

    def windows(question, context, start, end):
        found = question_windows(
            tokenizer, question, context, max_length, stride, max_question_length
        )
        return found.ids, found.question, found.labels(start, end)

    def packed(ids, question, labels):
        return batching.packed_to_few_lengths(tokenizer, question, max_length, ids), labels

    def shortest_first(ids, question, _):
        return tf.argsort(ids.row_lengths() + question.row_lengths(), stable=True)

    examples = batching.mapped(chunks, windows).unbatch()
    batches = batching.by_length(examples, batch_size, seed, order=shortest_first)
    return batching.mapped(batches, packed).prefetch(tf.data.AUTOTUNE)
