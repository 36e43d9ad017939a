"""GPT from zero or further, and text out of it: `tfmodels gpt VERB`.

In: text files, or rows of a prompt and its response. Out: a tokenizer and a model directory (a
Hugging Face GPT-2 checkpoint), perplexities, continuations of prompts, a SavedModel that
continues them. TensorFlow is imported when a verb runs, not before.

A training that is stopped leaves `<output_dir>.unfinished/`; the same command goes on there.
"""

import sys
from dataclasses import dataclass, field, fields

from applications.flags import (
    Decoding,
    EvaluatingText,
    Exporting,
    FromText,
    FromZero,
    Predicting,
)
from applications.flow import Application
from applications.settings import check
from applications.tokenizers import gpt_tokenizer_of
from tfmodels.errors import InputError

MAX_LENGTH = 256  # where neither a flag nor a checkpoint says otherwise


@dataclass(kw_only=True)
class Learning(FromText):
    """What both trainings are told.

    Args:
        text_files: files or patterns; a file is one document (the literal <|endoftext|> ends one
            as well), a row of a table too. All are one row of text, which is cut into blocks.
        eval_files: text to measure on; part of text_files if not given.
        sample_prompt: text to continue after each evaluation, to see how it writes.
        sample_tokens: number of tokens of such a sample; 0 for none.
    """

    eval_files: str | list[str] | None = None
    sample_prompt: str = ""
    sample_tokens: int = 64
    held_out: float = 0.05


@dataclass(kw_only=True)
class Pretrain(FromZero, Learning):
    """Pretrains a GPT on text and writes a model directory; goes on with one that was stopped.

    Args:
        checkpoint: directory or Hub name of a GPT-2 to go on from, with its tokenizer; or none.
        tokenizer: bpe or characters, learned from the text; or the directory of a checkpoint to
            use the tokenizer of.
        size: tiny, mini, small, medium, large or xl, when starting from zero.
        num_layers: decoder blocks, in the place of those of the size.
        num_heads: attention heads, likewise.
        hidden_dim: width, likewise.
    """

    tokenizer: str = "bpe"
    num_layers: int | None = None
    num_heads: int | None = None
    hidden_dim: int | None = None


@dataclass(kw_only=True)
class Finetune(Learning):
    """Trains a GPT further, on text or on responses to prompts; goes on as pretrain does.

    Args:
        checkpoint: directory or Hub name of the GPT-2 to start from.
        train_file: rows with a prompt and a response (.jsonl, .tsv, .csv), in the place of
            text_files; the loss is on the responses.
        eval_file: rows to measure on; part of train_file if not given.
        prompt_column: column of the prompt.
        response_column: column of the response.
        separator: text between a prompt and its response, here and when the model is used.
    """

    train_file: str | None = None
    eval_file: str | None = None
    prompt_column: str = "prompt"
    response_column: str = "response"
    separator: str = "\n"


@dataclass(kw_only=True)
class Evaluate(EvaluatingText):
    """Measure perplexity on text; the last line printed is one JSON object.

    A window moves over the text; of each only the last `stride` tokens count, so that all but
    the first have at least max_length - stride tokens before them.

    Args:
        stride: number of tokens that the window moves; half of max_length if not given.
    """

    stride: int | None = None
    batch_size: int = 16


@dataclass(kw_only=True)
class Predict(Decoding, Predicting):
    """Continues prompts: on a terminal as the tokens come, else one JSON object a prompt.

    Args:
        model_dir: what pretrain or finetune wrote, or any GPT-2 checkpoint.
        stop: texts that end an answer.
        seed: of the draws; each prompt's depend on it alone, not on the other prompts.
        text_column: column of the prompt, in a table.
    """

    stop: list[str] = field(default_factory=list)
    seed: int = 0
    text_column: str = "prompt"


