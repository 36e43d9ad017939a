"""How good summaries are: ROUGE, what they copy, how long they are, and the ones to look at.

In: sources, references (what people wrote) and outputs (what a model wrote), str each. Out:
numbers for `metrics.json`, rows for `mistakes.jsonl`, a table for the model card.

ROUGE (https://aclanthology.org/W04-1013) is computed by `rouge_score`; what is ours is what it
counts, see `Tokenizer`, and where sentences end, see `rouge`. Every number has the lead baseline
beside it, the first sentences of the source: on news it is hard to beat.
"""

import functools
import re
import statistics
import unicodedata
from collections.abc import Sequence
from typing import Any

from tfmodels.errors import InputError
from tfmodels.metrics.tables import table
from tfmodels.text.sentences import split_sentences

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")

# Characters that are a token each: BERT's Chinese ones, kana without their punctuation, hangul.
_SINGLE = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf"
    "\U0002f800-\U0002fa1f"
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]"
)
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # in emoji
_WORST_SOURCE = 1000  # characters of a source that `worst` keeps
_TABLE_SOURCE = 200  # and that a table shows


class Tokenizer:
    """What ROUGE counts: English words as `rouge_score` has them, Chinese characters, any letters.

    - ASCII letters and digits: a word is a run of them, in lower case, and stemmed (Porter) if
      it has more than three characters, all by `rouge_score` itself. So on ASCII text every score
      is that of `RougeScorer(use_stemmer=True)`.
    - A Chinese character, a kana and a hangul syllable is a token of its own.
    - Other letters and digits (é, ü, Cyrillic, Arabic, the marks on them) are part of words as
      well, and a word with one is not stemmed. `rouge_score` drops them: it reads "café" as "caf",
      and Russian text as nothing. So scores of text with accents are not quite those that it
      gives. Text is brought to NFC, so it does not matter how an accent is stored.

    Everything else only parts words.

    Args:
        stem: whether to stem.

    Raises:
        InputError: `rouge_score` is not installed.
    """

    def __init__(self, stem: bool = True) -> None:
        _, tokenizers = _rouge_score()
        # The stemmer is slow, and most words are met many times.
        self._english = functools.lru_cache(1 << 16)(tokenizers.DefaultTokenizer(stem).tokenize)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text; the method that `RougeScorer` calls."""
        tokens: list[str] = []
        for word in unicodedata.normalize("NFC", text.lower()).translate(_CHARACTERS).split():
            tokens += self._english(word) if word.isascii() else [word]
        return tokens


class _Characters(dict):
    """What `str.translate` puts for a character so that `split` finds the tokens; made when met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if _SINGLE.match(character):
            found = f" {character} "
        elif _VARIATION_SELECTOR.match(character):
            found = ""
        else:
            # A vowel of Hindi, or an accent that has no letter of its own, is a mark.
            is_mark = unicodedata.category(character) in ("Mn", "Mc")
            found = character if character.isalnum() or is_mark else " "
        self[code] = found
        return found


_CHARACTERS = _Characters()


def rouge(
    outputs: Sequence[str], references: Sequence[str], tokenizer: Any = None
) -> dict[str, float]:
    """Return ROUGE-1, -2, -L and -Lsum.

    ROUGE-Lsum compares sentence by sentence. Sentences are on lines; a text of one line is split
    after `.`, `!`, `?`, `。`, `！`, `？` (`text.sentences.split_sentences`, which knows no
    abbreviations), where `rouge_score` would take it for one sentence.

    Args:
        outputs: list of str; one may be empty, its scores are 0.
        references: as many str.
        tokenizer: has a method `tokenize(text)`; a `Tokenizer` by default.

    Returns:
        dict `rouge1`, `rouge2`, `rougeL`, `rougeLsum`: the mean F-measure of the pairs, 0 to 100.

    Raises:
        InputError: there are no pairs, or not as many of both; `rouge_score` is not installed.
    """
    _check_lengths(references=references, outputs=outputs)
    scores = list(_rouge_scores(outputs, references, tokenizer or Tokenizer(), ROUGE))
    return {name: statistics.fmean(score[name] for score in scores) for name in ROUGE}


def lead(text: str, k: int) -> str:
    """Return the start of a source, which is a summary that needs no model.

    Args:
        text: running text on one line, of which the sentences count (as `split_sentences` finds
            them); or text on several (a dialogue, an e-mail), of which the lines count.
        k: how many sentences or lines.

    Returns:
        The first k that are not empty, or all if there are fewer, one a line.

    Raises:
        InputError: `k` is less than one.
    """
    if k < 1:
        raise InputError(f"the lead must have one sentence or more, got {k}")
    units = [line.strip() for line in text.splitlines() if line.strip()]
    if len(units) == 1:
        units = split_sentences(units[0])
    return "\n".join(units[:k])


