"""Tokenizers from and to the files of `transformers`, `tokenizers` and Google."""

import io
import json

import pytest
import tokenizers

from tests.checkpoints.conftest import (
    BART_TOKENS,
    FAMILIES,
    GPT_TOKENS,
    MERGES,
    SMALL,
    TOKENS,
    WORDS,
    message,
)
from tfmodels.checkpoints.bert import write_bert
from tfmodels.checkpoints.tokenizers import read_tokenizer, write_tokenizer
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.whole_tokens import AddedToken
from tfmodels.text.wordpiece import WordPieceTokenizer

LAYOUTS = [
    "uncased_slow", "cased_slow", "uncased_fast", "cased_fast", "general_fast", "added_fast",
    "added_slow", "added_of_version_4", "other_names_slow", "other_names_fast", "multilingual",
    "macbert", "japanese_characters", "chinese_gpt2", "damaged_lines", "gpt2_added",
    "gpt2_added_fast", "bart",
]  # fmt: skip
DEFAULTS = {"lowercase": True, "strip_accents": True, "split_cjk": True}
CASED = {"lowercase": False, "strip_accents": False, "split_cjk": False}
BERT = {"type": "BertNormalizer", "lowercase": True}
MODEL = {"type": "WordPiece", "vocab": {token: number for number, token in enumerate(TOKENS)}}
FAST = {"normalizer": BERT, "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": MODEL}
TEXTS = ["the other", "é ...", f"a{END_OF_TEXT}b", "a</s>b"]


def options(directory):
    return read_tokenizer(directory).get_config()


@pytest.fixture
def words(tmp_path):
    """A directory with `vocab.txt` alone."""
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKENS))
    return tmp_path


@pytest.mark.parametrize(
    "tokenizer",
    [
        WORDS,
        WordPieceTokenizer([*TOKENS, "\u2028", "#"], **CASED),
        WordPieceTokenizer([*TOKENS, "", "a", "。"], added_tokens=[AddedToken("the other")]),
        WordPieceTokenizer(TOKENS, **CASED, split_characters=True, clean=False),
        BytePairTokenizer(GPT_TOKENS, MERGES, added_tokens=[AddedToken("er.", lstrip=True)]),
        BytePairTokenizer(GPT_TOKENS, MERGES),
        BytePairTokenizer([*GPT_TOKENS, "<end>"], MERGES, end_of_text="<end>"),
        BytePairTokenizer(BART_TOKENS, MERGES, end_of_text="</s>"),
        CharacterTokenizer([*"ab\nĠ", "<|unk|>"]),
    ],
    ids=["words", "cased", "added", "japanese", "gpt_added", "gpt", "end", "bart", "characters"],
)
def test_what_is_written_is_read(tmp_path, tokenizer):
    write_tokenizer(tmp_path, tokenizer, 12)
    again = read_tokenizer(tmp_path)
    assert type(again) is type(tokenizer)
    assert again.vocabulary == tokenizer.vocabulary
    assert again.get_config() == tokenizer.get_config()
    assert again.tokenize(TEXTS).to_list() == tokenizer.tokenize(TEXTS).to_list()


def test_missing():
    assert message(read_tokenizer, SMALL) == (
        f"{SMALL}: has no vocab.txt, no vocab.json with merges.txt and no tokenizer.json; add the "
        "files of the tokenizer that the model was trained with"
    )


