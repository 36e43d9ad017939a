"""`CausalLM`: the continuation of a prompt.

In: running text, or prompts with their responses. Out: for each prompt `{"text": ..., "score":
...}`, piece by piece if wanted, and a SavedModel that answers prompts with the same; tokenizer,
cache, choice of tokens and detokenizer are in its graph. Preprocessing, model, answers.
"""

import dataclasses
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.files import (
    check_vocabulary_size,
    find_checkpoint,
    saved_settings,
)
from tfmodels.checkpoints.gpt2 import (
    load_gpt,
    load_gpt_weights,
    read_gpt_config,
    read_gpt_ends,
    write_gpt,
)
from tfmodels.checkpoints.tokenizers import Tokenizer, read_tokenizer
from tfmodels.data.datasets import chunk_dataset, source_errors
from tfmodels.data.documents import TextFiles, as_texts
from tfmodels.data.memory import as_source
from tfmodels.data.rows import Source
from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation, given_fields
from tfmodels.models.gpt import SIZES, Gpt, GptConfig
from tfmodels.tasks.encoder import check_positions, check_size, dropout_fields
from tfmodels.tasks.language import LanguageTask
from tfmodels.tasks.task import Task
from tfmodels.tasks.text_generator import (
    TextGenerator,
    generation_signatures,
    int32_seeds,
    settled,
)
from tfmodels.text.blocks import (
    block_batches,
    block_passes,
    response_batches,
    tokenized_passages,
    windows,
)
from tfmodels.text.bpe import BytePairTokenizer
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.vocabulary import learn_characters, learn_merges
from tfmodels.training.losses import (
    Accuracy,
    Crossentropy,
    MeanCrossentropy,
    label_losses,
    label_weights,
)


