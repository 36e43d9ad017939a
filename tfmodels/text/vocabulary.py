"""Learn a vocabulary from raw text, and write that of WordPiece to a file.

In: an iterable of texts, read once. Out: the arguments of a tokenizer. For
`WordPieceTokenizer` the list of tokens, special tokens first, and a `vocab.txt`
of one token a line; for `BytePairTokenizer` tokens and merges; for
`CharacterTokenizer` the characters; for `PieceTokenizer` a SentencePiece model.
WordPiece and BPE are learned by the `tokenizers` library, with the same clean-up and
word splitting as in the graph.

References: Schuster and Nakajima, "Japanese and Korean voice search", 2012;
Sennrich et al., "Neural machine translation of rare words with subword units", 2016.
"""

import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfmodels.errors import InputError, first_line
from tfmodels.text.bpe import END_OF_TEXT, printable_bytes
from tfmodels.text.character_tokens import UNKNOWN
from tfmodels.text.wordpiece import (
    CONTINUATION,
    MAX_WORD_CHARACTERS,
    SPECIAL_TOKENS,
    UNK,
)

_MAX_WORDS = 2_000_000  # number of distinct words that are counted
_COPIES = 1000  # copies of a word handed to the trainer in one string
_MIN_FREQUENCY = 2  # of a pair that is merged
# Rules of SentencePiece: tab, line feed and carriage return are spaces, a byte order mark nothing.
_ONLY_SPACES = "9\t20\nA\t20\nD\t20\nFEFF\t\n"


