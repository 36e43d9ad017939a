"""GPT from zero or further, and text out of it: `tfmodels gpt VERB`.

In: text files, or rows of a prompt and its response. Out: a tokenizer and a model directory (a
Hugging Face GPT-2 checkpoint), perplexities, continuations of prompts, a SavedModel that
continues them. TensorFlow is imported when a verb runs, not before.

A training that is stopped leaves `<output_dir>.unfinished/`; the same command goes on there.
"""

import dataclasses
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

from applications.settings import (
    Decoding,
    Exporting,
    FromZero,
    Precision,
    Predicting,
    Training,
    check_numbers,
)
from tfmodels.errors import InputError

APPLICATION = "gpt"
MAX_LENGTH = 256  # where neither a flag nor a checkpoint says otherwise
WORST_MISTAKES = 10


@dataclass(kw_only=True)
class Learning(Training):
    """What both trainings are told.

    Args:
        text_files: file, pattern such as 'books/*.txt', or a list of them: a file is one document
            (the literal <|endoftext|> ends one as well), a row of a table (.tsv, .csv,
            .jsonl) too; also .gz. All are one row of text, which is cut into blocks.
        text_column: column of the text, in tables.
        eval_files: text to measure on; part of text_files if not given.
        max_length: tokens of an example.
        steps: instead of epochs.
        save_steps: steps between two measurements, after each of which the state is saved.
        sample_prompt: what to continue after each measurement, to see how it writes.
        sample_tokens: tokens of such a sample; 0 for none.
        held_out: share of the text to measure on, if there are no eval_files.
        held_out_examples: most examples to measure on.
    """

    text_files: str | list[str] | None = None
    text_column: str = "text"
    eval_files: str | list[str] | None = None
    max_length: int | None = None
    epochs: int = 1
    steps: int | None = None
    save_steps: int = 500
    sample_prompt: str = ""
    sample_tokens: int = 64
    held_out: float = 0.05
    held_out_examples: int = 1000


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
class Evaluate:
    """Measures perplexity on text; the last line printed is one JSON object.

    A window moves over the text; of each only the last `stride` tokens count, so that all but
    the first have at least max_length - stride tokens before them.

    Args:
        model_dir: what pretrain or finetune wrote, or any GPT-2 checkpoint.
        text_files: see pretrain.
        text_column: column of the text, in tables.
        max_length: tokens of a window; as in the training if not given.
        stride: tokens that the window moves; half of max_length if not given.
        batch_size: windows of a step.
        precision: auto, float32 or bfloat16.
    """

    model_dir: str
    text_files: str | list[str]
    text_column: str = "text"
    max_length: int | None = None
    stride: int | None = None
    batch_size: int = 16
    precision: Precision = "float32"


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


def pretrain(settings: Pretrain):
    """Runs `Pretrain`; returns the metrics of the held-out text."""
    from applications.blocks import Blocks, learned_tokenizer
    from tfmodels.data.documents import TextFiles
    from tfmodels.models.gpt import SIZES, Gpt

    check_numbers(settings)
    if settings.checkpoint == "none":
        if settings.size not in SIZES:
            raise InputError(f"--size {settings.size}: give one of {', '.join(SIZES)}")
    elif settings.tokenizer != "bpe":
        raise InputError("--tokenizer: a checkpoint comes with its own; leave it out")
    if settings.text_files is None:
        raise InputError("--text_files: give the text to train on")
    texts = TextFiles(settings.text_files, settings.text_column)

    def start(folder):
        if settings.checkpoint == "none":
            max_length = settings.max_length or MAX_LENGTH
            tokenizer = learned_tokenizer(settings, texts, folder, max_length)
            model, said = Gpt(_new_config(settings, tokenizer, max_length)), "from zero"
            model.build()
        else:
            model, tokenizer, max_length, said = _started(settings)
        return _ready(settings, model, Blocks(settings, texts, tokenizer, max_length), said)

    made_of = {"text_files": texts.fingerprint(), **_eval_files(settings)}
    return _train(settings, texts, made_of, start, "Pretrained GPT")


