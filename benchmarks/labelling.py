"""Every labelling of texts on real data: classes, several labels, pairs, scores, few examples.

    python -m benchmarks.labelling --data DIR [--only trec mrpc ...] [--peer] [--results FILE]

In: DIR with the folders that `SETS` names; the MiniLM weights of `make demo`, from which English
starts, while Chinese starts from scratch, or for few examples from a BERT-mini that is pretrained
here on reviews without labels. Out: a line of JSON for each figure, which is also added
to the file `--results`; exit status 1 if one misses its goal.

Rows that are reported are a set's dev part or 20 % of its training rows, and are read by `evaluate`
alone: the weights, temperatures and thresholds are chosen on a tenth of the other rows. With
`--peer`, PyTorch `transformers` is trained on the same rows (learning rate 1e-4, in bfloat16 where
ours is, batches padded to their longest, AdamW, 6 % warm-up, clipping at 1.0; weights chosen on
the same tenth).
"""

import collections
import csv
import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.commands import (
    evaluated,
    print_figures,
    processor_seconds,
    run,
    tfmodels,
    trained,
)

SHARE = 0.2  # of the training rows, where a set has no dev part
LONGEST = 128
PRETRAINING_STEPS = 3000  # of the Chinese encoder, for the few examples


def lines(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig") as file:
        yield from (line.rstrip("\n") for line in file)


def columns(path, *places, header=False, skip=None):
    """Yield columns of a file of tabs, whose quotes are text."""
    for number, line in enumerate(lines(path)):
        values = line.split("\t")
        if number >= header and (skip is None or values[places[-1]] != skip):
            yield tuple(values[place] for place in places)


def table(path, *names):
    with open(path, encoding="utf-8", newline="") as file:
        yield from (tuple(row[name] for name in names) for row in csv.DictReader(file))


def objects(path, *names):
    yield from (tuple(str(row[name]) for name in names) for row in map(json.loads, lines(path)))


def trec(data, fine=False):
    for line in lines(data / "trec" / "train_5500.label"):
        label, text = line.split(" ", 1)
        yield text, label if fine else label.split(":")[0]


def clinc(data, *parts):
    sets = json.loads((data / "clinc150" / "data_full.train_val.json").read_text("utf-8"))
    return [tuple(row) for part in parts for row in sets[part]]


def emotions(path, data):
    names = list(lines(data / "go_emotions" / "labels.txt"))
    for text, numbers in columns(path, 0, 1):
        yield text, [names[int(number)] for number in numbers.split(",")]


def tweets(data):
    path = data / "semeval2018_emotions" / "2018-E-c-En-train.txt"
    names = next(lines(path)).split("\t")[2:]
    for values in columns(path, *range(1, 13), header=True):
        there = zip(names, values[1:], strict=True)
        yield values[0], [name for name, value in there if value == "1"]


def scored(rows):
    yield from ((*texts, float(value)) for *texts, value in rows)


class Set(NamedTuple):
    """A set and how it is trained.

    Attributes:
        rows: function of the data directory that gives the training rows.
        metric: key of the metrics.
        goal: of the metric, in per cent.
        to_beat: what others reach, for the reader.
        reported: function that gives the rows to report, or None for a share of the others.
        flags: of `tfmodels classification train`.
        checkpoint: what the training starts from: "minilm", "none", or "chinese", which is
            pretrained here.
        further: other metrics that are reported.
        examples: number of training rows of each class, for few examples.
    """

    rows: object
    metric: str
    goal: float | None
    to_beat: str
    reported: object = None
    flags: tuple = ()
    checkpoint: str = "minilm"
    further: tuple = ("macro_f1",)
    examples: int | None = None


ENGLISH = ("--epochs", 5, "--batch_size", 32, "--max_length", LONGEST)
PAIRS = (*ENGLISH, "--epochs", 3, "--pair_column", "pair")
CHINESE = ("--size", "mini", "--epochs", 12, "--max_length", 64, "--learning_rate", "5e-4")
SETS = {
    "trec": Set(trec, "accuracy", 96.5, "PyTorch 96.0, TF-IDF 90.8", flags=ENGLISH),
    "trec_fine": Set(lambda d: trec(d, True), "accuracy", 90.0, "TF-IDF 82.4",
                     flags=(*ENGLISH, "--epochs", 8)),
    "ag_news": Set(lambda d: table(d / "ag_news_sample/train.csv", "text", "label"), "accuracy",
                   89.5, "TF-IDF 87.1",
                   lambda d: table(d / "ag_news_sample/dev.csv", "text", "label"), ENGLISH),
    "banking77": Set(lambda d: table(d / "banking77/train.csv", "text", "category"), "accuracy",
                     94.0, "PyTorch 93.5, TF-IDF 87.6", flags=(*ENGLISH, "--epochs", 6)),
    "clinc150": Set(lambda d: clinc(d, "train", "oos_train"), "in_scope_accuracy", 96.0,
                    "TF-IDF 91.0; BERT 96.9 with recall 40.3",
                    lambda d: clinc(d, "val", "oos_val"),
                    (*ENGLISH, "--epochs", 4, "--out_of_scope", "oos"),
                    further=("out_of_scope_recall", "accuracy")),
    "go_emotions": Set(lambda d: emotions(d / "go_emotions/train.tsv.gz", d), "macro_f1", 48.0,
                       "TF-IDF 43.7 macro, 52.0 micro; BERT 46 macro",
                       lambda d: emotions(d / "go_emotions/dev.tsv", d), (*ENGLISH, "--epochs", 2),
                       further=("micro_f1",)),
    "semeval": Set(tweets, "jaccard", 54.0, "TF-IDF 45.3",
                   flags=(*ENGLISH, "--thresholds", "one", "--epochs", 5),
                   further=("micro_f1", "macro_f1")),
    "mrpc": Set(lambda d: columns(d / "mrpc/msr_paraphrase_train.txt", 3, 4, 0, header=True),
                "accuracy", 80.4, "PyTorch 80.4", flags=(*PAIRS, "--epochs", 5), further=("f1",)),
    "stsb": Set(lambda d: scored(columns(d / "stsb/sts-train.csv", 5, 6, 4)), "spearman", 83.3,
                "PyTorch 83.3", lambda d: scored(columns(d / "stsb/sts-dev.csv", 5, 6, 4)),
                (*PAIRS, "--target", "score"), further=("pearson",)),
    "snli": Set(lambda d: (row[1:] + row[:1] for row in columns(d / "snli/dev.tsv", 0, 1, 2)
                           if row[0] != "-"), "accuracy", None, "PyTorch beside", flags=PAIRS),
    "sick": Set(lambda d: columns(d / "sick/SICK_train.txt", 1, 2, 4, header=True), "accuracy",
                None, "PyTorch beside",
                lambda d: columns(d / "sick/SICK_trial.txt", 1, 2, 4, header=True), PAIRS),
    "rte": Set(lambda d: columns(d / "rte/train.tsv", 1, 2, 3, header=True), "accuracy", None,
               "PyTorch 53 to 56", flags=PAIRS),
    "toutiao": Set(lambda d: table(d / "toutiao_news_sample/train.csv", "text", "label"),
                   "accuracy", 75.4, "TF-IDF 75.4, macro F1 69.0",
                   lambda d: table(d / "toutiao_news_sample/dev.csv", "text", "label"), CHINESE,
                   checkpoint="none"),
    "thucnews": Set(lambda d: columns(d / "thucnews_titles/dev.txt", 0, 1), "accuracy", 87.8,
                    "TF-IDF 87.8", flags=CHINESE, checkpoint="none"),
    "csldcp": Set(lambda d: objects(d / "fewclue/csldcp/train_few_all.json", "content", "label"),
                  "accuracy", None, "TF-IDF 59.9",
                  lambda d: objects(d / "fewclue/csldcp/dev_few_all.json", "content", "label"),
                  (*CHINESE, "--max_length", 256), checkpoint="none"),
    # 16 rows of each class: fine-tuned, and trained on pairs.
    **{
        f"{name}_{method}": Set(
            rows, "accuracy", None, f"few_shot: {name}_fine_tuning and 10 points", reported,
            (*ENGLISH, "--method", method, "--epochs", epochs), start, examples=16,
        )
        for name, (rows, reported, start) in {
            "banking77": (
                lambda d: table(d / "banking77/train.csv", "text", "category"), None, "minilm",
            ),
            "eprstmt": (
                lambda d: objects(d / "fewclue/eprstmt/train_0.json", "sentence", "label"),
                lambda d: objects(d / "fewclue/eprstmt/dev_few_all.json", "sentence", "label"),
                "chinese",
            ),
        }.items()
        for method, epochs in (("fine_tuning", 10), ("few_shot", 1))
    },
}  # fmt: skip


def prepared(options, work, name):
    """Write the rows of a set as JSON lines; return the paths of those to train on and report."""
    chosen, paths = SETS[name], [work / f"{name}.train.jsonl", work / f"{name}.reported.jsonl"]
    if all(path.exists() for path in paths):
        return paths
    rows = [*chosen.rows(options.data)]
    random.Random(0).shuffle(rows)
    if chosen.reported is not None:
        reported = [*chosen.reported(options.data)]
    else:
        number = int(SHARE * len(rows))
        reported, rows = rows[:number], rows[number:]
    if chosen.examples is not None:
        seen: collections.Counter = collections.Counter()
        few = []
        for row in rows:
            seen[row[-1]] += 1
            if seen[row[-1]] <= chosen.examples:
                few.append(row)
        rows = few
    for path, part in zip(paths, (rows, reported), strict=True):
        with open(path, "w", encoding="utf-8") as file:
            for *texts, label in part:
                row = {**dict(zip(("text", "pair"), texts, strict=False)), "label": label}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return paths


def chinese_encoder(options, work):
    """Pretrain a BERT-mini on reviews without their labels, unless it is there; return it."""
    texts = work / "reviews.jsonl"
    if not texts.exists():
        found = reviews(options.data)
        rows = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in found)
        texts.write_text("".join(rows), encoding="utf-8")
        tfmodels("bert", "prepare", "--text_files", texts, "--output_dir", work / "records",
                 "--vocabulary_size", 6000, "--max_length", 32, "--task", "mlm")  # fmt: skip
    directory, _, seconds = trained(
        work, "chinese", "bert", "pretrain", "--records_dir", work / "records", "--size", "mini",
        "--steps", PRETRAINING_STEPS, "--save_steps", 500, "--batch_size", 32, "--dropout", 0.0,
        "--learning_rate", "4e-4", "--warmup", 0.05, "--initial_embeddings", "counts",
    )  # fmt: skip
    print(f"{directory}: pretrained in {seconds} s", file=sys.stderr)
    return directory


