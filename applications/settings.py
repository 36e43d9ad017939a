"""The settings that the verbs share, and what is refused of them before any work is done.

In: the fields that a verb adds. Out: its dataclass, which the command line is made of; for
numbers out of range one `InputError` that names the flag.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfmodels.errors import InputError

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(kw_only=True)
class Training:
    """What every training is told.

    Args:
        output_dir: model directory to write; must not exist.
        checkpoint: directory of a published BERT or of a model trained here, a name on
            the Hugging Face Hub, or none to start from zero.
        revision: branch, tag or commit of a checkpoint on the hub.
        epochs: passes over the training data.
        batch_size: texts of a step, on all devices together.
        learning_rate: the largest one; 1e-4 from a checkpoint and 5e-4 from zero if not given.
        warmup: share of all steps until the learning rate is at its largest.
        weight_decay: decoupled, not on biases and layer normalizations.
        clip_norm: largest global norm of the gradients.
        dropout: in the encoder and before the head; the checkpoint's if not given.
        held_out: share of the training data to measure on.
        seed: of everything random.
        precision: auto, float32, bfloat16 or float16 (with loss scaling).
        xla: compile the whole step: on, off or auto (as Keras decides).
        accumulate_steps: steps whose gradients move the weights together.
        save_every: steps between two states of the training, besides those at every measurement;
            the same command resumes from the newest.
        nonfinite: after a loss that is not finite, stop or skip such batches.
        strategy: auto, single, mirrored (all GPUs) or multi_worker (see docs/distributed.md); auto
            reads TF_CONFIG and the GPUs.
        peer_wait: seconds to wait for the other workers to start.
    """

    output_dir: str
    checkpoint: str = "none"
    revision: str | None = None
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float | None = None
    held_out: float = 0.1
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    xla: Literal["auto", "on", "off"] = "auto"
    accumulate_steps: int = 1
    save_every: int | None = None
    nonfinite: Literal["stop", "skip"] = "stop"
    strategy: Literal["auto", "single", "mirrored", "multi_worker"] = "auto"
    peer_wait: int = 300


@dataclass(kw_only=True)
class FromZero:
    """What a training without a checkpoint is told.

    Args:
        size: tiny, mini, small, medium, base or large, when starting from zero.
        vocabulary_size: most tokens to learn from the training text, from zero.
    """

    size: str = "mini"
    vocabulary_size: int = 16000


@dataclass(kw_only=True)
class FineTuning(FromZero, Training):
    """What every training from labelled rows is told.

    Args:
        train_file: rows to train on.
        lowercase: fold case and strip accents, from zero.
        eval_file: rows to choose the best weights on; part of train_file if not given.
        evaluations: measurements on the held-out rows in each epoch; the weights that did
            best in one are kept.
        max_length: most tokens of a text.
        ema: momentum of the average of the weights over the steps, which is what is kept; it
            rises to that, so that the average is over the last tenth of the steps at most; 0
            keeps the last weights.
        freeze_embeddings: keep the embeddings as they are: faster, and rare words stay
            where they are among the words that the training text does not have.
        freeze_layers: encoder blocks that stay as they are, counted from below; with
            them the embeddings.
        layer_decay: factor of the learning rate from each encoder block to the one below, and to
            the embeddings; 1 for the same one.
        patience: evaluations without improvement before training stops.
        held_out: share of train_file to hold out when there is no eval_file.
    """

    train_file: str
    lowercase: bool = True
    eval_file: str | None = None
    evaluations: int = 1
    max_length: int = 128
    ema: float = 0.999
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    layer_decay: float = 1.0
    patience: int = 3


@dataclass(kw_only=True)
class Evaluating:
    """What every measurement on labelled rows is told.

    Args:
        model_dir: what train wrote.
        eval_file: rows with labels, as train_file.
        report_dir: gets mistakes.jsonl and more, if given.
        batch_size: texts of a step.
        precision: auto, float32 or bfloat16.
    """

    model_dir: str
    eval_file: str
    report_dir: str | None = None
    batch_size: int = 32
    precision: Precision = "float32"


@dataclass(kw_only=True)
class Predicting:
    """What every verb that answers texts is told.

    Args:
        model_dir: what train wrote.
        text: the texts; from input_file or standard input if there are none.
        input_file: one text a line, or a table with a text column (.tsv, .csv, .jsonl).
        text_column: column of the text, in a table.
        batch_size: texts of a step.
        precision: auto, float32 or bfloat16.
    """

    model_dir: str
    text: list[str] = field(default_factory=list)
    input_file: str | None = None
    text_column: str = "text"
    batch_size: int = 32
    precision: Precision = "float32"


@dataclass(kw_only=True)
class Decoding:
    """How a text is generated.

    Args:
        max_new_tokens: most tokens of an answer.
        min_new_tokens: fewest tokens of an answer.
        sample: draw tokens; else take the likeliest.
        temperature: with sample, above 0: below 1 more often the likely ones.
        top_k: with sample, draw among so many of the likeliest tokens; 0 for all.
        top_p: with sample, draw among the likeliest tokens that have this probability together.
        repetition_penalty: above 1, makes tokens less likely that were there before.
        no_repeat_ngram: no so many tokens twice in a row; 0 for off.
        num_beams: sequences that a beam search follows; 1 for none.
        length_penalty: of a beam search; above 1 for longer answers.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0


