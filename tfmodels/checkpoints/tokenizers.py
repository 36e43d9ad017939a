"""The tokenizer of a published model, of any kind, and back.

In: a directory with `vocab.txt`, with `vocab.json` and `merges.txt`, with `tokenizer.json`, or with
`characters.json`. Out: `WordPieceTokenizer`, `BytePairTokenizer` or `CharacterTokenizer`. Files and
fields as `transformers` and `tokenizers` document them; Google's directories have the same
`vocab.txt`.
"""

from pathlib import Path

from tfmodels.checkpoints.files import (
    config_path,
    find_checkpoint,
    folder_of,
    is_google,
    model_type,
    read_entries,
)
from tfmodels.errors import InputError
from tfmodels.files import read_json, write_json
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.wordpiece import WordPieceTokenizer, split_vocabulary

Tokenizer = WordPieceTokenizer | BytePairTokenizer | CharacterTokenizer

VOCABULARY, OPTIONS, FAST = "vocab.txt", "tokenizer_config.json", "tokenizer.json"
CHARACTERS = "characters.json"  # of a `CharacterTokenizer`, unknown to `transformers`
# Options of WordPiece: name in tokenizer_config.json, name in tokenizer.json, and default.
WORD_PIECE = {
    "lowercase": ("do_lower_case", "lowercase", True),
    "strip_accents": ("strip_accents", "strip_accents", None),
    "split_cjk": ("tokenize_chinese_chars", "handle_chinese_chars", True),
}
# The default token for the end of a text, by the type of the model.
ENDS = {"bart": "</s>", "transformer": "</s>"}


def read_tokenizer(source: str | Path, revision: str | None = None) -> Tokenizer:
    """Return the tokenizer of a checkpoint.

    Args:
        source: directory, or name on the Hugging Face Hub. The options are read from
            `tokenizer_config.json`, or from `tokenizer.json`; where a directory of Google's has
            neither, text keeps its case and accents if a token has an upper-case letter.
        revision: branch, tag or commit on the Hub.

    Returns:
        `WordPieceTokenizer`, `BytePairTokenizer` or `CharacterTokenizer`. That of a BART is a
        `BytePairTokenizer` whose `end_of_text` is `</s>`, with its other special tokens as
        ordinary ones.

    Raises:
        InputError: the files are missing, or of another kind of tokenizer.
    """
    directory = folder_of(find_checkpoint(source, revision, weights=False))
    if (directory / CHARACTERS).is_file():
        return _read_characters(directory / CHARACTERS)
    if (directory / VOCABULARY).is_file():
        try:
            text = (directory / VOCABULARY).read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{directory / VOCABULARY}: not UTF-8; download the file again"
            ) from error
        return _word_pieces(directory, split_vocabulary(text))
    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    if vocabulary.is_file() and merges.is_file():
        options = _byte_pair_options(directory)
        return _with_rows(BytePairTokenizer.from_files(vocabulary, merges, **options), directory)
    path = directory / FAST
    if not path.is_file():
        raise InputError(
            f"{directory}: has no vocab.txt, no vocab.json with merges.txt and no tokenizer.json; "
            "add the files of the tokenizer that the model was trained with"
        )
    content = read_json(path)
    model = content.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind == "WordPiece":
        return _word_pieces(directory, _in_order(path, content["model"].get("vocab")))
    if kind != "BPE" or model_type(directory) == "bert":
        raise InputError(f"{path}: a tokenizer of another kind than the model's; add a vocab.txt")
    options = _byte_pair_options(directory)
    return _with_rows(BytePairTokenizer(*_byte_pairs(path, content), **options), directory)


def _with_rows(tokenizer, directory):
    """Return a tokenizer without the tokens at its end that have no embedding and no text has.

    `facebook/bart-large-cnn`, for example, has `<mask>` after the token of its last embedding.
    """
    rows = read_entries(directory).get("vocab_size") if config_path(directory).is_file() else None
    extra = set(tokenizer.vocabulary[rows:]) if isinstance(rows, int) else set()
    made = {left + right for left, right in tokenizer.merges}
    options = tokenizer.get_config()
    # A byte has one character in the vocabulary.
    if not extra or extra & {*made, options["end_of_text"]} or min(map(len, extra)) < 2:
        return tokenizer
    return BytePairTokenizer(tokenizer.vocabulary[:rows], tokenizer.merges, **options)