def reviews(data):
    yield from (text for (text,) in objects(data / "fewclue/eprstmt/unlabeled.json.gz", "sentence"))
    yield from (text for (text,) in columns(data / "chnsenticorp/train.tsv", 1, header=True))


def compared(name):
    """Return the function of a figure: `tfmodels compare` on the rows of a set from scratch."""

    def measured(options, work):
        chosen = SETS[name]
        train, reported = prepared(options, work, name)
        flags = dict(zip(chosen.flags[::2], chosen.flags[1::2], strict=True))
        output = tfmodels(
            "compare", "--train_file", train, "--eval_file", reported, "--output_dir",
            work / f"compare_{name}", "--epochs", flags["--epochs"], "--max_length",
            flags["--max_length"], "--options", json.dumps({"size": flags["--size"]}),
            stdout=subprocess.PIPE,
        )  # fmt: skip
        models = json.loads(output.splitlines()[-1])["models"]
        linear = next(row for row in models if row["model"] == "tfidf")
        best = next(row for row in models if row["model"] != "tfidf")
        row = {
            "figure": f"compare_{name}", "best": best["model"], "value": best[chosen.metric],
            "goal": linear[chosen.metric], "models": models,
            "held": best[chosen.metric] > linear[chosen.metric],
        }  # fmt: skip
        add_result(options, row)
        return row

    return measured


