"""Greedy decoding and sampling of a toy network, against NumPy and against chance."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.generation.toy import Toy, numpy, prompts
from tfmodels.errors import InputError
from tfmodels.generation.decoding import Decoding, generate
from tfmodels.generation.settings import Generation

TOY = Toy(12, seed=1)
IDS, MASK = prompts(12, 3, 5, 1, 4)
SEEDS = np.array([5, -3, 5, 2_000_000_000], "int32")


def run(settings, ids=IDS, mask=MASK, toy=TOY, **options):
    ids, mask = ops.convert_to_tensor(ids), ops.convert_to_tensor(mask)
    return numpy(generate(toy.step, *toy.prompt(ids, mask), ids, mask, settings, **options))


def greedy(row, length, stop_ids=(), toy=TOY):
    """New tokens of a row and the sum of their log-probabilities."""
    tokens, score = list(IDS[row][MASK[row]]), 0.0
    start = len(tokens)
    while len(tokens) - start < length and not (tokens[start:] and tokens[-1] in stop_ids):
        log_probs = toy.log_probs(tokens)
        tokens.append(int(log_probs.argmax()))
        score += log_probs.max()
    return tokens[start:], score


def assert_rows(found, expected, pad_id=0):
    for row, tokens in enumerate(expected):
        count = found.mask[row].sum()
        assert found.mask[row].tolist() == [True] * count + [False] * (found.mask.shape[1] - count)
        assert found.token_ids[row][:count].tolist() == tokens
        assert (found.token_ids[row][count:] == pad_id).all()


@pytest.mark.parametrize("stop_ids", [(), (2, 8)])
def test_greedy_until_rows_end_by_themselves(stop_ids):
    expected = [greedy(row, 9, stop_ids) for row in range(4)]
    assert (len({len(tokens) for tokens, _ in expected}) > 1) == bool(stop_ids)
    found = run(Generation(max_new_tokens=9, stop_ids=stop_ids, pad_id=11))
    assert_rows(found, [tokens for tokens, _ in expected], pad_id=11)
    np.testing.assert_allclose(found.scores, [score for _, score in expected], rtol=1e-5)
    assert found.token_ids.dtype == np.int32 and found.scores.dtype == np.float32


def test_no_step_more_than_needed():
    steps = []

    def step(token_ids, index, state):
        steps.append(int(index))
        return TOY.step(token_ids, index, state)

    def steps_of(settings):
        steps.clear()
        decoding = Decoding(step, settings)
        carry = decoding.start(*TOY.prompt(IDS, MASK), IDS, MASK)
        while decoding.unfinished(carry):
            carry = decoding.advance(carry)
        return list(steps)

    assert steps_of(Generation(max_new_tokens=5)) == [0, 1, 2, 3]
    assert steps_of(Generation(max_new_tokens=1)) == []
    assert steps_of(Generation(max_new_tokens=5, stop_ids=range(12))) == []
    assert steps_of(Generation(max_new_tokens=5, min_new_tokens=3, stop_ids=range(12))) == [0, 1]


def test_further_condition():
    """Two tokens are equal to a pair that is asked for: as a stop string does."""
    pair = greedy(1, 9)[0][2:4]

    def stopped(token_ids, count):
        before, newest = (ops.take(token_ids, count - back, axis=1) for back in (2, 1))
        return (count > 1) & (before == pair[0]) & (newest == pair[1])

    expected = []
    for row in range(4):
        tokens = greedy(row, 9)[0]
        ends = [i + 2 for i in range(8) if tokens[i : i + 2] == pair]
        expected.append(tokens[: (ends or [9])[0]])
    assert len(expected[1]) < 9
    assert_rows(run(Generation(max_new_tokens=9), stopped=stopped), expected)
    found = run(Generation(max_new_tokens=9, min_new_tokens=9), stopped=stopped)
    assert found.mask.all()


def shares(toy, prompt, top_k=0, top_p=1.0, temperature=1.0):
    """The filtered softmax float64 `[V]`."""
    found = np.exp(toy.log_probs(prompt) / temperature)
    order = np.argsort(-found)
    if top_k:
        found[order[top_k:]] = 0
    found /= found.sum()
    before = np.cumsum(found[order]) - found[order]
    found[order[before >= top_p]] = 0
    return found / found.sum()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.7},
        {"top_k": 4},
        {"top_p": 0.8},
        {"top_k": 7, "top_p": 0.9, "temperature": 2.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("own", [False, True], ids=["settings", "rows"])
def test_samples_are_of_the_filtered_softmax(options, own):
    """Chi-square of pairs of tokens: of the first, and of the second given the first."""
    count, toy = 20_000, Toy(8, seed=3, scale=0.7)
    ids = np.repeat(np.array([[3, 1]], "int32"), count, 0)
    fixed, rows = ({}, {k: np.full(count, v) for k, v in options.items()}) if own else (options, {})
    found = run(
        Generation(max_new_tokens=2, sample=True, **fixed), ids, np.ones_like(ids, "bool"), toy,
        seeds=np.arange(count), rows=rows,
    ).token_ids  # fmt: skip
    first = shares(toy, [3, 1], **options)
    expected = np.array(
        [p * shares(toy, [3, 1, token], **options) for token, p in enumerate(first)]
    )
    counts = np.bincount(found[:, 0] * 8 + found[:, 1], minlength=64)
    expected = count * expected.reshape(-1)
    assert counts[expected == 0].sum() == 0
    rare = (expected > 0) & (expected < 8)
    groups = (expected >= 8, rare) if expected[rare].sum() > 8 else (expected >= 8,)
    pooled = [(counts[groups[0]], expected[groups[0]])]
    pooled += [(counts[g].sum(keepdims=True), expected[g].sum(keepdims=True)) for g in groups[1:]]
    observed, wanted = (np.concatenate(x) for x in zip(*pooled, strict=True))
    statistic, degrees = ((observed - wanted) ** 2 / wanted).sum(), len(wanted) - 1
    assert abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)


SAMPLE = Generation(max_new_tokens=8, sample=True, temperature=1.5, top_k=9, top_p=0.95)


def test_a_row_depends_on_its_own_seed_only():
    together = run(SAMPLE, seeds=SEEDS).token_ids
    np.testing.assert_array_equal(run(SAMPLE, seeds=SEEDS).token_ids, together)
    for row in range(4):
        one = slice(row, row + 1)
        alone = run(SAMPLE, IDS[one][:, MASK[row]], MASK[one][:, MASK[row]], seeds=SEEDS[one])
        np.testing.assert_array_equal(alone.token_ids[0], together[row])
    other = run(SAMPLE, seeds=SEEDS + 1).token_ids
    assert (other != together).any(1).all()
    longer = run(Generation(**{**vars(SAMPLE), "max_new_tokens": 12}), seeds=SEEDS).token_ids
    np.testing.assert_array_equal(longer[:, :8], together)


def test_the_same_on_every_backend():
    """Made by this very test on TensorFlow; JAX drew the same."""
    expected = [
        [3, 9, 2, 6, 5, 10, 4, 2],
        [9, 11, 4, 1, 10, 10, 2, 11],
        [3, 2, 10, 7, 2, 5, 2, 9],
        [4, 2, 5, 2, 9, 2, 3, 5],
    ]
    np.testing.assert_array_equal(run(SAMPLE, seeds=SEEDS).token_ids, expected)


def test_each_row_has_its_own_settings():
    rows = {
        "max_new_tokens": np.array([3, 8, 1, 5]),
        "temperature": np.array([0.0, 1.5, 0.3, 4.0]),
        "top_k": np.array([0, 9, 1, 2]),
        "top_p": np.array([1.0, 0.95, 0.5, 1.0]),
    }
    found = run(Generation(max_new_tokens=8, sample=True), seeds=SEEDS, rows=rows)
    assert found.mask.sum(1).tolist() == [3, 8, 1, 5]
    assert found.token_ids[0, :3].tolist() == greedy(0, 3)[0]
    assert found.token_ids[2, :1].tolist() == greedy(2, 1)[0]
    for row in (1, 3):
        own = {name: values[row].item() for name, values in rows.items()}
        one = slice(row, row + 1)
        alone = run(Generation(sample=True, **own), IDS[one], MASK[one], seeds=SEEDS[one])
        count = own["max_new_tokens"]
        np.testing.assert_array_equal(alone.token_ids[0], found.token_ids[row, :count])


def test_forced_tokens():
    """The last one where each row is cut; what is drawn before does not change."""
    own = {"max_new_tokens": np.array([3, 8, 1, 5])}
    free = run(SAMPLE, seeds=SEEDS, rows=own).token_ids
    assert not (free == 7).any()

    def forced(**ids):
        return run(Generation(**{**vars(SAMPLE), **ids}), seeds=SEEDS, rows=own)

    last = forced(forced_last_id=7)
    counts = own["max_new_tokens"]
    assert last.mask.sum(1).tolist() == counts.tolist()
    assert_rows(last, [[*free[row, : count - 1], 7] for row, count in enumerate(counts)])
    # The score is the model's, which gave the token less than all.
    np.testing.assert_allclose(last.scores[2], TOY.log_probs(IDS[2][MASK[2]])[7], rtol=1e-4)
    first = forced(forced_first_id=7)
    assert (first.token_ids[:, 0] == 7).all() and (first.token_ids[0, 1:] != free[0, 1:]).any()
    both = forced(forced_first_id=7, forced_last_id=3)
    assert both.token_ids[:, 0].tolist() == [7, 7, 3, 7]
    assert [row[count - 1] for row, count in zip(both.token_ids, counts, strict=True)] == [3] * 4


def test_a_row_that_has_ended_gets_no_forced_token():
    stop_id = greedy(1, 9)[0][3]
    settings = {"max_new_tokens": 9, "stop_ids": (stop_id,)}
    expected = [greedy(row, 9, (stop_id,))[0] for row in range(4)]
    assert [len(tokens) for tokens in expected] == [9, 4, 9, 9]
    expected = [[*tokens[:8], 5] if len(tokens) == 9 else tokens for tokens in expected]
    assert_rows(run(Generation(**settings, forced_last_id=5)), expected)


def test_one_row_of_known_number():
    """A step whose output says less of the shapes than the loop knows."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow has shapes that are not known")
    import tensorflow as tf

    def step(token_ids, index, state):
        logits, state = TOY.step(token_ids, index, state)
        return tf.raw_ops.PlaceholderWithDefault(input=logits, shape=[None, 12]), state

    @tf.function
    def function(ids, mask):
        return generate(step, *TOY.prompt(ids, mask), ids, mask, Generation(max_new_tokens=5))

    assert_rows(numpy(function(IDS[:1], MASK[:1])), [greedy(0, 5)[0]])


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        (SAMPLE, {}, "seeds: sample=True needs an integer for each row"),
        (SAMPLE, {"seeds": SEEDS, "rows": {"beams": 1}}, "rows: no setting 'beams'; give max_"),
        (Generation(), {"rows": {"top_k": SEEDS}}, "rows: top_k has no meaning without sample"),
        (Generation(stop_ids=(3, 12)), {}, r"stop_ids=\(3, 12\); the vocabulary has 12 tokens"),
        (Generation(pad_id=12), {}, "pad_id=12; the vocabulary has 12 tokens, give ids from 0"),
        (Generation(forced_first_id=12), {}, "forced_first_id=12; the vocabulary has 12 tokens"),
        (Generation(forced_last_id=99), {}, "forced_last_id=99; the vocabulary has 12 tokens"),
    ],
)
def test_mistakes(settings, options, message):
    with pytest.raises(InputError, match=message):
        run(settings, **options)