def write_tokenizer(directory: str | Path, tokenizer: Tokenizer, max_length: int) -> None:
    """Write the files of `read_tokenizer` into an existing directory.

    Args:
        directory: to write into.
        tokenizer: `WordPieceTokenizer`, `BytePairTokenizer` or `CharacterTokenizer`.
        max_length: maximum number of tokens of the model.

    Raises:
        InputError: a token that does not fit on one line.
        OSError: a file cannot be written.
    """
    directory, options = Path(directory), tokenizer.get_config()
    entries: dict = {"model_max_length": max_length}
    if isinstance(tokenizer, CharacterTokenizer):
        write_json(directory / CHARACTERS, {"vocabulary": tokenizer.vocabulary, **options})
        return
    if isinstance(tokenizer, WordPieceTokenizer):
        for number, token in enumerate(tokenizer.vocabulary):
            if "\n" in token or token.endswith("\r"):
                raise InputError(f"token {number}, {token!r}, holds a line break; remove it")
        text = "".join(f"{token}\n" for token in tokenizer.vocabulary)
        (directory / VOCABULARY).write_bytes(text.encode("utf-8"))
        entries |= {name: options[option] for option, (name, *_) in WORD_PIECE.items()}
        entries |= {"tokenizer_class": "BertTokenizer"}
    else:
        ids = {token: number for number, token in enumerate(tokenizer.vocabulary)}
        write_json(directory / "vocab.json", ids)
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in tokenizer.merges)]
        text = "\n".join(lines) + "\n"
        (directory / "merges.txt").write_text(text, encoding="utf-8", newline="\n")
        end = options["end_of_text"] if tokenizer.end_id is not None else None
        entries |= {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}
        entries |= {"bos_token": end, "eos_token": end, "unk_token": end}
    write_json(directory / OPTIONS, entries)


def _read_characters(path):
    options = read_json(path)
    try:
        return CharacterTokenizer(options.pop("vocabulary"), **options)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: holds no vocabulary of characters; copy the file again"
        ) from error


def _word_pieces(directory, vocabulary):
    path, place = directory / OPTIONS, 0
    entries = read_json(path) if path.exists() else {}
    if not entries and is_google(directory):
        entries = {"do_lower_case": not _is_cased(vocabulary)}
    elif not entries and (directory / FAST).exists():
        path, place = directory / FAST, 1
        entries = read_json(path).get("normalizer")
        if not isinstance(entries, dict) or entries.get("type") != "BertNormalizer":
            raise InputError(f"{path}: its normalizer is not BERT's; add a tokenizer_config.json")
    options = {}
    for option, (*names, default) in WORD_PIECE.items():
        value = options[option] = entries.get(names[place], default)
        if not isinstance(value, bool) and (option != "strip_accents" or value is not None):
            raise InputError(f"{path}: {names[place]} is {value!r}; it must be true or false")
    return WordPieceTokenizer(vocabulary, **options)


def _is_cased(vocabulary):
    """Return whether a token has an upper-case letter.

    Tokens in brackets do not count: `[CLS]`, and the `<S>` of Google's Chinese vocabulary.
    """
    return any(token != token.lower() and token[0] not in "[<" for token in vocabulary if token)


def _in_order(path, ids):
    """Return the tokens of a dict of token to id, in the order of their ids."""
    try:
        complete = sorted(ids.values()) == list(range(len(ids)))
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path}: damaged; copy or download the file again") from error
    if not complete:
        raise InputError(
            f"{path}: the token ids do not run from 0 up; add vocab.txt, or vocab.json and "
            "merges.txt"
        )
    return sorted(ids, key=ids.get)


def _byte_pair_options(directory):
    """Return the options in `tokenizer_config.json`, or their defaults without it."""
    path = directory / OPTIONS
    entries = read_json(path) if path.exists() else {}
    _check_no_space(path, entries)
    end = entries.get("eos_token", ENDS.get(model_type(directory), END_OF_TEXT))
    end = end.get("content") if isinstance(end, dict) else end  # a token with settings
    if end is not None and not isinstance(end, str):
        raise InputError(f"{path}: eos_token is {end!r}; it must be a token or null")
    return {"end_of_text": end}


def _byte_pairs(path, content):
    """Return vocabulary and merges of the content of a `tokenizer.json`."""
    model, splitter = content["model"], content.get("pre_tokenizer") or {}
    if splitter.get("type") != "ByteLevel":
        raise InputError(f"{path}: not a byte-level BPE; add its vocab.json and merges.txt")
    _check_no_space(path, splitter)
    try:
        ids = dict(model["vocab"])
        ids |= {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return _in_order(path, ids), [(left, right) for left, right in merges]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged; copy or download the file again") from error


def _check_no_space(path, entries):
    if entries.get("add_prefix_space"):
        raise InputError(f"{path}: add_prefix_space is True; give a checkpoint where it is False")
