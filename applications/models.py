"""An application's model: what it starts from, the directory it ends in, and what it says.

In: an application's settings. Out: a model to train, and a directory of it:

    config.json  model.safetensors  vocab.txt  metrics.json  README.md  plots/  logs/

Its first three files are those of a Hugging Face checkpoint, so it is itself one to start
from (`--checkpoint`). What differs between applications stands in their own modules.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.bert import load_weights, write_bert
from tfmodels.checkpoints.files import (
    check_vocabulary_size,
    find_checkpoint,
    our_settings,
)
from tfmodels.checkpoints.hugging_face import (
    read_bert_config,
    read_tokenizer,
)
from tfmodels.errors import InputError
from tfmodels.models.bert import SIZES, Bert, BertConfig
from tfmodels.models.transformer import Transformer
from tfmodels.text.batching import encode
from tfmodels.text.vocabulary import learn_wordpiece
from tfmodels.text.wordpiece import WordPieceTokenizer


def start_encoder(settings, texts):
    """The encoder that a training starts from.

    Args:
        settings: has `checkpoint`, `revision`, `size`, `vocabulary_size`, `lowercase`,
            `max_length`, `dropout`.
        texts: iterable of the training texts, read to learn a vocabulary when the
            checkpoint is `"none"`.

    Returns:
        `(encoder, tokenizer, directory)`: an encoder without its weights, and where
        `load_weights` finds them once the whole model is made; `None` from zero.

    Raises:
        InputError: the checkpoint cannot be used.
    """
    dropout = dropout_fields(settings.dropout)
    if settings.checkpoint == "none":
        check_size(settings.size)
        options = {"lowercase": settings.lowercase}
        vocabulary = learn_wordpiece(texts, settings.vocabulary_size, **options)
        tokenizer = WordPieceTokenizer(vocabulary, **options)
        config = new_config(settings.size, tokenizer, settings.max_length, **dropout)
        return Bert(config), tokenizer, None
    directory = find_checkpoint(settings.checkpoint, settings.revision)
    config = dataclasses.replace(read_bert_config(directory), **dropout)
    tokenizer = read_tokenizer(directory)
    check_vocabulary_size(tokenizer, config)
    return Bert(config), tokenizer, directory


def dropout_fields(dropout):
    """The fields of a config that one `--dropout` stands for; none if it was not given."""
    return {} if dropout is None else {"dropout": dropout, "attention_dropout": dropout}


def check_size(size, sizes=SIZES):
    """Refuses a size that there is not, before a vocabulary is learned for it."""
    if size not in sizes:
        raise InputError(f"--size {size}: give one of {', '.join(sizes)}")


def check_positions(config, max_length, flag="max_length"):
    """Refuses examples that are longer than an encoder has positions for."""
    if config.max_length < max_length:
        raise InputError(
            f"--{flag} {max_length}: the checkpoint has positions for {config.max_length} tokens"
        )


def new_config(size, tokenizer, max_length, **fields):
    """The `BertConfig` to start from zero with.

    Raises:
        InputError: there is no such size.
    """
    check_size(size)
    fields = {"vocabulary_size": tokenizer.vocabulary_size, **fields}
    return BertConfig.of_size(size, max_length=max(max_length, 512), **fields)


def start_model(settings, texts, make):
    """The model that a fine-tuning starts from, with the weights of its checkpoint.

    Args:
        settings: as of `start_encoder`; also `freeze_embeddings`, `freeze_layers`.
        texts: see `start_encoder`.
        make: function of the encoder that gives the model on it.

    Returns:
        `(model, tokenizer, started)`; `started` says in one line what it starts from.

    Raises:
        InputError: as `start_encoder`; or the encoder has fewer blocks to freeze.
    """
    encoder, tokenizer, checkpoint = start_encoder(settings, texts)
    model = make(encoder)
    model.build()
    started = "from zero" if checkpoint is None else load_weights(model, checkpoint)
    freeze(model, settings)
    return model, tokenizer, started


def freeze(model, settings):
    """Keeps the embeddings of an encoder, or them and its first blocks, as they are.

    Args:
        model: see `encoder_layers`.
        settings: has `freeze_embeddings`, `freeze_layers`.

    Raises:
        InputError: the encoder has fewer blocks.
    """
    embeddings, *blocks = encoder_layers(model)
    layers = settings.freeze_layers
    if layers > len(blocks):
        raise InputError(f"--freeze_layers {layers}: the encoder has {len(blocks)} blocks")
    embeddings.trainable = not (settings.freeze_embeddings or layers)
    for block in blocks[:layers]:
        block.trainable = False


def encoder_layers(model):
    """The embeddings and the blocks of an encoder, from below.

    Args:
        model: a `Transformer`, or a model on an encoder.
    """
    if isinstance(model, Transformer):
        return [model.embeddings, *model.encoder_blocks]
    return [model.encoder.embeddings, *model.encoder.blocks]


def write_model(directory, application, model, tokenizer, labels, **settings):
    """Writes what `read_model` and `--checkpoint` read: a Hugging Face directory, and more.

    Args:
        directory: an existing `Path`.
        application: name of the application.
        model: a model that wraps a `Bert` as `encoder`.
        tokenizer: its `WordPieceTokenizer`.
        labels: names of the classes.
        **settings: what the application needs to build the model again and to use it;
            stands in `config.json` under `tfmodels`.
    """
    settings = {"application": application, "labels": labels, **settings}
    write_bert(model, directory, tokenizer.vocabulary, tokenizer.get_config(), labels, settings)


def read_model(directory, application, build):
    """A trained model.

    Args:
        directory: what `train` wrote.
        application: the application it must be of.
        build: function of `(encoder, settings)` that gives the model, untrained.

    Returns:
        `(model, tokenizer, settings)`; `settings` is what `write_model` was given.

    Raises:
        InputError: the directory cannot be used, or is another application's.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; give one that `train` wrote")
    settings = our_settings(directory)
    if not settings:
        raise InputError(
            f"{directory}: a published checkpoint, not a trained model; give it to "
            f"`tfmodels {application} train --checkpoint`"
        )
    if settings.get("application") != application:
        raise InputError(
            f"{directory}: a model of `{settings.get('application')}`, not of `{application}`"
        )
    model = build(Bert(read_bert_config(directory)), settings)
    report = load_weights(model, directory)
    if report.new:
        raise InputError(f"{directory}: incomplete ({report}); train again")
    return model, read_tokenizer(directory), settings


def predictor(model, tokenizer, max_length, batch_size):
    """A function from a chunk of texts (list of str, or of bytes) to float32 `[C, classes]`.

    Texts of a chunk run in batches of similar length and come back in their order.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def probabilities(text):
        return tf.nn.softmax(model(encode(tokenizer, text, max_length), training=False))

    def predict(texts):
        result = None
        for rows, part in batches_by_length(texts, batch_size):
            found = probabilities(part).numpy()
            if result is None:
                result = np.zeros((len(texts), found.shape[1]), "float32")
            result[rows] = found
        return result

    return predict


def batches_by_length(texts, batch_size):
    """Texts in batches of similar length.

    Args:
        texts: list of str, or of bytes, at least one.
        batch_size: texts of a batch at most.

    Yields:
        `(rows, texts)`: where the texts of a batch stand in the list, and an array of bytes.
    """
    texts = np.asarray([t.encode() if isinstance(t, str) else t for t in texts], object)
    order = np.argsort([len(text) for text in texts], kind="stable")
    for first in range(0, len(texts), batch_size):
        rows = order[first : first + batch_size]
        yield rows, texts[rows]
