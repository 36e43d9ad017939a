"""`tfmodels bert prepare`: make examples of text files once, for `bert pretrain`.

In: text files. Out: a directory of records and `vocab.txt`.
"""

import json
from dataclasses import dataclass
from typing import Literal

from applications.settings import check
from applications.tokenizers import given_wordpiece, learned_wordpiece


@dataclass(kw_only=True)
class Examples:
    """How examples are made of text.

    Args:
        text_column: column of the text, in tables.
        vocabulary: vocab.txt, or directory of a checkpoint to use the vocabulary of; learned
            from the text if not given.
        vocabulary_size: maximum number of tokens to learn.
        lowercase: fold case and strip accents; not if the vocabulary is a checkpoint's.
        short_share: share of the examples that are shorter.
        segmented: spaces between Chinese characters separate words, which are masked whole.
        held_out: share of the documents to evaluate on.
        seed: of all random choices.
    """

    text_column: str = "text"
    vocabulary: str | None = None
    vocabulary_size: int = 16000
    lowercase: bool = True
    short_share: float = 0.1
    segmented: bool = False
    held_out: float = 0.02
    seed: int = 0


@dataclass(kw_only=True)
class Prepare(Examples):
    """Make examples of text files once: a directory of records that pretrain reads.

    The directory is whole or not there: stopped, the command leaves nothing.

    Args:
        text_files: file, pattern such as 'books/*.txt', or a list of them: documents separated by
            blank lines, or a table (.tsv, .csv, .jsonl) with one document a row; also .gz.
        output_dir: directory for records and vocab.txt.
        max_length: number of tokens of an example.
        task: nsp (is the second text the next one), sop (are the two in order) or mlm (masked
            words only).
        shards: number of files to spread the examples over.
        processes: number of processes that work at the same time.
    """

    text_files: str | list[str]
    output_dir: str
    max_length: int = 128
    task: Literal["nsp", "sop", "mlm"] = "nsp"
    shards: int = 8
    processes: int = 2


def prepare(settings: Prepare):
    """Run `Prepare`; return the content of `records.json`."""
    from tfmodels.data import open_texts
    from tfmodels.text.examples import ExampleSettings
    from tfmodels.text.masking import check_mask
    from tfmodels.text.records import write_records

    check(settings)
    texts = open_texts(settings.text_files, settings.text_column)
    options = ExampleSettings(
        settings.max_length, settings.task, settings.short_share, settings.segmented,
        settings.seed,
    )  # fmt: skip
    tokenizer = given_wordpiece(settings)
    if tokenizer is not None:
        check_mask(tokenizer)  # before all the work
    summary = write_records(
        texts, tokenizer or learned_wordpiece(settings, texts), settings.output_dir, options,
        shards=settings.shards, processes=settings.processes, held_out=settings.held_out,
    )  # fmt: skip
    splits = {
        split: {name: counts[name] for name in ("documents", "examples", "tokens")}
        for split, counts in summary["splits"].items()
    }
    print(json.dumps({"output_dir": settings.output_dir, "splits": splits}))
    return summary
