"""`MaskedLM`: the words behind `[MASK]`, and the BERT that other tasks start from.

In: documents, or records of examples that `tfmodels bert prepare` wrote. Out: for each text a list
with the most likely tokens of each `[MASK]`; a SavedModel that answers strings with them and with a
vector of the text; a directory that every other task starts from. Preprocessing, model, answers.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.bert import load_pretrainer, load_weights, read_bert_config, write_bert
from tfmodels.checkpoints.files import check_vocabulary_size, find_checkpoint, saved_settings
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.data.datasets import source_errors
from tfmodels.data.documents import as_texts
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.tasks.encoder import check_positions, check_size, dropout_fields
from tfmodels.tasks.language import LanguageTask
from tfmodels.tasks.mask_filler import fill_mask_signatures
from tfmodels.text import records
from tfmodels.text.examples import ExampleSettings
from tfmodels.text.masking import check_mask
from tfmodels.text.pretraining import parsed, text_passes, training_batches
from tfmodels.text.vocabulary import learn_wordpiece
from tfmodels.text.wordpiece import WordPieceTokenizer
from tfmodels.training.losses import pretraining_objective

MAX_LENGTH, OBJECTIVE = 128, "nsp"  # defaults without a preset
COUNTED = 2**17  # examples of which co-occurrences are counted, at most
# Settings of the examples and their masks that stay with a model, and their defaults.
EXAMPLES = {"task": OBJECTIVE, "segmented": False, "short_share": 0.1, "mask_rate": 0.15,
            "whole_words": True}  # fmt: skip


class Records:
    """Examples that `tfmodels bert prepare` wrote, in place of texts.

    Args:
        directory: of the records.

    Attributes:
        settings: their `ExampleSettings`.
    """

    failure = None  # records are checked when they are opened

    def __init__(self, directory: str | Path) -> None:
        self.directory = directory
        self.name = str(directory)
        self._summary = records.read_summary(directory)
        self.settings = ExampleSettings(**self._summary["settings"])

    def tokenizer(self) -> WordPieceTokenizer:
        """Return the tokenizer that they were made with."""
        return records.read_tokenizer(self.directory)

    def fingerprint(self) -> str:
        return json.dumps([self._summary["texts"], self._summary["vocabulary"]])

    def passes(self, tokenizer: WordPieceTokenizer, split: str, seed: int | None) -> Any:
        """Return the passes over a split ("all": those to train on); None if there is none."""
        split = "train" if split == "all" else split
        if split not in self._summary["splits"]:
            return None
        return records.record_passes(self.directory, tokenizer, split=split, seed=seed)


class MaskedLM(LanguageTask):
    """Find masked words, and whether two texts belong together.

    Args:
        model: a `BertPretrainer`.
        tokenizer: its `WordPieceTokenizer`, with `[MASK]`.
        max_length: number of tokens of an example.
        task: "nsp" (is the second text the next one), "sop" (are the two in order) or "mlm"
            (masked words only).
        segmented: spaces between Chinese characters separate words, which are masked whole.
        short_share: share of the examples that are shorter.
        mask_rate: share of the tokens to predict.
        whole_words: mask all pieces of a word or none.
        dynamic_masking: mask other words in every pass.
        packing: train with several short examples in a row: the same steps in less time.
        started: see `Task`.

    `fit(texts)` trains on documents, a list of strings or `tfmodels.data.open_texts("book.txt")`.
    `predict(texts)` returns for each text, and each `[MASK]` in it, a list of dicts of `token` and
    `score`.

    Example:
        >>> task = MaskedLM.from_preset("google-bert/bert-base-uncased")
        >>> task.predict(["The captain looked at the [MASK]."])
    """

    application = "bert"
    columns = ("text",)
    kind = "examples"

    def __init__(
        self, model: BertPretrainer, tokenizer: WordPieceTokenizer, *, max_length: int = MAX_LENGTH,
        task: str = OBJECTIVE, segmented: bool = False, short_share: float = 0.1,
        mask_rate: float = 0.15, whole_words: bool = True, dynamic_masking: bool = True,
        packing: bool = True, seed: int = 0, started: str = "from scratch",
    ) -> None:  # fmt: skip
        check_mask(tokenizer)
        check_vocabulary_size(tokenizer, model.encoder.config)
        check_positions(model.encoder.config, max_length)
        super().__init__(model, tokenizer, max_length=max_length, started=started)
        self.backbone, self.top_k, self._seed = model.encoder, 5, seed
        self.task, self.segmented, self.short_share = task, segmented, short_share
        self.mask_rate, self.whole_words, self._dynamic = mask_rate, whole_words, dynamic_masking
        self._packing = packing

    @classmethod
    def from_preset(
        cls, preset: str | Path, *, task: str | None = None, dropout: float | None = None,
        revision: str | None = None, dtype: Any = None, **options: Any,
    ) -> "MaskedLM":  # fmt: skip
        """Start from a BERT, whose heads are new where it has none.

        Args:
            preset: directory (of Hugging Face's, Google's or KerasHub's layout), name on the
                Hugging Face Hub, name of KerasHub or `kaggle://...`. KerasHub's masked-LM head
                computes something else, so that a preset's is not read.
            task: see the class; as in the preset if not given.
            dropout: in the encoder; the checkpoint's if not given.
            revision: branch, tag or commit on the Hub.
            dtype: dtype policy of the model; Keras' global one if not given.
            **options: further arguments of the class.

        Raises:
            InputError: the checkpoint cannot be found, read or used.
        """
        directory = find_checkpoint(preset, revision)
        config = dataclasses.replace(read_bert_config(directory), **dropout_fields(dropout))
        settings = saved_settings(directory)
        task = task or settings.get("task", OBJECTIVE)
        options.setdefault("max_length", min(MAX_LENGTH, config.max_length))
        model = BertPretrainer(Bert(config, dtype=dtype), next_sentence=task != "mlm")
        report = load_weights(model, directory)
        return cls(model, read_tokenizer(directory), task=task, started=str(report), **options)

    @classmethod
    def from_scratch(
        cls, texts: Any = None, *, tokenizer: WordPieceTokenizer | None = None, size: str = "mini",
        vocabulary_size: int = 16000, lowercase: bool = True, max_length: int = MAX_LENGTH,
        task: str = OBJECTIVE, dropout: float | None = None, dtype: Any = None, **options: Any,
    ) -> "MaskedLM":  # fmt: skip
        """Start from random weights.

        Args:
            texts: strings, or `tfmodels.data.open_texts(...)`, to learn a vocabulary from, where
                there is no tokenizer.
            tokenizer: a `WordPieceTokenizer`.
            size: tiny, mini, small, medium, base or large.
            vocabulary_size: maximum number of tokens to learn.
            lowercase: whether to fold case and strip accents.
            max_length: see the class.
            task: see the class.
            dropout: see `from_preset`.
            dtype: see `from_preset`.
            **options: see `from_preset`.

        Raises:
            InputError: there is no such size, or nothing to learn from.
        """
        check_size(size)
        tokenizer = tokenizer or learned_tokenizer(texts, vocabulary_size, lowercase)
        config = BertConfig.of_size(
            size, vocabulary_size=tokenizer.vocabulary_size, max_length=max(max_length, 512),
            **dropout_fields(dropout),
        )  # fmt: skip
        model = BertPretrainer(Bert(config, dtype=dtype), next_sentence=task != "mlm")
        return cls(model, tokenizer, max_length=max_length, task=task, **options)

    @classmethod
    def load(cls, directory: str | Path, *, dtype: Any = None) -> "MaskedLM":
        """Load what `save` or `tfmodels bert pretrain` wrote, or any BERT with a masked-LM head.

        Args:
            directory: of the model, or a name on the Hub.
            dtype: see `from_preset`; a plain type such as "bfloat16" stores the weights in it.

        Raises:
            InputError: it cannot be read, or has no head.
        """
        directory = find_checkpoint(directory)
        model, report = load_pretrainer(directory, dtype=dtype)
        if report.new:
            raise InputError(
                f"{directory}: has no masked-LM head; give a pretrained BERT with its heads, or "
                "pretrain from it with `tfmodels bert pretrain --checkpoint`"
            )
        settings = saved_settings(directory)
        options = {name: settings.get(name, default) for name, default in EXAMPLES.items()}
        if "task" not in settings and not model.next_sentence:
            options["task"] = "mlm"
        length = settings.get("max_length", min(MAX_LENGTH, model.encoder.config.max_length))
        task = cls(model, read_tokenizer(directory), max_length=length, started=str(report),
                   **options)  # fmt: skip
        # A published checkpoint reads as many tokens as it has positions for.
        task.longest_text = settings.get("max_length", model.encoder.config.max_length)
        return task

    longest_text: int | None = None  # maximum number of tokens of a text to answer

    def configure(self, *, top_k: int | None = None) -> None:
        """Say how many tokens are given for each `[MASK]`, in `predict` and `export`."""
        self.top_k = top_k or self.top_k
        self._functions.clear()

    # Preprocessing: documents to examples.

    @property
    def _examples(self) -> ExampleSettings:
        return ExampleSettings(
            self.max_length, self.task, self.short_share, self.segmented, self._seed
        )

    def _passes(self, texts, split, share, seed, hold_seed):
        if isinstance(texts, Records):
            return texts.passes(self.tokenizer, split, seed)
        options = {"split": split, "held_out": share, "seed": seed}
        return text_passes(texts, self.tokenizer, self._examples, **options)

    def _stream(self, one_pass, batch_size, **options):
        training = "passes" not in options  # endless
        return training_batches(
            one_pass, self.tokenizer, batch_size, self._examples, seed=self._seed,
            mask_rate=self.mask_rate, whole_words=self.whole_words,
            dynamic=self._dynamic and training, packing=self._packing and training, **options,
        )  # fmt: skip

    def _training_data(self, x, y, sample_weight, validation_data, validation_split, *rest,
                       **options):  # fmt: skip
        if isinstance(x, Records) and validation_data is None:
            # What is held out was decided when the records were written.
            validation_split = 1.0 if x.passes(self.tokenizer, "validation", None) else 0.0
        return super()._training_data(
            x, y, sample_weight, validation_data, validation_split, *rest, **options
        )

    def _texts_of(self, x):
        return x if isinstance(x, Records) else as_texts(x)

    def _count(self, one_pass, texts):
        known = int(one_pass(0).cardinality())
        return known if known > 0 else super()._count(one_pass, texts)

    def start_from_counts(self, x: Any) -> None:
        """Let the embeddings start from which tokens stand together in the texts.

        Args:
            x: texts or `Records`, see `fit`. One reading of them tells what a masked language
                model spends its first thousands of steps on.
        """
        from tfmodels.text.cooccurrence import cooccurrence_vectors

        one_pass = self._passes(self._texts_of(x), "train" if isinstance(x, Records) else "all",
                                0.0, self._seed, 0)  # fmt: skip

        def token_ids():
            for batch in one_pass(0).take(COUNTED).batch(1024):
                yield parsed(batch, self.tokenizer.pad_id, self._examples)["token_ids"].numpy()

        config, table = self.backbone.config, self.backbone.embeddings.token
        special = [self.tokenizer.pad_id, self.tokenizer.cls_id, self.tokenizer.sep_id]
        vectors, occurrences = cooccurrence_vectors(
            token_ids(), config.vocabulary_size, config.hidden_dim, special
        )
        vectors *= config.initializer_range
        known = vectors.any(1, keepdims=True)
        table.assign(np.where(known, vectors, np.asarray(table.value)))
        # At least as often as once in all the text: a token may come later.
        share = np.maximum(occurrences, 1) / max(occurrences.sum(), 1)
        self.model.masked_lm.bias.assign(np.log(share))

    # Model.

    def _objective(self):
        return pretraining_objective(self.model.next_sentence)

    # Answers.

    def answers(self, texts: list, batch_size: int = 32) -> list[list]:
        def make():
            function, specs = fill_mask_signatures(
                self.model, self.tokenizer, self.top_k, self.longest_text
            )["fill_mask"]
            return tf.function(function, input_signature=list(specs.values()), autograph=False)

        fill, rows = self._function("fill", make), []
        for first in range(0, len(texts), batch_size):
            part = tf.constant(texts[first : first + batch_size])
            answers = {name: value.numpy() for name, value in fill(part).items()}
            for tokens, scores in zip(answers["token"], answers["score"], strict=True):
                rows.append([
                    [
                        {"token": token.decode(), "score": round(float(score), 6)}
                        for token, score in zip(*mask, strict=True)
                    ]
                    for mask in zip(tokens, scores, strict=True)
                    if mask[0][0]  # "" where another text has more masks
                ])  # fmt: skip
        return rows

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0
    ) -> dict:
        """Measure both heads on documents.

        Args, errors: as of `Task.evaluate`.

        Returns:
            dict: accuracy and cross-entropy of each head, `masked_lm_perplexity`.
        """
        texts = self._texts_of(x)
        one_pass = self._passes(texts, "all", 0.0, None, 0)
        batches = self._stream(one_pass, batch_size, passes=1, drop_remainder=False)
        self.model.compile(keras.optimizers.SGD(), **self._objective())
        worst = []
        with source_errors(texts):
            values = self.model.evaluate(batches, return_dict=True, verbose=0)
            if mistakes:
                for inputs, labels in batches.take(20):
                    worst += self._mistakes(inputs, labels["masked_lm"], mistakes)
        metrics: dict[str, Any] = {
            name: float(value) for name, value in values.items() if not name.endswith("loss")
        }
        metrics["masked_lm_perplexity"] = math.exp(min(metrics["masked_lm_crossentropy"], 700))
        if mistakes:
            metrics["worst_mistakes"] = sorted(worst, key=lambda row: row["probability"])[:mistakes]
        return metrics

    def _mistakes(self, inputs, masked_lm, number):
        """Return the masked words of a batch that the model was surest of getting wrong."""
        labels, vocabulary = masked_lm.numpy(), self.tokenizer.vocabulary
        scores = tf.nn.softmax(self.model(inputs, training=False)["masked_lm"]).numpy()  # [B, M, V]
        true = np.take_along_axis(scores, np.maximum(labels, 0)[..., None], -1)[..., 0]
        best = scores.argmax(-1)
        rows, places = np.nonzero((labels >= 0) & (best != labels))
        order = np.argsort(true[rows, places])[:number]
        ids, positions = inputs["token_ids"].numpy(), inputs["masked_positions"].numpy()
        mistakes = []
        for row, place in zip(rows[order], places[order], strict=True):
            at = positions[row, place]
            parts = tf.ragged.constant(
                [ids[row, max(at - 20, 0) : at], ids[row, at + 1 : at + 21]], dtype=tf.int32
            )
            before, after = (text.decode() for text in self.tokenizer.detokenize(parts).numpy())
            mistakes.append({
                "text": f"{before} [?] {after}",
                "true": vocabulary[labels[row, place]],
                "predicted": vocabulary[best[row, place]],
                "probability": float(true[row, place]),
            })  # fmt: skip
        return mistakes

    def signatures(self) -> dict:
        return fill_mask_signatures(self.model, self.tokenizer, self.top_k, self.longest_text)

    def _warmup(self):
        return {"max_length": self.backbone.config.max_length}

    def write(self, directory: Path) -> None:
        settings = {name: getattr(self, name) for name in ("application", "max_length", *EXAMPLES)}
        settings = {"labels": None, **settings}
        write_bert(self.model, directory, self.tokenizer, settings=settings)


def learned_tokenizer(texts: Any, vocabulary_size: int, lowercase: bool) -> WordPieceTokenizer:
    """Return a tokenizer with a vocabulary learned from documents."""
    documents = as_texts(texts).documents()
    sentences = (sentence for _, document in documents for sentence in document)
    options: dict[str, Any] = {"lowercase": lowercase}
    return WordPieceTokenizer(learn_wordpiece(sentences, vocabulary_size, **options), **options)
