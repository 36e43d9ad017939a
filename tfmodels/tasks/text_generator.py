"""A GPT as signatures: a prompt in, its continuation out.

In: a `Gpt`, its tokenizer and the settings of decoding. Out: what `saved_model.save` writes;
tokenizer, cache, choice of tokens and detokenizer are all in the graph.

B prompts, P positions of the longest, T = `max_new_tokens`.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.generation.decoding import Decoding, generate
from tfmodels.generation.rows import Generated
from tfmodels.generation.settings import Generation
from tfmodels.models.gpt import Gpt
from tfmodels.models.model import cast_once
from tfmodels.tasks.signatures import TOKENS
from tfmodels.text.packing import pack_prompts

PROMPT = {"prompt": tf.TensorSpec([None], tf.string)}
# Settings that a request may give for each of its rows.
REQUEST = {
    "max_new_tokens": tf.TensorSpec([None], tf.int32),
    "temperature": tf.TensorSpec([None], tf.float32),
    "top_k": tf.TensorSpec([None], tf.int32),
    "top_p": tf.TensorSpec([None], tf.float32),
    "seed": tf.TensorSpec([None], tf.int32),
}


# What a text has so far, beside the settings: a streamed text is asked for part by part.
SO_FAR = {
    "token_ids": tf.TensorSpec([None, None], tf.int32),
    "mask": tf.TensorSpec([None, None], tf.bool),
}
PART = 8  # tokens of a part


class TextGenerator:
    """Continues prompts, in the graph.

    Args:
        model: a `Gpt`.
        tokenizer: a `BytePairTokenizer`, `CharacterTokenizer` or `WordPieceTokenizer`.
        settings: a `Generation`, whose `stop_ids` end a text.
        stop: strings that end a continuation, which goes up to where one begins.
        before: text put after every prompt, as a fine-tuned model was trained with.
        seed: of the rows, where it is not given; one more where a prompt is there again.

    Attributes:
        settings: as they are used.
        stop: as given, a tuple.

    Raises:
        InputError: the settings do not fit the model.
    """

    def __init__(
        self, model: Gpt, tokenizer: Any, settings: Generation, stop: Sequence[str] = (),
        before: str = "", seed: int = 0,
    ) -> None:  # fmt: skip
        self.model, self.tokenizer = model, tokenizer
        self._before, self._seed = before, seed
        positions = model.config.max_length
        if settings.max_new_tokens >= positions:
            raise InputError(
                f"max_new_tokens {settings.max_new_tokens}: the model has positions for "
                f"{positions} tokens, the prompt's included; give at most {positions - 1}"
            )
        self.settings = dataclasses.replace(settings, pad_id=tokenizer.end_id or 0)
        self.stop = tuple(stop)
        self._stop = _Stop(tokenizer, stop, model.config.vocabulary_size) if stop else None

    def prompts(self, prompt: tf.Tensor) -> dict:
        """Prompts as the batch to read: dict of `token_ids` and `padding_mask` `[B, P]`.

        Args:
            prompt: string `[B]`. An empty one begins with the end of a text.
        """
        prompt = tf.strings.join([prompt, self._before]) if self._before else prompt
        ids = self.tokenizer.tokenize(prompt)
        start = self.tokenizer.end_id or 0
        return pack_prompts(ids, self.settings.pad_id, start)

    def start(self, batch: dict, seeds: tf.Tensor | None = None, rows: dict | None = None) -> Any:
        """Return the first token of each row, for `advance`; see `Decoding`."""
        logits, state = self._read(batch)
        seeds = self._seeds(batch, seeds)
        return self.decoding.start(
            logits, state, batch["token_ids"], batch["padding_mask"], seeds, rows
        )

    @property
    def decoding(self) -> Decoding:
        """The `Decoding` that `start` begins."""
        return Decoding(self._step, self.settings, self._stop)

    def __call__(
        self, batch: dict, seeds: tf.Tensor | None = None, rows: dict | None = None
    ) -> Generated:
        """Continues prompts.

        Args:
            batch: what `prompts` gave.
            seeds, rows: see `generate`.

        Returns:
            `Generated`.
        """
        prompt = batch["token_ids"], batch["padding_mask"]
        seeds = self._seeds(batch, seeds)
        with cast_once(self.model):
            logits, state = self._read(batch)
            return generate(
                self._step, logits, state, *prompt, self.settings, seeds, rows, self._stop
            )

    def more(
        self, batch: dict, written: tf.Tensor, mask: tf.Tensor, seeds: tf.Tensor, rows: dict
    ) -> tuple[Generated, tf.Tensor]:
        """Continues prompts by up to `PART` tokens.

        Reading what is written costs little beside writing, so nothing is kept between two calls.

        Args:
            batch: what `prompts` gave.
            written, mask: the tokens so far, int32 and bool `[B, W]`; W may be 0.
            seeds, rows: see `generate`.

        Returns:
            `(Generated, finished)`, of W + PART tokens or fewer; and bool `[B]`.
        """
        before = tf.shape(written)[1]
        read = {
            "token_ids": tf.concat([batch["token_ids"], written], 1),
            "padding_mask": tf.concat([batch["padding_mask"], mask], 1),
        }
        decoding = Decoding(
            lambda ids, index, state: self._step(ids, index - before, state),
            self.settings, self._stop,
        )  # fmt: skip
        with cast_once(self.model):
            logits, state = self._read(read, before)
            carry = decoding.start(
                logits, state, batch["token_ids"], batch["padding_mask"], seeds, rows, written, mask
            )
            (carry,) = tf.while_loop(
                lambda carry: decoding.unfinished(carry) & (carry.count < before + PART),
                lambda carry: (decoding.advance(carry),),
                (carry,),
            )
        ids, real, scores = decoding.result(carry)
        end = tf.minimum(carry.count, self.settings.max_new_tokens)
        return Generated(ids[:, :end], real[:, :end], scores), carry.finished

    def text(self, token_ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Tokens as text: string `[B]`, valid UTF-8, up to a stop string."""
        ids = tf.ragged.boolean_mask(token_ids, mask)
        text = self.tokenizer.detokenize(ids)
        text = text if self._stop is None else self._stop.cut(text)
        # A character whose last bytes did not come is shown as U+FFFD.
        return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")

    def _read(self, batch, before=0):
        """Return the logits and the state after a batch, of whose tokens `before` are not new."""
        new = self.settings.max_new_tokens
        room = self.model.config.max_length - new
        length = tf.shape(batch["token_ids"])[1] + new - before
        real = tf.reduce_sum(tf.cast(batch["padding_mask"], tf.int32), 1)
        check = tf.debugging.Assert(
            tf.reduce_all(real <= room + before),
            [f"a prompt is too long: with max_new_tokens {new} there is room for {room} "
             "tokens; shorten it or generate fewer"],
        )  # fmt: skip
        with tf.control_dependencies([check] if check is not None else []):
            return self.model.prompt(batch, length)

    def _step(self, token_ids, index, state):
        return self.model.step(token_ids, index, state)

    def _seeds(self, batch, seeds):
        if seeds is not None or not self.settings.sample:
            return seeds
        ids = tf.where(batch["padding_mask"], batch["token_ids"], -1)  # [B, P]
        same = tf.reduce_all(ids[:, None] == ids, -1)  # [B, B]
        up_to_here = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0)
        return int32_seeds([self._seed]) + tf.reduce_sum(up_to_here, 1) - 1