def add_result(options, row):
    if options.results:
        with open(options.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def figure(name):
    """Return the function of a figure: a set, trained and reported."""

    def measured(options, work):
        chosen = SETS[name]
        train, reported = prepared(options, work, name)
        starts = {"minilm": lambda *_: options.checkpoint, "chinese": chinese_encoder}
        start = []
        if chosen.checkpoint != "none":
            start = ["--checkpoint", starts[chosen.checkpoint](options, work)]
        model, _, seconds = trained(
            work, name, "classification", "train", "--train_file", train, *start, *chosen.flags,
            "--baseline", "false",
        )  # fmt: skip
        pair = ["--pair_column", "pair"] if "--pair_column" in chosen.flags else []
        metrics = evaluated(
            "classification", "--model_dir", model, "--eval_file", reported, *pair
        )  # fmt: skip
        value = round(100 * metrics[chosen.metric], 2)
        row = {
            "figure": name, "metric": chosen.metric, "value": value, "goal": chosen.goal,
            "to_beat": chosen.to_beat, "examples": metrics["examples"], "seconds": seconds,
            "processor_seconds": processor_seconds(work, name),
            **{key: round(100 * metrics[key], 2) for key in chosen.further},
            "held": chosen.goal is None or value >= chosen.goal,
        }  # fmt: skip
        status, output, taken = run("applications", "baseline", "--train_file", train,
                                    "--eval_file", reported, "--output_dir",
                                    work / f"{name}.baseline", *pair)  # fmt: skip
        if not status:
            linear = json.loads(output.splitlines()[-1])
            row["tfidf"] = {key: round(100 * linear[key], 2) for key in
                            (chosen.metric, *chosen.further) if key in linear}  # fmt: skip
            row["tfidf"]["seconds"] = round(taken)
        if options.peer:
            row["pytorch"] = peer(options, train, reported, chosen)
        add_result(options, row)
        return row

    return measured


def peer(options, train, reported, chosen):
    """Train PyTorch's `BertForSequenceClassification` on the same rows; return its metrics."""
    import numpy as np
    import torch
    import transformers

    from benchmarks.peer import peer_epoch, peer_optimizer
    from tfmodels.training.precision import dtype_policy

    torch.manual_seed(0)
    half = dtype_policy("auto") == "mixed_bfloat16"
    read = [[*map(json.loads, lines(path))] for path in (train, reported)]
    score = "--target" in chosen.flags
    names = sorted({str(row["label"]) for row in read[0]})
    mean = np.mean([row["label"] for row in read[0]]) if score else 0.0
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.checkpoint)
    model = transformers.BertForSequenceClassification.from_pretrained(
        options.checkpoint, num_labels=1 if score else len(names)
    )

    def batches(rows, size, order):
        for first in range(0, len(rows), size):
            part = [rows[place] for place in order[first : first + size]]
            texts = [[row[key] for row in part] for key in ("text", "pair") if key in part[0]]
            inputs = tokenizer(*texts, truncation=True, max_length=LONGEST, padding=True,
                               return_tensors="pt")  # fmt: skip
            labels = [row["label"] - mean if score else names.index(str(row["label"]))
                      for row in part]  # fmt: skip
            yield {**inputs, "labels": torch.tensor(labels)}

    def outputs(rows):
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = [model(**batch).logits.float().numpy()
                     for batch in batches(rows, 64, range(len(rows)))]  # fmt: skip
        return np.concatenate(found)

    def measured(rows):
        found = outputs(rows)
        if score:
            from scipy import stats

            return float(stats.spearmanr(found[:, 0], [row["label"] for row in rows])[0])
        true = [names.index(str(row["label"])) for row in rows]
        return float((found.argmax(-1) == true).mean())

    rows, best = read[0], (-1.0, 0.0)
    tenth = len(rows) // 10
    dev, rows = rows[:tenth], rows[tenth:]
    epochs = chosen.flags[len(chosen.flags) - 1 - chosen.flags[::-1].index("--epochs") + 1]
    optimizer, schedule = peer_optimizer(model, epochs * -(-len(rows) // 32))
    start, spent, processor = time.perf_counter(), 0.0, time.process_time()
    for epoch in range(epochs):
        order = random.Random(epoch).sample(range(len(rows)), len(rows))
        peer_epoch(model, batches(rows, 32, order), optimizer, schedule, half)
        on_dev = measured(dev)
        stop, used = time.perf_counter(), time.process_time()
        best = max(best, (on_dev, measured(read[1])))
        spent += time.perf_counter() - stop  # of the reported rows, which ours reads afterwards
        processor += time.process_time() - used
    seconds = round(time.perf_counter() - start - spent)
    return {"value": round(100 * best[1], 2), "seconds": seconds,
            "processor_seconds": round(time.process_time() - processor)}  # fmt: skip


# Folders of the pair sets of `tfmodels.data.named`, and their split and vocabulary.
PAIR_SETS = {
    "mrpc": ("mrpc", "train", "uncased"), "stsb": ("stsb", "train", "uncased"),
    "rte": ("rte", "train", "uncased"), "qnli": ("qnli", "validation", "uncased"),
    "snli": ("snli", "validation", "uncased"), "sick": ("sick", "train", "uncased"),
    "lcqmc": ("lcqmc_zh", "validation", "chinese"), "afqmc": ("afqmc_zh", "train", "chinese"),
    "pawsx": ("pawsx_zh", "validation", "chinese"), "ocnli": ("ocnli_zh", "train", "chinese"),
    "stsb_zh": ("stsb_zh", "train", "chinese"),
}  # fmt: skip


def pairs(options, work):
    """Compare the tokens of all pairs of all pair sets with those of `tokenizers`."""
    import tensorflow as tf
    import tokenizers

    from tfmodels.data.named import open_named
    from tfmodels.text.batching import encode
    from tfmodels.text.wordpiece import WordPieceTokenizer

    number, differing = 0, 0
    for name, (folder, split, kind) in PAIR_SETS.items():
        vocabulary = str(options.data / "vocab" / f"bert-base-{kind}" / "vocab.txt")
        tokenizer = WordPieceTokenizer.from_file(vocabulary)
        reference = tokenizers.BertWordPieceTokenizer(vocabulary)
        reference.enable_padding()
        rows = [values[:2] for _, values in open_named(name, split, options.data / folder).rows()]
        for length in (32, LONGEST):
            reference.enable_truncation(length, strategy="longest_first")
            for first in range(0, len(rows), 512):
                part = rows[first : first + 512]
                text, pair = (tf.constant([*side]) for side in zip(*part, strict=True))
                batch = encode(tokenizer, text, length, pair)
                sides = (batch[key].numpy().tolist() for key in ("token_ids", "segment_ids"))
                found = zip(*sides, reference.encode_batch([*part]), strict=True)
                for ids, segments, wanted in found:
                    number += 1
                    differing += (ids, segments) != (wanted.ids, wanted.type_ids)
    return {"figure": "pairs", "pairs": number, "differing": differing, "held": not differing}


FIGURES = {
    "pairs": pairs, **{name: figure(name) for name in SETS},
    **{f"compare_{name}": compared(name) for name in ("toutiao", "thucnews", "csldcp")},
}  # fmt: skip


def further_flags(parser):
    parser.add_argument("--results", type=Path, help="file that rows are added to")
    parser.add_argument("--peer", action="store_true", help="train PyTorch on the same rows")


if __name__ == "__main__":
    sys.exit(print_figures(__doc__.splitlines()[0], FIGURES, further_flags))
