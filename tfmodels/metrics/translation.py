"""Metrics of translation by sacreBLEU: BLEU, chrF2 and TER, with their signatures.

In: strings: sources, references (written by people, one or several for each source) and outputs
(of a model). Out: numbers as `sacrebleu` prints them (Post 2018), so that they can be compared with
those of papers; counts of what went wrong; the worst outputs; and whether one of two models is
better (paired bootstrap, Koehn 2004). COMET and other learned metrics are not here: they need
weights of a gigabyte and more, and other weights give other numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmodels.errors import InputError, first_line
from tfmodels.metrics import rouge
from tfmodels.text.languages import guess_language

TOKENIZERS = ("auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none")
# A package that a tokenizer of sacreBLEU needs.
_NEEDS = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}
_OF_LANGUAGE = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab", "th": "char"}
_RESAMPLES = 1000
_LONGEST = 1000  # characters of a text in `worst`


def tokenizer_of(texts: Sequence[str]) -> str:
    """Return the tokenizer of sacreBLEU for texts of a language, by their letters.

    "zh" for Chinese, "ja-mecab" for Japanese, "ko-mecab" for Korean, "char" for languages that are
    written without spaces, and "13a", that of the WMT, for all others.
    """
    return _OF_LANGUAGE.get(guess_language(texts), "13a")


def bleu(
    outputs: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str = "auto",
    lowercase: bool = False,
) -> Any:  # fmt: skip
    """Return BLEU of a corpus, a `BLEUScore` of sacreBLEU, with its `signature`.

    Args:
        outputs: texts.
        references: for each output one or more texts.
        tokenizer: a name of sacreBLEU; "auto": see `tokenizer_of`.
        lowercase: whether to fold case.

    Raises:
        InputError: sacreBLEU or the package of a tokenizer is missing, or the numbers of outputs
            and references differ.
    """
    metric = _bleu(tokenizer, lowercase, references)
    return _scored(metric, outputs, references)


def measure(
    sources: Sequence[str], references: Sequence[Sequence[str]], outputs: Sequence[str],
    tokenizer: str = "auto", ter: bool = False,
) -> dict:  # fmt: skip
    """Return the metrics of a model's translations.

    Args:
        sources: texts.
        references: see `bleu`.
        outputs: a text for each source.
        tokenizer: see `bleu`.
        ter: whether to compute TER too, which is slow.

    Returns:
        dict: `examples`; `bleu`, `chrf` (chrF2) and, if asked, `ter`, 0 to 100; `bleu_lowercased`,
        BLEU with case folded; `signatures`, of each of these; `brevity_penalty`; `length_ratio`,
        tokens of the outputs over those of the references as BLEU counts them; `copies`, outputs
        that are their source; `empty`, outputs of nothing.

    Raises:
        InputError: see `bleu`.
    """
    sacrebleu = _sacrebleu()
    metrics = {
        "bleu": _bleu(tokenizer, False, references),
        "bleu_lowercased": _bleu(tokenizer, True, references),
        "chrf": sacrebleu.CHRF(),
        **({"ter": sacrebleu.TER()} if ter else {}),
    }
    scores = {name: _scored(metric, outputs, references) for name, metric in metrics.items()}
    copies = sum(o.strip() == s.strip() != "" for s, o in zip(sources, outputs, strict=True))
    return {
        "examples": len(outputs),
        **{name: score.score for name, score in scores.items()},
        "signatures": {name: score.signature for name, score in scores.items()},
        "brevity_penalty": scores["bleu"].bp,
        "length_ratio": scores["bleu"].ratio,
        "copies": copies,
        "empty": sum(not output.strip() for output in outputs),
    }


def worst(
    sources: Sequence[str], references: Sequence[Sequence[str]], outputs: Sequence[str],
    number: int = 10,
) -> list[dict]:  # fmt: skip
    """Return the outputs with the lowest chrF2.

    Returns:
        list of dicts `source`, `references`, `output` and `chrf`, the lowest first; ties keep
        their order.
    """
    metric = _sacrebleu().CHRF()
    scores = [metric.sentence_score(output, list(several)).score
              for output, several in zip(outputs, references, strict=True)]  # fmt: skip
    order = sorted(range(len(scores)), key=scores.__getitem__)[:number]
    return [
        {"source": sources[i][:_LONGEST], "references": list(references[i]),
         "output": outputs[i], "chrf": scores[i]}
        for i in order
    ]  # fmt: skip


def examples_table(
    sources: Sequence[str], references: Sequence[Sequence[str]], outputs: Sequence[str],
    number: int = 10,
) -> str:  # fmt: skip
    """Return a Markdown table of evenly spaced examples; see `rouge.examples_table`."""
    return rouge.examples_table(sources, [several[0] for several in references], outputs, number)


def compare(
    outputs: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]],
    tokenizer: str = "auto", samples: int = _RESAMPLES,
) -> dict:  # fmt: skip
    """Compare models by paired bootstrap resampling; the first is the baseline.

    Args:
        outputs: the outputs of each model by its name.
        references: see `bleu`.
        tokenizer: see `bleu`.
        samples: number of resampled test sets.

    Returns:
        dict: `models`, a list of dicts `model` and, for `bleu` and `chrf`, the score, `_mean` and
        `_ci`, the mean and the half width of the 95 % interval over the samples, and `_p`, the
        probability of a difference as large by chance (None of the baseline); `signatures`.

    Raises:
        InputError: see `bleu`.
    """
    sacrebleu = _sacrebleu()
    from sacrebleu.significance import PairedTest

    metrics = {"bleu": _bleu(tokenizer, False, references), "chrf": sacrebleu.CHRF()}
    _check_numbers(next(iter(outputs.values())), references)
    test = PairedTest(
        [(name, list(texts)) for name, texts in outputs.items()], dict(metrics),
        references=_by_number(references), test_type="bs", n_samples=samples, n_jobs=1,
    )  # fmt: skip
    signatures, results = test()
    columns: dict[str, Any] = dict(results)
    names = columns.pop("System")
    models = []
    for row, name in enumerate(names):
        found: dict[str, Any] = {"model": name.removeprefix("Baseline: ")}
        for key, column in zip(metrics, columns.values(), strict=True):
            result = column[row]
            found |= {key: result.score, f"{key}_mean": float(result.mean),
                      f"{key}_ci": float(result.ci), f"{key}_p": result.p_value}  # fmt: skip
        # The library counts differences above the measured one, of which there are none here.
        if row and list(outputs[found["model"]]) == list(next(iter(outputs.values()))):
            found |= {f"{key}_p": 1.0 for key in metrics}
        models.append(found)
    texts = {name: signature.format(short=False) for name, signature in signatures.items()}
    return {"models": models,
            "signatures": dict(zip(metrics, texts.values(), strict=True))}  # fmt: skip


def _sacrebleu() -> Any:
    try:
        import sacrebleu
        import sacrebleu.metrics
    except ImportError as error:
        raise InputError(
            "sacrebleu, which measures translations, is not installed; run: pip install "
            "'.[translation]' in a checkout"
        ) from error
    return sacrebleu.metrics


def _bleu(tokenizer, lowercase, references):
    if tokenizer not in TOKENIZERS:
        raise InputError(f"bleu_tokenizer {tokenizer}: give one of {', '.join(TOKENIZERS)}")
    if tokenizer == "auto":
        tokenizer = tokenizer_of([several[0] for several in references])
    metrics = _sacrebleu()
    try:
        # `force`: no warning about texts that seem tokenized.
        return metrics.BLEU(tokenize=tokenizer, lowercase=lowercase, force=True)
    except (ImportError, RuntimeError) as error:
        package = _NEEDS.get(tokenizer, "sacrebleu")
        raise InputError(
            f"bleu_tokenizer {tokenizer}: cannot be used ({first_line(error)}); run: pip install "
            f"'{package}', or give --bleu_tokenizer char"
        ) from error


def _check_numbers(outputs, references):
    if len(outputs) != len(references) or not outputs:
        raise InputError(
            f"got {len(outputs)} outputs and references for {len(references)}; give one or more, "
            "and references for each"
        )


def _by_number(references):
    """Return lists of first, second, ... references, as sacreBLEU takes them; None where none."""
    most = max(map(len, references))
    return [[several[n] if n < len(several) else None for several in references]
            for n in range(most)]  # fmt: skip


def _scored(metric, outputs, references):
    _check_numbers(outputs, references)
    score = metric.corpus_score(list(outputs), _by_number(references))
    score.signature = str(metric.get_signature())
    return score
