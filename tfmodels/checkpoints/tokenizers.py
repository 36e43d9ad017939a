"""The tokenizer of a published model, of whichever kind, and back.

In: a directory with `vocab.txt`, with `vocab.json` and `merges.txt`, with `tokenizer.json`, or
with the characters of one of ours. Out: `WordPieceTokenizer`, `BytePairTokenizer` or
`CharacterTokenizer`. Files and fields as `transformers` and `tokenizers` document them; Google's
directories have the same `vocab.txt`.
"""

from pathlib import Path

from tfmodels.checkpoints.files import find_checkpoint, is_google, model_type
from tfmodels.errors import InputError
from tfmodels.files import read_json, write_json
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.wordpiece import WordPieceTokenizer, split_vocabulary

VOCABULARY, OPTIONS, FAST = "vocab.txt", "tokenizer_config.json", "tokenizer.json"
CHARACTERS = "characters.json"  # a vocabulary of ours, of characters
# Options of WordPiece: theirs in tokenizer_config.json, in tokenizer.json, and the default.
WORD_PIECE = {
    "lowercase": ("do_lower_case", "lowercase", True),
    "strip_accents": ("strip_accents", "strip_accents", None),
    "split_cjk": ("tokenize_chinese_chars", "handle_chinese_chars", True),
}
# The end of a text where the files do not say it, by the type of the model.
ENDS = {"bart": "</s>", "transformer": "</s>"}


def read_tokenizer(source, revision=None):
    """Return the tokenizer of a checkpoint.

    Args:
        source: directory, or name on the Hugging Face Hub. How text is split stands in
            `tokenizer_config.json`, or in `tokenizer.json`; where a directory of Google's has
            neither, text keeps its case and accents if a token has an upper-case letter.
        revision: branch, tag or commit on the Hub.

    Returns:
        `WordPieceTokenizer`, `BytePairTokenizer` or `CharacterTokenizer`. BART's own is a
        `BytePairTokenizer` whose `end_of_text` is `</s>`; its other special tokens are
        ordinary ones there.

    Raises:
        InputError: the files are missing, or of another kind of tokenizer.
    """
    directory = find_checkpoint(source, revision)
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
        return BytePairTokenizer.from_files(vocabulary, merges, **_byte_pair_options(directory))
    path = directory / FAST
    if not path.is_file():
        raise InputError(
            f"{directory}: has no vocab.txt, no vocab.json with merges.txt and no tokenizer.json; "
            "add the files of the tokenizer that the model was trained with"
        )
    theirs = read_json(path)
    model = theirs.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind == "WordPiece":
        return _word_pieces(directory, _in_order(path, model.get("vocab")))
    if kind != "BPE" or model_type(directory) == "bert":
        raise InputError(f"{path}: no tokenizer that the model can have; add a vocab.txt")
    return BytePairTokenizer(*_byte_pairs(path, theirs), **_byte_pair_options(directory))


def write_tokenizer(directory, tokenizer, max_length):
    """Write the files of `read_tokenizer` into a directory that exists.

    Args:
        directory: to write into.
        tokenizer: `WordPieceTokenizer`, `BytePairTokenizer` or `CharacterTokenizer`.
        max_length: maximum number of tokens of the model.

    Raises:
        InputError: a token that does not fit on one line.
        OSError: a file cannot be written.
    """
    directory, options = Path(directory), tokenizer.get_config()
    theirs = {"model_max_length": max_length}
    if isinstance(tokenizer, CharacterTokenizer):
        write_json(directory / CHARACTERS, {"vocabulary": tokenizer.vocabulary, **options})
        return
    if isinstance(tokenizer, WordPieceTokenizer):
        write_vocabulary(directory, tokenizer.vocabulary)
        theirs |= {name: options[ours] for ours, (name, *_) in WORD_PIECE.items()}
        theirs |= {"tokenizer_class": "BertTokenizer"}
    else:
        ids = {token: number for number, token in enumerate(tokenizer.vocabulary)}
        write_json(directory / "vocab.json", ids)
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in tokenizer.merges)]
        text = "\n".join(lines) + "\n"
        (directory / "merges.txt").write_text(text, encoding="utf-8", newline="\n")
        end = options["end_of_text"] if tokenizer.end_id is not None else None
        theirs |= {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}
        theirs |= {"bos_token": end, "eos_token": end, "unk_token": end}
    write_json(directory / OPTIONS, theirs)


def write_vocabulary(directory, vocabulary):
    """Write `vocab.txt`.

    Raises:
        InputError: a token does not fit on one line.
    """
    for number, token in enumerate(vocabulary):
        if "\n" in token or token.endswith("\r"):
            raise InputError(f"token {number}, {token!r}, holds a line break; remove it")
    text = "".join(f"{token}\n" for token in vocabulary)
    (Path(directory) / VOCABULARY).write_bytes(text.encode("utf-8"))


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
    theirs = read_json(path) if path.exists() else {}
    if not theirs and is_google(directory):
        theirs = {"do_lower_case": not _is_cased(vocabulary)}
    elif not theirs and (directory / FAST).exists():
        path, place = directory / FAST, 1
        theirs = read_json(path).get("normalizer")
        if not isinstance(theirs, dict) or theirs.get("type") != "BertNormalizer":
            raise InputError(f"{path}: its normalizer is not BERT's; add a tokenizer_config.json")
    options = {}
    for ours, (*names, default) in WORD_PIECE.items():
        value = options[ours] = theirs.get(names[place], default)
        if not isinstance(value, bool) and (ours != "strip_accents" or value is not None):
            raise InputError(f"{path}: {names[place]} is {value!r}; it must be true or false")
    return WordPieceTokenizer(vocabulary, **options)


def _is_cased(vocabulary):
    """Return whether a token has an upper-case letter.

    Tokens in brackets are of no text: `[CLS]`, and the `<S>` of Google's Chinese vocabulary.
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
    """Return what `tokenizer_config.json`, if it is there, says of how text is split."""
    path = directory / OPTIONS
    theirs = read_json(path) if path.exists() else {}
    _check_no_space(path, theirs)
    end = theirs.get("eos_token", ENDS.get(model_type(directory), END_OF_TEXT))
    end = end.get("content") if isinstance(end, dict) else end  # with settings of its own
    if end is not None and not isinstance(end, str):
        raise InputError(f"{path}: eos_token is {end!r}; it must be a token or null")
    return {"end_of_text": end}


def _byte_pairs(path, theirs):
    """Return vocabulary and merges of the content of a `tokenizer.json`."""
    model, splitter = theirs["model"], theirs.get("pre_tokenizer") or {}
    if splitter.get("type") != "ByteLevel":
        raise InputError(f"{path}: no byte-level BPE as GPT-2's; add its vocab.json and merges.txt")
    _check_no_space(path, splitter)
    try:
        ids = dict(model["vocab"])
        ids |= {token["content"]: token["id"] for token in theirs.get("added_tokens") or ()}
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return _in_order(path, ids), [(left, right) for left, right in merges]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged; copy or download the file again") from error


def _check_no_space(path, theirs):
    if theirs.get("add_prefix_space"):
        raise InputError(f"{path}: add_prefix_space is True; give a checkpoint where it is False")
