"""What the layers compute, once more: plain NumPy in float64, written from the papers.

Nothing here is shared with `tfmodels`; weights come as a dict of arrays.
"""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=["float64"])


def linear(x, weights, name):
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    return np.einsum("...i,io->...o", x, kernel) + bias


def gelu(x):
    """x times the standard normal distribution function of x (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def layer_norm(x, gamma, beta, epsilon):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def softmax(scores, mask=None):
    """Over the last axis; keys where `mask` is False have no part in it."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def attention(query, value, mask, weights, num_heads):
    """Vaswani et al. 2017, section 3.2; `mask` broadcasts to [B, Q, K]."""
    head_dim = query.shape[-1] // num_heads

    def heads(x):
        return x.reshape(*x.shape[:2], num_heads, head_dim)

    if "query/kernel" in weights:
        q = linear(query, weights, "query")
        k, v = np.split(linear(value, weights, "key_value"), 2, -1)
    else:
        q, k, v = np.split(linear(query, weights, "query_key_value"), 3, -1)
    q, k, v = map(heads, (q, k, v))
    scores = np.einsum("bqnd,bknd->bnqk", q, k) / math.sqrt(head_dim)
    shares = softmax(scores, None if mask is None else mask[:, None])
    joined = np.einsum("bnqk,bknd->bqnd", shares, v).reshape(query.shape)
    return linear(joined, weights, "output")


def feed_forward(x, weights):
    return linear(gelu(linear(x, weights, "inner")), weights, "outer")


def weights_of(layer):
    """Its weights in float64, by their paths without the name of the layer itself."""
    found = {}
    for weight in layer.weights:
        path = weight.path.split("/", 1)[-1]
        found[path] = np.asarray(weight.numpy(), "float64")
    return found
