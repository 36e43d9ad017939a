"""What the files of a checkpoint say about its tokenizer, read together.

In: a directory with some of `tokenizer_config.json`, `tokenizer.json`, `special_tokens_map.json`
and `added_tokens.json`, as `transformers` 3 to 5 and `tokenizers` write them. Out: options, names
of special tokens and added tokens. Where one file is silent another decides; where two contradict
each other, or mean something that no tokenizer here does, the directory is refused.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfmodels.checkpoints.files import config_path, listed, model_type
from tfmodels.errors import InputError, brief
from tfmodels.files import read_json
from tfmodels.text.bpe import END_OF_TEXT
from tfmodels.text.whole_tokens import AddedToken

OPTIONS, FAST = "tokenizer_config.json", "tokenizer.json"
SPECIAL_MAP, ADDED = "special_tokens_map.json", "added_tokens.json"
# Special tokens by their names in the files; those without a default have none.
ROLES = tuple(f"{role}_token" for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
FURTHER = ("additional_special_tokens", "extra_special_tokens")  # lists of special tokens
# Tokens that `transformers` takes where no file names them, by the type of the model.
GPT_TOKENS = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
BART_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
BART_TOKENS |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
# `tokenizer_class`, without "Fast", of the tokenizers that are read.
GENERAL = ("PreTrainedTokenizer", "TokenizersBackend")
WORD_PIECE_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer",
                      "MobileBertTokenizer", "LayoutLMTokenizer", "ConvBertTokenizer")  # fmt: skip
JAPANESE = "BertJapaneseTokenizer"  # read where each character is a token
BYTE_PAIR_CLASSES = ("GPT2Tokenizer", "BartTokenizer", "RobertaTokenizer")
LARGEST_GAP = 100_000  # ids without a token


class TokenizerFiles:
    """The JSON files of a tokenizer.

    Args:
        directory: of the checkpoint.

    Attributes:
        fast: content of `tokenizer.json`; empty without it.
        model_type: of `config.json`, or None.
        rows: number of embeddings.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._config, self.fast, self._special, self._added = (
            read_json(directory / name) if (directory / name).is_file() else {}
            for name in (OPTIONS, FAST, SPECIAL_MAP, ADDED)
        )
        self.model_type = model_type(directory)
        path = config_path(directory)
        entries = read_json(path) if path.is_file() else {}
        rows = entries.get("vocab_size")
        self.rows = rows if isinstance(rows, int) else sys.maxsize
        self._class = self._config.get("tokenizer_class") or entries.get("tokenizer_class")

    @property
    def model(self) -> dict:
        """The part `model` of `tokenizer.json`, with its type; empty without the file."""
        if not self.fast:
            return {}
        model = self.fast.get("model")
        model = model if isinstance(model, dict) else {}
        kind = "BPE" if "merges" in model else "WordPiece"  # files of 2020 do not say it
        return {"type": kind if isinstance(model.get("vocab"), dict) else None, **model}

    def is_class(self, classes: Sequence[str]) -> bool:
        """Return whether `tokenizer_class` is one of these."""
        return isinstance(self._class, str) and self._class.removesuffix("Fast") in classes

    def folds(self) -> bool:
        """Return whether an ALBERT folds case and accents, which it does if no file says it."""
        lowercase = self._config.get("do_lower_case", True)
        if lowercase and self._config.get("keep_accents", False):
            raise InputError(
                f"{self._directory / OPTIONS}: keep_accents is true; give an ALBERT that folds "
                "accents as it folds case"
            )
        return bool(lowercase)

    def check_class(self, classes: Sequence[str]) -> None:
        """Refuse a `tokenizer_class` that splits texts in another way."""
        if self._class is not None and not self.is_class((*classes, *GENERAL)):
            words = self._config.get("word_tokenizer_type")
            words = f" with word_tokenizer_type {brief.repr(words)}" if words else ""
            raise InputError(
                f"{self._directory / OPTIONS}: tokenizer_class is {brief.repr(self._class)}{words}"
                f", which splits texts in another way; give a checkpoint of the class {classes[0]}"
            )

    def japanese_words(self) -> str | None:
        """Return what splits words of a Japanese tokenizer of characters: "mecab" or "basic"."""
        if not self.is_class([JAPANESE]) or self._config.get("do_word_tokenize") is False:
            return None
        if self._config.get("subword_tokenizer_type") != "character" or self.fast:
            return None
        words = self._config.get("word_tokenizer_type", "basic")
        return words if words in ("mecab", "basic") else None

    def check_part(self, name: str, kind: str | None, **fields: Any) -> dict:
        """Return a part of `tokenizer.json`, after checking its type and fields.

        Args:
            name: of the part, such as "normalizer".
            kind: its type; None: the part must be null.
            **fields: the one value that a field may have, if it is there.
        """
        path, part = self._directory / FAST, self.fast.get(name)
        part = part if isinstance(part, dict) else {}
        for several in (f"{name}s", "pretokenizers"):
            if part.get("type") == "Sequence" and len(part.get(several) or ()) == 1:
                part = part[several][0]
        if part.get("type") != kind:
            inner = part.get(f"{name}s") or part.get("pretokenizers") or ()
            types = [str(one.get("type"))[:60] for one in inner if isinstance(one, dict)][:20]
            found = f"{str(part.get('type'))[:60]}{' of ' if types else ''}{listed(types)}"
            raise InputError(
                f"{path}: its {name} is {found} and not {kind}: it is a tokenizer of another kind "
                f"than the ones that are read; give a checkpoint whose {name} is {kind}"
            )
        for field, value in fields.items():
            if part.get(field, value) != value:
                raise InputError(
                    f"{path}: {field} of its {name} is {brief.repr(part[field])}; give a "
                    f"checkpoint where it is {value!r}"
                )
        return part

    def option(self, name: str, further: Mapping[str, Any], name_there: str = "") -> Any:
        """Return what `tokenizer_config.json` and a part of `tokenizer.json` say, or None."""
        there = name_there or name
        return self._agreed({f"{OPTIONS}: {name}": self._config.get(name),
                             f"{FAST}: {there}": further.get(there)})  # fmt: skip

    def _agreed(self, answers):
        """Return the one value among answers by their place, or None; refuse a contradiction."""
        given = {place: value for place, value in answers.items() if value is not None}
        if not given:
            return None
        (place, value), *others = given.items()
        for other, contrary in others:
            if contrary != value:
                raise InputError(
                    f"{self._directory}: {place} is {value!r} and {other} is {contrary!r}; correct "
                    "the one that is wrong, or remove it"
                )
        return value

    def special_tokens(self, roles: Sequence[str] = ROLES) -> dict[str, str]:
        """Return the special tokens that the files name, by role."""
        around = _around(self.fast.get("post_processor"))
        unknown = self.model.get("unk_token") if self.model.get("type") == "WordPiece" else None
        tokens = {}
        for role in roles:
            token = self._agreed({
                f"{OPTIONS}: {role}": self._content(OPTIONS, self._config, role),
                f"{SPECIAL_MAP}: {role}": self._content(SPECIAL_MAP, self._special, role),
                f"{FAST}: unk_token": unknown if role == "unk_token" else None,
            }) or around.get(role)  # fmt: skip
            if token:
                tokens[role] = token
        return tokens

    def names_no(self, role: str) -> bool:
        """Return whether `tokenizer_config.json` says that there is no token of a role."""
        return role in self._config and self._config[role] is None

    def with_added(
        self, tokens: list[str], special: Mapping[str, str]
    ) -> tuple[list[str], list[AddedToken]]:
        """Return the vocabulary and the tokens that are found whole in texts.

        Args:
            tokens: the vocabulary without added tokens.
            special: the special tokens by role.

        Returns:
            Pair of the vocabulary without the added tokens that follow it, and all added tokens
            by id. One that the model has no embedding of is left out: it is ordinary text.
        """
        tokens = list(tokens)
        ids: dict[str, int] = {}
        added: dict[str, AddedToken] = {}
        for token, number, place in self._described(special):
            added.setdefault(token.content, token)
            if number is not None and ids.setdefault(token.content, number) != number:
                self._agreed({f"id of {token.content!r} in one file": ids[token.content],
                              place: number})  # fmt: skip
        id_of = {token: number for number, token in enumerate(tokens) if token}
        following = max([len(tokens) - 1, *ids.values()]) + 1
        for content in added:
            if content not in ids:
                ids[content] = id_of.get(content, following)
                following += ids[content] == following
        without = [content for content in added if ids[content] >= self.rows]
        if without:
            print(
                f"{self._directory}: the model has no embedding of {listed(without)}, which "
                "is read as ordinary text", file=sys.stderr
            )  # fmt: skip
        found = sorted(set(added) - set(without), key=ids.__getitem__)
        behind: list[str] = []
        for content in found:
            number = ids[content]
            if number < len(tokens) and tokens[number] not in ("", content):
                self._agreed({f"{number} in the vocabulary": tokens[number],
                              f"{number} among the added tokens": content})  # fmt: skip
            if number == len(tokens) + len(behind):
                behind.append(content)
            else:
                tokens += [*behind, *[""] * self._gap(number - len(tokens) - len(behind) + 1)]
                tokens[number], behind = content, []
        return tokens, [added[content] for content in found]

    def _described(self, special):
        """Yield added and special tokens, the id that a file gives or None, and the place."""
        listed_there = self._checked(FAST, self.fast, "added_tokens", list)
        entries = [(x, x.get("id") if isinstance(x, dict) else None) for x in listed_there]
        decoder = self._checked(OPTIONS, self._config, "added_tokens_decoder", dict)
        entries += [(token, number) for number, token in decoder.items()]
        for entry, number in entries:
            token = self._token(entry, FAST)
            yield token, self._number(number, FAST), f"id of {token.content!r} in another"
        further = [token for file in (self._config, self._special)
                   for name in FURTHER for token in _listed(file.get(name))]  # fmt: skip
        further = [self._token(token, OPTIONS, special=True) for token in further]
        names = {*special.values(), *(token.content for token in further)}
        for content, number in self._added.items():
            is_special = content in names
            token = AddedToken(content, special=is_special, normalized=not is_special)
            yield token, self._number(number, ADDED), f"id of {content!r} in {ADDED}"
        for role, content in special.items():
            entry = self._config.get(role)
            entry = entry if isinstance(entry, dict) else self._special.get(role)
            entry = entry if isinstance(entry, dict) else content
            yield self._token(entry, SPECIAL_MAP, special=True), None, ""
        for token in further:
            yield token, None, ""

    def _checked(self, name, content, field, kind):
        """Return a field of a file, empty if it is not there; refuse another type."""
        value = content.get(field) or kind()
        if not isinstance(value, kind):
            raise InputError(
                f"{self._directory / name}: {field} is {brief.repr(value)}; copy or download the "
                "file again"
            )
        return value

    def _token(self, entry, name, what="a special token", **fields):
        """Return an `AddedToken` of its content, or of an object with its fields."""
        entry = {"content": entry} if isinstance(entry, str) else entry
        content = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(content, str) or not content:
            raise InputError(
                f"{self._directory / name}: {what} is {entry!r}; it must be a token or null"
            )
        if entry.get("single_word"):
            raise InputError(
                f"{self._directory / name}: single_word of {content!r} is true; give a checkpoint "
                "whose added tokens are found inside words too"
            )
        names = [field.name for field in dataclasses.fields(AddedToken)][1:]
        given = {field: bool(entry[field]) for field in names if field in entry}
        return AddedToken(content, **{**given, **fields})

    def _content(self, name, entries, role):
        token = entries.get(role)
        return None if token is None else self._token(token, name, role).content

    def _number(self, number, name):
        try:
            if isinstance(number, bool) or int(number) < 0:
                raise ValueError
            return int(number)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self._directory / name}: {number!r} is not the id of a token; copy or download "
                "the file again"
            ) from error

    def _gap(self, size):
        if size > LARGEST_GAP:
            raise InputError(
                f"{self._directory}: {size - 1} ids before that of an added token have no token; "
                "copy or download the files of the tokenizer again"
            )
        return max(size, 0)


def _listed(tokens: Any) -> Sequence:
    """Return the tokens of a list, or of an object of names and tokens."""
    return list(tokens.values()) if isinstance(tokens, dict) else list(tokens or ())


def _around(processor: Any) -> dict[str, str]:
    """Return the first and the last token that `tokenizer.json` puts around a text."""
    if not isinstance(processor, dict):
        return {}
    if processor.get("type") in ("BertProcessing", "RobertaProcessing"):
        return {"cls_token": processor["cls"][0], "sep_token": processor["sep"][0]}
    single = processor.get("single") if processor.get("type") == "TemplateProcessing" else None
    named = [one.get("SpecialToken") for one in single or () if isinstance(one, dict)]
    ends = [str(one.get("id", "")) if isinstance(one, dict) else "" for one in named]
    return {"cls_token": ends[0], "sep_token": ends[-1]} if len(ends) > 1 else {}
