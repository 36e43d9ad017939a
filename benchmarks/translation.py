"""Translation on real data, beside JoeyNMT and `transformers`.

    python -m benchmarks.translation --data DIR [--only multi30k ...] [--joeynmt PYTHON]

In: DIR with `multi30k_en_de`, `tatoeba_zh_en`, `iwslt14_de_en_sample` and `wmt_newstest`.
`multi30k`: English to German from scratch in at most 40 minutes of a processor. `tatoeba`: Chinese
to English, on sources of several references. `iwslt`: German to English from 6,583 pairs. The
weights are chosen on 200 to 580 of the training pairs, and what is reported is read by `evaluate`
alone. With `--joeynmt`, a Python that has JoeyNMT 2.3 (`pip install joeynmt`, in an environment of
its own), JoeyNMT trains on the same pairs for the same time: a Transformer of the same shape on the
same number of pieces, weights chosen by BLEU on 100 of the same pairs, four beams.
`back`: the English side of `iwslt`, translated by a model of the other direction, as more pairs.
`newstest` (needs `iwslt` and `tatoeba`): every sentence of both sets comes back from its tokens,
and the first ones are translated, alone and as documents; counts those that are `truncated`.
`speed`: a training step and four beams beside `MarianMTModel` of the same shape, random weights.
Out: a line of JSON each; exit status 1 if one of them misses its goal.
"""

import contextlib
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import turns
from benchmarks.commands import evaluated, print_figures, processor_seconds, tfmodels, trained
from benchmarks.decoding import search_function, session_of
from benchmarks.labelling import columns, lines
from benchmarks.peer import peer_epoch, peer_optimizer

MOST_SECONDS = 40 * 60
SHAPE = {"layers": 2, "hidden": 128, "heads": 2, "feedforward": 512}  # of --size tiny
PIECES = {"multi30k": 4000, "tatoeba": 4000, "iwslt": 2000}
TOKENS, RATE, DROPOUT = 1024, 3e-3, 0.1
# Few pairs need many steps: a small model, and small batches.
SMALL = ("--size", "tiny", "--batch_tokens", TOKENS, "--learning_rate", RATE,
         "--dropout", DROPOUT, "--schedule", "linear", "--patience", 10,
         "--bleu_examples", 200)  # fmt: skip


def divided(work, name, pairs, chosen, reported):
    """Write three files of pairs as JSON lines, unless they are there; return their paths.

    Args:
        work, name: folder, and first part of the names.
        pairs: of a text and its translation.
        chosen: number of them, after a shuffle, to choose the weights on.
        reported: pairs to report, or the number of them to take from the others.
    """
    pairs = [*pairs]
    random.Random(0).shuffle(pairs)
    if isinstance(reported, int):
        reported, pairs = pairs[:reported], pairs[reported:]
    parts = {"train": pairs[chosen:], "chosen": pairs[:chosen], "reported": reported}
    for part, rows in parts.items():
        with open(work / f"{name}.{part}.jsonl", "w", encoding="utf-8") as file:
            for text, translation in rows:
                row = {"text": text, "translation": translation}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return [work / f"{name}.{part}.jsonl" for part in parts]


def pairs_of(path):
    return [(row["text"], row["translation"]) for row in map(json.loads, lines(path))]


def measured(work, name, training, chosen, reported, *flags, grouped=False):
    """Train, unless it is there, and evaluate; return metrics and seconds of the training."""
    model, _, seconds = trained(
        work, name, "translation", "train", "--train_file", training, "--eval_file", chosen, *flags
    )
    grouping = ["--group_references", "true"] if grouped else []
    metrics = evaluated(
        "translation", "--model_dir", model, "--eval_file", reported, *grouping
    )  # fmt: skip
    return metrics, seconds


def scores(metrics):
    return {key: round(metrics[key], 2) for key in ("bleu", "bleu_lowercased", "chrf")}


def multi30k(options, work):
    folder = options.data / "multi30k_en_de"
    train, val = (
        [lines(folder / f"{part}.{side}.gz") for side in ("en", "de")] for part in ("train", "val")
    )
    files = divided(work, "multi30k", zip(*train, strict=True), 580, zip(*val, strict=True))
    metrics, _ = measured(
        work, "multi30k", *files, *SMALL, "--vocabulary_size", PIECES["multi30k"],
        "--epochs", options.epochs or 25,
    )  # fmt: skip
    seconds = processor_seconds(work, "multi30k")  # other work beside it does not change them much
    return {
        "figure": "Multi30k, English to German, 1,014 pairs of the validation set",
        **scores(metrics), "processor_seconds": seconds, "goal": 40,
        "held": metrics["bleu_lowercased"] >= 40 and seconds <= MOST_SECONDS,
    }  # fmt: skip


