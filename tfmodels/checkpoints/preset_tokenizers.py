"""The tokenizers of KerasHub presets, in and out.

In: `tokenizer.json` and the vocabulary in `assets/tokenizer`. Out: a tokenizer of this package,
with the ids of the preset; or, the other way, KerasHub's tokenizer of one. Those of WordPiece and
of bytes are our own here as well: KerasHub's WordPiece folds more characters than BERT's does, and
its byte pairs split some white space in another way than GPT-2's (docs/kerashub.md).
"""

from pathlib import Path
from typing import Any

from tfmodels.checkpoints.files import CONFIG
from tfmodels.checkpoints.preset_config import TOKENIZER
from tfmodels.errors import InputError, brief, first_line
from tfmodels.files import read_json
from tfmodels.models.hub import keras_hub
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer, split_merges
from tfmodels.text.subwords import SentencePieces, SubwordTokenizer
from tfmodels.text.whole_tokens import AddedToken
from tfmodels.text.wordpiece import (
    CONTINUATION,
    SPECIAL_NAMES,
    WordPieceTokenizer,
    read_text,
    split_vocabulary,
)

ASSETS = "assets/tokenizer"
AGAIN = "copy or download the directory of the preset again"
WORD_PIECES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
# Special tokens by their roles, and how many separators stand between the texts of a pair.
ROBERTA = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
ALBERT = {"cls": "[CLS]", "sep": "[SEP]", "pad": "<pad>", "unk": "<unk>", "mask": "[MASK]"}
DEBERTA = {role: f"[{role.upper()}]" for role in ALBERT}
SUBWORDS = {
    "RobertaTokenizer": (ROBERTA, 2),
    "XLMRobertaTokenizer": (ROBERTA, 2),
    "AlbertTokenizer": (ALBERT, 1),
    "FNetTokenizer": (ALBERT, 1),
    "DebertaV3Tokenizer": (DEBERTA, 1),
}
# Of an encoder-decoder: its ids, which no file of a preset names.
BART_IDS = {"<s>": 0, "<pad>": 1, "</s>": 2}
# Field of the config.json of a preset of ours: `fold` of its `SentencePieces`.
FOLD = "fold_text"


def read_preset_tokenizer(directory: Path) -> Any:
    """Return the tokenizer of a preset.

    Returns:
        `WordPieceTokenizer`, `BytePairTokenizer` or, of RoBERTa and of SentencePiece,
        `SubwordTokenizer`.

    Raises:
        InputError: a file is missing or damaged, or the tokenizer is not that of the backbone.
    """
    path = directory / TOKENIZER
    content = read_json(path, "the preset has no tokenizer; add that of the model")
    name, options = content.get("class_name"), content.get("config")
    backbone = read_json(directory / CONFIG)["class_name"]
    expected = backbone.replace("Backbone", "Tokenizer")
    if name != expected or not isinstance(options, dict):
        raise InputError(
            f"{path}: a tokenizer of the class {brief.repr(name)}; give that of {backbone}, "
            f"{expected}"
        )
    assets = directory / ASSETS
    if name in WORD_PIECES:
        return _word_pieces(path, options, assets / "vocabulary.txt")
    if name in ("GPT2Tokenizer", "BartTokenizer", "RobertaTokenizer"):
        return _byte_pairs(path, name, options, assets)
    for option in ("add_bos", "add_eos"):
        _check(path, options, option, False)
    fold = read_json(directory / CONFIG).get(FOLD, False) is True
    return sentence_pieces(name, assets / "vocabulary.spm", fold)


def _check(path, options, option, value):
    """Refuse an option with another value."""
    if options.get(option, value) != value:
        raise InputError(
            f"{path}: {option} is {brief.repr(options[option])}; give a preset where it is "
            f"{value!r}"
        )


def _word_pieces(path, options, vocabulary):
    for option, value in {"split": True, "suffix_indicator": CONTINUATION}.items():
        _check(path, options, option, value)
    _check(path, options, "oov_token", SPECIAL_NAMES["unk_token"])
    tokens = split_vocabulary(read_text(vocabulary, "vocabulary", AGAIN))
    return WordPieceTokenizer(
        tokens,
        lowercase=bool(options.get("lowercase", False)),
        strip_accents=bool(options.get("strip_accents", False)),
        split_cjk=bool(options.get("split_on_cjk", True)),
    )


