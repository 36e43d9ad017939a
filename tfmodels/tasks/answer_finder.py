"""A `SpanFinder` as signatures: question and context strings in, answers with their characters out.

In: a `SpanFinder` and its tokenizer. Out: what `saved_model.save` writes. Tokenizer, windows,
model, the choice of the answer and the way back to characters are all in the graph.

B = questions, N = windows of all contexts, S = their padded length, D = maximum number of tokens of
an answer, K = answers of a question.
"""

from collections.abc import Callable

import tensorflow as tf

from tfmodels.models.span_finder import NEVER, SpanFinder
from tfmodels.tasks.signatures import BATCH, QUESTION
from tfmodels.text.question_windows import question_windows
from tfmodels.text.spans import slices
from tfmodels.text.wordpiece import WordPieceTokenizer

N_BEST = 5  # answers of the signature `n_best`


def answer_finder(
    model: SpanFinder, tokenizer: WordPieceTokenizer, max_length: int, stride: int,
    max_question_length: int, max_answer_length: int, n_best: int = 1,
) -> Callable:  # fmt: skip
    """The function from questions and contexts to answers, of which the signatures are made.

    An answer is the pair of a start and an end in one window with the largest sum of logits.
    "No answer" has the smallest sum of those of [CLS] over the windows, as in BERT's own code for
    SQuAD 2.0 (Devlin et al. 2018, section 4.3).

    Args:
        model: a `SpanFinder`.
        tokenizer, max_length, stride, max_question_length: see `question_windows`.
        max_answer_length: D.
        n_best: K, how many answers to return.

    Returns:
        function of `question` and `context` string `[B]` that gives a dict of `answer` string
        `[B, K]`, `start`, `end` int32 `[B, K]` (characters of the context, -1 where there are
        fewer answers), `logit` float32 `[B, K]` (the sum, -1e9 or less where there are fewer),
        `total` float32 `[B]` (logsumexp of all pairs) and `null` float32 `[B]`.
    """

    def find(question, context):
        windows = question_windows(
            tokenizer, question, context, max_length, stride, max_question_length
        )
        logits = model(windows.batch(tokenizer, max_length), training=False)  # [N, 2, S]
        first, last = logits[:, 0], logits[:, 1]
        nulls = first[:, 0] + last[:, 0]  # [N]
        rows = tf.size(context)
        null = tf.math.unsorted_segment_min(nulls, windows.context, rows)  # [B]

        length = tf.shape(first)[1]
        first = tf.where(windows.begins, first, NEVER)
        last = tf.pad(
            tf.where(windows.lasts, last, NEVER), [[0, 0], [0, max_answer_length]],
            constant_values=NEVER,
        )  # fmt: skip
        span = tf.range(length)[:, None] + tf.range(max_answer_length)  # [S, D]
        sums = first[..., None] + tf.gather(last, span, axis=1)  # [N, S, D]
        sums = tf.reshape(sums, tf.stack([-1, length * max_answer_length]))
        totals = tf.reduce_logsumexp(sums, 1, keepdims=True)  # [N, 1]
        best, place = _top(sums, n_best)  # [N, K]
        start = place // max_answer_length
        end = tf.minimum(start + place % max_answer_length, length - 1)
        start = tf.gather(windows.starts, tf.minimum(start, length - 1), batch_dims=1)
        end = tf.gather(windows.ends, end, batch_dims=1)

        def of_contexts(values, padding):
            ragged = tf.RaggedTensor.from_value_rowids(
                values, windows.context, tf.cast(rows, tf.int64), validate=False
            )
            return ragged.merge_dims(1, 2).to_tensor(padding)  # [B, windows * K]

        total = tf.reduce_logsumexp(_padded(of_contexts(totals, 2 * NEVER), 1, 2 * NEVER), 1)
        best, place = _top(of_contexts(best, 2 * NEVER), n_best)  # [B, K]
        found = best > NEVER / 2
        start, end = (
            tf.where(
                found, tf.gather(_padded(of_contexts(x, -1), n_best, -1), place, batch_dims=1), -1
            )
            for x in (start, end)
        )
        row = tf.where(found)[:, 0]
        texts = slices(context, row, start[found], end[found])
        answer = tf.scatter_nd(tf.where(found), texts, tf.shape(found, tf.int64))
        places = {"answer": answer, "start": start, "end": end}
        return {**places, "logit": best, "total": total, "null": null}

    return find


def _padded(values, columns, padding):
    """Return values with more columns at the end."""
    return tf.pad(values, [[0, 0], [0, columns]], constant_values=tf.cast(padding, values.dtype))


def _top(values, number):
    """Return the largest values of each row, and their places, where there may be fewer."""
    return tf.math.top_k(_padded(values, number, 2 * NEVER), number)


def scored(found: dict, threshold: float | None) -> dict:
    """Return what was found with scores for people.

    Args:
        found: of the function of `answer_finder`.
        threshold: null score above which there is no answer; None answers always.

    Returns:
        dict of `answer`, `start`, `end` `[B, K]` as they are; `score` float32 `[B, K]`, the
        probability among all parts of the context and, with a threshold, none of them;
        `null_score` float32 `[B]`, the probability of no answer beside the best one; `none` bool
        `[B]`, whether there is no answer.
    """
    logit, null = found["logit"], found["null"]
    null_score = tf.sigmoid(null - logit[:, 0])
    none, total = found["start"][:, 0] < 0, found["total"]
    if threshold is not None:
        total = tf.reduce_logsumexp(tf.stack([total, null]), 0)
        none |= null_score > threshold
    score = tf.where(found["start"] >= 0, tf.exp(logit - total[:, None]), 0.0)
    parts = {name: found[name] for name in ("answer", "start", "end")}
    return {**parts, "score": score, "null_score": null_score, "none": none}


def answer_signatures(
    model: SpanFinder, tokenizer: WordPieceTokenizer, threshold: float | None = None, **reading: int
) -> dict:
    """The signatures of a `SpanFinder`.

    Args:
        model, tokenizer: see `answer_finder`.
        threshold: see `scored`.
        **reading: the lengths of `answer_finder`.

    Returns:
        dict from signature name to `(function, specs)`, see `saved_model.save`:
        `serving_default` on `question`, `context` string `[B]` gives `answer` string, `start`,
        `end` int32 (Unicode characters, end exclusive; "" and -1 for none), `score` and
        `null_score` float32, all `[B]`. `n_best` on the same gives the five best answers without
        regard to the threshold: the same names, `[B, 5]`, and `null_score` `[B]`. `token_ids` on
        `token_ids`, `segment_ids` int32 and `padding_mask` bool gives `start_logits` and
        `end_logits` float32 `[B, S]`.
    """
    finder = answer_finder(model, tokenizer, **reading, n_best=N_BEST)

    def best(question, context):
        found = scored(finder(question, context), threshold)
        none = found.pop("none")
        one = {name: found[name][:, 0] for name in ("answer", "start", "end", "score")}
        return {
            "answer": tf.where(none, "", one["answer"]),
            "start": tf.where(none, -1, one["start"]),
            "end": tf.where(none, -1, one["end"]),
            "score": tf.where(none & (one["start"] >= 0), found["null_score"], one["score"]),
            "null_score": found["null_score"],
        }

    def several(question, context):
        found = scored(finder(question, context), threshold)
        del found["none"]
        return found

    def from_ids(**batch):
        logits = model(batch, training=False)
        return {"start_logits": logits[:, 0], "end_logits": logits[:, 1]}

    return {
        "serving_default": (best, QUESTION),
        "n_best": (several, QUESTION),
        "token_ids": (from_ids, BATCH),
    }
