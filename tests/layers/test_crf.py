"""`CRF` against all sequences written out, against float64 NumPy, and by its constraints."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.contract import normal, real_tokens
from tfmodels.layers.crf import CRF, CrfScores, iob2_constraints, penalties, viterbi

NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
ILLEGAL = ~iob2_constraints(NAMES).transitions


def made(num_labels, labels=None, seed=0, size=1.0):
    """A `CRF` with random weights, and these in float64."""
    crf = CRF(num_labels, labels)
    crf.build()
    for number, weight in enumerate(crf.weights):
        weight.assign(size * normal(*weight.shape, seed=10 * seed + number))
    values = (crf.start, crf.transitions, crf.end)
    return crf, CrfScores(*(np.asarray(ops.convert_to_numpy(v), "float64") for v in values))


def ask(question, *inputs):
    """The answer as NumPy; on JAX compiled at once, where each operation takes its time."""
    if keras.backend.backend() == "jax":
        import jax

        question = jax.jit(question)
    return keras.tree.map_structure(ops.convert_to_numpy, question(*inputs))


def score(tags, emissions, chain):
    """Of one row without padding, from the formula."""
    total = sum(emissions[t, tag] for t, tag in enumerate(tags))
    total += sum(chain.transitions[pair] for pair in itertools.pairwise(tags))
    return total + chain.start[tags[0]] + chain.end[tags[-1]]


def all_sequences(emissions, chain):
    """Every sequence of one row, `[N, W]`, and its score `[N]`."""
    words, num_tags = emissions.shape
    sequences = np.array(list(itertools.product(range(num_tags), repeat=words)))
    return sequences, np.array([score(tuple(s), emissions, chain) for s in sequences])


def log_sum(x, axis=None):
    largest = x.max(axis, keepdims=True)
    return np.squeeze(largest + np.log(np.exp(x - largest).sum(axis, keepdims=True)), axis)


def log_partition(emissions, chain):
    """The forward recursion of one row, in float64."""
    forward = chain.start + emissions[0]
    for word in emissions[1:]:
        forward = log_sum(forward[:, None] + chain.transitions, 0) + word
    return log_sum(forward + chain.end)


def log_likelihoods(emissions, labels, lengths, chain):
    return np.array(
        [
            score(tuple(y[:n]), e[:n], chain) - log_partition(e[:n], chain) if n else 0.0
            for e, y, n in zip(np.asarray(emissions, "float64"), labels, lengths, strict=True)
        ]
    )


SMALL = pytest.mark.parametrize(("num_tags", "words"), [(2, 5), (3, 4), (5, 3), (4, 1)])


@SMALL
def test_all_sequences_written_out(num_tags, words):
    """Likelihood (also of rows with unknown labels), best tags, marginals; an empty row."""
    crf, chain = made(num_tags, seed=num_tags)
    lengths = [words, max(words - 1, 1), 1, 0]
    mask = real_tokens(*lengths, size=words)
    emissions = 2 * normal(4, words, num_tags, seed=1)
    emissions[~mask] = 50.0  # rubbish
    labels = np.random.default_rng(2).integers(0, num_tags, (4, words)).astype("int32")
    partial = np.where(np.random.default_rng(3).random((4, words)) < 0.5, -1, labels)
    found = ask(crf.log_likelihood, emissions, labels, mask)
    found_partial = ask(crf.log_likelihood, emissions, partial, mask)
    tags, shares = ask(crf.decode, emissions, mask), ask(crf.marginals, emissions, mask)
    for row, n in enumerate(lengths):
        assert (tags[row, n:] == -1).all()
        assert (shares[row, n:] == 0.0).all()
        if n == 0:
            assert found[row] == found_partial[row] == 0.0
            continue
        sequences, scores = all_sequences(emissions[row, :n].astype("float64"), chain)
        log_p = scores - log_sum(scores)
        fits = (sequences == labels[row, :n]).all(1)
        np.testing.assert_allclose(found[row], log_p[fits], atol=1e-5)
        fits = ((sequences == partial[row, :n]) | (partial[row, :n] < 0)).all(1)
        np.testing.assert_allclose(found_partial[row], log_sum(log_p[fits]), atol=1e-5)
        np.testing.assert_array_equal(tags[row, :n], sequences[scores.argmax()])
        expected = np.array(
            [
                [np.exp(log_p)[sequences[:, t] == tag].sum() for tag in range(num_tags)]
                for t in range(n)
            ]
        )
        np.testing.assert_allclose(shares[row, :n], expected, atol=1e-6)


def test_many_words_against_float64():
    """Emissions of a trained model are large; sums over 60 words must stay exact."""
    crf, chain = made(17)
    lengths = [60, 37, 1, 0]
    mask = real_tokens(*lengths, size=60)
    emissions = 5 * normal(4, 60, 17, seed=1) + 100.0
    labels = np.random.default_rng(2).integers(0, 17, (4, 60)).astype("int32")
    expected = log_likelihoods(emissions, labels, lengths, chain)
    found = ask(crf.log_likelihood, emissions, labels, mask)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    tags, shares = ask(crf.decode, emissions, mask), ask(crf.marginals, emissions, mask)
    np.testing.assert_allclose(shares.sum(-1), mask, atol=1e-5)
    # The slope of the log-partition by an emission is the marginal.
    row = emissions[1, :37].astype("float64")
    for t, tag in ((0, 3), (20, int(tags[1, 20])), (36, 8)):
        step = np.zeros_like(row)
        step[t, tag] = 1e-4
        slope = (log_partition(row + step, chain) - log_partition(row - step, chain)) / 2e-4
        np.testing.assert_allclose(shares[1, t, tag], slope, atol=2e-6)
    # No other sequence that differs in one word is better.
    best = score(tuple(tags[1, :37]), row, chain)
    for t, tag in itertools.product(range(37), range(17)):
        other = tags[1, :37].copy()
        other[t] = tag
        assert score(tuple(other), row, chain) <= best + 1e-9


def gradients_of(crf, emissions, labels, mask, upstream):
    """Of `sum(upstream * log_likelihood)` by the emissions, then by the weights."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        emissions = tf.constant(emissions)
        with tf.GradientTape() as tape:
            tape.watch(emissions)
            total = tf.reduce_sum(upstream * crf.log_likelihood(emissions, labels, mask))
        return tape.gradient(total, [emissions, *(w.value for w in crf.weights)])

    import jax

    def total(emissions, values):
        mapping = list(zip(crf.weights, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return ops.sum(upstream * crf.log_likelihood(emissions, labels, mask))

    by_emissions, by_weights = jax.jit(jax.grad(total, (0, 1)))(
        ops.convert_to_tensor(emissions), [w.value for w in crf.weights]
    )
    return [by_emissions, *by_weights]


def test_gradient_is_that_of_finite_differences_in_float64():
    crf, chain = made(4)
    lengths = [5, 3, 1, 0]
    mask = real_tokens(*lengths, size=5)
    emissions = normal(4, 5, 4, seed=1)
    labels = np.random.default_rng(2).integers(0, 4, (4, 5)).astype("int32")
    upstream = np.array([1.0, -2.0, 0.5, 3.0], "float32")
    names = {w.name: w for w in crf.weights}
    found = gradients_of(crf, emissions, labels, mask, upstream)
    found = dict(zip(["emissions", *names], map(np.asarray, found), strict=True))
    start = {"emissions": emissions.astype("float64"), **chain._asdict()}

    def loss(values):
        chain = CrfScores(*(values[name] for name in CrfScores._fields))
        return upstream @ log_likelihoods(values["emissions"], labels, lengths, chain)

    for name, value in start.items():
        for index in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[index] = 1e-5
            rise = loss({**start, name: value + step}) - loss({**start, name: value - step})
            np.testing.assert_allclose(
                found[name][index], rise / 2e-5, atol=2e-6, err_msg=f"{name}{index}"
            )


def test_gradient_of_partly_labelled_and_of_contradictory_rows():
    """By differences of the likelihood itself, which is tested above."""
    crf, _ = made(7, NAMES)
    emissions, mask = normal(2, 4, 7, seed=1), real_tokens(4, 3, size=4)
    labels = np.array([[-1, 1, -1, 3], [0, -1, 2, 0]], "int32")
    upstream = np.ones(2, "float32")
    found = np.asarray(gradients_of(crf, emissions, labels, mask, upstream)[0])
    direction = normal(2, 4, 7, seed=2)
    high, low = (
        ask(crf.log_likelihood, emissions + s * direction, labels, mask).sum()
        for s in (0.01, -0.01)
    )
    np.testing.assert_allclose((found * direction).sum(), (high - low) / 0.02, rtol=1e-3)
    assert (found[1, 3] == 0.0).all()
    contradictory = np.array([[2, 4, 6, -1], [0, 0, 2, 1]], "int32")
    found = np.asarray(gradients_of(crf, emissions, contradictory, mask, upstream)[0])
    assert 0 < np.abs(found).max() <= 1.0  # and no NaN


def test_low_precision_emissions_give_float32():
    crf, _ = made(7, NAMES)
    emissions, mask = ops.cast(normal(3, 5, 7), "bfloat16"), real_tokens(5, 3, 1)
    likelihood = ask(crf.log_likelihood, emissions, np.zeros((3, 5), "int32"), mask)
    shares = ask(crf.marginals, emissions, mask)
    for found in (likelihood, shares):
        assert found.dtype == "float32" and np.isfinite(found).all()
    same = ask(crf.marginals, ops.cast(emissions, "float32"), mask)
    np.testing.assert_array_equal(shares, same)
    policy = CRF(7, dtype="mixed_bfloat16")
    policy.build()
    assert {w.dtype for w in policy.weights} == {"float32"}


def test_constraints_by_hand():
    start, transitions, end = iob2_constraints(["O", "B-A", "I-A", "B-B", "I-B"])
    np.testing.assert_array_equal(start, [1, 1, 0, 1, 0])
    expected = [[1, 1, 0, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 0, 1, 1], [1, 1, 0, 1, 1]]
    np.testing.assert_array_equal(transitions, expected)
    assert end.all()
    assert iob2_constraints(["NOUN", "VERB"]).transitions.all()


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_no_illegal_sequence_is_decoded(size):
    """4,000 rows each of random emissions, with a random CRF and without a CRF."""
    crf, _ = made(7, NAMES, size=size)
    lengths = np.random.default_rng(0).integers(0, 13, 4000)
    mask = real_tokens(*lengths, size=12)
    emissions = size * normal(4000, 12, 7, seed=1)
    chain = penalties(NAMES, 7)
    softmax = ask(lambda *inputs: viterbi(*inputs, chain), emissions, mask)
    for tags in (ask(crf.decode, emissions, mask), softmax):
        assert (tags[~mask] == -1).all() and (tags[mask] >= 0).all()
        starts = np.isin(tags[lengths > 0, 0], [2, 4, 6])
        assert not starts.any()
        assert not ILLEGAL[tags[:, :-1], tags[:, 1:]][mask[:, 1:]].any()
    assert ILLEGAL[(e := emissions.argmax(-1))[:, :-1], e[:, 1:]][mask[:, 1:]].mean() > 0.1


def test_illegal_sequences_have_probability_zero():
    crf, chain = made(3, NAMES[:3])
    allowed = iob2_constraints(NAMES[:3])
    emissions = normal(1, 4, 3, seed=1)
    sequences, scores = all_sequences(emissions[0].astype("float64"), chain)
    legal = allowed.start[sequences[:, 0]]
    legal &= allowed.transitions[sequences[:, :-1], sequences[:, 1:]].all(1)
    log_p = scores - log_sum(scores[legal])
    many = np.repeat(emissions, len(sequences), 0)
    found = ask(crf.log_likelihood, many, sequences.astype("int32"))
    np.testing.assert_allclose(found[legal], log_p[legal], atol=1e-5)
    # Labels that contradict the scheme: as without constraints.
    np.testing.assert_allclose(found[~legal], (scores - log_sum(scores))[~legal], atol=1e-5)
    shares = ask(crf.marginals, emissions)[0]
    p = np.where(legal, np.exp(log_p), 0.0)
    for t, tag in np.ndindex(4, 3):
        np.testing.assert_allclose(shares[t, tag], p[sequences[:, t] == tag].sum(), atol=1e-6)
    assert shares[0, 2] == 0.0


def test_an_inside_without_its_beginning_is_not_constrained():
    start, transitions, end = iob2_constraints(["O", "B-PER", "I-PER", "I-LOC"])
    assert start.tolist() == [True, True, False, True] and end.all()
    assert transitions[:, 2].tolist() == [False, True, True, False] and transitions[:, 3].all()


def test_bad_labels_are_refused():
    with pytest.raises(ValueError, match=r"num_labels is 4, but labels has 3: .*'I-PER'"):
        CRF(4, NAMES[:3])
    with pytest.raises(ValueError, match="each label must be there once"):
        iob2_constraints(["O", "O"])


def test_config_round_trip():
    crf = CRF(7, NAMES, name="chain")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(crf))
    assert again.get_config() == crf.get_config()
