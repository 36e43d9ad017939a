"""The flags that the verbs share: dataclasses of which the command line is made.

In: the fields that a verb adds. Out: its dataclass. What is refused of the values stands in
`settings.py`.
"""

from dataclasses import dataclass, field
from typing import Literal

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
        learning_rate: maximum; 1e-4 from a checkpoint and 5e-4 from scratch if not given.
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


@dataclass(kw_only=True)
class FromText(Training):
    """What every training on running text is told.

    Args:
        text_files: file, pattern such as 'books/*.txt', or a list of them; also .gz, and tables
            (.tsv, .csv, .jsonl) with a document a row.
        text_column: column of the text, in tables.
        max_length: number of tokens of an example.
        steps: in the place of epochs.
        save_steps: steps between two evaluations, after each of which the state is saved.
        held_out: share of the text to measure on.
        held_out_examples: maximum number of examples to measure on.
    """

    text_files: str | list[str] | None = None
    text_column: str = "text"
    max_length: int | None = None
    epochs: int = 1
    steps: int | None = None
    save_steps: int = 500
    held_out_examples: int = 1000


@dataclass(kw_only=True)
class EvaluatingText:
    """What every measurement on running text is told.

    Args:
        model_dir: what a training wrote, or a published checkpoint of the kind.
        text_files: see the training.
        text_column: column of the text, in tables.
        max_length: number of tokens of an example; as in the training if not given.
        batch_size: examples of a step.
        precision: auto, float32 or bfloat16.
    """

    model_dir: str
    text_files: str | list[str]
    text_column: str = "text"
    max_length: int | None = None
    batch_size: int = 32
    precision: Precision = "float32"


def given(settings, names, renamed=()) -> dict:
    """Return the settings of these names, where the verb has them, as arguments."""
    found = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
    renamed = dict(renamed)
    if found.get("class_weights") == "none":
        del found["class_weights"]
    return {renamed.get(name, name): value for name, value in found.items()}