class TestWords:
    def test_defaults(self, words):
        assert options(words) == DEFAULTS

    def test_tokenizer_config(self, words):
        (words / "tokenizer_config.json").write_text(
            '{"do_lower_case": false, "strip_accents": true, "tokenize_chinese_chars": false}'
        )
        assert options(words) == {"lowercase": False, "strip_accents": True, "split_cjk": False}

    @pytest.mark.parametrize("field", ["do_lower_case", "strip_accents", "tokenize_chinese_chars"])
    def test_refused(self, words, field):
        (words / "tokenizer_config.json").write_text(json.dumps({field: "yes"}))
        assert f"{field} is 'yes'" in message(read_tokenizer, words)

    def test_token_of_two_lines(self, tmp_path):
        tokenizer = WordPieceTokenizer([*TOKENS, "a\nb"])
        text = message(write_tokenizer, tmp_path, tokenizer, 12)
        assert f"token {len(TOKENS)}, 'a\\nb', holds a line break" in text

    def test_of_windows(self, words):
        path = words / "vocab.txt"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert read_tokenizer(words).vocabulary == tuple(TOKENS)

    def test_not_utf8(self, words):
        (words / "vocab.txt").write_bytes(b"\xff\n")
        assert "not UTF-8" in message(read_tokenizer, words)

    def test_fast_file_alone(self, tmp_path):
        """As `tokenizers` writes it: without `tokenizer_config.json` it decides."""
        ids = {token: number for number, token in reversed(list(enumerate(TOKENS)))}
        reference = tokenizers.BertWordPieceTokenizer(ids, lowercase=False, strip_accents=False)
        reference.save(str(tmp_path / "tokenizer.json"))
        assert read_tokenizer(tmp_path).vocabulary == tuple(TOKENS)
        assert options(tmp_path) == {"lowercase": False, "strip_accents": False, "split_cjk": True}

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"normalizer": {"type": "Lowercase"}}, "its normalizer is Lowercase and not Bert"),
            (
                {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, BERT]}},
                "its normalizer is Sequence of NFC, BertNormalizer and not BertNormalizer",
            ),
            ({"normalizer": None}, "its normalizer is None and not BertNormalizer"),
            ({"normalizer": {**BERT, "clean_text": False}}, "clean_text of its normalizer is Fal"),
            ({"pre_tokenizer": {"type": "Whitespace"}}, "its pre_tokenizer is Whitespace and not"),
            ({"model": None}, "(None) than the model's"),
            ({"model": {"type": "Unigram", "vocab": []}}, "(Unigram) than the model's"),
            ({"model": {"type": "WordPiece"}}, "damaged"),
            ({"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 0}}}, "do not run from 0 up"),
            ({"model": {"type": "WordPiece", "vocab": {"a": 10**9}}}, "do not run from 0 up"),
            ({"model": {**MODEL, "continuing_subword_prefix": "@@"}}, "prefix is '@@'"),
        ],
    )
    def test_fast_file_refused(self, tmp_path, fields, expected):
        (tmp_path / "tokenizer.json").write_text(json.dumps({**FAST, **fields}))
        assert expected in message(read_tokenizer, tmp_path)

    def test_messages_stay_short(self, tmp_path):
        (tmp_path / "tokenizer.json").write_text(
            json.dumps({**FAST, "normalizer": {"type": "B" * 5000}})
        )
        assert len(message(read_tokenizer, tmp_path)) < 500

    def test_json_too_deep(self, words):
        (words / "vocab.txt").write_text('{"model": ' + "[" * 100_000)
        assert "[PAD]" in message(read_tokenizer, words)

    def test_a_bert_has_no_byte_pairs(self, checkpoint):
        (checkpoint.directory / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
        assert "add a vocab.txt" in message(read_tokenizer, checkpoint.directory)


class TestFilesTogether:
    """Where one file is silent another decides; where two contradict each other, it is refused."""

    def write(self, directory, name, content):
        (directory / name).write_text(json.dumps(content), encoding="utf-8")

    def test_the_fast_file_decides_where_the_options_are_silent(self, words):
        normalizer = {**BERT, "lowercase": False, "handle_chinese_chars": False}
        self.write(words, "tokenizer.json", {**FAST, "normalizer": normalizer})
        self.write(words, "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
        assert options(words) == CASED

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("tokenizer_config.json", {"do_lower_case": False},
             "tokenizer_config.json: do_lower_case is False and tokenizer.json: lowercase is True"),
            ("special_tokens_map.json", {"unk_token": "a"},
             "special_tokens_map.json: unk_token is 'a' and tokenizer.json: unk_token is '[UNK]'"),
            ("added_tokens.json", {"c": 3}, "3 in the vocabulary is '[SEP]' and 3 among the added"),
            ("tokenizer_config.json", {"tokenizer_class": "AlbertTokenizer"}, "'AlbertTokenizer'"),
            ("tokenizer_config.json",
             {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"},
             "'BertJapaneseTokenizer' with word_tokenizer_type 'mecab'"),
            ("added_tokens.json", {"x": -1}, "-1 is not the id of a token"),
            ("added_tokens.json", {"x": 10**9}, "have no token"),
            ("tokenizer_config.json", {"added_tokens_decoder": {"15": {"content": "x",
             "single_word": True}}}, "single_word of 'x' is true"),
        ],
    )  # fmt: skip
    def test_contradictions_and_other_kinds(self, words, name, content, expected):
        self.write(words, "tokenizer.json", {**FAST, "model": {**MODEL, "unk_token": "[UNK]"}})
        self.write(words, name, content)
        assert expected in message(read_tokenizer, words)

    def test_another_vocabulary_beside_the_fast_file(self, words):
        model = {**MODEL, "vocab": {**MODEL["vocab"], "b": 5, "a": 6}}
        self.write(words, "tokenizer.json", {**FAST, "model": model})
        assert "vocab.txt, line 6: 'a', and token 5 of tokenizer.json is 'b'" in message(
            read_tokenizer, words
        )

    def test_special_tokens_of_other_names(self, words):
        """The advice of the message, followed to the letter, works."""
        names = {"[PAD]": "<pad>", "[CLS]": "<s>", "[UNK]": "<unk>", "[SEP]": "</s>"}
        lines = [names.get(token, token) for token in TOKENS]
        (words / "vocab.txt").write_text("\n".join(lines))
        text = message(read_tokenizer, words)
        assert "has no [PAD], [UNK], [CLS], [SEP]; name the tokens" in text
        assert text.endswith(
            "in tokenizer_config.json, as pad_token, unk_token, cls_token, sep_token"
        )
        self.write(words, "tokenizer_config.json", {
            "pad_token": "<pad>", "unk_token": {"content": "<unk>"}, "cls_token": "<s>",
            "sep_token": "</s>",
        })  # fmt: skip
        tokenizer = read_tokenizer(words)
        ids = tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id
        assert ids == (0, 1, 2, 3) and tokenizer.mask_id == 4
        assert tokenizer.tokenize(["a<s>?[CLS]"]).to_list() == [[5, 2, 1, 1, 1, 1]]

    def test_vocabulary_as_json(self, words):
        (words / "vocab.txt").write_text(json.dumps({"version": "1.0", "model": MODEL}))
        assert read_tokenizer(words).vocabulary == tuple(TOKENS)

    def test_vocabulary_of_an_editor(self, words):
        """A byte order mark, empty and repeated lines: all other tokens keep their ids."""
        lines = [*TOKENS[:6], "", "b", "a", *TOKENS[7:]]
        (words / "vocab.txt").write_text("\ufeff" + "\r\n".join(lines) + "\r\n\r\n")
        tokenizer = read_tokenizer(words)
        assert tokenizer.vocabulary == tuple(lines)
        assert tokenizer.tokenize(["a b f", "ab"]).to_list() == [[8, 7, 11], [8, 14]]

    def test_sentencepiece_without_a_class(self, words):
        with open(words / "vocab.txt", "a", encoding="utf-8") as file:
            file.writelines(f"▁{letter}\n" for letter in "abc")
        assert "3 tokens begin with '▁', as those of SentencePiece" in message(
            read_tokenizer, words
        )

    def test_a_token_that_the_model_has_no_embedding_of(self, words, capsys):
        self.write(words, "config.json", {"model_type": "bert", "vocab_size": len(TOKENS)})
        self.write(words, "added_tokens.json", {"[E]": len(TOKENS)})
        assert read_tokenizer(words).vocabulary == tuple(TOKENS)
        assert "has no embedding of [E], which is read as ordinary text" in capsys.readouterr().err


class TestVocabularyTells:
    """Directories that do not say how text is split."""

    @pytest.mark.parametrize(
        ("more", "cased"),
        [
            (["[unused1]", "the", "##s"], False),
            (["<S>", "<T>", "ℝ"], False),  # as in the Chinese one; ℝ has no lower case
            (["The"], True),
            (["##S"], True),
            (["É"], True),
        ],
    )
    @pytest.mark.parametrize("name", ["config.json", "bert_config.json"])
    def test_upper_case(self, words, more, cased, name):
        (words / name).write_text("{}")
        with open(words / "vocab.txt", "a") as file:
            file.writelines(f"{token}\n" for token in more)
        assert options(words) == {**DEFAULTS, "lowercase": not cased, "strip_accents": not cased}
        (words / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": cased}))
        assert options(words)["lowercase"] == cased


class TestBytePairs:
    @pytest.fixture
    def pairs(self, tmp_path):
        write_tokenizer(tmp_path, BytePairTokenizer(GPT_TOKENS, MERGES), 12)
        return tmp_path

    def test_no_end_of_text(self, tmp_path):
        write_tokenizer(tmp_path, BytePairTokenizer(GPT_TOKENS[:-1], MERGES), 12)
        assert read_tokenizer(tmp_path).end_id is None

    def test_end_that_the_files_do_not_say(self, copy_of):
        directory = copy_of(FAMILIES["bart"]).directory
        (directory / "tokenizer_config.json").unlink()
        assert read_tokenizer(directory).end_id == 2

    def test_half_the_files(self, pairs):
        (pairs / "merges.txt").unlink()
        assert "no vocab.json with merges.txt" in message(read_tokenizer, pairs)

    def test_refused(self, pairs):
        (pairs / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
        assert "add_prefix_space is True" in message(read_tokenizer, pairs)
        (pairs / "tokenizer_config.json").write_text('{"eos_token": 7}')
        assert "eos_token is 7" in message(read_tokenizer, pairs)

    def fast_file(self, pairs, **fields):
        """Their `tokenizer.json` in place of the two files; `fields` changed in it."""
        for name in ("vocab.json", "merges.txt"):
            (pairs / name).unlink()
        content = {
            "added_tokens": [{"id": 259, "content": END_OF_TEXT}],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "model": {
                "type": "BPE",
                "vocab": {token: n for n, token in enumerate(GPT_TOKENS[:-1])},
                "merges": [" ".join(pair) for pair in MERGES],
            },
        }
        (pairs / "tokenizer.json").write_text(json.dumps({**content, **fields}))
        return pairs

    def test_fast_file(self, pairs):
        again = read_tokenizer(self.fast_file(pairs))
        assert again.vocabulary == tuple(GPT_TOKENS) and again.merges == tuple(MERGES)

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"pre_tokenizer": {"type": "Whitespace"}}, "its pre_tokenizer is Whitespace and not"),
            ({"normalizer": {"type": "NFC"}}, "its normalizer is NFC and not None"),
            (
                {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
                "add_prefix_space of its pre_tokenizer is True",
            ),
            ({"model": {"type": "BPE", "vocab": {}}}, "damaged"),
            ({"added_tokens": [{"id": 300, "content": "x"}]}, "do not run from 0 up"),
        ],
    )
    def test_fast_file_refused(self, pairs, fields, expected):
        assert expected in message(read_tokenizer, self.fast_file(pairs, **fields))


