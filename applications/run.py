"""The flow that every application shares: start, fit, write a model directory, read it.

In: an application's settings. Out: a model directory that is whole or not there:

    config.json  model.safetensors  vocab.txt  metrics.json  README.md  plots/  logs/

Its first three files are those of a Hugging Face checkpoint, so it is itself one to start
from (`--checkpoint`). What differs between applications stands in their own modules.
"""

import contextlib
import dataclasses
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from applications.unfinished import STATES, unfinished
from tfmodels.checkpoints.bert import OURS, load_weights, write_bert
from tfmodels.checkpoints.files import (
    check_vocabulary_size,
    config_path,
    find_checkpoint,
    read_json,
)
from tfmodels.checkpoints.hugging_face import (
    read_bert_config,
    read_tokenizer,
)
from tfmodels.errors import InputError
from tfmodels.files import refuse_existing
from tfmodels.models.bert import SIZES, Bert, BertConfig
from tfmodels.models.transformer import Transformer
from tfmodels.text.batching import encode, length_bucketed
from tfmodels.text.vocabulary import learn_wordpiece
from tfmodels.text.wordpiece import WordPieceTokenizer
from tfmodels.training.distribution import choose_strategy, is_chief, read_cluster
from tfmodels.training.loop import KeepBest, NonFinite, fit_parts
from tfmodels.training.optimizer import AdamW, LossScale, WarmupInverseSqrt, WarmupLinear
from tfmodels.training.precision import dtype_policy
from tfmodels.training.state import SaveState, restore_newest

LOST = 75  # sysexits.h: a failure that passes; try again
# Settings that workers may have of their own.
OF_A_WORKER = ("output_dir", "peer_wait")
# What may be another when a training goes on: nothing that changes its result.
FREE = ("strategy", "peer_wait", "save_every", "nonfinite")
# Largest learning rates where none is given.
RATE_FROM_ZERO, RATE_FROM_CHECKPOINT = 5e-4, 1e-4


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


def batches(chunks, rows, tokenizer, batch_size, max_length, seed=None, word_dropout=0.0):
    """`length_bucketed` batches of a dataset of `rows` rows, which Keras then knows the end of."""
    dataset = length_bucketed(chunks, tokenizer, batch_size, max_length, seed, word_dropout)
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-rows // batch_size)))


def counted(dataset):
    """The dataset, read through once for its number of batches, which Keras then knows."""
    number = sum(1 for _ in dataset)
    return dataset.apply(tf.data.experimental.assert_cardinality(number))


def compile_model(model, settings, total_steps, objective):
    """Compiles a model with the optimizer of the settings.

    Args:
        model: a built model.
        settings: has `checkpoint`, `learning_rate`, `warmup`, `weight_decay`, `clip_norm`,
            `accumulate_steps`, `xla`; may have `ema` and `schedule`.
        total_steps: of the whole training.
        objective: dict of the arguments of `compile` for losses and metrics.

    Returns:
        the largest learning rate.

    Raises:
        InputError: the training ends before the first update.
    """
    if settings.accumulate_steps > total_steps:
        raise InputError(
            f"--accumulate_steps {settings.accumulate_steps}: the training has {total_steps} "
            "steps, so that nothing would move the weights; give fewer"
        )
    rate = settings.learning_rate
    if rate is None:
        rate = RATE_FROM_ZERO if settings.checkpoint == "none" else RATE_FROM_CHECKPOINT
    updates = total_steps // settings.accumulate_steps
    warm = int(settings.warmup * updates)
    if getattr(settings, "schedule", "linear") == "linear":
        schedule = WarmupLinear(rate, updates, warm)
    else:
        schedule = WarmupInverseSqrt(rate, max(warm, 1))
    ema = getattr(settings, "ema", 0.0)
    optimizer = AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        use_ema=ema > 0,
        ema_momentum=ema or 0.99,  # 0 is refused, and not used
        gradient_accumulation_steps=settings.accumulate_steps
        if settings.accumulate_steps > 1
        else None,
    )
    decay = getattr(settings, "layer_decay", 1.0)
    if decay < 1:
        for below, layer in enumerate(reversed(encoder_layers(model))):
            optimizer.scale_learning_rate(layer.trainable_variables, decay**below)
    if model.dtype_policy.compute_dtype == "float16":
        optimizer = LossScale(optimizer)
    model.compile(
        optimizer=optimizer,
        jit_compile={"auto": "auto", "on": True, "off": False}[settings.xla],
        **objective,
    )
    return rate