def finetune(settings: Finetune):
    """Runs `Finetune`; returns the metrics of the held-out text or rows."""
    from applications import run
    from applications.blocks import Blocks, Responses
    from tfmodels.data.documents import TextFiles
    from tfmodels.data.tables import open_source

    check_numbers(settings)
    if settings.checkpoint == "none":
        raise InputError("--checkpoint: give the GPT-2 to start from; without one, use pretrain")
    if (settings.text_files is None) == (settings.train_file is None):
        raise InputError("give --text_files or --train_file, and not both")
    evaluated = None
    if settings.train_file is None:
        data = TextFiles(settings.text_files, settings.text_column)
        made_of = {"text_files": data.fingerprint(), **_eval_files(settings)}
    else:
        columns = (settings.prompt_column, settings.response_column)
        data = evaluated = open_source(settings.train_file, columns)
        made_of = {"files": run.contents(settings.train_file, settings.eval_file)}
        if settings.eval_file is not None:
            evaluated = open_source(settings.eval_file, columns)

    def start(folder):
        model, tokenizer, max_length, said = _started(settings)
        if evaluated is None:
            source = Blocks(settings, data, tokenizer, max_length)
        else:
            source = Responses(settings, data, evaluated, tokenizer, max_length)
        return _ready(settings, model, source, said)

    return _train(settings, data, made_of, start, "Fine-tuned GPT")


def _eval_files(settings):
    """What tells the text to measure on from other text, in the place of its names."""
    from tfmodels.data.documents import TextFiles

    if settings.eval_files is None:
        return {}
    return {"eval_files": TextFiles(settings.eval_files, settings.text_column).fingerprint()}