def tatoeba(options, work):
    folder = options.data / "tatoeba_zh_en"
    train, dev = (columns(folder / name, 1, 0) for name in ("train.tsv.gz", "dev.tsv"))
    files = divided(work, "tatoeba", train, 500, dev)
    metrics, seconds = measured(
        work, "tatoeba", *files, *SMALL, "--vocabulary_size", PIECES["tatoeba"], "--max_length", 64,
        "--max_target_length", 64, "--epochs", options.epochs or 20, grouped=True,
    )  # fmt: skip
    return beside_joeynmt(
        options, work, "tatoeba", files, metrics, seconds,
        f"Tatoeba, Chinese to English, {metrics['examples']} sources of the dev set",
    )  # fmt: skip


def iwslt_files(options, work):
    folder = options.data / "iwslt14_de_en_sample"
    sides = (lines(folder / f"valid.{side}.gz") for side in ("de", "en"))
    return divided(work, "iwslt", zip(*sides, strict=True), 200, 500)


IWSLT = (*SMALL, "--vocabulary_size", PIECES["iwslt"], "--max_length", 128,
         "--max_target_length", 128)  # fmt: skip


def iwslt(options, work):
    files = iwslt_files(options, work)
    metrics, seconds = measured(work, "iwslt", *files, *IWSLT, "--epochs", options.epochs or 30)
    return beside_joeynmt(
        options,
        work,
        "iwslt",
        files,
        metrics,
        seconds,
        "IWSLT sample, German to English, 500 pairs",
    )


def back(options, work):
    training, chosen, reported = iwslt_files(options, work)
    epochs = options.epochs or 30
    plain, _ = measured(work, "iwslt", training, chosen, reported, *IWSLT, "--epochs", epochs)
    other, _, seconds = trained(
        work, "iwslt_reversed", "translation", "train", "--train_file", training,
        "--eval_file", chosen, "--reverse", "true", *IWSLT, "--epochs", epochs,
    )  # fmt: skip
    more = work / "iwslt.back.jsonl"
    if not more.exists():
        text = work / "iwslt.english.txt"
        text.write_text("".join(f"{pair[1]}\n" for pair in pairs_of(training)), encoding="utf-8")
        tfmodels("translation", "back_translate", "--model_dir", other, "--input_file", text,
                 "--output_file", more)  # fmt: skip
    metrics, taken = measured(
        work, "iwslt_back", training, chosen, reported, *IWSLT, "--epochs", epochs,
        "--extra_file", more,
    )  # fmt: skip
    return {
        "figure": "IWSLT sample with back-translations of its English side, 500 pairs",
        **scores(metrics), "without": scores(plain), "pairs": len(pairs_of(more)),
        "seconds": [seconds, taken], "held": metrics["bleu"] >= plain["bleu"] + 1,
    }  # fmt: skip


def beside_joeynmt(options, work, name, files, metrics, seconds, title):
    """Return the row of a figure, with JoeyNMT's if a Python that has it is given."""
    row = {"figure": title, **scores(metrics), "seconds": seconds, "held": True}
    if options.joeynmt:
        row["joeynmt"] = joeynmt(options, work, name, files, seconds)
        row["held"] = metrics["bleu"] > row["joeynmt"]["bleu"]
    return row