def fit(
    model, dataset, validation, settings, folder, objective, monitor, callbacks=(),
    class_weight=None,
):  # fmt: skip
    """Compiles and trains, from the newest state if there is one; keeps the best weights.

    Args:
        model: a built model.
        dataset: training batches of known number, one pass an epoch.
        validation: held-out batches.
        settings: as of `compile_model`; also `epochs`, `evaluations`, `patience`, `nonfinite`.
        folder: `Path` that `unfinished` gave; gets the states, and `logs/` (TensorBoard).
        objective: see `compile_model`.
        monitor: metric of the held-out batches that decides which weights are best: the
            larger the better.
        callbacks: further ones; they see the weights that are measured, and what they put into
            the logs can be the `monitor`.
        class_weight: dict from class to the weight of its examples, or `None`.

    Returns:
        dict from metric name to its values, one an evaluation.

    Raises:
        InputError: the loss is no longer a number.
    """
    # Keras validates at the end of what it calls an epoch: a part of a pass over the rows.
    steps = -(-int(dataset.cardinality()) // settings.evaluations)
    parts = settings.epochs * settings.evaluations
    rate = compile_model(model, settings, steps * parts, objective)
    best = KeepBest(model, monitor, settings.patience)
    step, history = 0, {}
    if state := restore_newest(folder / STATES, model, best.variables):
        step, history = state["step"], state["history"]
        best.replay(history)
        print(f"going on at step {step} of {steps * parts}", file=sys.stderr)
    saved = SaveState(
        folder / STATES, steps, history,
        every=settings.save_every, start=step, more=best.variables, averaged=settings.ema > 0,
    )  # fmt: skip
    batches = dataset.repeat()
    # Before the callback that keeps the best weights: it must see the averages.
    averages = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if settings.ema else []
    (folder / "logs").mkdir(exist_ok=True)
    if step < steps * parts and not best.ended:
        with lost_workers(model):
            fit_parts(
                model,
                batches.skip(step),
                steps,
                parts,
                step,
                [
                    *averages,
                    *callbacks,
                    best,
                    keras.callbacks.TensorBoard(str(folder / "logs"), write_graph=False),
                    saved,
                    nonfinite(settings, saved, rate, lambda at: next(iter(batches.skip(at)))),
                ],
                validation_data=validation,
                class_weight=class_weight,
            )
    best.put_back(model)
    return saved.history


def nonfinite(settings, saved, rate, batch_at):
    """The callback for `--nonfinite`; see `NonFinite`.

    Args:
        settings: has `nonfinite`, `output_dir`.
        saved: the `SaveState` of the training.
        rate: the largest learning rate.
        batch_at: see `NonFinite`.
    """
    path = f"{settings.output_dir.rstrip('/')}.nonfinite.npz"
    advice = f"give a smaller --learning_rate than {rate:g}, or --nonfinite skip"
    return NonFinite(saved, path, batch_at, settings.nonfinite == "skip", advice)


@contextlib.contextmanager
def training_of(settings, **made_of):
    """Where a training writes, and the folder of what it goes on from if it is stopped.

    Args:
        settings: dataclass of the verb; has `output_dir`, `strategy`.
        **made_of: JSON values that tell the data from others, in the place of settings or beside.

    Yields:
        `(output_dir, folder)`.

    Raises:
        InputError: the directory exists, or as `unfinished`.
    """
    with output_of(settings) as output_dir:
        refuse_existing(output_dir, "another --output_dir")
        with unfinished(output_dir, {**vars(settings), **made_of}, FREE) as folder:
            yield output_dir, folder


def sizes(*files):
    """The bytes of those that are files; tells a training's data from others."""
    return {str(file): Path(file).stat().st_size for file in files if file and Path(file).is_file()}


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


def our_settings(directory):
    """What `write_model` was given for a directory; empty for a published checkpoint."""
    settings = read_json(config_path(directory)).get(OURS)
    return settings if isinstance(settings, dict) else {}


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


def start(precision, strategy, seed, stored=False, **of_workers):
    """Sets the process up: random seed, precision; gives the strategy to build under.

    Args:
        precision: see `dtype_policy`.
        strategy: see `choose_strategy`.
        seed: of everything random.
        stored: whether weights are kept in the precision that is computed with, as an export
            has them; a training keeps them in float32.
        of_workers: `settings` and `wait` of `choose_strategy`.
    """
    keras.utils.set_random_seed(seed)
    policy = keras.DTypePolicy(dtype_policy(precision))
    keras.config.set_dtype_policy(policy.compute_dtype if stored else policy)
    return choose_strategy(strategy, **of_workers)


def start_training(settings):
    """`start`, with the other workers if there are any: they must have the same settings.

    Raises:
        InputError: as `start`; or XLA is to compile a step of several devices.
    """
    same = {name: value for name, value in vars(settings).items() if name not in OF_A_WORKER}
    strategy = start(
        settings.precision, settings.strategy, settings.seed, settings=same, wait=settings.peer_wait
    )
    replicas = strategy.num_replicas_in_sync
    if replicas > 1 and settings.xla == "on":
        # It cannot reach the variables of another device.
        raise InputError(f"--xla on: works on one device, and there are {replicas}; give auto")
    if replicas > 1 and is_chief(strategy):
        print(
            f"{type(strategy).__name__}: {replicas} replicas, each with its rows of every batch "
            f"of {settings.batch_size}",
            file=sys.stderr,
        )
    return strategy


@contextlib.contextmanager
def lost_workers(model):
    """Ends the process, with one line and the status `LOST`, when another worker has gone.

    Not the caller's mistake, nor ours: who starts the workers is to start all of them again.
    """
    try:
        yield
    except tf.errors.OpError as error:
        several = isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        gone = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
                tf.errors.DeadlineExceededError, tf.errors.InternalError)  # fmt: skip
        if not several or not isinstance(error, gone):
            raise
        print(
            "tfmodels: lost another worker, or the way to it; start all again with the same "
            f"command ({type(error).__name__})",
            file=sys.stderr,
        )
        sys.exit(LOST)


@contextlib.contextmanager
def output_of(settings):
    """The path that this process writes to: `output_dir` for the chief, for others a passing one.

    Args:
        settings: has `output_dir`, `strategy`.
    """
    several = settings.strategy in ("auto", "multi_worker")
    cluster = read_cluster() if several else None
    if cluster is None or cluster[1] == 0:
        yield settings.output_dir
        return
    with tempfile.TemporaryDirectory() as directory:
        yield str(Path(directory) / "model")
