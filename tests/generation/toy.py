"""A recurrent network of a few numbers, so that what it generates can be computed by hand.

Its state must follow its row: it holds all tokens before. The same in NumPy and as a `step`.
"""

import keras
import numpy as np
from keras import ops


class Toy:
    """`state' = tanh(state W + embedding[token])`, `logits = state' O`."""

    def __init__(self, size, width=6, seed=0, scale=2.0):
        draw = np.random.default_rng(seed)
        self.size, self.width = size, width
        self.embedding = draw.normal(size=(size, width)).astype("float32")
        self.recurrent = draw.normal(size=(width, width)).astype("float32")
        self.output = (scale * draw.normal(size=(width, size))).astype("float32")

    def step(self, token_ids, index, state):
        fed = ops.take(ops.convert_to_tensor(self.embedding), token_ids, axis=0)
        states = ops.tanh(ops.matmul(state["deep"][0], self.recurrent) + fed)
        return ops.matmul(states, self.output), {"deep": (states,), "steps": state["steps"] + 1}

    def prompt(self, ids, mask):
        """Logits `[B, V]` and the state after left-padded prompts with a static P."""
        ids, mask = ops.convert_to_tensor(ids), ops.convert_to_tensor(mask)
        rows = ops.shape(ids)[0]
        state = {"deep": (ops.zeros((rows, self.width)),), "steps": ops.zeros((rows,), "int32")}
        logits = ops.zeros((rows, self.size))
        for place in range(ids.shape[1]):
            logits, new = self.step(ids[:, place], place, state)
            real = ops.expand_dims(mask[:, place], 1)
            state["deep"] = (ops.where(real, new["deep"][0], state["deep"][0]),)
        return logits, state

    def log_probs(self, tokens):
        """Of the token after these: float64 `[V]`."""
        states = np.zeros(self.width)
        for token in tokens:
            states = np.tanh(states @ self.recurrent + self.embedding[token])
        logits = states @ self.output
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def prompts(size, *lengths, seed=0):
    """Left-padded prompts int32 `[B, P]` and their mask."""
    draw, longest = np.random.default_rng(seed), max(lengths)
    mask = np.arange(longest) >= longest - np.array(lengths)[:, None]
    return np.where(mask, draw.integers(0, size, mask.shape), 0).astype("int32"), mask


def compiled(function):
    """`function` of tensors, compiled as the backend does."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, autograph=False)


def ask(function, *inputs):
    """The answer as NumPy; on JAX compiled, where each operation by itself takes its time."""
    run = compiled(function) if keras.backend.backend() == "jax" else function
    return numpy(run(*inputs))


def numpy(values):
    return keras.tree.map_structure(ops.convert_to_numpy, values)
