"""The tokenizer of a new model: given, or learned at the start of its training and kept there."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfmodels.text.wordpiece import WordPieceTokenizer


def wordpiece_of(settings: Any, rows: Any, folder: Path) -> "WordPieceTokenizer":
    """Return the tokenizer of a new model: given, of the records, or learned and kept."""
    from tfmodels.text.vocabulary import save_vocabulary
    from tfmodels.text.wordpiece import WordPieceTokenizer

    if hasattr(rows, "tokenizer"):
        return rows.tokenizer()
    given = given_wordpiece(settings)
    if given is not None:
        return given
    path = folder / "vocab.txt"
    if not path.exists():
        save_vocabulary(learned_wordpiece(settings, rows).vocabulary, path)
    return WordPieceTokenizer.from_file(path, lowercase=settings.lowercase)


def given_wordpiece(settings: Any) -> "WordPieceTokenizer | None":
    """Return the tokenizer of `--vocabulary`, or None."""
    from tfmodels.checkpoints.tokenizers import read_tokenizer
    from tfmodels.text.wordpiece import WordPieceTokenizer

    if settings.vocabulary is None:
        return None
    if Path(settings.vocabulary).is_dir():
        return read_tokenizer(settings.vocabulary)
    return WordPieceTokenizer.from_file(settings.vocabulary, lowercase=settings.lowercase)


def learned_wordpiece(settings: Any, texts: Any) -> "WordPieceTokenizer":
    """Return a tokenizer with the vocabulary of a text."""
    from tfmodels.tasks.masked_lm import learned_tokenizer

    print("learning a vocabulary", file=sys.stderr)
    return learned_tokenizer(texts, settings.vocabulary_size, settings.lowercase)


def gpt_tokenizer_of(settings: Any, texts: Any, folder: Path, length: int) -> Any:
    """Return the tokenizer of a new model: learned when the training began, kept in `folder`."""
    from tfmodels.checkpoints.tokenizers import read_tokenizer, write_tokenizer
    from tfmodels.tasks.causal_lm import learned_tokenizer

    if settings.tokenizer not in ("bpe", "characters"):
        return read_tokenizer(settings.tokenizer)
    path = folder / "tokenizer"
    if not path.exists():
        print("learning a vocabulary", file=sys.stderr)
        tokenizer = learned_tokenizer(texts, settings.tokenizer, settings.vocabulary_size)
        path.mkdir()
        write_tokenizer(path, tokenizer, length)
    return read_tokenizer(path)
