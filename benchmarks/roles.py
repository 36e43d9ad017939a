"""Semantic roles on real data: ours beside PyTorch `transformers`, and which mark is better.

    python -m benchmarks.roles --data DIR [--checkpoint DIR] [--only recipe marks found ...]

In: DIR with `propbank_ewt/{train,dev}.conll.gz` and `up_chinese_gsd/zh-up-dev.conllu`; the MiniLM
weights of `make demo`. All in float32. `recipe`: the predicate of 16,000 frames marked by segments,
softmax, 2 epochs, batch 32, and the same with `transformers` (first pieces, AdamW, 6 % warm-up,
clipping at 1.0). `marks`: one epoch of the same frames with both marks. `found`: all frames, tokens
as marks and a CRF, 3 epochs: F1 with given and with found predicates. `chinese`: Universal
Propositions from scratch, seven tenths of the sentences to train on. Weights are chosen on other
training sentences (ours; the peer keeps its last ones), and what is reported is read by `evaluate`
alone. `spans`: every predicate and argument that `predict` and the SavedModel find in 10,000
generated texts is the slice of its text.
Out: a line of JSON each; exit status 1 if one of them misses its goal.
"""

import json
import random
import sys
import time

from benchmarks.commands import evaluated, print_figures, processor_seconds, served, trained
from benchmarks.peer import peer_epoch, peer_optimizer
from benchmarks.qa import PIECES

FRAMES, EPOCHS, BATCH, RATE, LONGEST = 16_000, 2, 32, 2e-4, 128


def words_of(path):
    """Return sentences: words, and frames `(predicate, tags)` of a PropBank file."""
    import gzip

    sentences, rows = [], []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in [*file, "\n"]:
            fields = line.rstrip("\n").split("\t")
            if line.startswith("#"):
                continue
            if len(fields) > 4:
                rows.append(fields)
                continue
            if rows:
                places = [n for n, row in enumerate(rows) if row[4] != "-"]
                columns = list(zip(*rows, strict=True))[5:]
                frames = [(p, _tags(c)) for p, c in zip(places, columns, strict=True)]
                sentences.append(([row[1] for row in rows], frames))
            rows = []
    return sentences


def _tags(cells):
    tags, role = [], None
    for cell in cells:
        if cell.startswith("("):
            role = cell[1:].split("*")[0]
            kept = role not in ("V", "C-V")
            tags.append(f"B-{role}" if kept else "O")
        else:
            tags.append(f"I-{role}" if role and role not in ("V", "C-V") else "O")
        if cell.endswith(")"):
            role = None
    return tags


def written(sentences, path):
    """Write sentences as JSON lines; return the path."""
    from tfmodels.text.tags import to_spans

    with open(path, "w", encoding="utf-8") as file:
        for words, frames in sentences:
            row = {"words": words, "frames": [
                {"predicate": p, "arguments": to_spans(tags, "iob2")} for p, tags in frames
            ]}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return path


def parts(options, most=None):
    """Return training sentences of at most so many frames, and 500 to choose weights on."""
    sentences = words_of(options.data / "propbank_ewt" / "train.conll.gz")
    random.Random(0).shuffle(sentences)
    training, chosen, number = [], sentences[:500], 0
    for words, frames in sentences[500:]:
        if most is not None and number >= most:
            break
        number += len(frames)
        training.append((words, frames))
    return training, chosen