@dataclass(kw_only=True)
class Searching:
    """How an encoder-decoder searches for its answer; as the model says where not given.

    Args:
        num_beams: sequences that the beam search follows; 1 takes the likeliest token.
        length_penalty: above 1 for longer answers.
        min_new_tokens: fewest tokens of an answer.
        max_new_tokens: most tokens of an answer.
        no_repeat_ngram: no so many tokens twice in a row; 0 for off.
        long_texts: cut reads as much of a long text as the model can; parts reads all of it
            in parts and writes an answer for each, one behind the other.
    """

    num_beams: int | None = None
    length_penalty: float | None = None
    min_new_tokens: int | None = None
    max_new_tokens: int | None = None
    no_repeat_ngram: int | None = None
    long_texts: Literal["cut", "parts"] | None = None


@dataclass(kw_only=True)
class Exporting:
    """What every export is told.

    Args:
        model_dir: what train wrote.
        export_dir: directory of the versions.
        precision: float32 or bfloat16, of the computation and of the weights.
        weights: variables in files of their own, or frozen: constants in the graph.
    """

    model_dir: str
    export_dir: str
    precision: Literal["float32", "bfloat16"] = "float32"
    weights: Literal["variables", "frozen"] = "variables"

    @property
    def saving(self):
        """What `saved_model.save` is told: the model card, and how the weights are kept."""
        return {"card": Path(self.model_dir) / "README.md", "frozen": self.weights == "frozen"}


# The same wherever a flag of the name exists.
LEAST = {
    "epochs": 1, "evaluations": 1, "steps": 1, "save_steps": 1, "batch_size": 1, "max_length": 3,
    "patience": 0, "freeze_layers": 0, "vocabulary_size": 10, "seed": 0, "weight_decay": 0,
    "shards": 1, "processes": 1, "held_out_examples": 1, "stride": 1, "sample_tokens": 0,
    "num_layers": 1, "num_heads": 1, "hidden_dim": 1, "num_decoder_layers": 1, "lead_k": 1,
    "max_target_length": 3, "rouge_examples": 1, "emission_loss": 0, "peer_wait": 1,
    "accumulate_steps": 1, "save_every": 1,
}  # fmt: skip
ABOVE_ZERO = ("learning_rate", "clip_norm")
MOST = {
    "warmup": 0.99, "held_out": 0.5, "dropout": 0.99, "ema": 0.9999, "mask_rate": 0.5,
    "short_share": 1.0, "word_dropout": 0.9, "label_smoothing": 0.9, "layer_decay": 1.0,
    "seed": 2**32 - 1,  # NumPy has no other
}  # fmt: skip


# Of a model that starts from a checkpoint, what is the checkpoint's: the flags of a new one.
OF_A_NEW_MODEL = ("size", "vocabulary_size", "lowercase", "architecture", "norm_first",
                  "num_layers", "num_heads", "hidden_dim", "tokenizer", "vocabulary",
                  "initial_embeddings")  # fmt: skip
# Of records, what they were made with.
OF_RECORDS = ("text_column", "vocabulary", "vocabulary_size", "lowercase",
              "short_share", "segmented", "held_out")  # fmt: skip
OF_SAMPLING = ("temperature", "top_k", "top_p")


def without_effect(settings):
    """Yield `(flags, reason)`: flags that change nothing beside the others of this call."""
    given = vars(settings)
    if given.get("checkpoint") not in (None, "none"):
        yield OF_A_NEW_MODEL, "the checkpoint has its own"
    elif "checkpoint" in given:
        yield ("revision",), "there is no checkpoint"
    if given.get("records_dir") is not None:
        yield OF_RECORDS, "the records in --records_dir have their own"
    if given.get("text"):
        yield ("input_file",), "texts are given, which are answered alone"
    if given.get("eval_file") is not None or given.get("eval_files") is not None:
        yield ("held_out",), "the rows to measure on are given"
    if given.get("train_file") is not None and "text_files" in given:
        yield ("text_files", "text_column", "eval_files"), "the rows of --train_file are read"
    elif given.get("text_files") is not None and "train_file" in given:
        flags = ("eval_file", "prompt_column", "response_column", "separator")
        yield flags, "the text of --text_files is read"
    if given.get("steps") is not None:
        yield ("epochs",), "--steps says how long the training is"
    if given.get("sample") is False:
        yield OF_SAMPLING, "the likeliest tokens are taken; give --sample true"
    if given.get("num_beams") == 1:
        yield ("length_penalty",), "there is no beam search; give --num_beams"
    if given.get("crf") is False:
        yield ("emission_loss",), "there is no CRF"


def check(settings):
    """Refuse settings that are out of range, or that have no effect in this call.

    Raises:
        InputError: with the flag, its value and what is allowed.
    """
    check_numbers(settings)
    defaults = {field.name: field for field in dataclasses.fields(settings)}
    for flags, reason in without_effect(settings):
        for flag in flags:
            if flag not in defaults:
                continue
            field = defaults[flag]
            value, default = getattr(settings, flag), field.default
            if default is dataclasses.MISSING:
                default = None if field.default_factory is dataclasses.MISSING else []
            if value != default:
                raise InputError(f"--{flag} {value}: has no effect here: {reason}; leave it out")


def check_numbers(settings):
    """Refuses numbers out of range.

    Raises:
        InputError: with the flag, its value and what is allowed; or nothing is held out and
            there is no file to measure on.
    """
    given = {name: value for name, value in vars(settings).items() if value is not None}
    for name, least in LEAST.items():
        if given.get(name, least) < least:
            raise InputError(f"--{name} {given[name]}: give {least} or more")
    for name in ABOVE_ZERO:
        if not given.get(name, 1.0) > 0:
            raise InputError(f"--{name} {given[name]}: give a number above 0")
    for name, most in MOST.items():
        if not 0 <= given.get(name, 0) <= most:
            raise InputError(f"--{name} {given[name]}: give a number from 0 to {most}")
    if isinstance(settings, FineTuning) and not settings.held_out and settings.eval_file is None:
        raise InputError("--held_out 0: give an --eval_file or a share to hold out")