def measure(
    sources: Sequence[str], references: Sequence[str], outputs: Sequence[str], lead_k: int = 3
) -> dict:
    """Return everything that is said about a model's summaries.

    Args:
        sources: list of str.
        references: as many str.
        outputs: as many str; one may be empty.
        lead_k: how many sentences or lines the lead baseline has.

    Returns:
        dict: `examples`; `rouge1`, `rouge2`, `rougeL`, `rougeLsum` of the outputs (0 to 100);
        `lead`: `k` and the same of the first k sentences of the sources; `length`: the mean
        number of tokens of a `source`, a `reference` and an `output`, and
        `output_over_reference`, the ratio of these means (0.0 if the references have no tokens);
        `novel`: the mean share of the outputs' different n-grams of unstemmed tokens that the
        source has not, by n ("1", "2", "3"), a text without n-grams having 0; `novel_references`:
        the same of the references; `empty`: how many outputs hold nothing but space.

    Raises:
        InputError: as `rouge` and `lead`.
    """
    _check_lengths(sources=sources, references=references, outputs=outputs)
    leads = [lead(source, lead_k) for source in sources]
    lengths, novel, novel_references = [], [], []
    tokenizer, words = Tokenizer(), Tokenizer(stem=False)
    for texts in zip(sources, references, outputs, strict=True):
        source, reference, output = map(words.tokenize, texts)
        lengths.append((len(source), len(reference), len(output)))
        novel.append([_novel(source, output, n) for n in (1, 2, 3)])
        novel_references.append([_novel(source, reference, n) for n in (1, 2, 3)])
    length = dict(zip(("source", "reference", "output"), _means(lengths), strict=True))
    ratio = length["output"] / length["reference"] if length["reference"] else 0.0
    return {
        "examples": len(outputs),
        **rouge(outputs, references, tokenizer),
        "lead": {"k": lead_k, **rouge(leads, references, tokenizer)},
        "length": {**length, "output_over_reference": ratio},
        "novel": dict(zip("123", _means(novel), strict=True)),
        "novel_references": dict(zip("123", _means(novel_references), strict=True)),
        "empty": sum(not output.strip() for output in outputs),
    }


def worst(
    sources: Sequence[str], references: Sequence[str], outputs: Sequence[str], number: int = 10
) -> list[dict]:
    """Return the outputs that are least like their references, for `mistakes.jsonl`.

    Args:
        sources: list of str.
        references: as many str.
        outputs: as many str.
        number: how many at most.

    Returns:
        list of dict `source` (1000 characters at most), `reference`, `output`, `rougeL` (0 to
        100), the lowest `rougeL` first and, of equal ones, in the order given.

    Raises:
        InputError: as `rouge`.
    """
    _check_lengths(sources=sources, references=references, outputs=outputs)
    scores = [s["rougeL"] for s in _rouge_scores(outputs, references, Tokenizer(), ["rougeL"])]
    order = sorted(range(len(scores)), key=scores.__getitem__)
    return [
        {
            "source": _cut(sources[i], _WORST_SOURCE),
            "reference": references[i],
            "output": outputs[i],
            "rougeL": scores[i],
        }
        for i in order[:number]
    ]


def examples_table(
    sources: Sequence[str], references: Sequence[str], outputs: Sequence[str], number: int = 10
) -> str:
    """Return a Markdown table of examples, taken at even distances, for the model card.

    Args:
        sources: list of str.
        references: as many str.
        outputs: as many str.
        number: how many at most.

    Returns:
        The table; lines are joined with " / ", and a source has 200 characters at most.

    Raises:
        InputError: there are no examples, or not as many of each.
    """
    _check_lengths(sources=sources, references=references, outputs=outputs)
    rows, total = [], len(outputs)
    for at in (i * total // min(number, total) for i in range(min(number, total))):
        source, reference, output = map(_on_one_line, (sources[at], references[at], outputs[at]))
        rows.append((_cut(source, _TABLE_SOURCE), reference, output))
    return table(["source", "reference", "output"], rows)


def _rouge_score():
    """Return the library's modules `rouge_scorer` and `tokenizers`."""
    try:
        from rouge_score import rouge_scorer, tokenizers
    except ImportError as error:
        raise InputError(
            "summaries are measured with rouge-score, which is not installed; run: "
            "pip install '.[applications]'"
        ) from error
    return rouge_scorer, tokenizers


def _check_lengths(**texts):
    lengths = {name: len(of) for name, of in texts.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        found = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise InputError(f"as many of each are needed, one or more; got {found}")


def _rouge_scores(outputs, references, tokenizer, names):
    """Yield the F-measures of each pair, 0 to 100, by name."""
    scorer = _rouge_score()[0].RougeScorer(names, tokenizer=tokenizer)
    for output, reference in zip(outputs, references, strict=True):
        score = scorer.score(_sentences_on_lines(reference), _sentences_on_lines(output))
        yield {name: 100 * score[name].fmeasure for name in names}


def _sentences_on_lines(text):
    return text if "\n" in text.strip() else "\n".join(split_sentences(text))


def _novel(source, output, n):
    """Return the share of the output's different n-grams that the source has not; 0 of none."""
    found = _ngrams(output, n)
    return len(found - _ngrams(source, n)) / len(found) if found else 0.0


def _ngrams(tokens, n):
    return set(zip(*(tokens[i:] for i in range(n)), strict=False))


def _means(rows):
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def _on_one_line(text):
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())


def _cut(text, most):
    return text if len(text) <= most else text[: most - 3] + "..."
