"""The tokenizer of a published model, of any kind, and back.

In: a directory with `vocab.txt`, with `vocab.json` and `merges.txt`, with `tokenizer.json`, with
`characters.json`, with MarianMT's `source.spm`, `target.spm` and `vocab.json`, or a preset of
KerasHub (see `preset_tokenizers`). Out: `WordPieceTokenizer`, `BytePairTokenizer`,
`CharacterTokenizer`, `PieceTokenizer` or `SubwordTokenizer`. Files and fields as `transformers`
and `tokenizers` document them; Google's directories have the same `vocab.txt`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from tfmodels.checkpoints import preset_tokenizers
from tfmodels.checkpoints.files import find_checkpoint, folder_of, is_preset
from tfmodels.checkpoints.tokenizer_files import (
    BART_TOKENS,
    BYTE_PAIR_CLASSES,
    FAST,
    GPT_TOKENS,
    JAPANESE,
    LARGEST_GAP,
    OPTIONS,
    WORD_PIECE_CLASSES,
    TokenizerFiles,
)
from tfmodels.errors import InputError
from tfmodels.files import read_json, write_json
from tfmodels.text.bpe import BytePairTokenizer, split_merges
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.sentence_pieces import END, PADDING, UNKNOWN, PieceTokenizer
from tfmodels.text.subwords import SubwordTokenizer
from tfmodels.text.whole_tokens import AddedToken
from tfmodels.text.wordpiece import (
    CONTINUATION,
    MAX_WORD_CHARACTERS,
    SPECIAL_NAMES,
    WordPieceTokenizer,
    continues,
    read_text,
    split_vocabulary,
)

Tokenizer = (
    WordPieceTokenizer | BytePairTokenizer | CharacterTokenizer | SubwordTokenizer | PieceTokenizer
)

VOCABULARY, IDS, MERGES = "vocab.txt", "vocab.json", "merges.txt"
SOURCE_PIECES, TARGET_PIECES = "source.spm", "target.spm"  # of a `PieceTokenizer`
MARIAN = "MarianTokenizer"  # its class in `transformers`
CHARACTERS = "characters.json"  # of a `CharacterTokenizer`, unknown to `transformers`
# Model type: class of KerasHub's tokenizer, and file of the SentencePiece model.
SENTENCE_PIECE = {
    "albert": ("AlbertTokenizer", "spiece.model"),
    "xlm-roberta": ("XLMRobertaTokenizer", "sentencepiece.bpe.model"),
}
AGAIN = "copy or download the file again"
# Options of WordPiece: name in tokenizer_config.json, name in tokenizer.json, and default.
WORD_PIECE = {
    "lowercase": ("do_lower_case", "lowercase", None),
    "strip_accents": ("strip_accents", "strip_accents", None),
    "split_cjk": ("tokenize_chinese_chars", "handle_chinese_chars", True),
}


def read_tokenizer(source: str | Path, revision: str | None = None) -> Tokenizer:
    """Return the tokenizer of a checkpoint.

    Args:
        source: directory, or name on the Hugging Face Hub. All files of its tokenizer are read
            together (see `tokenizer_files`). Where none says it, text keeps its case and accents
            if a token has an upper-case letter.
        revision: branch, tag or commit on the Hub.

    Returns:
        `WordPieceTokenizer`, `BytePairTokenizer` or `CharacterTokenizer`; of RoBERTa and of
        encoders with SentencePiece `SubwordTokenizer`, of MarianMT `PieceTokenizer`. That of a
        BART is a `BytePairTokenizer` whose `end_of_text` is `</s>`.

    Raises:
        InputError: the files are missing, contradict each other, or are of another kind of
            tokenizer.
    """
    directory = folder_of(find_checkpoint(source, revision, weights=False))
    if (directory / CHARACTERS).is_file():
        return _read_characters(directory / CHARACTERS)
    if is_preset(directory):
        return preset_tokenizers.read_preset_tokenizer(directory)
    if (directory / SOURCE_PIECES).is_file():
        return _read_pieces(directory)
    files = TokenizerFiles(directory)
    if files.model_type in SENTENCE_PIECE:
        name, file = SENTENCE_PIECE[files.model_type]
        path = directory / file
        if files.fast and not path.is_file():
            raise InputError(
                f"{path}: is missing, and {FAST} alone is not read; add the file of the model that "
                "this one started from"
            )
        fold = files.model_type == "albert" and files.folds()
        return preset_tokenizers.sentence_pieces(name, path, fold)
    kind = files.model.get("type")
    pairs = (directory / IDS).is_file() and (directory / MERGES).is_file()
    if (directory / VOCABULARY).is_file() and not (pairs and files.is_class(BYTE_PAIR_CLASSES)):
        return _word_pieces(directory, files, _lines(directory / VOCABULARY))
    if not pairs and not files.fast:
        raise InputError(
            f"{directory}: has no vocab.txt, no vocab.json with merges.txt and no tokenizer.json; "
            "add the files of the tokenizer that the model was trained with"
        )
    if kind == "WordPiece" and not pairs:
        return _word_pieces(directory, files, None)
    if files.model_type == "bert" or not (pairs or kind == "BPE"):
        raise InputError(
            f"{directory / (IDS if pairs else FAST)}: a tokenizer of another kind "
            f"({'BPE' if pairs else kind}) than the model's; add a vocab.txt"
        )
    return _byte_pairs(directory, files, pairs)


def write_tokenizer(directory: str | Path, tokenizer: Tokenizer, max_length: int) -> None:
    """Write the files of `read_tokenizer` into an existing directory.

    Args:
        directory: to write into.
        tokenizer: any but a `SubwordTokenizer`.
        max_length: maximum number of tokens of the model.

    Raises:
        InputError: a token that does not fit on one line.
        OSError: a file cannot be written.
    """
    if isinstance(tokenizer, SubwordTokenizer):
        raise InputError("a tokenizer of KerasHub's encoders is written with its preset")
    directory, options = Path(directory), dict[str, Any](tokenizer.get_config())
    entries: dict = {"model_max_length": max_length}
    if isinstance(tokenizer, CharacterTokenizer):
        write_json(directory / CHARACTERS, {"vocabulary": tokenizer.vocabulary, **options})
        return
    if isinstance(tokenizer, PieceTokenizer):
        (directory / SOURCE_PIECES).write_bytes(tokenizer.source)
        (directory / TARGET_PIECES).write_bytes(tokenizer.target)
        write_json(directory / IDS, {t: number for number, t in enumerate(tokenizer.pieces)})
        tokens = {"eos_token": END, "unk_token": UNKNOWN, "pad_token": PADDING}
        write_json(directory / OPTIONS, entries | tokens | {"tokenizer_class": MARIAN})
        return
    if isinstance(tokenizer, WordPieceTokenizer):
        for number, token in enumerate(tokenizer.pieces):
            if "\n" in token or token.endswith("\r"):
                raise InputError(f"token {number}, {token!r}, holds a line break; remove it")
        text = "".join(f"{token}\n" for token in tokenizer.pieces)
        (directory / VOCABULARY).write_bytes(text.encode("utf-8"))
        entries |= {name: options[option] for option, (name, *_) in WORD_PIECE.items()}
        entries |= {"tokenizer_class": "BertTokenizer", **options.get("special_tokens", {})}
        if options.get("split_characters"):
            words = "basic" if options["clean"] else "mecab"
            entries |= {"tokenizer_class": JAPANESE, "word_tokenizer_type": words,
                        "subword_tokenizer_type": "character"}  # fmt: skip
    else:
        ids = {token: number for number, token in enumerate(tokenizer.pieces)}
        write_json(directory / IDS, ids)
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in tokenizer.merges)]
        text = "\n".join(lines) + "\n"
        (directory / MERGES).write_text(text, encoding="utf-8", newline="\n")
        end = options["end_of_text"] if tokenizer.end_id is not None else None
        entries |= {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}
        entries |= {"bos_token": end, "eos_token": end, "unk_token": end}
    if added := options.get("added_tokens"):
        entries["added_tokens_decoder"] = {
            tokenizer.vocabulary.index(token["content"]): {**token, "single_word": False}
            for token in added
        }
    write_json(directory / OPTIONS, entries)


def _read_characters(path):
    options = read_json(path)
    try:
        return CharacterTokenizer(options.pop("vocabulary"), **options)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: holds no vocabulary of characters; copy the file again"
        ) from error


def _read_pieces(directory):
    """Return the tokenizer of MarianMT's files."""
    path = directory / OPTIONS
    options = read_json(path) if path.is_file() else {}
    if options.get("separate_vocabs"):
        raise InputError(
            f"{path}: separate_vocabs is true; give a model with one vocabulary for both sides"
        )
    protos = []
    for name in (SOURCE_PIECES, TARGET_PIECES):
        try:
            protos.append((directory / name).read_bytes())
        except OSError as error:
            raise InputError(
                f"{directory / name}: cannot be read ({error.strerror}); {AGAIN}"
            ) from error
    tokens = _in_order(directory / IDS, read_json(directory / IDS, AGAIN))
    try:
        return PieceTokenizer(*protos, vocabulary=tokens)
    except InputError as error:
        raise InputError(f"{directory}: {error}") from error


