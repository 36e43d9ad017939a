"""Compare the tokens of checkpoints with those of `AutoTokenizer`, layout by layout.

In: random vocabularies and random texts. Out: one line for each layout of files in which
checkpoints are published, written by `transformers` or, as its older versions wrote them, by hand.
Exit status 1 if a text has other tokens, also after the tokenizer was written and read again.

    python -m benchmarks.layouts [--texts 5000]
"""

import argparse
import importlib.util
import json
import random
import string
import sys
import tempfile
from pathlib import Path

import tensorflow as tf
import transformers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer

from tfmodels.checkpoints.tokenizers import read_tokenizer, write_tokenizer
from tfmodels.text.wordpiece import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OTHER = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>",
         "mask_token": "<mask>"}  # fmt: skip
LATIN = string.ascii_letters + string.digits + "àéîßœÜñ"
CHINESE = "今天气很好我们去公园里人也多中文书"
JAPANESE = "東京大学ですのはガギパあいうえおカタナ一二三"
SCRIPTS = LATIN + "ДдЯяβΩאשقلमक한국어" + CHINESE
HARD = [*" \n\t\u3000\u200b\x00\u0301İﬁ①㍿", "  ", "ｶﾞ", "カ\u3099",
        *".,，。[]<", "'s", "##", "[MASK]", "[mask]", "[SEP]", "<mask>", "</s>", "<s>",
        "<|endoftext|>", "😀", "[unused1]", "a" * 101]  # fmt: skip


def vocabulary(letters, seed, special=SPECIAL, upper=True):
    """Return tokens of random words and pieces of some letters."""
    draw = random.Random(seed)
    letters = letters if upper else "".join(sorted(set(letters.lower())))
    words = {"".join(draw.choices(letters, k=draw.randint(2, 4))) for _ in range(800)}
    pieces = {f"##{''.join(draw.choices(letters, k=draw.randint(1, 2)))}" for _ in range(200)}
    signs = [*string.punctuation, "，", "。", "😀", "①", "株"]
    single = sorted(letters)
    continued = [f"##{letter}" for letter in single if draw.random() < 0.9]
    tokens = [*special, *single, *signs, *continued, *sorted(words), *sorted(pieces)]
    return list(dict.fromkeys(tokens))


def random_texts(tokens, number, seed, more=()):
    """Return texts of tokens, of their parts, in upper case, and of hard characters."""
    draw = random.Random(seed)
    words = [token.removeprefix("##").removeprefix("Ġ") for token in tokens]
    texts = []
    for _ in range(number):
        parts = []
        for _ in range(draw.randint(0, 15)):
            kind = draw.random()
            word = draw.choice(words)
            parts.append(draw.choice([*HARD, *more, *more]) if kind < 0.3 else word)
            parts[-1] = parts[-1].upper() if 0.3 < kind < 0.4 else parts[-1]
            parts.append(" " if draw.random() < 0.5 else "")
        texts.append("".join(parts))
    return texts


class Layout:
    """A directory of a checkpoint without weights.

    Args:
        directory: to write into; made.
        model_type: in `config.json`.
    """

    def __init__(self, directory, model_type="bert"):
        self.directory, self.model_type = directory, model_type
        directory.mkdir(parents=True)

    def lines(self, tokens):
        text = "".join(f"{token}\n" for token in tokens)
        (self.directory / "vocab.txt").write_text(text, encoding="utf-8", newline="\n")

    def json(self, name, content):
        text = json.dumps(content, ensure_ascii=False)
        (self.directory / name).write_text(text, encoding="utf-8")

    def options(self, **entries):
        self.json("tokenizer_config.json", entries)

    def pairs(self, tokens, merges):
        self.json("vocab.json", {token: number for number, token in enumerate(tokens)})
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
        (self.directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def finish(self, size):
        self.json("config.json", {"model_type": self.model_type, "vocab_size": size})


def ids_of(tokens):
    return {token: number for number, token in enumerate(tokens)}


def fast(tokens, **options):
    """Return a `BertTokenizer` of `transformers` with a random vocabulary."""
    return BertTokenizer(vocab=ids_of(tokens), **options)


def uncased_slow(at):
    tokens = vocabulary(LATIN, 1, upper=False)
    at.lines(tokens)
    at.options(do_lower_case=True, tokenizer_class="BertTokenizer", model_max_length=512)
    return tokens


def cased_slow(at):
    tokens = vocabulary(LATIN, 2)
    at.lines(tokens)
    at.options(do_lower_case=False)
    return tokens


def uncased_fast(at):
    tokens = vocabulary(LATIN, 3, upper=False)
    fast(tokens, do_lower_case=True).save_pretrained(at.directory)
    return tokens


def cased_fast(at):
    tokens = vocabulary(LATIN, 4)
    fast(tokens, do_lower_case=False, strip_accents=False).save_pretrained(at.directory)
    return tokens


def general_fast(at):
    """As `PreTrainedTokenizerFast` writes it: only `tokenizer.json` tells the case."""
    tokens = vocabulary(LATIN, 5)
    tokenizer = Tokenizer(models.WordPiece(ids_of(tokens), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL,
                     strict=True))  # fmt: skip
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    whole.save_pretrained(at.directory)
    return tokens


ADDED = ["[E1]", "[/E1]", "NewWord", "new york", "天气x"]


def added_fast(at):
    tokens = vocabulary(LATIN + CHINESE, 6, upper=False)
    tokenizer = fast(tokens, do_lower_case=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ADDED[:2]})
    tokenizer.add_tokens([*ADDED[2:], AddedToken("raW", normalized=False)])
    tokenizer.save_pretrained(at.directory)
    return [*tokens, *ADDED, "raW"]