@dataclass(kw_only=True)
class Export(Decoding, Exporting):
    """Writes a SavedModel that takes prompts, as the next version in export_dir.

    The signature `generate` takes temperature, top_k, top_p, seed and max_new_tokens (up to
    the one given here) from each request.

    Args:
        model_dir: what pretrain or finetune wrote, or any GPT-2 checkpoint.
        stop: texts that end an answer.
        seed: of the draws, with sample.
    """

    export_dir: str = "saved_models/gpt"
    stop: list[str] = field(default_factory=list)
    seed: int = 0


class Gpt(Application):
    """Running text, or prompts with their responses."""

    name = "gpt"
    title = "GPT"
    pretrain = finetune = Application.train

    def task(self):
        from tfmodels.tasks.causal_lm import CausalLM

        return CausalLM

    def check(self, settings):
        if isinstance(settings, Pretrain):
            if settings.text_files is None:
                raise InputError("--text_files: give the text to train on")
            return
        if settings.checkpoint == "none":
            raise InputError(
                "--checkpoint: give the GPT-2 to start from; without one, use pretrain"
            )
        if (settings.text_files is None) == (settings.train_file is None):
            raise InputError("give --text_files or --train_file, and not both")

    def rows(self, settings):
        from tfmodels.data import open_table, open_texts

        if getattr(settings, "train_file", None) is not None:
            columns = (settings.prompt_column, settings.response_column)
            held_out = None
            if settings.eval_file is not None:
                held_out = open_table(settings.eval_file, *columns)
            return open_table(settings.train_file, *columns), held_out
        held_out = None
        if settings.eval_files is not None:
            held_out = open_texts(settings.eval_files, settings.text_column)
        return open_texts(settings.text_files, settings.text_column), held_out

    def options(self, settings, rows):
        if settings.checkpoint == "none":
            return {"max_length": settings.max_length or MAX_LENGTH}
        separator = settings.separator if getattr(settings, "train_file", None) else ""
        return {"max_length": settings.max_length, "separator": separator}

    def new(self, settings, rows, folder):
        names = ("num_layers", "num_heads", "hidden_dim")
        length = settings.max_length or MAX_LENGTH
        given = {name: getattr(settings, name) for name in names}
        return {"tokenizer": gpt_tokenizer_of(settings, rows, folder, length), **given}

    def fit_options(self, settings, task):
        options = {"held_out_examples": settings.held_out_examples}
        given = settings.eval_files or getattr(settings, "eval_file", None)
        options["validation_split"] = 0.0 if given else settings.held_out
        if settings.sample_tokens:
            sample = task.sampling(settings.sample_prompt, settings.sample_tokens, settings.seed)
            options["callbacks"] = (sample,)
        return options

    def measure(self, task, held_out, settings):
        return self.last_measured(task)

    def card(self, metrics, settings, task):
        return self.measured_table(metrics, "text")

    def open(self, settings, file):
        from tfmodels.data import open_texts

        return open_texts(file, settings.text_column)

    def configure(self, task, settings):
        names = {field.name for field in fields(Decoding)} | {"stop", "seed"}
        given = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
        if isinstance(settings, Decoding):
            task.configure(**given)
        elif settings.max_length is not None:
            from tfmodels.tasks.encoder import check_positions

            check_positions(task.model.config, settings.max_length)
            task.max_length = settings.max_length

    def evaluate_options(self, settings):
        return {"stride": settings.stride}

    def line(self, text, answer):
        return {"prompt": text, **answer}

    def predict(self, settings):
        """Continue prompts: on a terminal as the tokens come, else one JSON object a prompt."""
        if not sys.stdout.isatty():
            super().predict(settings)
            return
        from tfmodels.data.datasets import text_chunks

        check(settings)
        chunks = text_chunks(settings.text, settings.input_file, settings.text_column)
        task = self.load(settings)
        for prompts in chunks:
            for prompt in prompts:
                print(prompt, end="")
                for text in task.stream(prompt):
                    print(text, end="", flush=True)
                print("\n")


APPLICATION = Gpt()
VERBS = APPLICATION.verbs(
    pretrain=Pretrain, finetune=Finetune, evaluate=Evaluate, predict=Predict, export=Export
)