@pytest.mark.parametrize("content", ['{"unknown": null}', '{"vocabulary": 3}'])
def test_characters_damaged(tmp_path, content):
    (tmp_path / "characters.json").write_text(content)
    assert "no vocabulary of characters" in message(read_tokenizer, tmp_path)


class TestLive:
    """Our files, read by `transformers`, and its files."""

    @pytest.mark.parametrize("name", ["gpt2", "bart"])
    def test_byte_pairs(self, parity, copy_of, tmp_path, name):
        import transformers

        case = FAMILIES[name]
        directory = copy_of(case).directory
        hub = transformers.AutoTokenizer.from_pretrained(directory)
        expected = case.tokenizer.tokenize(TEXTS).to_list()
        around = ([0], [2]) if name == "bart" else ([], [])
        special = [around[0] + ids + around[1] for ids in expected]
        assert hub(TEXTS)["input_ids"] == special
        assert hub.model_max_length == 24
        assert hub.eos_token == case.tokenizer.get_config()["end_of_text"]
        hub.save_pretrained(tmp_path / "hub")
        assert not (tmp_path / "hub" / "vocab.json").exists()
        (tmp_path / "hub" / "config.json").write_bytes((directory / "config.json").read_bytes())
        assert read_tokenizer(tmp_path / "hub").tokenize(TEXTS).to_list() == expected

    @pytest.mark.parametrize("name", LAYOUTS)
    def test_layout(self, parity, tmp_path, name):
        """`python -m benchmarks.layouts` compares 5,000 texts of each."""
        from benchmarks.layouts import differences

        assert not differences(name, tmp_path, 200)[:1]

    def test_words(self, parity, tmp_path):
        import transformers

        cased = WordPieceTokenizer(TOKENS, **CASED)
        write_bert(FAMILIES["bert"].random(), tmp_path, cased)
        hub = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert hub("é 中中")["input_ids"] == [2, 10, 1, 3]
        hub.save_pretrained(tmp_path / "hub")
        assert not (tmp_path / "hub" / "vocab.txt").exists()
        again = read_tokenizer(tmp_path / "hub")
        assert again.vocabulary == tuple(TOKENS) and again.get_config() == CASED


