"""Named entities on real data: ours beside PyTorch `transformers`, and from zero in Chinese.

    python -m benchmarks.ner --data DIR [--checkpoint DIR] [--only conll msra spans]

In: DIR with `conll2003/{train,valid}.txt` (columns, the tag last) and
`msra_ner_zh/train_dh_minus_test.txt.gz` (character and tag); the MiniLM weights of `make demo`.
`conll`: from MiniLM, 3 epochs, batch 32, with a chain and without (learning rate 3e-4), and the
same with `transformers` and a loop of its own (learning rate 1e-4, first pieces, bfloat16
autocast, batches padded to their longest, AdamW, 6 % warm-up, clipping at 1.0). `msra`: from
zero, tiny, with a chain (and the loss of each tag by itself) and without, on 5,000 blocks held
out. `spans`: every entity that `predict` and the SavedModel find in 20,000 real sentences is the
slice of its text; a document of 5,000 words is tagged as its paragraphs are.
Out: a line of JSON each; exit status 1 if one of them misses its goal.
"""

import gzip
import json
import random
import sys
import time

from benchmarks.commands import print_figures, tfmodels

EPOCHS, BATCH, RATE, PEER_RATE, LONGEST = 3, 32, 3e-4, 1e-4, 128
NOISE = [
    "\t",
    "  ",
    "\u3000",
    " 👩\u200d👧 ",
    "e\u0301",
    "Ｆｕｌｌ",
    " שלום ",
    " مرحبا ",
    "\u00a0",
    "…",
]


def trained(work, name, *flags):
    """Metrics and seconds of `ner train`; what is there already is not trained again."""
    model, clock = work / name, work / f"{name}.seconds"
    if not model.exists():
        clock.write_text(str(tfmodels("ner", "train", "--output_dir", model, *flags)))
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    return metrics, round(float(clock.read_text()))