def int32_seeds(seeds: Sequence[int]) -> tf.Tensor:
    """Return seeds of up to 32 bits as int32, of which only the bits count."""
    return tf.constant(np.array(seeds, np.int64).astype(np.int32))


class _Stop:
    """Strings that end a continuation: searched for in the newest bytes, and cut off.

    Args:
        tokenizer: has `token_bytes`.
        strings: not empty, each.
        vocabulary_size: of the model, which may be padded; ids without a token have no bytes.
    """

    def __init__(self, tokenizer: Any, strings: Sequence[str], vocabulary_size: int) -> None:
        if not all(strings):
            raise InputError("stop: an empty string; give text that ends a continuation")
        missing = vocabulary_size - len(tokenizer.token_bytes)
        self._bytes = tf.pad(tokenizer.token_bytes, [(0, max(missing, 0))])
        # As bytes, \C: what is generated need not be whole characters.
        any_of = "|".join(re.escape(string) for string in strings)
        self._holds, self._rest = rf"\C*(?:{any_of})\C*", rf"(?:{any_of})\C*"
        self._longest = max(len(string.encode()) for string in strings)

    def __call__(self, token_ids: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Whether the newest tokens hold one; every token but an end has a byte or more."""
        places = count - self._longest + tf.range(self._longest)
        newest = tf.gather(token_ids, tf.maximum(places, 0), axis=1)
        written = tf.where(places >= 0, tf.gather(self._bytes, newest), "")
        return tf.strings.regex_full_match(tf.strings.reduce_join(written, 1), self._holds)

    def cut(self, text):
        return tf.strings.regex_replace(text, self._rest, "", replace_global=False)


def generation_signatures(
    model: Gpt, tokenizer: Any, settings: Generation, stop: Sequence[str] = (), before: str = "",
    seed: int = 0,
) -> dict:  # fmt: skip
    """The signatures of a GPT.

    Args:
        model, tokenizer, settings, stop, before, seed: see `TextGenerator`.

    Returns:
        dict from signature name to `(function, specs)`, see `saved_model.save`:
        `serving_default` on `prompt` string `[B]` gives `text` string `[B]`, the continuation
        alone. `generate` on `prompt` and, `[B]` each, `max_new_tokens` int32 (1 to that of the
        settings), `temperature` float32 (above 0), `top_k` int32 (0: off), `top_p` float32
        (above 0, at most 1) and `seed` int32 gives the same by sampling. `stream` gives the text
        of `generate` part by part: it also takes `token_ids` int32 and `mask` bool `[B, W]`, what
        it gave before (W is 0 at first), and gives them longer by up to `PART` tokens, with the
        whole `text` so far and `finished` bool `[B]`. `token_ids` on
        `token_ids` int32 and `padding_mask` bool `[B, P]`, padding left, gives `token_ids`
        int32 and `mask` bool `[B, T]`.
    """
    default = TextGenerator(model, tokenizer, settings, stop, before, seed)
    sampled = {**vars(settings), "sample": True, "num_beams": 1}
    requested = TextGenerator(model, tokenizer, Generation(**sampled), stop, before)

    def on_prompt(prompt):
        result = default(default.prompts(prompt))
        return {"text": default.text(result.token_ids, result.mask)}

    def on_request(prompt, seed, **rows):
        with tf.control_dependencies(_checked(rows, requested.settings)):
            prompt = tf.identity(prompt)
        result = requested(requested.prompts(prompt), seed, rows)
        return {"text": requested.text(result.token_ids, result.mask)}

    def on_part(prompt, seed, token_ids, mask, **rows):
        # A text that stopped may be short of tokens, and an unfinished one waits at none.
        most = requested.settings.max_new_tokens
        written = tf.debugging.Assert(
            tf.shape(token_ids)[1] < most, [f"token_ids: give fewer than {most}"]
        )
        with tf.control_dependencies([*_checked(rows, requested.settings), written]):
            prompt = tf.identity(prompt)
        batch = requested.prompts(prompt)
        result, finished = requested.more(batch, token_ids, mask, seed, rows)
        text = requested.text(result.token_ids, result.mask)
        return {
            "text": text, "token_ids": result.token_ids, "mask": result.mask, "finished": finished
        }  # fmt: skip

    def on_ids(token_ids, padding_mask):
        result = default({"token_ids": token_ids, "padding_mask": padding_mask})
        return {"token_ids": result.token_ids, "mask": result.mask}

    return {
        "serving_default": (on_prompt, PROMPT),
        "generate": (on_request, PROMPT | REQUEST),
        "stream": (on_part, PROMPT | REQUEST | SO_FAR),
        "token_ids": (on_ids, TOKENS),
    }


def _checked(rows, settings):
    """Return assertions that refuse settings of a request that are out of range."""
    maximum = settings.max_new_tokens
    new, top_p = rows["max_new_tokens"], rows["top_p"]
    checks = (
        ((new >= 1) & (new <= maximum), f"max_new_tokens: give 1 to {maximum}", new),
        (rows["temperature"] > 0, "temperature: give a number above 0", rows["temperature"]),
        (rows["top_k"] >= 0, "top_k: give 0 or more", rows["top_k"]),
        ((top_p > 0) & (top_p <= 1), "top_p: give a number above 0 and at most 1", top_p),
    )
    return [
        tf.debugging.Assert(tf.reduce_all(fine), [message, value])
        for fine, message, value in checks
    ]


def settled(text: str, stop: Sequence[str]) -> str:
    """Return what of a text stays as it is whatever comes next.

    Args:
        text: str, not finished.
        stop: strings that end it.
    """
    text = text.rstrip("\ufffd")
    longest = max(map(len, stop), default=1)
    for size in range(min(longest - 1, len(text)), 0, -1):
        if any(string.startswith(text[-size:]) for string in stop):
            return text[:-size]
    return text
