"""What share of the tokens of training batches is padding: sorted by length, not sorted, packed.

    python -m benchmarks.padding --data DIR [--sets sst2 ...]

In: DIR with `sst2/train.tsv`, `imdb/train.tsv.gz`, `conll2003/train.txt`, `samsum/train.jsonl.gz`,
`aeslc/train.jsonl.gz`, `wikitext-2/{valid,test}.txt` and `vocab/`. Out: a Markdown table. The
lengths are those of the batches that `fit` makes. "Not sorted" is rows in random order, each batch
padded to its longest. "Packed" is the examples of each such batch in as few rows of the maximum
length as first-fit needs; "in windows" is the same for as many examples as are sorted together.
"""

import argparse
from pathlib import Path

import numpy as np

from tfmodels.data import open_entities, open_table, open_texts
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.tasks.causal_lm import CausalLM
from tfmodels.tasks.masked_lm import MaskedLM
from tfmodels.tasks.text_classifier import TextClassifier
from tfmodels.tasks.token_classifier import TokenClassifier
from tfmodels.text.batching import WINDOW
from tfmodels.text.bpe import BytePairTokenizer
from tfmodels.text.wordpiece import WordPieceTokenizer

BATCH = 32


def wordpiece(data):
    return WordPieceTokenizer.from_file(data / "vocab" / "bert-base-uncased" / "vocab.txt")


def encoder(tokenizer):
    return Bert(BertConfig.of_size("tiny", vocabulary_size=tokenizer.vocabulary_size))


def sentences(data):
    task = TextClassifier(encoder(wordpiece(data)), wordpiece(data), ["0", "1"], max_length=128)
    return task, open_table(data / "sst2" / "train.tsv", "sentence", "label")


def reviews(data):
    task = TextClassifier(encoder(wordpiece(data)), wordpiece(data), ["0", "1"], max_length=256)
    return task, open_table(data / "imdb" / "train.tsv.gz", "text", "label")


def entities(data):
    labels = ["LOC", "MISC", "ORG", "PER"]
    task = TokenClassifier(encoder(wordpiece(data)), wordpiece(data), labels, max_length=128)
    return task, open_entities(data / "conll2003" / "train.txt")


def responses(name, prompt, response):
    def make(data):
        files = [data / "vocab" / "gpt2" / file for file in ("encoder.json", "vocab.bpe")]
        tokenizer = BytePairTokenizer.from_files(*files)
        task = CausalLM.from_scratch(tokenizer=tokenizer, size="tiny", max_length=512)
        rows = data / name / "train.jsonl.gz"
        return task, open_table(rows, prompt, response, missing="skip")

    return make


def examples(of, objective):
    def make(data):
        task = MaskedLM.from_scratch(tokenizer=wordpiece(data), size="tiny", task=objective)
        files = {"wikitext-2": ["valid.txt", "test.txt"], "imdb": ["train.tsv.gz"]}[of]
        return task, open_texts([str(data / of / file) for file in files])

    return make


SETS = {
    "sst2": ("SST-2, sentences", sentences),
    "imdb": ("IMDB, cut at 256", reviews),
    "conll2003": ("CoNLL-2003, words", entities),
    "samsum": ("SAMSum, dialogue and summary", responses("samsum", "dialogue", "summary")),
    "aeslc": ("AESLC, mail and subject", responses("aeslc", "email_body", "subject_line")),
    "wikitext-nsp": ("WikiText-2, BERT examples `nsp`", examples("wikitext-2", "nsp")),
    "wikitext-mlm": ("WikiText-2, BERT examples `mlm`", examples("wikitext-2", "mlm")),
    "imdb-nsp": ("IMDB, BERT examples `nsp`", examples("imdb", "nsp")),
    "imdb-mlm": ("IMDB, BERT examples `mlm`", examples("imdb", "mlm")),
}


def padding(lengths, sizes):
    """Return the share of padding in rows of some lengths, where each takes up a size."""
    return 1 - np.sum(lengths) / np.sum(sizes)


def measured(task, rows):
    """Return the number of rows, their mean length and four shares of padding."""
    lengths, slots, room = [], 0, task.max_length
    for batch, _ in task.dataset(rows, batch_size=BATCH, shuffle=True):
        mask = batch["padding_mask"].numpy()
        lengths.append(mask.sum(1))
        slots += mask.size
    lengths = np.random.default_rng(0).permutation(np.concatenate(lengths))

    def cut(size):
        return [lengths[at : at + size] for at in range(0, len(lengths), size)]

    unsorted = sum(part.max() * len(part) for part in cut(BATCH))
    packed = [sum(first_fit(part, room) for part in cut(size)) for size in (BATCH, BATCH * WINDOW)]
    shares = [padding(lengths, size) for size in (slots, unsorted, *(n * room for n in packed))]
    return len(lengths), lengths.mean(), *shares


def first_fit(lengths, room):
    """Return how many rows hold sequences: the longest first, each in the first row with room."""
    left = np.full(len(lengths), room)
    for length in sorted(lengths, reverse=True):
        left[np.argmax(left >= length)] -= length
    return int((left < room).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    columns = ("rows", "number", "mean tokens", "not packed", "not sorted", "packed", "in windows")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name in options.sets:
        what, make = SETS[name]
        number, mean, *shares = measured(*make(options.data))
        shown = " | ".join(f"{share:.1%}" for share in shares)
        print(f"| {what} | {number:,} | {mean:.1f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