def sentences(path):
    """`(tokens, tags)` of a file of columns."""
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
    """Entity F1 of `transformers` after each epoch, and its seconds."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from tfmodels.metrics.entities import entity_metrics

    torch.manual_seed(0)
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

    decayed = [p for n, p in model.named_parameters() if "bias" not in n and "LayerNorm" not in n]
    rest = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm" in n]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEER_RATE)
    total = EPOCHS * -(-len(training) // BATCH)
    warm = int(0.06 * total)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / max(warm, 1), (total - s) / (total - warm))
    )
    order, scores, seconds = random.Random(0), [], []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        model.train()
        rows = order.sample(training, len(training))
        for first in range(0, len(rows), BATCH):
            batch, labels, _ = encoded(rows[first : first + BATCH])
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**batch, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
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
    flags = ["--train_file", folder / "train.txt", "--eval_file", folder / "valid.txt"]
    flags += ["--checkpoint", options.checkpoint, "--epochs", EPOCHS, "--batch_size", BATCH]
    flags += ["--learning_rate", RATE, "--max_length", LONGEST]
    chain, chain_seconds = trained(work, "conll-crf", *flags, "--crf", "true")
    plain, plain_seconds = trained(work, "conll-softmax", *flags, "--crf", "false")
    theirs, their_seconds = peer(options.data, options.checkpoint)
    return {
        "figure": "CoNLL-2003 valid, entity F1, from MiniLM",
        "crf": round(chain["f1"], 4), "softmax": round(plain["f1"], 4), "transformers": theirs,
        "by_epoch": {"crf": chain["history"]["val_f1"], "softmax": plain["history"]["val_f1"]},
        "types": {kind: round(row["f1"], 4) for kind, row in chain["types"].items()},
        "seconds": {"crf": chain_seconds, "softmax": plain_seconds, "transformers": their_seconds},
        "held": chain["f1"] >= max(*theirs, plain["f1"]), "goal": 0.92,
    }  # fmt: skip


def msra(options, work):
    file = options.data / "msra_ner_zh" / "train_dh_minus_test.txt.gz"
    blocks = list(sentences(file))
    random.Random(0).shuffle(blocks)
    parts = {"msra-dev.txt": blocks[:5000], "msra-train.txt": blocks[5000:]}
    for name, rows in parts.items():
        lines = ("".join(f"{a}\t{b}\n" for a, b in zip(*row, strict=True)) + "\n" for row in rows)
        (work / name).write_text("".join(lines), encoding="utf-8")
    flags = ["--train_file", work / "msra-train.txt", "--eval_file", work / "msra-dev.txt"]
    # A few entities begin with I-, and characters of numbers stand alone in the file.
    flags += ["--scheme", "iob", "--join", ""]
    flags += ["--size", "tiny", "--epochs", 5, "--learning_rate", "1e-3", "--max_length", 128]
    chain_flags = ["--crf", "true", "--emission_loss", "1"]
    chain, chain_seconds = trained(work, "msra-crf", *flags, *chain_flags)
    plain, plain_seconds = trained(work, "msra-softmax", *flags, "--crf", "false")
    return {
        "figure": "MSRA, 5,000 held-out blocks, entity F1, from zero, 2 x 128",
        "crf": round(chain["f1"], 4), "softmax": round(plain["f1"], 4),
        "seconds": {"crf": chain_seconds, "softmax": plain_seconds},
        "held": chain["f1"] > plain["f1"],
    }  # fmt: skip


def spans(options, work):
    """Needs the models of `conll`."""
    from tests.serving.fresh import ask

    model = work / "conll-crf"
    rng = random.Random(0)
    texts = [" ".join(tokens) for tokens, _ in sentences(options.data / "conll2003" / "train.txt")]
    chinese = sentences(options.data / "msra_ner_zh" / "train_dh_minus_test.txt.gz")
    texts = texts[:12_000] + ["".join(tokens) for tokens, _ in chinese][:8_000]
    for number in range(0, len(texts), 3):  # every third one with what people also write
        at = rng.randint(0, len(texts[number]))
        texts[number] = texts[number][:at] + rng.choice(NOISE) + texts[number][at:]
    from applications.ner import entity_predictor, load

    tagger, tokenizer, config = load(model, "float32")
    find = entity_predictor(tagger, tokenizer, config["max_length"], config["stride"], 64)
    found = [entities for entities, *_ in find(texts)]
    wrong = sum(
        text[e["start"] : e["end"]] != e["entity"]
        for text, entities in zip(texts, found, strict=True)
        for e in entities
    )
    exported = work / "served"
    if not exported.exists():
        tfmodels("ner", "export", "--model_dir", model, "--export_dir", exported)
    calls = [
        ("serving_default", {"text": ("string", texts[first : first + 500])})
        for first in range(0, len(texts), 500)
    ]
    _, answers = ask(exported / "1", *calls, timeout=3600)
    rows = [
        [(e, s, t) for e, s, t in zip(*row, strict=True) if s >= 0]
        for answer in answers
        for row in zip(answer["entity"], answer["start"], answer["end"], strict=True)
    ]
    served_wrong = sum(
        text[start:end] != entity
        for text, row in zip(texts, rows, strict=True)
        for entity, start, end in row
    )
    expected = [[(e["entity"], e["start"], e["end"]) for e in entities] for entities in found]
    different = sum(a != b for a, b in zip(expected, rows, strict=True))

    paragraphs, words = [], 0
    for tokens, _ in sentences(options.data / "conll2003" / "valid.txt"):
        if words >= 5000:
            break
        paragraphs.append(" ".join(tokens))
        words += len(tokens)
    whole = {(e["type"], e["start"], e["end"]) for e in find(["\n\n".join(paragraphs)])[0][0]}
    parts, at = set(), 0
    for text, (entities, *_) in zip(paragraphs, find(paragraphs), strict=True):
        parts |= {(e["type"], e["start"] + at, e["end"] + at) for e in entities}
        at += len(text) + 2
    return {
        "figure": "spans of 20,000 sentences; a document of 5,000 words",
        "sentences": len(texts), "entities": sum(map(len, found)),
        "wrong": wrong, "wrong_served": served_wrong, "served_differently": different,
        "document_entities": len(parts),
        "document_share_different": round(len(whole ^ parts) / max(len(whole | parts), 1), 4),
        "held": wrong == served_wrong == different == 0 and whole == parts,
    }  # fmt: skip


FIGURES = {"conll": conll, "msra": msra, "spans": spans}


if __name__ == "__main__":
    status = print_figures(__doc__.splitlines()[0], FIGURES)
    sys.exit(status)
