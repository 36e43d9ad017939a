"""Why an answer: the part that each word of a text has in a score, and a page that shows it.

In: a score of a model as a function of the embeddings of the tokens. Out: a number for each token,
summed over each word with its characters in the text; JSON values, or HTML. The numbers are
integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365): the gradient of the score,
averaged over the straight line from a baseline to the embeddings, times their difference.

The baseline is the same text with every word replaced by [MASK] ([UNK] in a vocabulary without it):
it has the length, positions and special tokens of the text and none of its words, and a masked
language model was pretrained on such tokens. Padding and zeros are inputs that no encoder has seen
at the place of a word.

B = texts, S = padded length, H = width of an embedding.
"""

import html
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfmodels.models.classifier import Classifier
from tfmodels.text.batching import encode
from tfmodels.text.cutting import word_begins
from tfmodels.text.packing import special_tokens, truncated
from tfmodels.text.wordpiece import WordPieceTokenizer

# The parts of the words add up to what the score gains over the baseline (completeness), up to
# this share of it, or of `SMALL` where it gains less.
TOLERANCE, SMALL = 0.01, 0.1
FIRST_STEPS, MAXIMUM_STEPS = 16, 1024
NAMES = ("words", "pair_words")  # of the explanation of a text, of a second one
# Of words that speak for the label and against it; colour-blind people can distinguish them.
FOR, AGAINST = "37, 99, 235", "234, 88, 12"


class Attribution(NamedTuple):
    """Integrated gradients of the scores of B texts."""

    parts: np.ndarray  # float64 [B, S]: of each token
    score: np.ndarray  # float64 [B]
    baseline: np.ndarray  # float64 [B]: the score of the baseline
    complete: np.ndarray  # bool [B]: whether the parts add up, see `TOLERANCE`


def integrated_gradients(
    score: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], embeddings: Any, baseline: Any
) -> Attribution:
    """Return the part of each token in a score.

    The integral over the line is a sum with the nodes of Gauss and Legendre, twice as many until
    the parts add up to the difference of the two scores.

    Args:
        score: function of embeddings float32 `[B, S, H]` that returns the scores float32 `[B]` and
            their gradients `[B, S, H]`.
        embeddings: float32 `[B, S, H]`, of the tokens.
        baseline: float32 `[B, S, H]`.
    """
    difference = embeddings - baseline
    reached, without = (np.asarray(score(at)[0], np.float64) for at in (embeddings, baseline))
    gain, steps = reached - without, FIRST_STEPS
    parts = np.zeros(difference.shape[:2])
    complete = np.zeros(len(gain), bool)
    while steps <= MAXIMUM_STEPS and not complete.all():
        total = np.zeros(difference.shape)
        for place, weight in zip(*np.polynomial.legendre.leggauss(steps), strict=True):
            _, gradients = score(baseline + np.float32((place + 1) / 2) * difference)
            total += np.asarray(gradients, np.float64) * (weight / 2)
        found = (total * np.asarray(difference, np.float64)).sum(-1)  # [B, S]
        parts = np.where(complete[:, None], parts, found)
        complete = np.abs(parts.sum(-1) - gain) <= TOLERANCE * np.maximum(np.abs(gain), SMALL)
        steps *= 2
    return Attribution(parts, reached, without, complete)


def masked(ids: tf.Tensor, tokenizer: WordPieceTokenizer) -> tf.Tensor:
    """Return token ids int32 `[B, S]` with every token but the special ones replaced."""
    kept = [tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id]
    special = tf.reduce_any(ids[..., None] == kept, -1)
    filler = tokenizer.unk_id if tokenizer.mask_id is None else tokenizer.mask_id
    return tf.where(special, ids, filler)