def joeynmt(options, work, name, files, seconds):
    """Train JoeyNMT for so many seconds, in an environment of its own; return its scores."""
    import sentencepiece
    import yaml

    from tfmodels.metrics.translation import measure

    folder = work / f"{name}.joeynmt"
    folder.mkdir(exist_ok=True)
    training, chosen, reported = map(pairs_of, files)
    # It writes without a cache: all of the pairs, more often, would take most of its time.
    for part, pairs in {"train": training, "dev": chosen[:100]}.items():
        for side, texts in zip(("src", "trg"), zip(*pairs, strict=True), strict=True):
            (folder / f"{part}.{side}").write_text("\n".join(texts) + "\n", encoding="utf-8")
    both = [text for pair in training for text in pair]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(both), model_prefix=str(folder / "pieces"), vocab_size=PIECES[name],
        character_coverage=1.0, unk_id=0, pad_id=1, bos_id=2, eos_id=3, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    vocabulary = [line.split("\t")[0] for line in lines(folder / "pieces.vocab")]
    (folder / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    side = {
        "max_length": 128, "level": "bpe", "lowercase": False, "voc_file": "vocabulary.txt",
        "tokenizer_type": "sentencepiece", "tokenizer_cfg": {"model_file": "pieces.model"},
    }  # fmt: skip
    block = {
        "type": "transformer", "num_layers": SHAPE["layers"], "num_heads": SHAPE["heads"],
        "hidden_size": SHAPE["hidden"], "ff_size": SHAPE["feedforward"], "dropout": DROPOUT,
        "layer_norm": "pre",
        "embeddings": {"embedding_dim": SHAPE["hidden"], "scale": True, "dropout": 0.0},
    }  # fmt: skip
    config = {
        "name": name, "joeynmt_version": "2.3.0", "model_dir": "model", "use_cuda": False,
        "random_seed": 0,
        "data": {"train": "train", "dev": "dev", "test": "dev", "dataset_type": "plain",
                 "src": {**side, "lang": "src"}, "trg": {**side, "lang": "trg"}},
        "testing": {"beam_size": 4, "beam_alpha": 1.0, "batch_size": 64, "max_output_length": 128,
                    "eval_metrics": ["bleu"]},
        "training": {
            "optimizer": "adam", "adam_betas": [0.9, 0.98], "learning_rate": RATE,
            "learning_rate_warmup": 400, "scheduling": "warmupinversesquareroot",
            "learning_rate_min": 1e-6, "clip_grad_norm": 1.0, "label_smoothing": 0.1,
            "normalization": "tokens", "batch_size": TOKENS, "batch_type": "token",
            "early_stopping_metric": "bleu", "epochs": 10_000, "validation_freq": 500,
            "logging_freq": 50, "keep_best_ckpts": 1, "print_valid_sents": [],
        },
        "model": {
            "initializer": "xavier_uniform", "bias_initializer": "zeros",
            "embed_initializer": "xavier_uniform", "tied_embeddings": True, "tied_softmax": True,
            "encoder": block, "decoder": block,
        },
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    model, environment = folder / "model", {**os.environ, "PYTHONPATH": ""}
    command = [options.joeynmt, "-m", "joeynmt"]
    if not model.exists():
        ended = contextlib.suppress(subprocess.TimeoutExpired)  # which ends the process
        with open(folder / "train.log", "w", encoding="utf-8") as log, ended:
            subprocess.run(
                [*command, "train", "config.yaml", "--skip-test"], cwd=folder, env=environment,
                stdout=log, stderr=log, timeout=seconds,
            )  # fmt: skip
    sources = list(dict.fromkeys(text for text, _ in reported))
    done = subprocess.run(
        [*command, "translate", "config.yaml"], cwd=folder,  # with its best checkpoint
        env=environment, input="\n".join(sources) + "\n", capture_output=True, text=True,
    )  # fmt: skip
    written = done.stdout.removesuffix("\n").split("\n")
    if len(written) != len(sources):
        sys.exit(f"JoeyNMT wrote {len(written)} lines of {len(sources)}: {done.stderr[-500:]}")
    references = [[target for text, target in reported if text == source] for source in sources]
    return {
        **scores(measure(sources, references, written)),
        "checkpoint": (model / "best.ckpt").resolve().name,
    }


def newstest(options, work):
    """Read every sentence, decode its tokens, and translate all as documents and as lines."""
    import tfmodels as library

    folder, rows, held = options.data / "wmt_newstest", {}, True
    for name, model, *sides in (
        ("2013 de-en", "iwslt", "newstest2013.deu-eng.deu.gz", "newstest2013.deu-eng.eng.gz"),
        ("2017 zh-en", "tatoeba", "newstest2017.zho-eng.zho.gz", "newstest2017.zho-eng.eng.gz"),
    ):
        pairs = library.data.open_parallel(*(str(folder / side) for side in sides))
        texts = [text for _, values in pairs.rows() for text in values[:2]]
        task = library.load(work / model)
        tokens = task.tokenizer.tokenize(texts)
        decoded = [text.decode().strip() for text in task.tokenizer.detokenize(tokens).numpy()]
        differing = sum(a != b for a, b in zip(texts, decoded, strict=True))
        sources = texts[::2][: options.sentences]
        longest = max(len(row) for row in task.tokenizer.tokenize(sources).to_list())
        answers = task.predict([*sources, " ".join(sources[:100]), "\n\n".join(sources[:100])])
        rows[name] = {
            "pairs": len(texts) // 2, "differ from their tokens": differing,
            "translated": len(sources), "tokens of the longest": longest,
            "truncated": sum(answer["truncated"] for answer in answers),
            "empty": sum(not answer["translation"].strip() for answer in answers),
            "sentences of a document": answers[-2]["parts"],
        }  # fmt: skip
        held = held and not differing and len(answers) == len(sources) + 2
    return {"figure": "newstest: readers, tokens, long sentences", **rows, "held": held}


def speed(options, work):
    """Milliseconds of a training step of 32 pairs of 32 tokens, and of four beams for 8 sources.

    Each searches with weights that it stores in the precision of the products: ours is that of an
    export with frozen weights, in a session with TF Serving's options.
    """
    processes = {
        name: turns.start("benchmarks.translation", "--serve", name)
        for name in ("tfmodels", "transformers")
    }
    table = turns.print_table("translation, ms", turns.rounds(processes, ("train", "search"), 5))
    ratios = turns.ratios(table, ["tfmodels"], ["transformers"])
    return {"figure": "speed", "table": table, "ratio": ratios, "goal": 1.5,
            "held": min(ratios.values()) >= 1.5}  # fmt: skip


VOCABULARY, LENGTH, NEW = 8000, 32, 32


def random_ids(rows):
    import numpy as np

    return np.random.default_rng(0).integers(3, VOCABULARY - 1, (rows, LENGTH)).astype("int32")


def run_tfmodels():
    import numpy as np
    import tensorflow as tf

    from tfmodels.generation.settings import Generation
    from tfmodels.models.transformer import PAPER, Transformer, TransformerConfig
    from tfmodels.training.losses import Crossentropy
    from tfmodels.training.optimizer import AdamW
    from tfmodels.training.precision import dtype_policy

    model = Transformer(
        TransformerConfig(
            vocabulary_size=VOCABULARY, num_encoder_layers=6, num_decoder_layers=6,
            hidden_dim=512, num_heads=8, feedforward_dim=2048, **PAPER,
        ),
        dtype=dtype_policy("auto"),
    )  # fmt: skip
    model.compile(AdamW(1e-4, global_clipnorm=1.0), Crossentropy(0.1))
    ids = random_ids(32)
    batch = {
        "token_ids": ids, "decoder_token_ids": ids, "padding_mask": np.ones_like(ids, bool),
    }  # fmt: skip
    batch = {name: tf.constant(value) for name, value in batch.items()}
    settings = Generation(max_new_tokens=NEW, num_beams=4, min_new_tokens=NEW, stop_ids=(2,))

    labels = tf.constant(ids)
    with tempfile.TemporaryDirectory() as folder:
        search = session_of(search_function(model, settings, 1), model, Path(folder), 2)
    return {"train": lambda: model.train_on_batch(batch, labels), "search": lambda: search(ids[:8])}


def run_transformers():
    import torch
    from transformers import MarianConfig, MarianMTModel

    from tfmodels.training.precision import dtype_policy

    half = dtype_policy("auto") == "mixed_bfloat16"
    torch.set_num_threads(2)
    width = {
        f"{part}_{name}": value
        for part in ("encoder", "decoder")
        for name, value in (("layers", 6), ("attention_heads", 8), ("ffn_dim", 2048))
    }
    model = MarianMTModel(MarianConfig(
        vocab_size=VOCABULARY, d_model=512, activation_function="relu", scale_embedding=True,
        pad_token_id=VOCABULARY - 1, decoder_start_token_id=1, eos_token_id=2,
        forced_eos_token_id=None, max_position_embeddings=128, **width,
    ))  # fmt: skip
    steps = peer_optimizer(model, 10_000)
    ids = torch.tensor(random_ids(32)).long()
    batch = {"input_ids": ids, "decoder_input_ids": ids, "labels": ids}
    stored = copy.deepcopy(model).to(torch.bfloat16 if half else torch.float32).eval()

    def search():
        with torch.inference_mode():
            return stored.generate(ids[:8], num_beams=4, do_sample=False, max_new_tokens=NEW,
                                   min_new_tokens=NEW)  # fmt: skip

    return {"train": lambda: peer_epoch(model, [batch], *steps, half), "search": search}


def answers(peer):
    """Return a function of `train` or `search`: median milliseconds."""
    steps = globals()[f"run_{peer}"]()
    return lambda question: turns.milliseconds(steps[question])


def further_flags(parser):
    parser.add_argument("--joeynmt", help="a Python that has JoeyNMT, to train beside")
    parser.add_argument("--epochs", type=int, help="of the trainings, in place of the usual ones")
    parser.add_argument("--sentences", type=int, default=200, help="of newstest, to translate")


FIGURES = {
    "multi30k": multi30k, "tatoeba": tatoeba, "iwslt": iwslt, "back": back, "newstest": newstest,
    "speed": speed,
}  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        sys.exit(turns.serve(lambda: answers(sys.argv[2])))
    sys.exit(print_figures(__doc__.splitlines()[0], FIGURES, further_flags, checkpoint=False))