def _byte_pairs(path, name, options, assets):
    _check(path, options, "add_prefix_space", False)
    file = assets / "vocabulary.json"
    ids = read_json(file, AGAIN)
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(ids))):
        raise InputError(f"{file}: the token ids do not run from 0 up, each once; {AGAIN}")
    merges = assets / "merges.txt"
    pairs = split_merges(read_text(merges, "merges", AGAIN), f"merges {merges}")
    if name == "GPT2Tokenizer":
        return BytePairTokenizer(tokens, pairs)
    wrong = [token for token, number in BART_IDS.items() if ids.get(token) != number]
    if wrong and name == "BartTokenizer":
        raise InputError(
            f"{file}: {wrong[0]} is token {ids.get(wrong[0])}, and {BART_IDS[wrong[0]]} in every "
            f"published BART; {AGAIN}"
        )
    added = [AddedToken(token, special=True) for token in ROBERTA.values() if token in ids]
    bytewise = BytePairTokenizer(tokens, pairs, end_of_text=ROBERTA["sep"], added_tokens=added)
    return bytewise if name == "BartTokenizer" else SubwordTokenizer(bytewise, *SUBWORDS[name])


def sentence_pieces(name: str, path: Path, fold: bool = False) -> SubwordTokenizer:
    """Return the tokenizer of a SentencePiece model.

    Args:
        name: class of KerasHub's tokenizer, of those in `SUBWORDS`.
        path: of the model.
        fold: see `SentencePieces`.

    Raises:
        InputError: the file is missing or damaged, or has no special tokens.
    """
    try:
        proto = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from error
    special, separators = SUBWORDS[name]
    try:
        pieces = SentencePieces(proto, fairseq=name == "XLMRobertaTokenizer", fold=fold)
    except Exception as error:  # of the operation
        raise InputError(
            f"{path}: no SentencePiece model ({first_line(error)}); {AGAIN}"
        ) from error
    if name == "DebertaV3Tokenizer":
        pieces.add(special["mask"])
    try:
        return SubwordTokenizer(pieces, special, separators)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def hub_tokenizer(backbone: str, tokenizer: Any) -> Any:
    """Return KerasHub's tokenizer of one of ours.

    Args:
        backbone: class of the backbone of KerasHub.
        tokenizer: of a model that `presets.write_preset` writes.

    Raises:
        InputError: KerasHub has no such tokenizer.
    """
    name = backbone.replace("Backbone", "Tokenizer")
    kind = getattr(keras_hub().models, name)
    inner = tokenizer.inner if isinstance(tokenizer, SubwordTokenizer) else tokenizer
    options: dict[str, Any] = {}
    if name in WORD_PIECES and isinstance(inner, WordPieceTokenizer):
        options = inner.get_config()
        extra = [option for option in options if option not in ("lowercase", "strip_accents")]
        if extra != ["split_cjk"] or not options["split_cjk"]:
            raise InputError(
                f"{name}: KerasHub's has no {', '.join(extra)} other than BERT's; save the model "
                "with task.save(...)"
            )
        options.pop("split_cjk")
        options["vocabulary"] = list(inner.vocabulary)
    elif name in ("GPT2Tokenizer", "BartTokenizer", "RobertaTokenizer") and isinstance(
        inner, BytePairTokenizer
    ):
        special = {END_OF_TEXT} if name == "GPT2Tokenizer" else set(ROBERTA.values())
        found = [token["content"] for token in inner.get_config().get("added_tokens", ())]
        if further := [token for token in found if token not in special]:
            raise InputError(
                f"{name}: KerasHub's finds no added tokens such as {further[0]!r} whole; save the "
                "model with task.save(...)"
            )
        options["vocabulary"] = {token: i for i, token in enumerate(inner.vocabulary)}
        options["merges"] = [" ".join(pair) for pair in inner.merges]
    elif name in SUBWORDS and isinstance(inner, SentencePieces):
        options["proto"] = inner.proto
    else:
        raise InputError(
            f"{name}: KerasHub's {backbone} reads no {type(inner).__name__}; save the model with "
            "task.save(...)"
        )
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name}: KerasHub does not take this vocabulary ({first_line(error)}); save the model "
            "with task.save(...)"
        ) from error
