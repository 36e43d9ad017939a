"""Train a GPT, from scratch or further, and generate text: `tfmodels gpt VERB`.

In: text files, or rows of a prompt and its response. Out: a tokenizer and a model directory (a
Hugging Face GPT-2 checkpoint), perplexities, continuations of prompts, a SavedModel that
continues them.
"""

import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from applications import flags
from applications.flow import Application, Kind
from applications.settings import data, generation, model, rare
from applications.tokenizers import gpt_tokenizer_of
from tfmodels.errors import InputError

MAX_LENGTH = 256  # where neither a flag nor a checkpoint gives one


@dataclass(kw_only=True)
class Learning(flags.FromText):
    """Settings of both trainings."""

    eval_files: str | list[str] | None = data("as text_files, to measure on", None)
    max_length: int | None = model("tokens of an example; 256, or that of the checkpoint", None)
    held_out: float = 0.05
    sample_prompt: str = rare("text to continue after each evaluation", "")
    sample_tokens: int = rare("number of tokens of that continuation; 0: none", 64)


@dataclass(kw_only=True)
class Pretrain(flags.FromScratch, Learning):
    """Pretrain a GPT and write a model directory, or resume a training that was stopped."""

    size: Literal["tiny", "mini", "small", "medium", "large", "xl"] = "mini"  # type: ignore[assignment]
    tokenizer: str = model("of a new model: bpe, characters, or the directory of another", "bpe")
    num_layers: int | None = rare("decoder blocks of a new model, if not those of the size", None)
    num_heads: int | None = rare("attention heads of a new model, likewise", None)
    hidden_dim: int | None = rare("width of a new model, likewise", None)

    def check_files(self) -> None:
        super().check_files()
        if self.tokenizer not in ("bpe", "characters") and not os.path.isdir(self.tokenizer):
            raise InputError(f"--tokenizer {self.tokenizer}: give bpe, characters or a directory")


@dataclass(kw_only=True)
class Finetune(flags.WithMissing, Learning):
    """Train a GPT further, on text or on responses to prompts, or resume that."""

    EXAMPLE = "{} --checkpoint runs/gpt --train_file answers.jsonl --output_dir runs/answers"

    checkpoint: str = model("directory or Hugging Face Hub name to start from")
    text_files: str | list[str] | None = data("as in pretrain", None)  # type: ignore[assignment]
    train_file: str | None = data("prompts and responses, instead of text_files", None)
    eval_file: str | None = data("as train_file, to measure on", None)
    prompt_column: str = data("column of the prompt", "prompt")
    response_column: str = data("column of the response, which alone the loss is on", "response")
    separator: str = rare("text between a prompt and its response, in use as well", "\n")

    def __post_init__(self) -> None:
        if self.checkpoint == "none":
            raise InputError("--checkpoint none: give the GPT-2 to start from, or use pretrain")
        if (self.text_files is None) == (self.train_file is None):
            raise InputError("give --text_files or --train_file, and not both")
        super().__post_init__()


@dataclass(kw_only=True)
class Evaluate(flags.EvaluatingText):
    """Measure perplexity on text; the last line is one JSON object."""

    batch_size: int = 16
    stride: int | None = rare("tokens of a window that count, if not half of max_length", None)


@dataclass(kw_only=True)
class Predict(flags.Decoding, flags.Predicting):
    """Continue prompts: to a terminal as the tokens come, else one JSON object a prompt."""

    EXAMPLE = '{} --model_dir runs/gpt --sample true --top_p 0.9 "The captain"'

    text_column: str = data("column of the prompt, in a table", "prompt")
    num_return_sequences: int = generation("texts for each prompt, with a seed each", 1)


@dataclass(kw_only=True)
class Export(flags.Decoding, flags.Exporting):
    """Write a SavedModel that continues prompts, as the next version in export_dir."""

    export_dir: str = "saved_models/gpt"