def peer(training, held_out, checkpoint):
    """Return the F1 of `transformers` after all epochs, and the processor's seconds."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from tfmodels.metrics.roles import role_metrics
    from tfmodels.text.tags import to_spans

    torch.manual_seed(0)
    rows = [(words, p, tags) for words, frames in training for p, tags in frames]
    names = sorted({tag for *_, tags in rows for tag in tags})
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForTokenClassification.from_pretrained(checkpoint, num_labels=len(names))

    def encoded(part):
        batch = tokenizer(
            [words for words, *_ in part], is_split_into_words=True, truncation=True,
            max_length=LONGEST, padding=True, return_tensors="pt",
        )  # fmt: skip
        labels, firsts = torch.full(batch["input_ids"].shape, -100), []
        for row, (_, predicate, tags) in enumerate(part):
            words = batch.word_ids(row)
            batch["token_type_ids"][row] = torch.tensor([int(w == predicate) for w in words])
            places = [i for i, w in enumerate(words) if w is not None and w != words[i - 1]]
            known = [
                names.index(tags[words[i]]) if tags[words[i]] in names else -100 for i in places
            ]
            labels[row, places] = torch.tensor(known)
            firsts.append(places)
        return batch, labels, firsts

    optimizer, schedule = peer_optimizer(model, EPOCHS * -(-len(rows) // BATCH), RATE)
    order, start = random.Random(0), time.process_time()
    for _ in range(EPOCHS):
        shuffled = order.sample(rows, len(rows))
        encodings = (encoded(shuffled[n : n + BATCH]) for n in range(0, len(rows), BATCH))
        batches = ({**batch, "labels": labels} for batch, labels, _ in encodings)
        peer_epoch(model, batches, optimizer, schedule)
    seconds = time.process_time() - start
    model.eval()
    gold, found = [], []
    with torch.no_grad():
        for words, frames in held_out:
            part = [(words, p, tags) for p, tags in frames]
            answers = []
            if part:
                batch, _, firsts = encoded(part)
                best = model(**batch).logits.argmax(-1)
                for row, (_, p, _) in enumerate(part):
                    tags = [names[best[row, i]] for i in firsts[row]]
                    answers.append((p, p + 1, to_spans(tags, "iob", mend=True)))
            found.append(answers)
            gold.append([(p, p + 1, to_spans(tags, "iob2")) for p, tags in frames])
    return round(role_metrics(gold, found)["f1"], 4), round(seconds)


def measured(options, work, name, most, *flags):
    """Train on so many frames, unless it is there; return dev metrics and processor seconds."""
    training, chosen = parts(options, most)
    model, *_ = trained(
        work, name, "roles", "train",
        "--train_file", written(training, work / f"{name}.jsonl"),
        "--eval_file", written(chosen, work / "chosen.jsonl"),
        "--checkpoint", options.checkpoint, "--batch_size", BATCH, "--precision", "float32",
        "--max_length", LONGEST, "--learning_rate", RATE, *flags,
    )  # fmt: skip
    dev = options.data / "propbank_ewt" / "dev.conll.gz"
    metrics = evaluated("roles", "--model_dir", model, "--eval_file", dev)
    return metrics, processor_seconds(work, name)


def recipe(options, work):
    metrics, seconds = measured(
        options, work, "recipe", FRAMES, "--marker", "segments", "--crf", "false",
        "--predicates", "false", "--epochs", EPOCHS,
    )  # fmt: skip
    held_out = words_of(options.data / "propbank_ewt" / "dev.conll.gz")
    of_peer, peer_seconds = peer(parts(options, FRAMES)[0], held_out, options.checkpoint)
    return {
        "figure": "PropBank EWT dev, predicates given, 16,000 frames, segments, softmax, 2 epochs",
        "f1": round(metrics["f1"], 4), "transformers": of_peer,
        "processor_seconds": {"whole command": seconds, "transformers, steps": peer_seconds},
        "held": metrics["f1"] >= of_peer and seconds <= peer_seconds / 3,
    }  # fmt: skip


def marks(options, work):
    found = {}
    for marker in ("segments", "tokens"):
        flags = ["--marker", marker, "--epochs", 1, "--predicates", "false"]
        metrics, seconds = measured(options, work, f"marks-{marker}", FRAMES, *flags)
        found[marker] = {"f1": round(metrics["f1"], 4), "processor_seconds": seconds}
    return {
        "figure": "PropBank EWT dev, predicates given, 16,000 frames, CRF, 1 epoch, by the mark",
        **found, "held": found["tokens"]["f1"] >= found["segments"]["f1"],
    }  # fmt: skip


def found(options, work):
    metrics, seconds = measured(options, work, "found", None, "--epochs", 3)
    of_predicates, together = metrics["predicates"]["f1"], metrics["found"]["f1"]
    return {
        "figure": "PropBank EWT dev, all frames, tokens as marks, CRF, 3 epochs",
        "f1_given": round(metrics["f1"], 4), "f1_predicates": round(of_predicates, 4),
        "f1_found": round(together, 4), "processor_seconds": seconds,
        "roles": {k: round(v["f1"], 4) for k, v in metrics["roles"].items() if v["support"] > 99},
        "held": metrics["f1"] >= 0.72 and of_predicates >= 0.93 and together >= 0.68,
    }  # fmt: skip


def chinese(options, work):
    path = options.data / "up_chinese_gsd" / "zh-up-dev.conllu"
    sentences = path.read_text(encoding="utf-8").strip().split("\n\n")
    first, second = (len(sentences) * tenths // 10 for tenths in (7, 8))
    cuts = {"train": (0, first), "chosen": (first, second), "dev": (second, None)}
    for name, (start, end) in cuts.items():
        text = "\n\n".join(sentences[start:end]) + "\n"
        (work / f"zh-{name}.conllu").write_text(text, encoding="utf-8")
    flags = ["roles", "train", "--train_file", work / "zh-train.conllu", "--checkpoint", "none"]
    flags += ["--eval_file", work / "zh-chosen.conllu", "--size", "tiny", "--epochs", 40]
    flags += ["--learning_rate", "1e-3", "--precision", "float32", "--emission_loss", 1]
    model, _, seconds = trained(work, "chinese", *flags)
    metrics = evaluated("roles", "--model_dir", model, "--eval_file", work / "zh-dev.conllu")
    return {
        "figure": "Universal Propositions, Chinese GSD, 100 sentences, from scratch",
        "f1_given": round(metrics["f1"], 4), "f1_predicates": metrics["predicates"]["f1"],
        "seconds": seconds, "held": metrics["f1"] > 0.2,
    }  # fmt: skip


def spans(options, work):
    """Needs the model of `found`."""
    import tfmodels as library

    rng = random.Random(0)
    texts = [
        rng.choice(["", " "]).join(rng.choices(PIECES, k=rng.randint(1, 40))) for _ in range(10_000)
    ]
    task = library.load(work / "found", dtype="float32")
    answers = task.predict(texts, 64)
    parts = [
        (text, name, part)
        for text, frames in zip(texts, answers, strict=True) for frame in frames
        for name, part in (("predicate", frame), *(("argument", a) for a in frame["arguments"]))
    ]  # fmt: skip
    wrong = sum(text[part["start"] : part["end"]] != part[name] for text, name, part in parts)
    answered = served(work, "roles", "found", texts)
    rows = [row for answer in answered for row in zip(answer["predicate_start"], answer["start"],
                                                      answer["role"], strict=True)]  # fmt: skip
    different = 0
    for (predicates, starts, roles), frames in zip(rows, answers, strict=True):
        given = [
            (at, [(r, s) for r, s in zip(roles[n], starts[n], strict=True) if s >= 0])
            for n, at in enumerate(predicates) if at >= 0
        ]  # fmt: skip
        wanted = [
            (frame["start"], [(a["role"], a["start"]) for a in frame["arguments"]])
            for frame in frames
        ]
        different += given != wanted
    return {
        "figure": "frames of 10,000 generated texts", "parts": len(parts), "wrong": wrong,
        "served_differently": different, "held": wrong == different == 0,
    }  # fmt: skip


FIGURES = {"recipe": recipe, "marks": marks, "found": found, "chinese": chinese, "spans": spans}


if __name__ == "__main__":
    sys.exit(print_figures(__doc__.splitlines()[0], FIGURES))