def test_albert_folds_case_and_accents(tmp_path):
    """Its SentencePiece model has lower-case letters alone, and no file says that it folds."""
    library = pytest.importorskip("sentencepiece")
    transformers = pytest.importorskip("transformers")
    model = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox", "a joy of 12"] * 20), model_writer=model,
        vocab_size=40, hard_vocab_limit=False, character_coverage=1.0, num_threads=1,
        minloglevel=2, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, pad_piece="<pad>",
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
    )  # fmt: skip
    (tmp_path / "spiece.model").write_bytes(model.getvalue())
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    options = tmp_path / "tokenizer_config.json"
    options.write_text('{"tokenizer_class": "AlbertTokenizer"}')
    texts = ["THE Quíck fôx", "a Joy of １２ x\u0323  y", "É"]
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    expected = [reference(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert read_tokenizer(tmp_path).tokenize(texts).to_list() == expected
    options.write_text('{"tokenizer_class": "AlbertTokenizer", "do_lower_case": false}')
    assert not read_tokenizer(tmp_path).inner.fold
    options.write_text('{"tokenizer_class": "AlbertTokenizer", "keep_accents": true}')
    assert "keep_accents is true" in message(read_tokenizer, tmp_path)
    (tmp_path / "spiece.model").unlink()
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    assert "tokenizer.json alone is not read; add the file" in message(read_tokenizer, tmp_path)