def score_of(model: Classifier) -> Callable:
    """Return a traced function `(batch, embeddings, chosen)`: the scores and their gradients.

    The score of a class is its log odds: of a softmax z - log(sum of exp of the others), of a
    sigmoid its logit. Of a head that gives a number it is that.

    Args:
        model: to explain. `batch` is its batch dict, `embeddings` float32 `[B, S, H]`, `chosen`
            int `[B]` the classes.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def score(batch, embeddings, chosen):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            logits = model({**batch, "token_embeddings": embeddings}, training=False)  # [B, C]
            value = tf.gather(logits, chosen, batch_dims=1)
            if model.activation == "softmax":
                others = tf.one_hot(chosen, model.num_classes, -np.inf, 0.0)
                value -= tf.reduce_logsumexp(logits + others, -1)
        return value, tape.gradient(value, embeddings)

    return score


def explained(
    score: Callable, table: Any, tokenizer: WordPieceTokenizer, sides: Sequence[Sequence[str]],
    max_length: int, chosen: Sequence[int],
) -> list[dict]:  # fmt: skip
    """Return why B texts, or pairs of texts, have their scores.

    Args:
        score: of `score_of`.
        table: `[V, H]`, the embeddings of the tokens.
        tokenizer: of the model.
        sides: one list of B texts, or the two of pairs.
        max_length: maximum number of tokens that the model reads.
        chosen: B numbers of classes.

    Returns:
        for each text a dict of `score`, `baseline`, `complete`, `words` and, of pairs,
        `pair_words`; see `words_of`.
    """
    encoded = [tf.constant(side, tf.string) for side in sides]
    batch = encode(tokenizer, encoded[0], max_length, *encoded[1:])
    ids = batch["token_ids"]
    embeddings, baseline = (
        tf.cast(tf.gather(table, tokens), tf.float32) for tokens in (ids, masked(ids, tokenizer))
    )
    found = integrated_gradients(
        lambda at: score(batch, at, tf.constant(chosen)), embeddings, baseline
    )
    words = words_of(tokenizer, sides, max_length, found.parts)
    return [
        {"score": round(float(gained), 6), "baseline": round(float(without), 6),
         "complete": bool(complete), **of_text}
        for gained, without, complete, of_text in zip(
            found.score, found.baseline, found.complete, words, strict=True
        )
    ]  # fmt: skip


def words_of(
    tokenizer: WordPieceTokenizer, sides: Sequence[Sequence[str]], max_length: int,
    parts: np.ndarray,
) -> list[dict[str, list[dict]]]:  # fmt: skip
    """Return the words of texts with the sums of the parts of their tokens.

    Args:
        tokenizer: of the model; a word is what it splits into pieces, in Chinese a character.
        sides: see `explained`.
        max_length: see `explained`.
        parts: float `[B, S]`, of the tokens that the model read.

    Returns:
        for each text a dict of `words` and, of pairs, `pair_words`: a list of dicts of `word`, its
        characters `start` and `end` in the text, and `part`. Words that were cut off are not in it.
    """
    tokens = [tokenizer.tokenize_with_offsets(tf.constant(side, tf.string)) for side in sides]
    room = max_length - special_tokens(tokenizer, len(sides))
    read = truncated([ids for ids, *_ in tokens], room)
    answers: list[dict] = [{} for _ in parts]
    at = np.ones(len(parts), int)  # after [CLS]
    for name, texts, (ids, *places), kept in zip(NAMES, sides, tokens, read, strict=False):
        begins = ids.with_values(word_begins(tokenizer, ids, places[0]))
        numbers = kept.row_lengths().numpy()
        for row, text in enumerate(texts):
            of_text = parts[row, at[row] : at[row] + numbers[row]]
            of_tokens = zip(of_text, *(p[row].numpy() for p in (begins, *places)), strict=False)
            answers[row][name] = _words(text, of_tokens)
        at += numbers + 1  # [SEP]
    return answers


def _words(text, tokens):
    """Return the words of a text, given part, begin of a word, start and end of each token."""
    words: list[dict] = []
    for part, begins, start, end in tokens:
        if begins:
            words.append({"word": "", "start": int(start), "end": 0, "part": 0.0})
        words[-1]["end"] = int(end)
        words[-1]["part"] += float(part)
    for word in words:
        word["word"] = text[word["start"] : word["end"]]
        word["part"] = round(word["part"], 6)
    return words


PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<title>Why these labels</title>
<style>
body {{ font-family: sans-serif; line-height: 1.9; max-width: 50em; margin: 2em auto }}
p {{ white-space: pre-wrap; overflow-wrap: anywhere }}
span {{ border-radius: 0.2em; padding: 0.1em 0 }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def as_html(answers: Sequence[dict]) -> str:
    """Return explained texts as an HTML page: words for the label blue, words against it orange.

    Args:
        answers: of `TextClassifier.explain`.
    """
    return PAGE.format(body="\n".join(map(_shown, answers)))


def _shown(answer):
    """Return the HTML of one text or pair: nothing of it is markup."""
    explained = answer["explanation"]
    sides = [(answer[name], explained[words]) for name, words in
             zip(("text", "pair"), NAMES, strict=True) if words in explained]  # fmt: skip
    parts = [abs(word["part"]) for _, words in sides for word in words]
    name = html.escape(str(explained["label"]))
    head = f"{name}: score {explained['score']:.3f}, without the words {explained['baseline']:.3f}"
    lines = [f"<p>{_coloured(*side, max(parts, default=0) or 1)}</p>" for side in sides]
    return "\n".join([f"<h2>{head}</h2>", *lines])


def _coloured(text, words, largest):
    """Return the HTML of a text with its words in colour."""
    pieces, at = [], 0
    for word in words:
        colour = FOR if word["part"] > 0 else AGAINST
        style = f"background: rgba({colour}, {abs(word['part']) / largest * 0.7:.2f})"
        # Two words may share a character that normalization decomposes.
        start, end = max(word["start"], at), max(word["end"], at)
        pieces.append(html.escape(text[at:start]))
        shown = html.escape(text[start:end])
        pieces.append(f'<span style="{style}" title="{word["part"]:+.3f}">{shown}</span>')
        at = end
    return "".join(pieces) + html.escape(text[at:])
