"""What a GPT is trained on: blocks of running text, or prompts with their responses.

In: the settings of `gpt pretrain` and `gpt finetune`, text files or rows. Out: a tokenizer, and
the sources that `steps.train` reads: endless training batches, and those to measure on.
"""

import sys
from pathlib import Path

from applications import steps
from tfmodels.checkpoints.gpt2 import read_gpt_tokenizer, write_gpt_tokenizer
from tfmodels.data import datasets
from tfmodels.data.documents import TextFiles
from tfmodels.data.split import split
from tfmodels.errors import InputError
from tfmodels.text.blocks import block_batches, block_passes, response_batches
from tfmodels.text.bpe import BytePairTokenizer
from tfmodels.text.character_tokens import CharacterTokenizer
from tfmodels.text.vocabulary import learn_characters, learn_merges


class Blocks:
    """The blocks of running text that a training reads.

    Args:
        settings: of the verb.
        texts: `documents.TextFiles`.
        tokenizer: of the model.
        max_length: tokens of a block.

    Attributes:
        tokenizer, max_length: as given.
        steps: of the whole training.
        ours: settings that stay with the model.
        say: str, one line about it.
    """

    def __init__(self, settings, texts, tokenizer, max_length):
        self._settings, self._measured = settings, texts
        self.tokenizer, self.max_length, self.ours = tokenizer, max_length, {}
        share = 0.0 if settings.eval_files is not None else settings.held_out
        options = {"held_out": share, "hold_seed": settings.seed}
        split = "train" if share else "all"
        self._train = block_passes(
            texts, tokenizer, max_length, split=split, seed=settings.seed, **options
        )
        self._held_out = None
        if settings.eval_files is not None:
            self._measured = TextFiles(settings.eval_files, settings.text_column)
            self._held_out = block_passes(self._measured, tokenizer, max_length)
        elif share:
            self._held_out = block_passes(
                texts, tokenizer, max_length, split="validation", **options
            )
        self.steps = settings.steps or steps.of_epochs(settings, self._count(), "blocks")
        self.say = _line(self)

    def batches(self, start):
        """Endless training batches, from step `start` on."""
        return block_batches(self._train, self._settings.batch_size, start=start)

    def held_out(self):
        """Batches to measure on, the same every time; None if nothing is held out."""
        if self._held_out is None:
            return None
        size = self._settings.batch_size
        batches = block_batches(self._held_out, size, passes=1, drop_remainder=False)
        return steps.first(batches, self._settings, "text", self._measured)

    def _count(self):
        print("counting the blocks (--steps would save that)", file=sys.stderr)
        return sum(int(part.shape[0]) for part in self._train(0).batch(1000))


class Responses:
    """The prompts and responses that a training reads; see `Blocks`.

    Args:
        settings: of `finetune`.
        source, evaluated: `Source`s of the rows to train and to measure on.
        tokenizer, max_length: see `Blocks`.
    """

    def __init__(self, settings, source, evaluated, tokenizer, max_length):
        self._settings, self._measured = settings, evaluated
        self.tokenizer, self.max_length = tokenizer, max_length
        self.ours = {"separator": settings.separator}
        if evaluated is source:
            evaluated, share = None, settings.held_out
            if share:
                most = settings.held_out_examples
                source, evaluated = split(source, share, maximum=most, seed=settings.seed)

        def batches(source, seed=None):
            chunks = datasets.text_dataset(source, seed=seed)
            # What the prompt ends with when the model is used.
            chunks = chunks.map(lambda prompt, response: (prompt + settings.separator, response))
            return response_batches(chunks, tokenizer, settings.batch_size, max_length, seed)

        # Made anew for each pass over them from the start: a dataset has another order every time.
        self._train = lambda: batches(source, settings.seed)
        self._held_out = None if evaluated is None else batches(evaluated)
        of_pass = max(source.scan().rows // settings.batch_size, 1)
        self.steps = settings.steps or settings.epochs * of_pass
        self.say = _line(self)

    def batches(self, start):
        """Endless training batches, from step `start` on."""
        return self._train().repeat().skip(start)

    def held_out(self):
        """Batches to measure on, the same every time; None if nothing is held out."""
        if self._held_out is None:
            return None
        return steps.first(self._held_out, self._settings, "row", self._measured)


def learned_tokenizer(settings, texts, folder, max_length):
    """The tokenizer of a new model: learned when the training began, and kept in `folder`.

    Args:
        settings: of `pretrain`.
        texts: `documents.TextFiles` to learn from.
        folder: of the unfinished training.
        max_length: longest text of the model, in tokens.

    Raises:
        InputError: there is no such tokenizer, or nothing to learn from.
    """
    if settings.tokenizer not in ("bpe", "characters"):
        if not Path(settings.tokenizer).is_dir():
            raise InputError(
                f"--tokenizer {settings.tokenizer}: give bpe, characters or the directory of a "
                "checkpoint"
            )
        return read_gpt_tokenizer(settings.tokenizer)
    path = folder / "tokenizer"
    if not path.exists():
        print("learning a vocabulary", file=sys.stderr)
        corpus = (text for _, text, _ in texts.passages())
        if settings.tokenizer == "bpe":
            tokenizer = BytePairTokenizer(*learn_merges(corpus, settings.vocabulary_size))
        else:
            tokenizer = CharacterTokenizer(learn_characters(corpus, most=settings.vocabulary_size))
        path.mkdir()
        write_gpt_tokenizer(path, tokenizer, max_length)
    return read_gpt_tokenizer(path)


def _line(source):
    size = source._settings.batch_size
    return f"{source.steps} steps of {size} x {source.max_length} tokens"