def learn_wordpiece(texts: Iterable[str], size: int, *, lowercase: bool = True) -> list[str]:
    """Learn the tokens that spell `texts` with as few pieces as possible.

    The same texts give the same vocabulary. All characters of the texts come
    before merged pieces, the rare ones left out where `size` is small, so
    English and Chinese need the same settings.

    Args:
        texts: the corpus; may be a generator. Of its distinct words the two million
            most frequent ones are kept in memory.
        size: maximum number of tokens, special tokens included.
        lowercase: as for the `WordPieceTokenizer` that will read the vocabulary.

    Returns:
        At most `size` tokens: `[PAD] [UNK] [CLS] [SEP] [MASK]`, characters, pieces.

    Raises:
        InputError: the `tokenizers` library is missing, `size` has no room for
            characters, or `texts` has no words of up to 100 characters.
    """
    tokenizers = _import_tokenizers()
    if size <= len(SPECIAL_TOKENS):
        raise InputError(
            f"vocabulary size {size}: no room beside the {len(SPECIAL_TOKENS)} special tokens; "
            "give some thousands"
        )
    _check_texts(texts)

    normalize = tokenizers.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=lowercase,
        lowercase=lowercase,
    ).normalize_str
    split = tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words: Counter[str] = Counter()
    for text in texts:
        # Longer words are read as [UNK], and would fill the trainer's memory.
        distinct = (word for word, _ in split(normalize(text)))
        words.update(word for word in distinct if len(word) <= MAX_WORD_CHARACTERS)
        if len(words) > _MAX_WORDS:
            # The rare half of the words is dropped: no piece is learned from them anyway.
            words = Counter(dict(words.most_common(_MAX_WORDS // 2)))
    if not words:
        raise InputError("texts has no words to learn a vocabulary from; give some text")

    # The trainer numbers the characters it meets in the random order of a hash
    # map and breaks ties between pairs by number. Characters handed over as
    # "special" tokens keep their place, so that every run gives the same pieces.
    start = list(SPECIAL_TOKENS)
    start += _most_frequent(words, lambda word: word, size - len(start))
    inner = _most_frequent(words, lambda word: word[1:], size - len(start))
    start += [CONTINUATION + character for character in inner]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=_MIN_FREQUENCY,
        limit_alphabet=0,  # none beside those of `start`
        special_tokens=start,
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=UNK))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(_repeated(words), trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    # The trainer adds the "##" forms that `start` had no room for; they come last.
    return sorted(ids, key=ids.get)[:size]


def learn_merges(texts: Iterable[str], size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Learn byte-level BPE: the pairs of tokens to join, the most frequent first.

    The same texts give the same tokens. Any text can be written with them, as
    each of the 256 bytes is one.

    Args:
        texts: the corpus; may be a generator. Its distinct words are kept in memory.
            The literal <|endoftext|> in a text separates and is not learned from.
        size: maximum number of tokens, the bytes and <|endoftext|> included.

    Returns:
        `(vocabulary, merges)` for `BytePairTokenizer`: at most `size` tokens, the
        256 bytes, the merged ones, <|endoftext|>; and the merges.

    Raises:
        InputError: the `tokenizers` library is missing, `size` has no room for
            merges, or `texts` has nothing to merge.
    """
    tokenizers = _import_tokenizers()
    alphabet = sorted(printable_bytes())
    if size <= len(alphabet) + 1:
        raise InputError(
            f"vocabulary size {size}: no room beside the 256 bytes and {END_OF_TEXT}; "
            "give some thousands"
        )
    _check_texts(texts)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size - 1,  # without `END_OF_TEXT`
        min_frequency=_MIN_FREQUENCY,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    parts = (part for text in texts for part in text.split(END_OF_TEXT))
    tokenizer.train_from_iterator(parts, trainer)
    # A second way to make a token would be a merge out of order, so it is left out.
    merges: dict[str, tuple[str, str]] = {}
    for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
        merges.setdefault(left + right, (left, right))
    if not merges:
        raise InputError(
            f"texts has no pair of letters {_MIN_FREQUENCY} times to learn merges from; "
            "give more text"
        )
    return [*alphabet, *merges, END_OF_TEXT], list(merges.values())


def learn_characters(texts: Iterable[str], size: int) -> list[str]:
    """Collect the characters of `texts` for a `CharacterTokenizer`.

    Args:
        texts: the corpus; may be a generator. The literal <|endoftext|> in a
            text separates and is not learned from.
        size: maximum number of characters; the most frequent ones are kept.

    Returns:
        The characters by code point, then <|unk|>, then <|endoftext|>.

    Raises:
        InputError: `texts` has no characters, or `size` no room for any.
    """
    _check_texts(texts)
    if size < 1:
        raise InputError(f"vocabulary size {size}: no room for characters; give 1 or more")
    counts: Counter[str] = Counter()
    for text in texts:
        for part in text.split(END_OF_TEXT):
            counts.update(part)
    if not counts:
        raise InputError("texts has no characters to learn a vocabulary from; give some text")
    return [*_first(counts, size), UNKNOWN, END_OF_TEXT]


def learn_pieces(texts: Iterable[str], size: int, languages: Sequence[str] = ()) -> bytes:
    """Learn a SentencePiece model (unigram) for a `PieceTokenizer`.

    The same texts give the same pieces. Texts stay as they are: case, width and composition of
    characters are kept, and what is rare is written byte by byte.

    Args:
        texts: the corpus, sources and targets; may be a generator. They are kept in memory.
        size: maximum number of tokens, the bytes and the special tokens included.
        languages: names of the languages of which a source may name one.

    Returns:
        The content of the file of a SentencePiece model; `</s>` and `<unk>` are its first pieces,
        then the tokens of the languages.

    Raises:
        InputError: the `sentencepiece` library is missing, `size` has no room for pieces, or
            `texts` has none.
    """
    try:
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2 as protos
    except ImportError as error:
        raise InputError(
            "learning a vocabulary for translations needs the 'sentencepiece' library; run: "
            "pip install sentencepiece"
        ) from error
    room = 256 + 3 + len(languages)
    if size <= room + 1:
        raise InputError(
            f"vocabulary size {size}: no room beside the 256 bytes and {room - 256} special "
            "tokens; give some thousands"
        )
    _check_texts(texts)
    # The trainer reads lines, and fails where there is nothing to read.
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError("texts has no words to learn a vocabulary from; give some text")
    model = io.BytesIO()
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
            rules.write(_ONLY_SPACES)
            rules.flush()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=model, model_type="unigram",
                vocab_size=size - 1,  # the padding is not in it
                hard_vocab_limit=False, byte_fallback=True, normalization_rule_tsv=rules.name,
                eos_id=0, unk_id=1, bos_id=-1, pad_id=-1, num_threads=2, minloglevel=2,
                control_symbols=[f">>{name}<<" for name in languages],
                input_sentence_size=2_000_000, max_sentence_length=16_384,
            )  # fmt: skip
    except RuntimeError as error:
        raise InputError(
            f"vocabulary size {size}: SentencePiece cannot learn it from these texts "
            f"({first_line(error)}); give a larger vocabulary_size or more text"
        ) from error
    message: Any = protos
    proto = message.ModelProto.FromString(model.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # the name of the temporary file
    return proto.SerializeToString(deterministic=True)


def _import_tokenizers() -> Any:
    """Return the library, an extra: only learning a vocabulary needs it."""
    try:
        import tokenizers
    except ImportError as error:
        raise InputError(
            "learning a vocabulary needs the 'tokenizers' library; run: pip install tokenizers"
        ) from error
    return tokenizers


def _check_texts(texts):
    if isinstance(texts, str):
        raise InputError("texts is one string; give a list of strings or open a file")


def _repeated(words):
    """Yield every word as often as it was counted, in strings of bounded length."""
    for word, n in words.items():
        for first in range(0, n, _COPIES):
            yield " ".join([word] * min(n - first, _COPIES))


def _most_frequent(words, part, room):
    """Return the `room` most frequent characters in `part` of the words, by code point."""
    counts = Counter()
    for word, n in words.items():
        for character in part(word):
            counts[character] += n
    return _first(counts, room)


def _first(counts, room):
    """Return the `room` most frequent characters, by code point."""
    return sorted(sorted(counts, key=lambda c: (-counts[c], c))[:room])


def save_vocabulary(vocabulary: Sequence[str], path: str | Path) -> None:
    """Write one token a line, UTF-8, for `WordPieceTokenizer.from_file`.

    The file is whole or not there: it is written under another name and renamed.

    Raises:
        InputError: a token with a line break.
    """
    for line, token in enumerate(vocabulary, start=1):
        if "\n" in token or token.endswith("\r"):
            raise InputError(
                f"vocabulary, line {line}: {token!r} has a line break; remove the token"
            )
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes("".join(f"{token}\n" for token in vocabulary).encode("utf-8"))
    unfinished.replace(path)
