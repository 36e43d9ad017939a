"""KerasHub's presets and encoders: what docs/kerashub.md says, measured.

    python -m benchmarks.hub [--families Roberta ...] [--data DIR] [--only encoders ...]

In: nothing but small random presets, which KerasHub writes; with `--data`, the texts that
`benchmarks.tokens` reads and the published vocabularies. Out: a line of JSON for each figure; exit
status 1 if one does not hold. It needs keras-hub, and `--only converted` torch and transformers.
"""

import argparse
import functools
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.checkpoints import hub_presets

SENTENCES = 5000  # of the tagger
LIMIT, LOGITS = 1e-5, 1e-4  # largest differences from KerasHub, and from PyTorch


def rows():
    """64 texts that a word decides, with their labels."""
    random = np.random.default_rng(0)
    words = np.array(["the", "quick", "brown", "fox", "over", "lazy", "dog", "she", "sells", "sea"])
    labels = ["good", "bad"] * 32
    decisive = {"good": "joy", "bad": "bore"}
    return [" ".join([*random.choice(words, 5), decisive[y]]) for y in labels], labels


def sentences(number):
    """Texts with emoji, accents, tabs, full-width letters and Chinese in random order."""
    random = np.random.default_rng(0)
    parts = np.array([
        "Ada", "Lovelace", "Paris", "Zürich", "naïve", "café", "🙂", "👩‍👩‍👧", "北京",
        "是中国的首都", "１０ｋｇ", "ﬁne", "e\u0301tude", "…", "(she", "sells)", "sea-shells",
        "don't", "\u200bx",
    ])  # fmt: skip
    between = np.array([" ", "\t", "  ", "", ", ", "\u3000"])
    return ["".join(f"{part}{gap}" for part, gap in
                    zip(random.choice(parts, 8), random.choice(between, 8), strict=True))
            for _ in range(number)]  # fmt: skip


def encoders(options, folder):
    """Yield a figure for each encoder: states, tokens, training, answers of the export."""
    import tensorflow as tf

    from tests.serving.fresh import ask
    from tests.tasks.test_hub import states_of_hub
    from tfmodels import TextClassifier
    from tfmodels.serving.compatibility import check
    from tfmodels.text.batching import encode

    for family in options.families:
        directory = folder / family
        backbone, tokenizer = hub_presets.write_preset(family, directory)
        task = TextClassifier.from_preset(directory, max_length=48, dropout=0.0)
        texts = [*hub_presets.TEXTS, *shared_texts(options.data)]
        ours, of_hub = ids_of(task.tokenizer.tokenize, texts), ids_of(tokenizer, texts)
        batch = encode(task.tokenizer, tf.constant(hub_presets.TEXTS), 48)
        mask = batch["padding_mask"].numpy()
        wanted = states_of_hub(backbone, batch, task.tokenizer.pad_id)
        states = np.abs(np.array(task.backbone(batch)) - wanted)[mask].max()
        x, y = rows()
        task.compile(learning_rate=3e-3, ema=0)
        task.fit(x, y, batch_size=16, epochs=50, verbose=0)
        accuracy = task.evaluate(x, y)["accuracy"]
        version = task.export(folder / f"served_{family}")
        check(version)
        _, (answer,) = ask(version, ("serving_default", {"text": ("string", x)}))
        served = np.abs(np.array(answer["probabilities"]) - task.probabilities(x)).max()
        equal = sum(one == other for one, other in zip(ours, of_hub, strict=True))
        held = bool(states < LIMIT and accuracy == 1 and served < LIMIT)
        yield {
            "figure": f"{family} under our heads", "states": float(states), "texts": len(texts),
            "equal_tokens": equal, "accuracy": accuracy, "served": float(served),
            "version": str(version), "held": held,
        }  # fmt: skip


def tagger(options, folder):
    """Yield the figure of entities in an export of RoBERTa: `text[start:end]` is the entity."""
    from tests.serving.fresh import ask
    from tfmodels import TokenClassifier

    hub_presets.write_preset("Roberta", folder / "tagger")
    task = TokenClassifier.from_preset(folder / "tagger", max_length=24, dropout=0.0)
    words = [["Ada", "Lovelace", "flew", "to", "Paris", "."], ["a", "joy", "in", "Zürich", "!"]] * 8
    tags = [["B-PER", "I-PER", "O", "O", "B-LOC", "O"], ["O", "O", "O", "B-LOC", "O"]] * 8
    task.compile(learning_rate=3e-3, ema=0)
    task.fit(words, tags, batch_size=8, epochs=40, verbose=0)
    version, texts = task.export(folder / "served_tagger"), sentences(options.sentences)
    calls = [("serving_default", {"text": ("string", part)}) for part in batches(texts)]
    _, answers = ask(version, *calls, timeout=3600)
    found = exact = 0
    for part, answer in zip(batches(texts), answers, strict=True):
        for text, *row in zip(part, *(answer[n] for n in ("entity", "start", "end")), strict=True):
            for entity, start, end in zip(*row, strict=True):
                found += start >= 0
                exact += start >= 0 and text[start:end] == entity
    yield {"figure": "entities of an exported RoBERTa are parts of the text", "texts": len(texts),
           "entities": found, "exact": exact, "held": bool(found and found == exact)}  # fmt: skip