class CausalLM(LanguageTask):
    """Continue texts.

    Args:
        model: a `Gpt`.
        tokenizer: its `BytePairTokenizer` or `CharacterTokenizer`; or a `WordPieceTokenizer`, as
            the Chinese GPT-2s have it.
        max_length: number of tokens of a training example.
        separator: text between a prompt and its response, where it was trained on responses.
        started: see `Task`.

    `fit(texts)` trains on running text: strings, or `tfmodels.data.open_texts("book.txt")`.
    `fit(prompts, responses)` trains on the responses. The logs have the perplexity beside the
    cross-entropy. `predict(prompts)` returns for each a dict of `text`, the continuation, and
    `score`, its log-probability; `generate(prompts)` returns the texts alone.

    Example:
        >>> texts = ["the old king went to the sea and the old king came home. "] * 40
        >>> task = CausalLM.from_scratch(texts, size="tiny", vocabulary_size=300, max_length=32)
        >>> task.fit(texts, batch_size=4, epochs=2)
        >>> task.configure(max_new_tokens=16, sample=True, top_p=0.9)
        >>> task.generate(["the old"])
    """

    application = "gpt"
    smooths = True
    generates = True
    columns = ("prompt", "response")
    text_columns = 2
    kind = "blocks"

    def __init__(
        self, model: Gpt, tokenizer: Tokenizer, *, max_length: int | None = None,
        separator: str = "", started: str = "from scratch",
    ) -> None:  # fmt: skip
        check_vocabulary_size(tokenizer, model.config)
        max_length = max_length or model.config.max_length
        check_positions(model.config, max_length)
        super().__init__(model, tokenizer, max_length=max_length, started=started)
        self.separator, self._seed = separator, 0
        self._generation: dict[str, Any] = {}
        self._drawn = Counter[str]()  # how often each prompt was answered in this call
        self._stop: tuple[str, ...] = ()
        self._ends: tuple[int, ...] = () if tokenizer.end_id is None else (tokenizer.end_id,)

    @classmethod
    def from_preset(
        cls, preset: str | Path, *, max_length: int | None = None, separator: str = "",
        dropout: float | None = None, revision: str | None = None, dtype: Any = None,
    ) -> "CausalLM":  # fmt: skip
        """Start from a GPT-2.

        Args:
            preset: directory (of Hugging Face's or KerasHub's layout), name on the Hugging Face
                Hub, name of KerasHub or `kaggle://...`.
            max_length: see the class.
            separator: see the class.
            dropout: in all blocks; the checkpoint's if not given.
            revision: branch, tag or commit on the Hub.
            dtype: dtype policy of the model; Keras' global one if not given.

        Raises:
            InputError: the checkpoint cannot be found, read or used.
        """
        directory = find_checkpoint(preset, revision)
        tokenizer = read_tokenizer(directory)
        config = dataclasses.replace(read_gpt_config(directory), **dropout_fields(dropout))
        check_positions(config, max_length or 1)
        model = Gpt(config, dtype=dtype)
        report = load_gpt_weights(model, directory)
        task = cls(model, tokenizer, max_length=max_length, separator=separator,
                   started=str(report))  # fmt: skip
        task._ends = read_gpt_ends(directory, tokenizer)
        return task

    @classmethod
    def from_scratch(
        cls, texts: Any = None, *, tokenizer: Any = "bpe", size: str = "mini",
        vocabulary_size: int = 16000, max_length: int = 256, num_layers: int | None = None,
        num_heads: int | None = None, hidden_dim: int | None = None, dropout: float | None = None,
        dtype: Any = None,
    ) -> "CausalLM":  # fmt: skip
        """Start from random weights.

        Args:
            texts: strings, or `tfmodels.data.open_texts(...)`, to learn a tokenizer from.
            tokenizer: "bpe" or "characters", learned from `texts`; or a tokenizer.
            size: tiny, mini, small, medium, large or xl.
            vocabulary_size: maximum number of tokens to learn.
            num_layers: replaces that of the size.
            num_heads: replaces that of the size.
            hidden_dim: replaces that of the size.
            max_length: see the class.
            dropout: see `from_preset`.
            dtype: see `from_preset`.

        Raises:
            InputError: there is no such size, or nothing to learn from.
        """
        check_size(size, SIZES)
        if isinstance(tokenizer, str):
            tokenizer = learned_tokenizer(texts, tokenizer, vocabulary_size)
        sizes = {"num_layers": num_layers, "num_heads": num_heads, "hidden_dim": hidden_dim}
        given = {name: value for name, value in sizes.items() if value is not None}
        if "hidden_dim" in given:
            given["feedforward_dim"] = 4 * given["hidden_dim"]
            given.setdefault("num_heads", max(given["hidden_dim"] // 64, 1))
        config = GptConfig.of_size(
            size, vocabulary_size=tokenizer.vocabulary_size, max_length=max_length,
            **dropout_fields(dropout), **given,
        )  # fmt: skip
        if config.hidden_dim % config.num_heads:
            raise InputError(
                f"num_heads {config.num_heads}: does not divide the width, {config.hidden_dim}"
            )
        model = Gpt(config, dtype=dtype)
        return cls(model, tokenizer, max_length=max_length)

    @classmethod
    def load(cls, directory: str | Path, *, dtype: Any = None) -> "CausalLM":
        """Load what `save` or `tfmodels gpt ...` wrote, or any GPT-2.

        Args:
            directory: of the model, or a name on the Hub.
            dtype: see `from_preset`; a plain type such as "bfloat16" stores the weights in it.

        Raises:
            InputError: it cannot be read, or is of another kind.
        """
        directory = find_checkpoint(directory)
        model, report = load_gpt(directory, dtype=dtype)
        settings = saved_settings(directory)
        options = {name: settings[name] for name in ("max_length", "separator") if name in settings}
        task = cls(model, read_tokenizer(directory), started=str(report), **options)
        task._ends = read_gpt_ends(directory, task.tokenizer)
        task.configure(**settings.get("generation", {}))
        return task

    def configure(
        self, *, stop: Iterable[str] | None = None, seed: int | None = None, **generation: Any
    ) -> None:
        """Set how texts are continued, in `predict`, `generate`, `stream` and `export`.

        The settings are saved with the model.

        Args:
            stop: strings that end a continuation.
            seed: of the draws. Those of a prompt depend on it alone; where a prompt is given
                several times in a call, the second text is that of `seed + 1`, and so on.
            **generation: fields of `Generation`: `max_new_tokens`, `sample`, `temperature`,
                `top_k`, `top_p`, `num_beams`, ... None changes nothing.

        Raises:
            InputError: a field is unknown, out of range, or does not fit the model.
        """
        self._generation |= given_fields(generation)
        self._stop = self._stop if stop is None else tuple(stop)
        self._seed = self._seed if seed is None else seed
        self._functions.clear()
        self._drawn.clear()
        self._generator()  # refuses what does not fit the model

    # Preprocessing: text to blocks, or rows to examples.

    def _passes(self, texts, split, share, seed, hold_seed):
        return block_passes(
            texts, self.tokenizer, self.max_length, split=split, held_out=share, seed=seed,
            hold_seed=hold_seed,
        )  # fmt: skip

    def _stream(self, one_pass, batch_size, **options):
        return block_batches(one_pass, batch_size, **options)

    def _training_data(self, x, y, *rest, held_out_examples=1000):
        if self.tokenizer.end_id is not None:  # ends every text that is trained on
            self._ends = tuple(dict.fromkeys((*self._ends, self.tokenizer.end_id)))
        x = self._pairs(x)
        if y is None and not isinstance(x, Source):
            data = super()._training_data(x, y, *rest, held_out_examples=held_out_examples)
        else:
            data = Task._training_data(self, x, y, *rest)
            if data.validation is not None:
                measured = math.ceil(held_out_examples / rest[3])
                data = data._replace(validation=data.validation.take(measured))
        return data._replace(callbacks=(_Perplexity(), *data.callbacks))

    def _pairs(self, x):
        """Return a dataset of prompts and responses as rows, and what else there is as it is."""
        pairs = isinstance(getattr(x, "element_spec", None), tuple)
        return as_source(x, columns=self.columns) if pairs else x

    def _read(self, x, y=None, sample_weight=None):
        if sample_weight is not None:
            raise InputError("sample_weight: responses have no weights; leave it out")
        rows = super()._read(x, y, sample_weight)
        if "weight" in rows.columns:
            raise InputError(f"{rows.name}: has weights, and responses have none; leave them out")
        return rows

    def _describe(self, rows):
        limit = f"max_length {self.max_length}"
        cut = self._describe_cut(rows, self._chunks(rows), self._longer, limit)
        return f"{self._scan(rows).rows} prompts and responses{cut}"

    def _chunks(self, rows, seed=None):
        chunks = chunk_dataset(rows, lambda row: row.values[:2], (tf.string, tf.string), seed)
        # What the prompt ends with when the model is used.
        return chunks.map(lambda prompt, response: (prompt + self.separator, response))

    def _longer(self, prompt, response):
        texts = tf.concat([self.tokenizer.tokenize(text) for text in (prompt, response)], 1)
        return texts.row_lengths() > self.max_length - (self.tokenizer.end_id is not None)

    def _batches(self, rows, batch_size, seed=None, in_order=False):
        return response_batches(
            self._chunks(rows, seed),
            self.tokenizer,
            batch_size,
            self.max_length,
            seed,
            self._scan(rows).rows,
        )

    def dataset(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, batch_size: int = 32,
        shuffle: bool = False, seed: int = 0,
    ) -> tf.data.Dataset:  # fmt: skip
        """Make the batches that `task.model` takes: blocks of texts, or prompts with responses.

        Args, returns, errors: as of `Task.dataset`.
        """
        x = self._pairs(x)
        if y is None and not isinstance(x, Source):
            return super().dataset(x, batch_size=batch_size, shuffle=shuffle, seed=seed)
        rows = self._read(x, y, sample_weight)
        return self._batches(rows, batch_size, seed if shuffle else None)

    # Model.

    def _objective(self):
        return {
            "loss": Crossentropy(self._label_smoothing),
            "metrics": [Accuracy(), MeanCrossentropy()],
        }

    # Answers.

    def generate(self, prompts: Any, *, batch_size: int = 32, **options: Any) -> list[str]:
        """Return the continuation of each prompt; see `predict`."""
        if "max_length" in options:
            raise InputError("max_length: give task.configure(max_new_tokens=64) before")
        return [answer["text"] for answer in self.predict(prompts, batch_size, **options)]

    def predict(  # type: ignore[override]
        self, x: Any, batch_size: int | None = 32, verbose: Any = None, *,
        num_return_sequences: int = 1,
    ) -> list[dict]:  # fmt: skip
        """Continue prompts, in their order; see `Task.predict`.

        Args:
            num_return_sequences: continuations of each prompt, one after the other, each drawn
                with a seed of its own.

        Raises:
            InputError: see `Task.predict`; or several continuations without sampling.
        """
        if num_return_sequences != 1 and not (num_return_sequences > 1 and self.generation.sample):
            raise InputError(
                f"num_return_sequences {num_return_sequences}: give 1, or more with "
                "configure(sample=True); without sampling all are the same"
            )
        self._drawn.clear()
        prompts = [prompt for prompt in self._texts(x) for _ in range(num_return_sequences)]
        return super().predict(prompts, batch_size)

    def _seeds(self, prompts):
        """Return the seed of each prompt, one more each time that it is given."""
        seeds = []
        for prompt in prompts:
            seeds.append(self._seed + self._drawn[prompt])
            self._drawn[prompt] += 1
        return int32_seeds(seeds)

    def answers(self, texts: list, batch_size: int = 32) -> list[dict]:
        def make():
            generator = self._generator()

            specs = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)]

            @tf.function(input_signature=specs, autograph=False)
            def answer(prompt, seeds):
                result = generator(generator.prompts(prompt), seeds)
                return generator.text(result.token_ids, result.mask), result.scores

            return generator, answer

        generator, answer = self._function("answer", make)
        answers = []
        for first in range(0, len(texts), batch_size):
            part = texts[first : first + batch_size]
            _check_prompts(generator, part)
            for text, score in zip(*answer(tf.constant(part), self._seeds(part)), strict=True):
                answers.append({"text": text.numpy().decode(), "score": float(score)})
        return answers

    def stream(self, prompt: str, number: int = 0) -> Iterator[str]:
        """Continue one prompt piece by piece, as its tokens come.

        Args:
            prompt: the text to continue.
            number: how many continuations there are of it already: each is another one.

        Yields:
            str: together, the text that `predict` gives. With beams, all at the end.

        Raises:
            InputError: the prompt is too long.
        """

        def make():
            generator = self._generator()
            specs = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)]
            start = tf.function(
                lambda text, seeds: generator.start(generator.prompts(text), seeds),
                input_signature=specs,
                autograph=False,
            )
            advance = tf.function(
                generator.decoding.advance, reduce_retracing=True, autograph=False
            )
            return generator, start, advance

        generator, start, advance = self._function("stream", make)
        _check_prompts(generator, [prompt])
        seeds = int32_seeds([self._seed + number])
        decoding, carry, shown = generator.decoding, start(tf.constant([prompt]), seeds), ""

        def text():
            result = decoding.result(carry)
            return generator.text(result.token_ids, result.mask)[0].numpy().decode()

        while decoding.unfinished(carry):
            # What may still be the beginning of a stop string, or of a character, waits.
            ready = settled(text(), generator.stop)
            if generator.settings.num_beams == 1 and len(ready) > len(shown):
                yield ready[len(shown) :]
                shown = ready
            carry = advance(carry)
        yield text()[len(shown) :]

    @property
    def generation(self) -> Generation:
        """How texts are continued; see `configure`."""
        # A model with few positions must have room for a prompt.
        default = min(Generation.max_new_tokens, max(self.model.config.max_length // 2, 1))
        settings = Generation(**{"max_new_tokens": default, **self._generation})
        return dataclasses.replace(settings, stop_ids=(*settings.stop_ids, *self._ends))

    def _generator(self) -> TextGenerator:
        return TextGenerator(
            self.model, self.tokenizer, self.generation, self._stop, self.separator, self._seed
        )

    def sampling(
        self, prompt: str = "", number: int = 64, seed: int = 0
    ) -> keras.callbacks.Callback:
        """Return a callback for `fit` that prints how the model continues a prompt.

        Args:
            prompt: the text to continue after each evaluation.
            number: maximum number of tokens.
            seed: of the draws.

        Raises:
            InputError: the prompt leaves no room.
        """
        taken = int(self.tokenizer.tokenize([prompt + self.separator]).row_lengths()[0])
        room = self.model.config.max_length - max(taken, 1)
        if room < 1:
            raise InputError(
                f"sample_prompt: {taken} tokens, and the model has positions for "
                f"{self.model.config.max_length}; shorten it"
            )
        sampler = CausalLM(self.model, self.tokenizer, separator=self.separator)
        sampler.configure(max_new_tokens=min(number, room), sample=True, temperature=0.8, top_k=50,
                          seed=seed)  # fmt: skip

        def sample(epoch, logs):
            print(f"sample: {prompt}|{sampler.generate([prompt])[0]}", file=sys.stderr)

        return keras.callbacks.LambdaCallback(on_epoch_end=sample)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 16, *, mistakes: int = 0,
        stride: int | None = None,
    ) -> dict:  # fmt: skip
        """Measure the perplexity of texts, with a window that moves over them.

        Of each window only the last `stride` tokens count, so that all but the first have at least
        `max_length - stride` tokens before them.

        Args:
            x: texts, see `fit`.
            batch_size: windows of a step.
            mistakes: see `Task.evaluate`.
            stride: tokens that the window moves; half of `max_length` if not given.

        Returns:
            dict: `tokens`, `words`, `bytes`, `crossentropy` (nats), `perplexity` of a token,
            `word_perplexity`, `bits_per_byte`, `max_length`, `stride`.
        """
        x = self._pairs(x)
        if y is not None or isinstance(x, Source) and x.columns[1:]:
            raise InputError(
                "evaluate: measures running text; give one text for each row, such as "
                "[prompt + response, ...]"
            )
        stride = stride or max(self.max_length // 2, 1)
        if stride > self.max_length:
            raise InputError(f"stride {stride}: give at most {self.max_length}, a window's tokens")
        counted = _Counted(as_texts(x))
        losses_of = self._function("losses", self._losses)
        total, number = 0.0, 0
        worst: list[dict] = []
        with source_errors(counted):
            tokens = tokenized_passages(counted.passages(), self.tokenizer)
            parts = windows(tokens, self.max_length, stride, self.tokenizer.end_id, batch_size)
            for inputs, labels in parts:
                losses = losses_of(inputs, labels).numpy()  # [B, S], 0 where nothing is predicted
                total += float(losses.sum(dtype=np.float64))
                number += int((labels >= 0).sum())
                if mistakes:
                    tokens = _unexpected(losses, inputs, labels, self.tokenizer, mistakes)
                    worst = sorted(worst + tokens, key=lambda row: row["probability"])[:mistakes]
        metrics = {
            "tokens": number, "words": counted.words, "bytes": counted.bytes,
            "crossentropy": total / number, "perplexity": _exp(total / number),
            "word_perplexity": _exp(total / max(counted.words, 1)),
            "bits_per_byte": total / math.log(2) / counted.bytes,
            "max_length": self.max_length, "stride": stride,
        }  # fmt: skip
        return {**metrics, "worst_mistakes": worst} if mistakes else metrics

    def _losses(self):
        """Return a function of tokens and labels `[B, S]` that gives the loss of each."""
        specs = [tf.TensorSpec([None, None], tf.int32)] * 2

        @tf.function(input_signature=specs, autograph=False)
        def losses_of(token_ids, labels):
            logits = self.model({"token_ids": token_ids}, training=False)
            return label_losses(labels, logits) * label_weights(labels)

        return losses_of

    def signatures(self) -> dict:
        return generation_signatures(
            self.model, self.tokenizer, self.generation, self._stop, self.separator, self._seed
        )

    def _warmup(self):
        # A prompt is not cut: no word of the warm-up has more tokens than bytes.
        room = self.model.config.max_length - self._generator().settings.max_new_tokens
        return {"max_length": room, "max_words": room // 16}

    def write(self, directory: Path) -> None:
        settings: dict[str, Any] = {
            "application": self.application, "max_length": self.max_length
        }  # fmt: skip
        if self.separator:
            settings["separator"] = self.separator
        generation = {**self._generation, "stop": list(self._stop), "seed": self._seed}
        if any(generation.values()):
            settings["generation"] = generation
        write_gpt(self.model, directory, self.tokenizer, settings, self._ends)


def learned_tokenizer(
    texts: Any, kind: str, vocabulary_size: int
) -> BytePairTokenizer | CharacterTokenizer:
    """Return a tokenizer learned from texts.

    Args:
        texts: strings or files.
        kind: "bpe" or "characters".
        vocabulary_size: maximum number of tokens.
    """
    if kind not in ("bpe", "characters"):
        raise InputError(f"tokenizer {kind}: give bpe, characters or a tokenizer")
    corpus = (text for _, text, _ in as_texts(texts).passages())
    if kind == "bpe":
        return BytePairTokenizer(*learn_merges(corpus, vocabulary_size))
    return CharacterTokenizer(learn_characters(corpus, vocabulary_size))


class _Perplexity(keras.callbacks.Callback):
    """Puts the perplexity beside the cross-entropy."""

    def on_epoch_end(self, epoch, logs=None):
        for name in ("crossentropy", "val_crossentropy"):
            if name in logs:
                logs[name.replace("crossentropy", "perplexity")] = _exp(logs[name])


class _Counted:
    """Passages, with a count of their words (separated by white space) and bytes."""

    def __init__(self, texts: TextFiles) -> None:
        self._texts, self.words, self.bytes, self.failure = texts, 0, 0, None

    def passages(self):
        for number, text, ends in self._texts.passages():
            self.words += len(text.split())
            self.bytes += len(text.encode("utf-8"))
            yield number, text, ends


def _check_prompts(generator, prompts):
    """Refuse prompts that leave no room for an answer."""
    new = generator.settings.max_new_tokens
    room = generator.model.config.max_length - new
    lengths = generator.prompts(prompts)["padding_mask"].numpy().sum(1)
    for prompt, length in zip(prompts, lengths, strict=True):
        if length > room:
            raise InputError(
                f"prompt {prompt[:40]!r}...: {length} tokens, and with max_new_tokens {new} there "
                f"is room for {room}; shorten it or generate fewer"
            )


def _unexpected(losses, inputs, labels, tokenizer, number):
    """Return the tokens that the model expected least, with what stands before them."""
    rows = []
    for flat in np.argsort(losses, axis=None)[::-1][:number]:
        row, place = np.unravel_index(flat, losses.shape)
        if labels[row, place] < 0:
            continue
        before = inputs[row, max(place - 30, 0) : place + 1]
        parts = tf.ragged.constant([before, [labels[row, place]]], dtype=tf.int32)
        before, token = (
            text.decode("utf-8", "replace") for text in tokenizer.detokenize(parts).numpy()
        )
        p = math.exp(-float(losses[row, place]))
        rows.append({"text": before, "true": token, "probability": p})
    return rows


def _exp(value):
    return math.exp(min(value, 700.0))
