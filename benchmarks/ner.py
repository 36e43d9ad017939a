"""Named entities on real data: ours beside PyTorch `transformers`, and from scratch in Chinese.

    python -m benchmarks.ner --data DIR [--checkpoint DIR] [--only conll msra spans]

In: DIR with `conll2003/{train,valid}.txt` (columns, the tag last) and
`msra_ner_zh/train_dh_minus_test.txt.gz` (character and tag); the MiniLM weights of `make demo`.
`conll`: from MiniLM, 3 epochs, batch 32, with a CRF and without, else as by default, and the
same with `transformers` and a loop of its own (learning rate 1e-4, first pieces, bfloat16
autocast, batches padded to their longest, AdamW, 6 % warm-up, clipping at 1.0). `msra`: from
scratch, tiny, with a CRF (and the loss of each tag by itself) and without, on 5,000 blocks held
out. `spans`: every entity that `predict` and the SavedModel find in 20,000 real sentences is the
slice of its text; a document of 5,000 words is tagged as its paragraphs are.
Out: a line of JSON each; exit status 1 if one of them misses its goal.
"""

import gzip
import random
import sys

from benchmarks.commands import print_figures, served, trained
from benchmarks.peer import peer_epoch, peer_optimizer

MSRA = "msra_ner_zh/train_dh_minus_test.txt.gz"
EPOCHS, BATCH, LONGEST = 3, 32, 128
NOISE = ["\t", "  ", "\u3000", " 👩\u200d👧 ", "e\u0301", "Ｆｕｌｌ", " שלום ", " مرحبا ", "\u00a0",
         "…"]  # fmt: skip


def sentences(path):
    """Yield `(tokens, tags)` of a file of columns."""
    opened = gzip.open if path.suffix == ".gz" else open
    tokens, tags = [], []
    with opened(path, "rt", encoding="utf-8") as file:
        for line in [*file, "\n"]:
            fields = line.split()
            if fields and fields[0] != "-DOCSTART-":
                tokens.append(fields[0])
                tags.append(fields[-1])
            elif tokens:
                yield tokens, tags
                tokens, tags = [], []


def strict_spans(tags):
    """Return the entities of IOB2 tags; an I- after anything but its own type is in none."""
    from tfmodels.text.tags import to_spans

    kept = ["O"]
    for tag in tags:
        kept.append(tag if tag[0] != "I" or kept[-1][1:] == tag[1:] else "O")
    return to_spans(kept[1:], "iob2")


