"""`tfmodels bert prepare`: examples made of text files once, for `bert pretrain`.

In: text files. Out: a directory of records and `vocab.txt`.
"""

import json
from dataclasses import dataclass
from typing import Literal

from applications.flags import READING, Delimited, given
from applications.settings import data, output, rare
from applications.tokenizers import given_wordpiece, learned_wordpiece


@dataclass(kw_only=True)
class Examples(Delimited):
    """How examples are made of text."""

    text_column: str = data("column of the text, in tables (.tsv, .csv, .jsonl)", "text")
    vocabulary: str | None = data("vocab.txt or directory with it; learned if not given", None)
    vocabulary_size: int = data("maximum number of tokens to learn", 16000)
    lowercase: bool = data("fold case and strip accents, if not a checkpoint's", True)
    held_out: float = data("share of the documents to measure on", 0.02)
    seed: int = data("of all random numbers", 0)
    short_share: float = rare("share of the examples that are shorter", 0.1)
    segmented: bool = rare("spaces between Chinese characters separate words", False)


@dataclass(kw_only=True)
class Prepare(Examples):
    """Write the examples of text files as records, which pretrain reads."""

    EXAMPLE = "{} --text_files 'books/*.txt' --output_dir runs/records"

    # Documents are separated by blank lines; in a table they are its rows.
    text_files: str | list[str] = data("file, pattern such as 'books/*.txt', or a list of these")
    max_length: int = data("number of tokens of an example", 128)
    task: Literal["nsp", "sop", "mlm"] = data("next sentence, sentence order or masks alone", "nsp")
    output_dir: str = output("directory for the records and vocab.txt")
    shards: int = output("number of files", 8)
    processes: int = output("number of processes", 2)


def prepare(settings: Prepare) -> dict:
    """Run `Prepare`; return the content of `records.json`."""
    from tfmodels.data import open_texts
    from tfmodels.text.examples import ExampleSettings
    from tfmodels.text.masking import check_mask
    from tfmodels.text.records import write_records

    texts = open_texts(settings.text_files, settings.text_column, **given(settings, READING))
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