def evaluate(settings: Evaluate):
    """Runs `Evaluate`; returns the metrics."""
    import numpy as np

    from applications import report
    from tfmodels.data.documents import TextFiles
    from tfmodels.text.blocks import tokenized_passages, windows

    check_numbers(settings)
    texts = TextFiles(settings.text_files, settings.text_column)
    model, tokenizer, ours = load(settings.model_dir, settings.precision)
    length = _length(settings, model.config, ours.get("max_length"))
    stride = settings.stride or max(length // 2, 1)
    if stride > length:
        raise InputError(f"--stride {stride}: give at most {length}, the tokens of a window")
    counted = _Counted(texts)
    losses_of = _losses_of(model)
    total, number, worst = 0.0, 0, []
    tokens = tokenized_passages(counted.passages(), tokenizer)
    for inputs, labels in windows(tokens, length, stride, tokenizer.end_id, settings.batch_size):
        losses = losses_of(inputs, labels).numpy()  # [B, S], 0 where nothing is predicted
        total += float(losses.sum(dtype=np.float64))
        number += int((labels >= 0).sum())
        worst = _worst(worst, losses, inputs, labels, tokenizer)
    metrics = {
        "tokens": number, "words": counted.words, "bytes": counted.bytes,
        "crossentropy": total / number,
        "perplexity": _exp(total / number),
        "word_perplexity": _exp(total / max(counted.words, 1)),
        "bits_per_byte": total / math.log(2) / counted.bytes,
        "max_length": length, "stride": stride,
    }  # fmt: skip
    report.print_measured(metrics, worst)
    return metrics


def predict(settings: Predict):
    """Runs `Predict`: JSON lines with `prompt` and `text`, or text on a terminal."""
    import tensorflow as tf

    from tfmodels.data import datasets

    check_numbers(settings)
    chunks = datasets.text_chunks(settings.text, settings.input_file, settings.text_column)
    generator = _generator(settings)
    if sys.stdout.isatty():
        for prompts in chunks:
            for prompt in prompts:
                print(prompt, end="")
                for text in stream(generator, prompt):
                    print(text, end="", flush=True)
                print("\n")
        return

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def answers(prompt):
        found = generator(generator.prompts(prompt))
        return generator.text(found.token_ids, found.mask), found.scores

    for prompts in chunks:
        for first in range(0, len(prompts), settings.batch_size):
            part = prompts[first : first + settings.batch_size]
            _check_prompts(generator, part)
            for prompt, text, score in zip(part, *answers(tf.constant(part)), strict=True):
                answer = {"prompt": prompt, "text": text.numpy().decode(), "score": float(score)}
                print(json.dumps(answer, ensure_ascii=False))
        sys.stdout.flush()


def export(settings: Export):
    """Runs `Export`; returns the path of the new version."""
    from applications import report
    from tfmodels.tasks.text_generator import export_generation

    check_numbers(settings)
    model, tokenizer, ours = load(settings.model_dir, settings.precision, generate=True)
    version = export_generation(
        settings.export_dir, model, tokenizer, _generation(settings), settings.stop,
        ours.get("separator", ""), settings.seed, **settings.saving,
    )  # fmt: skip
    return report.exported(version)


def stream(generator, prompt):
    """The continuation of one prompt, piece by piece as its tokens come.

    Args:
        generator: a `serving.generation.TextGenerator`.
        prompt: str.

    Yields:
        str: together, the text that `predict` gives. With beams, all at the end.

    Raises:
        InputError: the prompt is too long.
    """
    import tensorflow as tf

    _check_prompts(generator, [prompt])
    decoding = generator.decoding
    start = tf.function(lambda text: generator.start(generator.prompts(text)), autograph=False)
    advance = tf.function(decoding.advance, reduce_retracing=True, autograph=False)
    carry, shown = start(tf.constant([prompt])), ""

    def text():
        found = decoding.result(carry)
        return generator.text(found.token_ids, found.mask)[0].numpy().decode()

    while decoding.unfinished(carry):
        # What may still be the beginning of a stop string, or of a character, waits.
        ready = _settled(text(), generator.stop)
        if generator.settings.num_beams == 1 and len(ready) > len(shown):
            yield ready[len(shown) :]
            shown = ready
        carry = advance(carry)
    yield text()[len(shown) :]


def load(model_dir, precision, generate=False):
    """The model, tokenizer and our settings of a directory.

    Args:
        model_dir: what pretrain or finetune wrote, or any GPT-2 checkpoint.
        precision: auto, float32 or bfloat16.
        generate: whether it will generate: weights that are read at every token are then
            stored in the precision that is computed with.
    """

    from applications import models, run
    from tfmodels.checkpoints.gpt2 import load_gpt, read_gpt_tokenizer

    run.start(precision, "single", seed=0, stored=generate)
    directory = Path(model_dir)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; give one that `pretrain` wrote")
    model, _ = load_gpt(directory)
    return model, read_gpt_tokenizer(directory), models.our_settings(directory)


def _generator(settings):
    """The `TextGenerator` of `predict`."""
    from tfmodels.tasks.text_generator import TextGenerator

    model, tokenizer, ours = load(settings.model_dir, settings.precision, generate=True)
    return TextGenerator(
        model, tokenizer, _generation(settings), settings.stop, ours.get("separator", ""),
        settings.seed,
    )  # fmt: skip


def _generation(settings):
    """The `Generation` of a verb's flags."""
    from tfmodels.generation.settings import Generation

    names = [field.name for field in dataclasses.fields(Decoding)]
    try:
        return Generation(**{name: getattr(settings, name) for name in names})
    except InputError as error:
        raise InputError(f"--{error}") from error


def _check_prompts(generator, prompts):
    """Refuses prompts that leave no room for an answer."""
    most = generator.model.config.max_length - generator.settings.max_new_tokens
    lengths = generator.prompts(prompts)["padding_mask"].numpy().sum(1)
    for prompt, length in zip(prompts, lengths, strict=True):
        if length > most:
            raise InputError(
                f"prompt {prompt[:40]!r}...: {length} tokens, and with --max_new_tokens "
                f"{generator.settings.max_new_tokens} there is room for {most}; shorten it or "
                "generate fewer"
            )


def _settled(text, stop):
    """What of a text stays as it is whatever comes next."""
    text = text.rstrip("\ufffd")
    longest = max(map(len, stop), default=1)
    for size in range(min(longest - 1, len(text)), 0, -1):
        if any(string.startswith(text[-size:]) for string in stop):
            return text[:-size]
    return text


def _new_config(settings, tokenizer, max_length):
    """The `GptConfig` to start from zero with."""
    from applications import models
    from tfmodels.models.gpt import GptConfig

    given = {name: getattr(settings, name) for name in ("num_layers", "num_heads", "hidden_dim")}
    given = {name: value for name, value in given.items() if value is not None}
    if "hidden_dim" in given:
        given["feedforward_dim"] = 4 * given["hidden_dim"]
        given.setdefault("num_heads", max(given["hidden_dim"] // 64, 1))
    config = GptConfig.of_size(
        settings.size, vocabulary_size=tokenizer.vocabulary_size, max_length=max_length,
        **models.dropout_fields(settings.dropout), **given,
    )  # fmt: skip
    if config.hidden_dim % config.num_heads:
        raise InputError(
            f"--num_heads {config.num_heads}: does not divide the width, {config.hidden_dim}"
        )
    return config


def _started(settings):
    """The model of a checkpoint with its weights, its tokenizer, the length of an example, and a
    line about it."""
    from applications import models
    from tfmodels.checkpoints.files import find_checkpoint
    from tfmodels.checkpoints.gpt2 import load_gpt_weights, read_gpt_config, read_gpt_tokenizer
    from tfmodels.models.gpt import Gpt

    directory = find_checkpoint(settings.checkpoint, settings.revision)
    tokenizer = read_gpt_tokenizer(directory)
    config = dataclasses.replace(
        read_gpt_config(directory), **models.dropout_fields(settings.dropout)
    )
    max_length = _length(settings, config)
    model = Gpt(config)
    model.build()
    return model, tokenizer, max_length, load_gpt_weights(model, directory)


def _length(settings, config, default=None):
    """Tokens of an example: the flag's, or as many as the model is used to."""
    from applications import models

    length = settings.max_length or default or config.max_length
    models.check_positions(config, length)
    return length


def _ready(settings, model, source, said):
    """What `steps.train` is given to train with."""
    from tfmodels.training.losses import Accuracy, Crossentropy, MeanCrossentropy

    print(f"{source.say}; {said}, {source.tokenizer.vocabulary_size} tokens", file=sys.stderr)
    objective = {"loss": Crossentropy(), "metrics": [Accuracy(), MeanCrossentropy()]}
    callbacks = [_perplexity()]
    if settings.sample_tokens:
        callbacks.append(_samples(settings, model, source))
    return model, source, {"objective": objective, "callbacks": callbacks}


def _train(settings, data, made_of, start, title):
    from applications import report, steps
    from tfmodels.checkpoints.gpt2 import write_gpt
    from tfmodels.metrics.tables import table

    def write(directory, model, source, metrics):
        ours = {"application": APPLICATION, "max_length": source.max_length, **source.ours}
        write_gpt(model, directory, source.tokenizer, ours)
        rows = list(metrics.items())
        card = [
            f"Trained with `tfmodels`: {source.say}, from `{settings.checkpoint}`.",
            table(("on held-out text", "value"), rows) if rows else "Nothing held out.",
        ]
        report.write_card(directory, title, card, settings)

    return steps.train(settings, data, made_of, start, write)


def _perplexity():
    """A callback that puts the perplexity beside the cross-entropy."""
    import keras

    class Perplexity(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            for name in ("crossentropy", "val_crossentropy"):
                if name in logs:
                    logs[name.replace("crossentropy", "perplexity")] = _exp(logs[name])

    return Perplexity()


def _samples(settings, model, source):
    """A callback that prints how the model continues a prompt, after each measurement."""
    import keras
    import tensorflow as tf

    from tfmodels.generation.settings import Generation
    from tfmodels.tasks.text_generator import TextGenerator

    tokenizer, before = source.tokenizer, source.ours.get("separator", "")
    taken = tokenizer.tokenize([settings.sample_prompt + before]).row_lengths().numpy()[0]
    room = model.config.max_length - max(int(taken), 1)
    if room < 1:
        raise InputError(
            f"--sample_prompt: {taken} tokens, and the model has positions for "
            f"{model.config.max_length}; shorten it"
        )
    most = min(settings.sample_tokens, room)
    generation = Generation(max_new_tokens=most, sample=True, temperature=0.8, top_k=50)
    generator = TextGenerator(model, tokenizer, generation, before=before, seed=settings.seed)

    @tf.function(autograph=False)
    def sample(prompt):
        found = generator(generator.prompts(prompt))
        return generator.text(found.token_ids, found.mask)

    class Samples(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            text = sample(tf.constant([settings.sample_prompt]))[0].numpy().decode()
            print(f"sample: {settings.sample_prompt}|{text}", file=sys.stderr)

    return Samples()


class _Counted:
    """Passages, with the words (apart by white space) and bytes that went by."""

    def __init__(self, texts):
        self._texts, self.words, self.bytes = texts, 0, 0

    def passages(self):
        for number, text, ends in self._texts.passages():
            self.words += len(text.split())
            self.bytes += len(text.encode("utf-8"))
            yield number, text, ends


def _losses_of(model):
    """A function of tokens and labels `[B, S]` that gives the loss of each, 0 for none."""
    import tensorflow as tf

    from tfmodels.training.losses import label_losses, label_weights

    specs = [tf.TensorSpec([None, None], tf.int32)] * 2

    @tf.function(input_signature=specs, autograph=False)
    def losses_of(token_ids, labels):
        logits = model({"token_ids": token_ids}, training=False)
        return label_losses(labels, logits) * label_weights(labels)

    return losses_of


def _worst(worst, losses, inputs, labels, tokenizer):
    """The tokens that the model expected least, with what stands before them."""
    import numpy as np
    import tensorflow as tf

    flat = np.argsort(losses, axis=None)[::-1][:WORST_MISTAKES]
    for row, place in zip(*np.unravel_index(flat, losses.shape), strict=True):
        if labels[row, place] < 0:
            continue
        before = inputs[row, max(place - 30, 0) : place + 1]
        parts = tf.ragged.constant([before, [labels[row, place]]], dtype=tf.int32)
        before, token = (
            text.decode("utf-8", "replace") for text in tokenizer.detokenize(parts).numpy()
        )
        p = math.exp(-float(losses[row, place]))
        worst.append({"text": before, "true": token, "probability": p})
    return sorted(worst, key=lambda row: row["probability"])[:WORST_MISTAKES]


def _exp(value):
    return math.exp(min(value, 700.0))


VERBS = {"pretrain": (Pretrain, pretrain), "finetune": (Finetune, finetune),
         "evaluate": (Evaluate, evaluate), "predict": (Predict, predict),
         "export": (Export, export)}  # fmt: skip
