"""The flags that several verbs have: dataclasses of which the command line is made.

In: the fields that a verb adds. Out: its dataclass. A subclass may give a flag another default, or
another text; `EXAMPLE` is a command, with `{}` for `tfmodels APPLICATION VERB`.
"""

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from applications.settings import Settings, data, generation, model, output, rare, training
from tfmodels.errors import InputError
from tfmodels.files import refuse_existing
from tfmodels.generation.settings import Generation, given_fields


@dataclass(kw_only=True)
class Encoded(Settings):
    """How files of text are read."""

    encoding: str | None = rare("of the files, if not UTF-8 or marked: gb18030, cp1252, ...", None)


@dataclass(kw_only=True)
class Delimited(Encoded):
    """How tables are read."""

    delimiter: str | None = rare("in .tsv and .csv, if neither , ; | nor tab", None)


@dataclass(kw_only=True)
class WithMissing(Settings):
    """What becomes of rows of a file without a value (empty, null, NaN, None, NA)."""

    missing: Literal["refuse", "skip", "keep"] = rare("rows without a value; keep: as text",
                                                      "refuse")  # fmt: skip


READING = ("encoding", "delimiter", "missing")  # arguments of `tfmodels.data`


@dataclass(kw_only=True)
class Training(Settings):
    """Settings of every training."""

    output_dir: str = output("model directory to write; must not exist")
    checkpoint: str = model("directory, or Hugging Face Hub or KerasHub name; or none", "none")
    dropout: float | None = model("that of the checkpoint, or 0.1, if not given", None)
    epochs: int = training("passes over the training data", 3)
    batch_size: int = training("rows in a step, over all devices", 32)
    learning_rate: float | None = training("maximum; 1e-4 from a checkpoint, else 5e-4", None)
    held_out: float = data("share of the training data to measure on", 0.1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = training("arithmetic", "auto")
    strategy: Literal["auto", "single", "mirrored", "multi_worker"] = training("devices", "auto")
    seed: int = training("of all random numbers", 0)
    revision: str | None = rare("branch, tag or commit of a checkpoint on the Hub", None)
    warmup: float = rare("share of the steps in which the learning rate rises", 0.1)
    weight_decay: float = rare("decoupled; not on biases and layer normalizations", 0.01)
    clip_norm: float = rare("maximum global norm of the gradients", 1.0)
    xla: Literal["auto", "on", "off"] = rare("compile the training step", "auto")
    remat: bool = rare("less memory in training, more time: keep the inputs of blocks only", False)
    accumulate_steps: int = rare("number of steps whose gradients make one update", 1)
    save_every: int | None = rare("steps between two states to resume from", None)
    nonfinite: Literal["stop", "skip"] = rare("if the loss is not finite", "stop")
    peer_wait: int = rare("seconds to wait for the other workers at the start", 300)

    def check_files(self) -> None:
        super().check_files()
        path = os.path.expanduser(self.checkpoint)
        if path.startswith(("/", "./", "../")) and not glob.glob(f"{path}*"):  # or bert_model.ckpt
            raise InputError(f"--checkpoint {self.checkpoint}: no such file; correct the path")
        if "TF_CONFIG" not in os.environ:  # of several workers only the chief writes
            refuse_existing(self.output_dir, "another --output_dir")


@dataclass(kw_only=True)
class FromScratch(Settings):
    """Settings of a new model."""

    size: Literal["tiny", "mini", "small", "medium", "base", "large"] = model(
        "of a new model", "mini"
    )
    vocabulary_size: int = rare("maximum number of tokens to learn for a new model", 16000)


@dataclass(kw_only=True)
class FineTuning(FromScratch, Training):
    """Settings of every training on labelled rows."""

    train_file: str = data("rows to train on")
    eval_file: str | None = data("rows to choose the weights on, if not some of train_file", None)
    held_out: float = data("share of train_file to use as eval_file", 0.1)
    max_length: int = model("maximum number of tokens of a text; the rest is cut off", 128)
    lowercase: bool = rare("of a new model: fold case and strip accents", True)
    evaluations: int = rare("evaluations in each epoch; the best weights are kept", 1)
    ema: float = rare("momentum of the average of the weights, which is kept; 0: off", 0.999)
    freeze_embeddings: bool = rare("do not train the embeddings", False)
    freeze_layers: int = rare("number of lower encoder blocks not to train", 0)
    layer_decay: float = rare("factor of the learning rate from each block to the one below", 1.0)
    patience: int = rare("evaluations without improvement before the training stops", 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.held_out and self.eval_file is None:
            raise InputError("--held_out 0: give an --eval_file or a share to hold out")


@dataclass(kw_only=True)
class OnText(Delimited):
    """Settings of a training or an evaluation on running text."""

    text_files: str | list[str] = data("file, pattern such as 'books/*.txt', or a list of these")
    text_column: str = data("column of the text, in tables (.tsv, .csv, .jsonl)", "text")
    max_length: int | None = model("number of tokens of an example", None)


@dataclass(kw_only=True)
class FromText(OnText, Training):
    """Settings of every training on running text."""

    EXAMPLE = "{} --text_files 'books/*.txt' --output_dir runs/model"

    epochs: int = 1
    steps: int | None = training("length of the training, instead of epochs", None)
    save_steps: int = training("steps between two evaluations and states to resume from", 500)
    held_out: float = rare("share of the text to measure on", 0.1)
    held_out_examples: int = rare("maximum number of examples to measure on", 1000)


@dataclass(kw_only=True)
class UsingAModel(Settings):
    """Settings of every verb with a trained model."""

    model_dir: str = model("directory of a model, trained here or published; or Hub name")


@dataclass(kw_only=True)
class Answering(UsingAModel):
    """Settings of every verb that computes with a trained model."""

    batch_size: int = rare("number of texts in a step", 32)
    precision: Literal["auto", "float32", "bfloat16"] = rare("arithmetic", "float32")


@dataclass(kw_only=True)
class Evaluating(Answering):
    """Settings of every evaluation on labelled rows."""

    EXAMPLE = "{} --model_dir runs/model --eval_file held_out.tsv"

    eval_file: str = data("rows in a format of train_file")
    report_dir: str | None = output("new directory for mistakes.jsonl and more", None)

    def check_files(self) -> None:
        super().check_files()
        if self.report_dir is not None:
            refuse_existing(self.report_dir, "another --report_dir")


@dataclass(kw_only=True)
class EvaluatingText(OnText, Answering):
    """Settings of every evaluation on running text."""

    EXAMPLE = "{} --model_dir runs/model --text_files other_book.txt"

    max_length: int | None = model("tokens of an example, if not as in the training", None)


@dataclass(kw_only=True)
class Predicting(Delimited, WithMissing, Answering):
    """Settings of every verb that answers texts."""

    EXAMPLE = '{} --model_dir runs/model "A warm, funny film."'

    text: list[str] = data("texts; without any, input_file or standard input is read", [])
    input_file: str | None = data("file with a text a line, or a table (.tsv, .csv, .jsonl)", None)
    text_column: str = data("column of the text, in a table", "text")


@dataclass(kw_only=True)
class Exporting(UsingAModel):
    """Settings of every export."""

    EXAMPLE = "{} --model_dir runs/model"

    export_dir: str = output("directory of the versions")
    precision: Literal["float32", "bfloat16"] = output("arithmetic and weights", "float32")
    weights: Literal["variables", "frozen"] = output("frozen: constants", "variables")


@dataclass(kw_only=True)
class Searching(Settings):
    """How a text is written; as the model directory has it where not given."""

    max_new_tokens: int | None = generation("maximum number of tokens of an answer", None)
    min_new_tokens: int | None = generation("minimum number of tokens of an answer", None)
    num_beams: int | None = generation("width of the beam search; 1: greedy", None)
    length_penalty: float | None = generation("of beam search; above 1: longer answers", None)
    no_repeat_ngram: int | None = generation("no n-gram of this length twice; 0: off", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = {field.name for field in fields(Generation)} & vars(self).keys()
        given = given_fields({name: getattr(self, name) for name in names})
        longest = getattr(self, "max_target_length", None) or max(given.get("min_new_tokens", 1), 1)
        Generation(**{"max_new_tokens": longest, **given})  # refuses values out of range


@dataclass(kw_only=True)
class Decoding(Searching):
    """How a GPT writes; as its model directory has it where not given."""

    sample: bool | None = generation("draw tokens at random; else the most likely is taken", None)
    temperature: float | None = generation("of sampling; below 1 favours likely tokens", None)
    top_k: int | None = generation("draw from this many most likely tokens; 0: from all", None)
    top_p: float | None = generation(
        "draw from the most likely tokens of this total probability", None
    )
    repetition_penalty: float | None = generation("above 1 makes repeated tokens less likely", None)
    stop: list[str] | None = generation("strings that end an answer", None)
    seed: int | None = generation("of sampling", None)


def given(settings: Settings, names: Iterable[str], renamed: dict | None = None) -> dict:
    """Return the settings of these names, where the verb has them, as arguments."""
    values = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
    if values.get("class_weights") == "none":
        del values["class_weights"]
    return {(renamed or {}).get(name, name): value for name, value in values.items()}