class Gpt(Application):
    """Train a GPT and generate text."""

    name = "gpt"
    title = "GPT"
    kind = Kind(
        "text-generation", {"perplexity": "perplexity"}, ("The old king", "从前"),
        "A causal language model that continues a text.",
        "For research, and for drafts that people check, in the language of its training text. "
        "What it writes is not filtered: it can be wrong, biased or offensive, and can repeat the "
        "training text.",
    )  # fmt: skip
    pretrain = finetune = Application.train

    def task(self) -> type:
        from tfmodels.tasks.causal_lm import CausalLM

        return CausalLM

    def rows(self, settings: Any) -> tuple:
        from tfmodels.data import open_table, open_texts

        held_out: Any = None
        table = flags.given(settings, flags.READING)
        text = flags.given(settings, ("encoding", "delimiter"))
        if getattr(settings, "train_file", None) is not None:
            columns = (settings.prompt_column, settings.response_column)
            table["may_be_empty"] = (settings.prompt_column,)
            if settings.eval_file is not None:
                held_out = open_table(settings.eval_file, *columns, **table)
            return open_table(settings.train_file, *columns, **table), held_out
        if settings.eval_files is not None:
            held_out = open_texts(settings.eval_files, settings.text_column, **text)
        return open_texts(settings.text_files, settings.text_column, **text), held_out

    def options(self, settings: Any, rows: Any) -> dict:
        if settings.checkpoint == "none":
            return {"max_length": settings.max_length or MAX_LENGTH}
        separator = settings.separator if getattr(settings, "train_file", None) else ""
        return {"max_length": settings.max_length, "separator": separator}

    def new(self, settings: Pretrain, rows: Any, folder: Path) -> dict:
        names = ("num_layers", "num_heads", "hidden_dim")
        length = settings.max_length or MAX_LENGTH
        given = {name: getattr(settings, name) for name in names}
        return {"tokenizer": gpt_tokenizer_of(settings, rows, folder, length), **given}

    def fit_options(self, settings: Pretrain | Finetune, task: Any) -> dict:
        options: dict = {"held_out_examples": settings.held_out_examples}
        given = settings.eval_files or getattr(settings, "eval_file", None)
        options["validation_split"] = 0.0 if given else settings.held_out
        if settings.sample_tokens:
            sample = task.sampling(settings.sample_prompt, settings.sample_tokens, settings.seed)
            options["callbacks"] = (sample,)
        return options

    def measure(self, task: Any, held_out: Any, settings: Pretrain | Finetune) -> dict:
        return self.last_measured(task)

    def card(self, metrics: dict, settings: Pretrain | Finetune, task: Any) -> list[str]:
        return self.measured_table(metrics, "text")

    def open(self, settings: Evaluate, file: str) -> Any:
        from tfmodels.data import open_texts

        return open_texts(file, settings.text_column, **flags.given(settings, flags.READING))

    def configure(self, task: Any, settings: Evaluate | flags.Decoding) -> None:
        if isinstance(settings, flags.Decoding):
            task.configure(**{f.name: getattr(settings, f.name) for f in fields(flags.Decoding)})
            used = task.generation
            settings.refuse_without_effect(sample=used.sample, num_beams=used.num_beams)
        elif settings.max_length is not None:
            from tfmodels.tasks.encoder import check_positions

            check_positions(task.model.config, settings.max_length)
            task.max_length = settings.max_length

    def evaluate_options(self, settings: Evaluate) -> dict:
        return {"stride": settings.stride}

    def line(self, text: str, answer: Any) -> dict:
        return {"prompt": text, **answer}

    def texts(self, settings: Any) -> Iterator[list[str]]:
        """Return the prompts, each as often as it has answers."""
        for prompts in super().texts(settings):
            yield [prompt for prompt in prompts for _ in range(settings.num_return_sequences)]

    def predict(self, settings: flags.Predicting) -> None:
        """Continue prompts: on a terminal as the tokens come, else one JSON object a prompt."""
        if not sys.stdout.isatty():
            super().predict(settings)
            return
        task: Any = self.load(settings)
        drawn = Counter[str]()
        for prompt in itertools.chain.from_iterable(self.texts(settings)):
            print(prompt, end="")
            for text in task.stream(prompt, drawn[prompt]):
                print(text, end="", flush=True)
            print("\n")
            drawn[prompt] += 1


APPLICATION = Gpt()
VERBS = APPLICATION.verbs(
    pretrain=Pretrain, finetune=Finetune, evaluate=Evaluate, predict=Predict, export=Export
)