def round_trips(options, folder):
    """Yield the figures of ours -> preset -> KerasHub -> preset -> ours."""
    import keras_hub

    from tfmodels import CausalLM, Seq2SeqLM, TextClassifier

    for family, kind in (("Bert", TextClassifier), ("GPT2", CausalLM), ("Bart", Seq2SeqLM)):
        hub_presets.write_preset(family, folder / family)
        task = kind.from_preset(folder / family)
        task.save_to_preset(folder / f"{family}_out")
        backbone = keras_hub.models.Backbone.from_preset(str(folder / f"{family}_out"))
        tokenizer = keras_hub.models.Tokenizer.from_preset(str(folder / f"{family}_out"))
        backbone.save_to_preset(str(folder / f"{family}_again"))
        tokenizer.save_to_preset(str(folder / f"{family}_again"))
        again = kind.from_preset(folder / f"{family}_again")
        pairs = zip(weights_of(task), weights_of(again), strict=True)
        difference = max(float(np.abs(one - other).max()) for one, other in pairs)
        texts = [*hub_presets.TEXTS, *shared_texts(options.data)]
        ours, back = (ids_of(one.tokenizer.tokenize, texts) for one in (task, again))
        of_hub = ids_of(tokenizer, texts)
        equal = sum(one == other for one, other in zip(ours, of_hub, strict=True))
        yield {
            "figure": f"{family}: ours, preset, KerasHub, preset, ours", "difference": difference,
            "texts": len(texts), "equal_tokens_of_kerashub": equal,
            "held": difference == 0 and ours == back,
        }  # fmt: skip


def converted(options, folder):
    """Yield the figures of random weights of PyTorch's classes, which KerasHub converts."""
    import torch
    import transformers

    from tfmodels import TextClassifier

    sizes = {"vocab_size": len(hub_presets.ROBERTA), "hidden_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 50,
             "type_vocab_size": 1, "layer_norm_eps": 1e-5}  # fmt: skip
    bert = {"vocab_size": len(hub_presets.WORD_PIECES), "dim": 32, "n_layers": 2, "n_heads": 2,
            "hidden_dim": 64, "max_position_embeddings": 48}  # fmt: skip
    for name, config in (
        ("Roberta", transformers.RobertaConfig(**sizes, pad_token_id=1, num_labels=3)),
        ("DistilBert", transformers.DistilBertConfig(**bert, num_labels=3)),
    ):
        torch.manual_seed(0)
        peer = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
        with torch.no_grad():
            for weight in peer.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
        directory = folder / f"converted_{name}"
        peer.save_pretrained(directory)
        write_tokenizer_files(name, directory)
        task = TextClassifier.from_preset(directory, labels=["a", "b", "c"], pooling="first")
        pooler, logits = heads_of(name, peer)
        if name == "DistilBert":  # whose pooler has a ReLU
            task.model.pooler.dense.activation_name = "relu"
        copy_dense(pooler, task.model.pooler.dense)
        copy_dense(logits, task.model.head.logits)
        ids = np.random.default_rng(0).integers(5, 60, (4, 12))
        mask = np.arange(12) < np.array([[12], [9], [5], [3]])
        ids = np.where(mask, ids, 1)
        ours = np.array(task.model({"token_ids": ids, "padding_mask": mask}))
        with torch.no_grad():
            wanted = peer(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask * 1))
        wanted = wanted.logits.numpy()
        difference, largest = float(np.abs(ours - wanted).max()), float(np.abs(wanted).max())
        yield {"figure": f"{name}: logits of PyTorch's class", "difference": difference,
               "largest": largest, "held": difference < LOGITS}  # fmt: skip


def heads_of(name, model):
    """Return the dense layers of a head of PyTorch's."""
    if name == "Roberta":
        return model.classifier.dense, model.classifier.out_proj
    return model.pre_classifier, model.classifier


def copy_dense(source, target):
    target.set_weights([source.weight.detach().numpy().T, source.bias.detach().numpy()])


def write_tokenizer_files(name, directory):
    """Write the files of a tokenizer as `transformers` does."""
    if name == "DistilBert":
        text = "".join(f"{token}\n" for token in hub_presets.WORD_PIECES)
        (directory / "vocab.txt").write_text(text, encoding="utf-8")
        return
    ids = {token: number for number, token in enumerate(hub_presets.ROBERTA)}
    (directory / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    merges = "".join(f"{merge}\n" for merge in hub_presets.MERGES)
    (directory / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    options = {"tokenizer_class": "RobertaTokenizer"}
    (directory / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")


def weights_of(task):
    return (getattr(task, "backbone", None) or task.model).get_weights()


def ids_of(tokenize, texts):
    """Return the token ids of texts as lists."""
    rows = []
    for part in batches(texts):
        ids = tokenize(part)
        rows += [[*map(int, row)] for row in (ids.to_list() if hasattr(ids, "to_list") else ids)]
    return rows


def batches(texts, size=500):
    return [texts[first : first + size] for first in range(0, len(texts), size)]


@functools.cache
def shared_texts(data):
    """The first 2,000 lines of some sets, where `--data` is given."""
    files = {"sst2/train.tsv": 0, "chnsenticorp/dev.tsv": 1, "multi30k_en_de/train.en": 0}
    texts = []
    for file, column in files.items() if data else ():
        path = Path(data) / file
        lines = path.read_text(encoding="utf-8").splitlines()[1:2001] if path.exists() else ()
        texts += [line.split("\t")[min(column, line.count("\t"))] for line in lines]
    return texts


FIGURES = {"encoders": encoders, "tagger": tagger, "round_trips": round_trips,
           "converted": converted}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = hub_presets.ENCODERS
    parser.add_argument("--families", nargs="+", default=known, choices=known)
    parser.add_argument("--data")
    parser.add_argument("--only", nargs="+", default=list(FIGURES), choices=list(FIGURES))
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--work", help="directory to keep what is written in")
    options, held = parser.parse_args(), True
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            for figure in FIGURES[name](options, Path(options.work or folder)):
                print(json.dumps(figure, ensure_ascii=False), flush=True)
                held &= figure["held"]
    sys.exit(not held)


if __name__ == "__main__":
    main()