def _lines(path):
    """Return the tokens of a `vocab.txt`, which may hold JSON of `tokenizers`."""
    text = read_text(path, "vocabulary", AGAIN)
    if not text.startswith("{"):
        return split_vocabulary(text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return split_vocabulary(text)
    model = content.get("model", content)
    return _in_order(path, model.get("vocab", model) if isinstance(model, dict) else None)


def _word_pieces(directory, files, tokens):
    """Return the tokenizer of a vocabulary, or of that in `tokenizer.json` if it is None."""
    normalizer, path = {}, directory / VOCABULARY
    words = files.japanese_words()
    if words is None:
        files.check_class(WORD_PIECE_CLASSES)
    if files.fast:
        path = directory / FAST
        if files.model.get("type") != "WordPiece":
            raise InputError(
                f"{path}: holds a {files.model.get('type')}, and the directory has {VOCABULARY}; "
                "remove the file that the model was not trained with"
            )
        in_fast = _in_order(path, files.model.get("vocab"))
        if tokens is not None:
            _check_same(directory, tokens, in_fast)
        tokens = in_fast if tokens is None else tokens
        _check_model(path, files.model)
        normalizer = files.check_part("normalizer", "BertNormalizer", clean_text=True)
        files.check_part("pre_tokenizer", "BertPreTokenizer")
    _check_not_sentencepiece(path, tokens)
    options = {}
    for option, (name, there, default) in WORD_PIECE.items():
        value = files.option(name, normalizer, there)
        if value is not None and not isinstance(value, bool):
            raise InputError(
                f"{directory / OPTIONS}: {name} is {value!r}; it must be true or false"
            )
        options[option] = default if value is None else value
    if words is not None:
        options |= {"split_cjk": False, "split_characters": True, "clean": words == "basic"}
        options["lowercase"] = bool(options["lowercase"])
        options["strip_accents"] = options["lowercase"] and options["clean"]
    special = files.special_tokens()
    names = {name: special.get(name, token) for name, token in SPECIAL_NAMES.items()}
    tokens, added = files.with_added(tokens, special | {
        name: token for name, token in names.items() if token in tokens
    })  # fmt: skip
    present = {*tokens, *(token.content for token in added)}
    missing = [name for name in names if names[name] not in present and name != "mask_token"]
    if missing:
        raise InputError(
            f"{path}: has no {', '.join(names[name] for name in missing)}; name the tokens that "
            f"the model was trained with in {OPTIONS}, as {', '.join(missing)}"
        )
    if options["lowercase"] is None:
        options["lowercase"] = not _is_cased(set(tokens) - {token.content for token in added})
    plain = [AddedToken(token, special=True) for token in names.values()]
    added = [token for token in added if token not in plain]
    changed = {name: names[name] for name in names if names[name] != SPECIAL_NAMES[name]}
    return WordPieceTokenizer(tokens, **options, special_tokens=changed, added_tokens=added)


def _check_same(directory, tokens, in_fast):
    """Refuse a `vocab.txt` whose ids are not those of `tokenizer.json`."""
    for number, (token, other) in enumerate(zip(tokens, in_fast, strict=False)):
        # `tokenizers` removes blanks at the end of a line.
        if token.strip() and other.strip() and token.strip() != other.strip():
            raise InputError(
                f"{directory / VOCABULARY}, line {number + 1}: {token!r}, and token {number} of "
                f"{FAST} is {other!r}; remove the file that the model was not trained with"
            )


def _check_model(path, model):
    """Refuse a WordPiece that splits words in another way."""
    expected = {"continuing_subword_prefix": CONTINUATION,
                "max_input_chars_per_word": MAX_WORD_CHARACTERS}  # fmt: skip
    for name, value in expected.items():
        if model.get(name, value) != value:
            raise InputError(
                f"{path}: {name} is {model[name]!r}; give a checkpoint where it is {value!r}"
            )


def _check_not_sentencepiece(path, tokens):
    marked = sum(token.startswith("\u2581") and len(token) > 1 for token in tokens)
    if marked > sum(map(continues, tokens)):
        raise InputError(
            f"{path}: {marked} tokens begin with '\u2581', as those of SentencePiece; give a "
            "checkpoint whose tokenizer is BERT's WordPiece"
        )


def _is_cased(vocabulary):
    """Return whether a token has an upper-case letter.

    Tokens in brackets do not count: `[CLS]`, and the `<S>` of Google's Chinese vocabulary.
    """
    return any(token != token.lower() and token[0] not in "[<" for token in vocabulary if token)


def _in_order(path, ids):
    """Return the tokens of a dict of token to id, in the order of their ids; "" in a gap."""
    try:
        token_of = {number: token for token, number in ids.items()}
        size = max(token_of, default=-1) + 1
        whole = all(type(number) is int and number >= 0 for number in token_of)
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path}: damaged; copy or download the file again") from error
    if not whole or len(token_of) != len(ids) or size > len(ids) + LARGEST_GAP:
        raise InputError(f"{path}: the token ids do not run from 0 up, each once; {AGAIN}")
    return [token_of.get(number, "") for number in range(size)]


