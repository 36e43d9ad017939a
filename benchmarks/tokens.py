"""Compare our tokenizers with `tokenizers` on whole data sets: identity, spans, speed.

In: `--data DIR`, a folder with `sst2/*.tsv`, `imdb/train.tsv.gz`,
`chnsenticorp/*.tsv`, `samsum/*.jsonl.gz`, `wikitext-2/*.txt` and
`vocab/{bert-base-uncased,bert-base-cased,bert-base-chinese}/vocab.txt`.
Out: one line for each set and vocabulary. Exit status 1 if anything differs.
`--sets gpt2` is GPT-2's tokenizer on every text file of DIR, with
`vocab/gpt2/{encoder.json,vocab.bpe}`: the lines, the strings in JSON, small
files as one text, random characters; random bytes there and back.

    python -m benchmarks.tokens --data DIR

"wrong spans" counts tokens other than [UNK] whose characters in the original
text, cleaned, lower-cased and stripped of accents by `tokenizers`, do not
spell the token. Speed is ours in batches of 256 through one `tf.function`
against one `encode_batch` over all texts, both on all cores, best of 3 (GPT-2: one run).
"""

import argparse
import gzip
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import tensorflow as tf
import tokenizers

from tfmodels.text.bpe import BytePairTokenizer
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
GPT2 = "gpt2"
KINDS = ".txt", ".tsv", ".csv", ".jsonl"  # of files to read for GPT-2, or compressed
WHOLE = 4_000_000  # bytes of a file that is also read as one text
RANDOM = 20_000  # random texts


def read_content(path):
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")


def read_texts(path, column):
    """Return the texts of one file; its kind is told by the name."""
    lines = read_content(path).removesuffix("\n").split("\n")
    if column is None:
        return lines
    if ".jsonl" in path.suffixes:
        return [json.loads(line)[column] for line in lines]
    place = lines[0].split("\t").index(column)
    return [line.split("\t")[place] for line in lines[1:]]


def best_time(call, times=3):
    """Return the seconds of the fastest of some calls."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def compare(name, texts, vocabulary, lowercase):
    """Print the line of one data set; return whether all is equal."""
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


def strings_in(value):
    """Yield all strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings_in(inner)


def compare_gpt2(data):
    """Print a line for each folder of `data`; return whether all is equal."""
    files = [str(data / "vocab" / "gpt2" / name) for name in ("encoder.json", "vocab.bpe")]
    ours = BytePairTokenizer.from_files(*files)
    reference = tokenizers.ByteLevelBPETokenizer(*files, add_prefix_space=False)
    reference.add_special_tokens(["<|endoftext|>"])
    tokenize = tf.function(ours.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    detokenize = tf.function(ours.detokenize, reduce_retracing=True)

    def batches_of(texts, size=BATCH):
        return [tf.constant(texts[i : i + size]) for i in range(0, len(texts), size)]

    def report(name, texts, size=BATCH):
        batches = batches_of(texts, size)
        tokenize(batches[0])  # traces
        encodings = []
        reference_s = best_time(lambda: encodings.extend(reference.encode_batch(texts)), 1)
        expected = [encoding.ids for encoding in encodings]
        found, lost = [], 0
        for batch in batches:
            ids = tokenize(batch)
            found += ids.to_list()
            lost += int(tf.reduce_sum(tf.cast(detokenize(ids) != batch, tf.int32)))
        different = sum(a != b for a, b in zip(found, expected, strict=True))
        count = sum(map(len, expected))
        ours_s = best_time(lambda: [tokenize(batch) for batch in batches], 1)
        print(
            f"{name:22} {len(texts):8,} texts {count:11,} tokens, {different} texts differ, "
            f"{lost} do not come back; {len(texts) / ours_s:9,.0f} texts/s, M tokens/s: "
            f"{count / ours_s / 1e6:.2f}, tokenizers {count / reference_s / 1e6:.2f}; "
            f"{reference_s / ours_s:.2f} times its speed",
            flush=True,
        )
        return different == 0 and lost == 0

    equal = True
    whole = []
    for folder in sorted(path for path in data.iterdir() if path.is_dir() and path.name != "vocab"):
        texts = []
        for path in sorted(folder.iterdir()):
            if not path.name.removesuffix(".gz").endswith(KINDS):
                continue
            content = read_content(path)
            if len(content) <= WHOLE:
                whole.append(content)
            lines = content.removesuffix("\n").split("\n")
            if ".jsonl" in path.suffixes:
                lines = [text for line in lines for text in strings_in(json.loads(line))]
            texts += lines
        equal &= report(folder.name, texts)
    equal &= report("whole files", whole, size=1)

    draw = random.Random(0)
    valid = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    pools = [*map(chr, valid)], [*map(chr, valid[:0x3000])], [*"aab' stmdrevl\n\t\u3000é1!"]
    texts = ["".join(draw.choices(draw.choice(pools), k=draw.randrange(60))) for _ in range(RANDOM)]
    equal &= report("random characters", texts)

    texts = [draw.randbytes(draw.randrange(200)) for _ in range(RANDOM)]
    lost = sum(
        int(tf.reduce_sum(tf.cast(detokenize(tokenize(batch)) != batch, tf.int32)))
        for batch in batches_of(texts)
    )
    print(f"{'random bytes':22} {RANDOM:8,} texts, {lost} do not come back", flush=True)
    return equal and lost == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=[*SETS, GPT2], default=[*SETS, GPT2])
    arguments = parser.parse_args()
    equal = True
    for name in arguments.sets:
        if name == GPT2:
            equal &= compare_gpt2(arguments.data)
            continue
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
