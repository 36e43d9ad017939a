"""Training on few rows: 8 to 32 of each class, from a sentence encoder.

In: an encoder, texts and their classes. Out: the encoder trained on pairs, so that texts of a class
are close together and those of others apart, and a head, which is a logistic regression on the
pooled states (SetFit, Tunstall et al. 2022, arXiv:2209.11055). A batch has several texts of each of
its classes, and all its pairs are compared.

N = texts, C = classes, H = width of a state, B = batch.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.models.sentence_encoder import SentenceEncoder
from tfmodels.text.batching import mapped, packed_to_few_lengths
from tfmodels.training import loop

# Of a pretrained encoder, as in SetFit; with that of fine-tuning it is worse than it was before.
RATE_FROM_PRESET = 2e-5
# How often an epoch reads every row: each time it is compared with others.
ROUNDS = 10
TEXTS_OF_A_CLASS = 4  # together in a batch, where there are as many; a few have up to twice that
SPREAD = 0.3  # of the lengths by which the texts of a class are ordered, for other pairs each time
# Weight of the squared norm of the head's weights (the C of scikit-learn is its inverse).
PENALTY = 1.0
STEPS_OF_HEAD, SMALL_STEP = 500, 1e-8


def encoder_steps(rows: int, batch_size: int, epochs: float) -> int:
    """Return the number of steps in which the encoder is trained."""
    return max(round(epochs * ROUNDS * rows / batch_size), 1)


def train_encoder(
    encoder: SentenceEncoder, tokenizer: Any, sides: list[list[str]], classes: np.ndarray, *,
    max_length: int, batch_size: int, steps: int, seed: int, **options: Any,
) -> keras.callbacks.History:  # fmt: skip
    """Train a compiled encoder on pairs of texts.

    Args:
        encoder: to train.
        tokenizer: of it.
        sides: a list of N texts, or the two of pairs.
        classes: int `[N]`.
        max_length: maximum number of tokens of a text.
        batch_size: texts of a step.
        steps: number of steps.
        seed: of the order of the texts.
        **options: of `loop.fit`.
    """
    sides_ids = [tokenizer.tokenize(tf.constant(side))[:, :max_length] for side in sides]
    lengths = sum(ids.row_lengths().numpy() for ids in sides_ids)
    batches = list(class_batches(classes, lengths, batch_size, steps, seed))

    def from_step(step):
        rows = tf.data.Dataset.from_generator(
            lambda: iter(batches[step:]), output_signature=tf.TensorSpec([None], tf.int64)
        )
        return mapped(rows, packed).prefetch(2)

    def packed(row):
        ids, *pair = (tf.gather(ids, row) for ids in sides_ids)
        batch = packed_to_few_lengths(tokenizer, ids, max_length, *pair)
        return batch, tf.gather(classes, row)

    return loop.fit(encoder, from_step, steps, [steps], **options)


def class_batches(
    classes: np.ndarray, lengths: np.ndarray, batch_size: int, steps: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, int64 `[B]`: of some classes several different texts each.

    Every pass has all rows once. The texts of a batch are of nearly equal length among those of
    their class, as padding costs as much as tokens; which of them are together changes from pass to
    pass.

    Args:
        classes: int `[N]`.
        lengths: int `[N]`, tokens of the texts.
        batch_size: maximum B.
        steps: number of batches.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    of_class = max(min(TEXTS_OF_A_CLASS, batch_size // 2), 2)
    rows = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    while True:
        placed = []
        for of in rows:
            nearly = lengths[of] * rng.uniform(1 - SPREAD, 1 + SPREAD, len(of))
            groups = np.array_split(of[np.argsort(nearly)], max(len(of) // of_class, 1))
            # Next to those that are as long for other classes: a batch of one has no pairs apart.
            placed += [((place + 0.5) / len(groups), lengths[group].max(), group)
                       for place, group in enumerate(groups)]  # fmt: skip
        placed.sort(key=lambda found: found[:2])
        batches = list(_filled([group for *_, group in placed], batch_size))
        for place in rng.permutation(len(batches)):
            if not steps:
                return
            steps -= 1
            yield batches[place]


def _filled(groups, batch_size):
    """Yield groups of rows together, as many as a batch has room for."""
    batch: list = []
    for group in groups:
        for part in np.array_split(group, -(-len(group) // batch_size)):
            if sum(map(len, batch)) + len(part) > batch_size:
                yield np.concatenate(batch)
                batch = []
            batch.append(part)
    yield np.concatenate(batch)


def fitted_head(states: np.ndarray, classes: np.ndarray, number: int) -> tuple:
    """Return kernel `[H, C]` and bias `[C]` of a logistic regression on states.

    The minimum of the sum of the cross-entropies and half the squared norm of the kernel, by
    accelerated gradient descent (Nesterov 1983) in float64.

    Args:
        states: float `[N, H]`.
        classes: int `[N]`.
        number: C.
    """
    mean = states.astype(np.float64).mean(0)  # the bias makes up for it; fewer steps are needed
    x = np.concatenate([states - mean, np.ones((len(states), 1))], -1)  # [N, H + 1]
    wanted = np.eye(number)[classes]
    penalty = np.full((x.shape[1], 1), PENALTY)
    penalty[-1] = 0  # of the bias
    rate = 1 / (np.linalg.norm(x, 2) ** 2 / 2 + PENALTY)
    weights = before = np.zeros((x.shape[1], number))
    for step in range(STEPS_OF_HEAD):
        ahead = weights + step / (step + 3) * (weights - before)
        logits = x @ ahead
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        before, weights = weights, ahead - rate * (x.T @ (p - wanted) + penalty * ahead)
        if np.abs(weights - before).max() < SMALL_STEP:
            break
    kernel, bias = weights[:-1], weights[-1] - mean @ weights[:-1]
    return kernel.astype("float32"), bias.astype("float32")