def _byte_pairs(directory, files, pairs):
    """Return the tokenizer of `vocab.json` and `merges.txt`, or of `tokenizer.json` alone."""
    files.check_class(BYTE_PAIR_CLASSES)
    path = directory / (IDS if pairs else FAST)
    if files.option("add_prefix_space", {}):
        raise InputError(
            f"{directory / OPTIONS}: add_prefix_space is True; give a checkpoint where it is False"
        )
    if files.fast:
        files.check_part("normalizer", None)
        files.check_part("pre_tokenizer", "ByteLevel", add_prefix_space=False, use_regex=True)
    if pairs:
        tokens = _in_order(path, read_json(path))
        text = read_text(directory / MERGES, "merges", AGAIN)
        merges = split_merges(text, f"merges {directory / MERGES}")
    else:
        tokens = _in_order(path, files.model.get("vocab"))
        merges = _merges(path, files.model)
    tokens = _with_rows(tokens, merges, files.rows)
    defaults = {"bart": BART_TOKENS, "roberta": BART_TOKENS, "transformer": {"eos_token": "</s>"}}
    defaults = defaults.get(files.model_type, GPT_TOKENS)
    special = {role: token for role, token in defaults.items()
               if token in tokens and not files.names_no(role)}  # fmt: skip
    special |= files.special_tokens()
    tokens, added = files.with_added(tokens, special)
    if "" in tokens:
        raise InputError(
            f"{path}: the token ids do not run from 0 up: {tokens.index('')} has none; {AGAIN}"
        )
    end = special.get("eos_token")
    added = [dataclasses.replace(token, normalized=False) for token in added]
    added = [token for token in added if token != AddedToken(end or "", special=True)]
    tokenizer = BytePairTokenizer(tokens, merges, end_of_text=end, added_tokens=added)
    if files.model_type == "roberta":
        special = {role: special.get(f"{role}_token", token)
                   for role, token in preset_tokenizers.ROBERTA.items()}  # fmt: skip
        return SubwordTokenizer(tokenizer, special, separators=2)
    return tokenizer


def _with_rows(tokens, merges, rows):
    """Return a vocabulary without the tokens at its end that have no embedding and no text has.

    `facebook/bart-large-cnn`, for example, has `<mask>` after the token of its last embedding.
    """
    made = {left + right for left, right in merges}
    needed = any(len(token) < 2 or token in made for token in tokens[rows:])  # bytes have one
    return tokens if needed else tokens[:rows]


def _merges(path, model):
    try:
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return [(left, right) for left, right in pairs]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged; copy or download the file again") from error
