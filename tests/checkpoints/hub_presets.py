"""Small random presets, written by KerasHub itself."""

import io

import numpy as np

from tfmodels.text.bpe import END_OF_TEXT, printable_bytes

TEXTS = ["the quick brown fox jumps over the lazy dog", "she sells sea shells by the sea shore",
         "a joy to watch", "a bore to read", "Ada Lovelace flew to Paris in 1842 .",
         "naïve cafés, façades; Zürich!", "北京 是 中国 的 首都"]  # fmt: skip
LETTERS = sorted({letter for text in TEXTS for letter in text.lower() if letter != " "})
WORDS = sorted({word for text in TEXTS for word in text.lower().split()})
MERGES = ["t h", "th e", "Ġ the", "i n", "Ġ s", "e a"]
MERGED = [merge.replace(" ", "") for merge in MERGES]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *WORDS,
          *(f"##{letter}" for letter in LETTERS)]  # fmt: skip
WORD_PIECES = list(dict.fromkeys(PIECES))
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", *printable_bytes(), *MERGED, "<mask>"]
GPT2 = [*printable_bytes(), *MERGED, END_OF_TEXT]
SHAPE = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32,
         "max_sequence_length": 48}  # fmt: skip
BACKBONES = {
    "Bert": {},
    "GPT2": {},
    "Bart": {},
    "Roberta": {},
    "XLMRoberta": {},
    "DebertaV3": {"bucket_size": 8},
    "Albert": {"embedding_dim": 8, "num_groups": 1},
    "DistilBert": {},
    "Electra": {"embedding_dim": 8},
    "FNet": {},
}
ENCODERS = [*BACKBONES][3:]


def sentence_piece(**ids):
    """A SentencePiece model of `TEXTS`."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20), model_writer=model, vocab_size=110,
        model_type="unigram", hard_vocab_limit=False, character_coverage=1.0, num_threads=1,
        minloglevel=2, **ids,
    )  # fmt: skip
    return model.getvalue()


def tokenizer_of(family):
    """KerasHub's tokenizer of a family, with a small vocabulary."""
    import keras_hub

    kind = getattr(keras_hub.models, f"{family}Tokenizer")
    if family in ("Bert", "DistilBert", "Electra"):
        return kind(vocabulary=WORD_PIECES, lowercase=True, strip_accents=True)
    if family in ("GPT2", "Bart", "Roberta"):
        tokens = GPT2 if family == "GPT2" else ROBERTA
        return kind(vocabulary={token: i for i, token in enumerate(tokens)}, merges=MERGES)
    if family == "XLMRoberta":
        return kind(proto=sentence_piece(unk_id=0, bos_id=1, eos_id=2))
    if family == "DebertaV3":
        return kind(proto=sentence_piece(
            pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
            eos_piece="[SEP]", unk_piece="[UNK]",
        ))  # fmt: skip
    return kind(proto=sentence_piece(
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="<pad>", unk_piece="<unk>",
        bos_piece="[CLS]", eos_piece="[SEP]", user_defined_symbols="[MASK]",
    ))  # fmt: skip


def backbone_of(family, tokenizer):
    """KerasHub's backbone of a family with random weights, none of which is 0 or 1."""
    import keras_hub

    shape = {**SHAPE, **BACKBONES[family]}
    if family == "FNet":
        del shape["num_heads"]
    size = "vocab_size" if family == "Electra" else "vocabulary_size"
    kind = getattr(keras_hub.models, f"{family}Backbone")
    backbone = kind(**{size: tokenizer.vocabulary_size()}, **shape)
    random = np.random.default_rng(0)
    for weight in backbone.weights:
        scale = 0.3 if len(weight.shape) > 1 else 0.1
        noise = random.normal(0, scale, weight.shape)
        weight.assign(noise + ("gamma" in weight.path))
    return backbone


def write_preset(family, directory):
    """Write a preset; return KerasHub's backbone and tokenizer."""
    tokenizer = tokenizer_of(family)
    backbone = backbone_of(family, tokenizer)
    backbone.save_to_preset(str(directory))
    tokenizer.save_to_preset(str(directory))
    return backbone, tokenizer