def added_slow(at):
    """As version 4 wrote it."""
    tokens = vocabulary(LATIN + CHINESE, 7, upper=False)
    at.lines(tokens)
    at.options(do_lower_case=True, tokenizer_class="BertTokenizer")
    at.json("added_tokens.json", {token: len(tokens) + i for i, token in enumerate(ADDED)})
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    at.json("special_tokens_map.json", names | {"additional_special_tokens": ADDED[:2]})
    return [*tokens, *ADDED]


def added_of_version_4(at):
    """As its last releases wrote it: `added_tokens_decoder` beside `vocab.txt`."""
    tokens = vocabulary(LATIN, 8)
    at.lines(tokens)
    flags = {"lstrip": False, "rstrip": False, "single_word": False}
    entries = {tokens.index(token): {"content": token, "normalized": False, "special": True,
                                     **flags} for token in SPECIAL}  # fmt: skip
    for number, token in enumerate(ADDED, len(tokens)):
        special = token in ADDED[:2]
        entries[number] = {"content": token, "normalized": not special, "special": special, **flags}
    at.options(do_lower_case=False, added_tokens_decoder=entries)
    return [*tokens, *ADDED]


def other_names_slow(at):
    tokens = vocabulary(LATIN, 9, special=[*OTHER.values()])
    at.lines(tokens)
    at.options(do_lower_case=False, **OTHER)
    return tokens


def other_names_fast(at):
    tokens = vocabulary(LATIN, 10, special=["x0", *OTHER.values()], upper=False)
    fast(tokens, do_lower_case=True, **OTHER).save_pretrained(at.directory)
    return tokens


def multilingual(at):
    """mBERT: all files, in three generations of the format."""
    tokens = vocabulary(SCRIPTS, 11)
    fast(tokens, do_lower_case=False).save_pretrained(at.directory)
    at.lines(tokens)
    at.options(do_lower_case=False, model_max_length=512)
    return tokens


def macbert(at):
    """MacBERT and RoBERTa-wwm: `tokenizer_config.json` says nothing."""
    tokens = vocabulary(CHINESE + "abcdefgh", 12, special=["[PAD]", "[unused1]", *SPECIAL[1:]])
    fast(tokens, do_lower_case=True).save_pretrained(at.directory)
    at.lines(tokens)
    at.options(init_inputs=[])
    at.json("added_tokens.json", {})
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    at.json("special_tokens_map.json", names)
    return tokens


def japanese_characters(at):
    tokens = [*SPECIAL, *JAPANESE, *"abcXYZ019.。、（）(),ー"]
    at.lines(tokens)
    at.options(tokenizer_class="BertJapaneseTokenizer", word_tokenizer_type="basic",
               subword_tokenizer_type="character", do_lower_case=False)  # fmt: skip
    return tokens


def japanese_mecab(at):
    """As cl-tohoku's; needs `fugashi` and `unidic-lite`."""
    tokens = japanese_characters(at)
    at.options(tokenizer_class="BertJapaneseTokenizer", word_tokenizer_type="mecab",
               subword_tokenizer_type="character", do_lower_case=False)  # fmt: skip
    return tokens


def chinese_gpt2(at):
    at.model_type = "gpt2"
    tokens = vocabulary(CHINESE + "abc", 13, upper=False)
    at.lines(tokens)
    at.options(tokenizer_class="BertTokenizer", do_lower_case=True)
    return tokens


