"""Compares our tokenizer with `tokenizers` on whole data sets: identity, spans, speed.

In: `--data DIR`, a folder with `sst2/*.tsv`, `imdb/train.tsv.gz`,
`chnsenticorp/*.tsv`, `samsum/*.jsonl.gz`, `wikitext-2/*.txt` and
`vocab/{bert-base-uncased,bert-base-cased,bert-base-chinese}/vocab.txt`.
Out: one line for each set and vocabulary. Exit status 1 if anything differs.

    python -m benchmarks.tokens --data DIR

"wrong spans" counts tokens other than [UNK] whose characters in the original
text, cleaned, lower-cased and stripped of accents by `tokenizers`, do not
spell the token. Speed is ours in batches of 256 through one `tf.function`
against one `encode_batch` over all texts, both on all cores, best of 3.
"""

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from pathlib import Path

import tensorflow as tf
import tokenizers

from tfmodels.text.wordpiece import WordPieceTokenizer

BATCH = 256
ENGLISH, CHINESE = ("uncased", "cased"), ("chinese",)
SETS = {  # glob, column that holds the text (None: each line), vocabularies
    "sst2": ("sst2/*.tsv", "sentence", ENGLISH),
    "imdb": ("imdb/train.tsv.gz", "text", ENGLISH),
    "chnsenticorp": ("chnsenticorp/*.tsv", "text_a", CHINESE),
    "samsum": ("samsum/*.jsonl.gz", "dialogue", ENGLISH),
    "wikitext-2": ("wikitext-2/*.txt", None, ENGLISH),
}


def read_texts(path, column):
    """The texts of one file; its kind is told by the name."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    lines = content.decode("utf-8").removesuffix("\n").split("\n")
    if column is None:
        return lines
    if ".jsonl" in path.suffixes:
        return [json.loads(line)[column] for line in lines]
    place = lines[0].split("\t").index(column)
    return [line.split("\t")[place] for line in lines[1:]]


def best_time(call, times=3):
    """Seconds of the fastest of some calls."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def compare(name, texts, vocabulary, lowercase):
    """Prints the line of one data set; returns whether all is equal."""
    ours = WordPieceTokenizer.from_file(vocabulary, lowercase=lowercase)
    reference = tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=lowercase)
    signature = [tf.TensorSpec([None], tf.string)]
    tokenize = tf.function(ours.tokenize, input_signature=signature)
    with_offsets = tf.function(ours.tokenize_with_offsets, input_signature=signature)
    batches = [tf.constant(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    tokenize(batches[0])  # traces

    def encode_all():
        return reference.encode_batch(texts, add_special_tokens=False)

    expected = [encoding.ids for encoding in encode_all()]
    count = sum(map(len, expected))
    spell = tokenizers.normalizers.BertNormalizer(
        handle_chinese_chars=False, strip_accents=lowercase, lowercase=lowercase
    ).normalize_str

    different, spans = 0, Counter()
    for first, batch in zip(range(0, len(texts), BATCH), batches, strict=True):
        columns = [values.to_list() for values in with_offsets(batch)]
        columns += texts[first : first + BATCH], expected[first : first + BATCH]
        for ids, starts, ends, text, expected_ids in zip(*columns, strict=True):
            different += ids != expected_ids
            spans.update((ids[i], text[starts[i] : ends[i]]) for i in range(len(ids)))
    wrong = sum(
        n
        for (token, span), n in spans.items()
        if token != ours.unk_id
        and span != ours.vocabulary[token]  # a special token written out
        and spell(span) != ours.vocabulary[token].removeprefix("##")
    )
    ours_s = best_time(lambda: [tokenize(batch) for batch in batches])
    offsets_s = best_time(lambda: [with_offsets(batch) for batch in batches])
    reference_s = best_time(encode_all)
    print(
        f"{name:13} {vocabulary.parent.name:18} {len(texts):7,} texts {count:10,} tokens, "
        f"{different} texts differ, {wrong} wrong spans; "
        f"{len(texts) / ours_s:8,.0f} texts/s, M tokens/s: {count / ours_s / 1e6:.2f}, "
        f"with offsets {count / offsets_s / 1e6:.2f}, tokenizers {count / reference_s / 1e6:.2f}; "
        f"{reference_s / ours_s:.2f} times its speed",
        flush=True,
    )
    return different == 0 and wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    equal = True
    for name in arguments.sets:
        glob, column, kinds = SETS[name]
        paths = sorted(arguments.data.glob(glob))
        if not paths:
            parser.error(f"--data {arguments.data}: no file {glob}")
        texts = [text for path in paths for text in read_texts(path, column)]
        for kind in kinds:
            vocabulary = arguments.data / "vocab" / f"bert-base-{kind}" / "vocab.txt"
            equal &= compare(name, texts, vocabulary, lowercase=kind != "cased")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