def peer(data, checkpoint):
    """Return the entity F1 of `transformers` after each epoch, and its seconds."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from tfmodels.metrics.entities import entity_metrics
    from tfmodels.training.precision import dtype_policy

    torch.manual_seed(0)
    half = dtype_policy("auto") == "mixed_bfloat16"
    training = list(sentences(data / "conll2003" / "train.txt"))
    held_out = list(sentences(data / "conll2003" / "valid.txt"))
    names = sorted({tag for _, tags in training for tag in tags})
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForTokenClassification.from_pretrained(checkpoint, num_labels=len(names))

    def encoded(rows):
        batch = tokenizer(
            [tokens for tokens, _ in rows], is_split_into_words=True, truncation=True,
            max_length=LONGEST, padding=True, return_tensors="pt",
        )  # fmt: skip
        labels = torch.full(batch["input_ids"].shape, -100)
        firsts = []
        for row, (_, tags) in enumerate(rows):
            words = batch.word_ids(row)
            places = [i for i, w in enumerate(words) if w is not None and w != words[i - 1]]
            labels[row, places] = torch.tensor([names.index(tags[words[i]]) for i in places])
            firsts.append(places)
        return batch, labels, firsts

    optimizer, schedule = peer_optimizer(model, EPOCHS * -(-len(training) // BATCH))
    order, scores, seconds = random.Random(0), [], []
    for _ in range(EPOCHS):
        rows = order.sample(training, len(training))
        encodings = (encoded(rows[n : n + BATCH]) for n in range(0, len(rows), BATCH))
        batches = ({**batch, "labels": labels} for batch, labels, _ in encodings)
        seconds.append(peer_epoch(model, batches, optimizer, schedule, half))
        model.eval()
        gold, predicted = [], []
        with torch.no_grad():
            for first in range(0, len(held_out), BATCH):
                rows = held_out[first : first + BATCH]
                batch, _, firsts = encoded(rows)
                best = model(**batch).logits.argmax(-1)
                for row, (_, tags) in enumerate(rows):
                    found = [names[best[row, i]] for i in firsts[row]]
                    found += ["O"] * (len(tags) - len(found))
                    gold.append(strict_spans(tags))
                    predicted.append(strict_spans(found))
        scores.append(round(entity_metrics(gold, predicted)["f1"], 4))
        print(f"transformers: F1 {scores[-1]}, {seconds[-1]:.0f} s", file=sys.stderr, flush=True)
    return scores, round(sum(seconds))


def conll(options, work):
    folder = options.data / "conll2003"
    flags = ["ner", "train", "--train_file", folder / "train.txt"]
    flags += ["--eval_file", folder / "valid.txt", "--checkpoint", options.checkpoint]
    flags += ["--epochs", EPOCHS, "--batch_size", BATCH, "--max_length", LONGEST]
    _, crf, crf_seconds = trained(work, "conll-crf", *flags, "--crf", "true")
    _, plain, plain_seconds = trained(work, "conll-softmax", *flags, "--crf", "false")
    theirs, their_seconds = peer(options.data, options.checkpoint)
    return {
        "figure": "CoNLL-2003 valid, entity F1, from MiniLM",
        "crf": round(crf["f1"], 4), "softmax": round(plain["f1"], 4), "transformers": theirs,
        "by_epoch": {"crf": crf["history"]["val_f1"], "softmax": plain["history"]["val_f1"]},
        "types": {kind: round(row["f1"], 4) for kind, row in crf["types"].items()},
        "seconds": {"crf": crf_seconds, "softmax": plain_seconds, "transformers": their_seconds},
        "held": crf["f1"] >= max(*theirs, plain["f1"]), "goal": 0.92,
    }  # fmt: skip


def msra(options, work):
    blocks = list(sentences(options.data / MSRA))
    random.Random(0).shuffle(blocks)
    parts = {"msra-dev.txt": blocks[:5000], "msra-train.txt": blocks[5000:]}
    for name, rows in parts.items():
        lines = ("".join(f"{a}\t{b}\n" for a, b in zip(*row, strict=True)) + "\n" for row in rows)
        (work / name).write_text("".join(lines), encoding="utf-8")
    flags = ["ner", "train", "--train_file", work / "msra-train.txt"]
    flags += ["--eval_file", work / "msra-dev.txt"]
    # A few entities begin with I-, and characters of numbers stand alone in the file.
    flags += ["--scheme", "iob", "--join", ""]
    flags += ["--size", "tiny", "--epochs", 5, "--learning_rate", "1e-3", "--max_length", 128]
    with_crf = ["--crf", "true", "--emission_loss", 1]
    _, crf, crf_seconds = trained(work, "msra-crf", *flags, *with_crf)
    _, plain, plain_seconds = trained(work, "msra-softmax", *flags, "--crf", "false")
    return {
        "figure": "MSRA, 5,000 held-out blocks, entity F1, from scratch, 2 x 128",
        "crf": round(crf["f1"], 4), "softmax": round(plain["f1"], 4),
        "seconds": {"crf": crf_seconds, "softmax": plain_seconds},
        "held": crf["f1"] > plain["f1"],
    }  # fmt: skip


def spans(options, work):
    """Needs the models of `conll`."""
    import tfmodels as library

    texts = noisy_texts(options.data)
    task = library.load(work / "conll-crf", dtype="float32")
    expected = [
        [(e["entity"], e["start"], e["end"]) for e in found] for found in task.predict(texts, 64)
    ]
    answers = served_entities(work, texts)
    wrong, wrong_served = (
        sum(text[start:end] != entity
            for text, row in zip(texts, rows, strict=True) for entity, start, end in row)
        for rows in (expected, answers)
    )  # fmt: skip
    different = sum(a != b for a, b in zip(expected, answers, strict=True))

    paragraphs, words = [], 0
    for tokens, _ in sentences(options.data / "conll2003" / "valid.txt"):
        if words >= 5000:
            break
        paragraphs.append(" ".join(tokens))
        words += len(tokens)
    (found,) = task.predict(["\n\n".join(paragraphs)])
    whole = {(e["type"], e["start"], e["end"]) for e in found}
    parts, at = set(), 0
    for text, found in zip(paragraphs, task.predict(paragraphs), strict=True):
        parts |= {(e["type"], e["start"] + at, e["end"] + at) for e in found}
        at += len(text) + 2
    return {
        "figure": "spans of 20,000 sentences; a document of 5,000 words",
        "sentences": len(texts), "entities": sum(map(len, expected)),
        "wrong": wrong, "wrong_served": wrong_served, "served_differently": different,
        "document_entities": len(parts),
        "document_share_different": round(len(whole ^ parts) / max(len(whole | parts), 1), 4),
        "held": wrong == wrong_served == different == 0 and whole == parts,
    }  # fmt: skip


def noisy_texts(data):
    """Return 20,000 sentences, every third with something in it that people also write."""
    rng = random.Random(0)
    texts = [" ".join(tokens) for tokens, _ in sentences(data / "conll2003" / "train.txt")]
    texts = texts[:12_000] + ["".join(tokens) for tokens, _ in sentences(data / MSRA)][:8_000]
    for number in range(0, len(texts), 3):
        at = rng.randint(0, len(texts[number]))
        texts[number] = texts[number][:at] + rng.choice(NOISE) + texts[number][at:]
    return texts


def served_entities(work, texts):
    """Return `(entity, start, end)` of each text as the export of `conll-crf` answers."""
    answers = served(work, "ner", "conll-crf", texts)
    return [
        [(e, s, t) for e, s, t in zip(*row, strict=True) if s >= 0]
        for answer in answers
        for row in zip(answer["entity"], answer["start"], answer["end"], strict=True)
    ]


FIGURES = {"conll": conll, "msra": msra, "spans": spans}


if __name__ == "__main__":
    sys.exit(print_figures(__doc__.splitlines()[0], FIGURES))