def damaged_lines(at):
    """Empty and repeated lines keep their ids."""
    tokens = vocabulary(LATIN, 14, upper=False)
    tokens[200:200], tokens[300:300] = [""], [tokens[150], tokens[40]]
    at.lines([*tokens, tokens[50]])
    at.options(do_lower_case=True)
    return [*tokens, tokens[50]]


def learned_pairs(seed):
    """Return tokens and merges of a byte-level BPE learned from random texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    corpus = random_texts(vocabulary("abcde中", seed), 500, seed)
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = {"".join(pair): tuple(pair) for pair in reversed(model["merges"])}
    return sorted(model["vocab"], key=model["vocab"].get), [*merges.values()][::-1]


def gpt2_added(at):
    at.model_type = "gpt2"
    tokens, merges = learned_pairs(15)
    tokens.append("<|endoftext|>")
    at.pairs(tokens, merges)
    at.options(tokenizer_class="GPT2Tokenizer", pad_token="<|pad|>")
    added = ["<|user|>", "new word", "<|pad|>"]
    at.json("added_tokens.json", {token: len(tokens) + i for i, token in enumerate(added)})
    return [*tokens, *added]


def gpt2_added_fast(at):
    at.model_type = "gpt2"
    tokens, merges = learned_pairs(16)
    tokens.append("<|endoftext|>")
    tokenizer = GPT2Tokenizer(vocab=ids_of(tokens), merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    tokenizer.add_tokens([AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True)])
    tokenizer.save_pretrained(at.directory)
    return [*tokens, "<|user|>", "<l>", "<r>"]


def bart(at):
    at.model_type = "bart"
    tokens, merges = learned_pairs(17)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"]
    at.pairs(tokens, merges)
    return tokens


LAYOUTS = {
    function.__name__: function
    for function in (
        uncased_slow, cased_slow, uncased_fast, cased_fast, general_fast, added_fast, added_slow,
        added_of_version_4, other_names_slow, other_names_fast, multilingual, macbert,
        japanese_characters, chinese_gpt2, damaged_lines, gpt2_added, gpt2_added_fast, bart,
    )
}  # fmt: skip


if importlib.util.find_spec("fugashi"):
    LAYOUTS["japanese_mecab"] = japanese_mecab


def differences(name, folder, number):
    """Return the texts of a layout that have other tokens here than in `transformers`.

    Args:
        name: of `LAYOUTS`.
        folder: to write into.
        number: of texts.

    Returns:
        List of `(text, tokens here, tokens there)`, of the directory and of it written again.
    """
    at = Layout(Path(folder) / name)
    tokens = LAYOUTS[name](at)
    at.finish(len(tokens))
    reference = AutoTokenizer.from_pretrained(at.directory)
    ours = read_tokenizer(at.directory)
    if isinstance(ours, WordPieceTokenizer):
        around = ours.cls_id, ours.sep_id, ours.pad_id, ours.unk_id, ours.mask_id
        expected = (reference.cls_token_id, reference.sep_token_id, reference.pad_token_id,
                    reference.unk_token_id, reference.mask_token_id)  # fmt: skip
        if around != expected:
            return [("special tokens", around, expected)]
    again = Layout(Path(folder) / f"{name}_again", at.model_type)
    write_tokenizer(again.directory, ours, 512)
    again.finish(ours.vocabulary_size)
    texts = random_texts(tokens, number, name, [*ADDED, *tokens[-3:]])
    if name == "japanese_mecab":
        texts = [text.replace("\x00", "") for text in texts]  # where MeCab, in C, ends a text
    expected = reference(texts, add_special_tokens=False)["input_ids"]
    found = []
    compiled = tf.function(ours.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    for tokenize in (compiled, read_tokenizer(again.directory).tokenize):
        rows = zip(texts, tokenize(tf.constant(texts)).to_list(), expected, strict=True)
        found += [row for row in rows if row[1] != row[2]]
    there = AutoTokenizer.from_pretrained(again.directory)
    rows = zip(texts, expected, there(texts, add_special_tokens=False)["input_ids"], strict=True)
    return found + [row for row in rows if row[1] != row[2]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--texts", type=int, default=5000, help="number of texts of a layout")
    parser.add_argument("--only", choices=LAYOUTS, help="one layout")
    arguments = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in [arguments.only] if arguments.only else LAYOUTS:
            found = differences(name, folder, arguments.texts)
            different += len(found)
            print(f"{name:20} {arguments.texts} texts, {len(found)} differ", flush=True)
            if found:
                print(f"    {found[0]}", flush=True)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
