"""What an encoder-decoder starts from and is trained on: a checkpoint or nothing, and pairs.

In: the settings of `summarization train`, rows of a source and a target. Out: a `Transformer`
with its tokenizer and how it generates, as `read_bart_generation` has it; chunks of pairs.
"""

import dataclasses

import tensorflow as tf

from applications import models
from tfmodels.checkpoints.bart import (
    load_bart_weights,
    read_bart_config,
    read_bart_generation,
    read_bart_tokenizer,
)
from tfmodels.checkpoints.files import (
    check_vocabulary_size,
    config_path,
    find_checkpoint,
    is_google,
)
from tfmodels.checkpoints.hugging_face import read_tokenizer
from tfmodels.checkpoints.warm_start import load_encoder_weights, read_encoder_config
from tfmodels.data import datasets
from tfmodels.errors import InputError
from tfmodels.files import read_json
from tfmodels.models.transformer import PAPER, SIZES, Transformer, TransformerConfig
from tfmodels.text.pairs import PairTokens, pair_tokens
from tfmodels.text.vocabulary import learn_wordpiece
from tfmodels.text.wordpiece import WordPieceTokenizer


def started(settings, texts):
    """The model that a training starts from.

    Args:
        settings: of `summarization train`.
        texts: iterable of the training texts, read to learn a vocabulary from zero.

    Returns:
        `(model, tokenizer, generation, line)`: with its weights; `generation` as of
        `read_bart_generation`; a line that says what it starts from.

    Raises:
        InputError: the checkpoint cannot be used, or the settings do not fit it.
    """
    fields = models.dropout_fields(settings.dropout)
    layers = settings.num_decoder_layers
    given = fields if layers is None else {**fields, "num_decoder_layers": layers}
    if settings.checkpoint == "none":
        models.check_size(settings.size, SIZES)
        tokenizer = _learned(settings, texts)
        model, line = Transformer(_new_config(settings, tokenizer, given)), "from zero"
        model.build()
        generation = _new_generation(tokenizer)
    else:
        directory = find_checkpoint(settings.checkpoint, settings.revision)
        kind = read_json(config_path(directory)).get("model_type")
        if is_google(directory) or kind == "bert":
            model = Transformer(read_encoder_config(directory, **given))
            line = load_encoder_weights(model, directory)
            tokenizer = read_tokenizer(directory)
            generation = _new_generation(tokenizer)
        else:
            if layers is not None:
                raise InputError("--num_decoder_layers: this checkpoint has its own; leave it out")
            model = Transformer(dataclasses.replace(read_bart_config(directory), **fields))
            check_one_vocabulary(model.config, directory)
            line = load_bart_weights(model, directory)
            tokenizer, generation = read_bart_tokenizer(directory), read_bart_generation(directory)
    models.check_positions(model.config, settings.max_length)
    most = model.config.max_length - 1  # the start token has a position too
    for flag in ("max_target_length", "max_new_tokens"):
        if (getattr(settings, flag) or 0) > most:
            raise InputError(
                f"--{flag} {getattr(settings, flag)}: the checkpoint has positions for {most} "
                "tokens behind the start token"
            )
    check_vocabulary_size(tokenizer, model.config)
    models.freeze(model, settings)
    return model, tokenizer, generation, line


def check_one_vocabulary(config, directory):
    """Refuses a model whose target has tokens of its own: directories keep one tokenizer."""
    if config.target_vocabulary_size is not None:
        raise InputError(
            f"{directory}: its target has a vocabulary of its own, and no tokenizer is kept for "
            "it; give a model that shares the source's"
        )


def tokens_of(generation):
    """The `PairTokens` of what `read_bart_generation` found."""
    missing = [name for name in ("stop_ids", "start_id", "pad_id") if name not in generation]
    if missing:
        raise InputError(f"the checkpoint does not say its {missing[0]}; copy its files again")
    return PairTokens(
        end_id=generation["stop_ids"][0],
        start_id=generation["start_id"],
        pad_id=generation["pad_id"],
        bos_id=generation.get("bos_id"),
    )


def _learned(settings, texts):
    options = {"lowercase": settings.lowercase}
    vocabulary = learn_wordpiece(texts, settings.vocabulary_size, **options)
    return WordPieceTokenizer(vocabulary, **options)


def _new_config(settings, tokenizer, fields):
    """The `TransformerConfig` to start from zero with."""
    paper = PAPER if settings.architecture == "transformer" else {}
    norm_first = settings.norm_first
    if norm_first is None:
        norm_first = settings.architecture == "transformer"
    config = TransformerConfig.of_size(
        settings.size,
        vocabulary_size=tokenizer.vocabulary_size,
        max_length=max(
            settings.max_length, settings.max_target_length + 1, (settings.max_new_tokens or 0) + 1
        ),
        norm_first=norm_first,
        **paper,
        **fields,
    )
    # With the published 0.02 a narrow model looks at all tokens alike for its first thousand steps.
    return dataclasses.replace(config, initializer_range=config.hidden_dim**-0.5)


def _new_generation(tokenizer):
    """What `read_bart_generation` says of a model that has written nothing yet."""
    tokens = pair_tokens(tokenizer)
    found = {"start_id": tokens.start_id, "stop_ids": (tokens.end_id,), "pad_id": tokens.pad_id}
    return found if tokens.bos_id is None else {**found, "bos_id": tokens.bos_id}


def pair_chunks(source, rows="all", held_out=frozenset(), seed=None, longest=(None, None)):
    """Chunks of pairs.

    Args:
        source, rows, held_out, seed: see `datasets.text_label_dataset`.
        longest: most tokens that the model reads, and writes: of texts of megabytes only so much
            goes on.

    Returns:
        dataset of `(source, target)`, string `[C]` each.

    Raises:
        InputError: while reading, a target is empty.
    """
    most, target_most = (None if length is None else 100 * length for length in longest)

    def convert(row):
        text, target = row.values
        if not target.strip():
            raise InputError(
                f"{source.place(row.line)}: column {source.columns[1]!r} is empty; every row "
                "needs a text to write"
            )
        return text[:most], target[:target_most]

    types = (tf.string, tf.string)
    return datasets.chunk_dataset(source, convert, types, seed, rows, held_out)


def sample(source, rows, held_out, number):
    """The first `number` pairs of those, all for -1: lists of sources and of targets."""
    chunks = pair_chunks(source, rows, held_out).unbatch().take(number)
    pairs = [(text.decode(), target.decode()) for text, target in chunks.as_numpy_iterator()]
    return tuple(map(list, zip(*pairs, strict=True)))
