"""What each task's signatures take and give, by name: the table that exports are held to.

In: the signatures of a SavedModel. Out: where they are not as promised. The first dimension of
every tensor is the batch, so that REST's rows and the server's batching work.
"""

from collections.abc import Iterator
from typing import Any

from tensorflow import dtypes

# A tensor is its dtype and rank.
_TEXT = {"text": ("string", 1)}
_TOKENS = {"token_ids": ("int32", 2), "padding_mask": ("bool", 2)}
_BATCH = {**_TOKENS, "segment_ids": ("int32", 2)}
_PAIR = {**_TEXT, "pair": ("string", 1)}
_LABEL = {"label": ("string", 1), "probabilities": ("float32", 2)}
_LABELS = {"labels": ("string", 2), "probabilities": ("float32", 2)}
_VALUE = {"value": ("float32", 1)}
_ENTITIES = {
    "entity": ("string", 2), "type": ("string", 2), "start": ("int32", 2), "end": ("int32", 2),
    "score": ("float32", 2),
}  # fmt: skip
_QUESTION = {"question": ("string", 1), "context": ("string", 1)}
_ANSWER = {
    "answer": ("string", 1), "start": ("int32", 1), "end": ("int32", 1), "score": ("float32", 1),
}  # fmt: skip
_NULL = {"null_score": ("float32", 1)}
_FRAMES = {
    "predicate": ("string", 2), "predicate_start": ("int32", 2), "predicate_end": ("int32", 2),
    "predicate_score": ("float32", 2), "argument": ("string", 3), "role": ("string", 3),
    "start": ("int32", 3), "end": ("int32", 3), "score": ("float32", 3),
}  # fmt: skip
_TAGGED = (
    {**_BATCH, "word_positions": ("int32", 2), "word_mask": ("bool", 2)},
    {"tag": ("string", 2), "score": ("float32", 2)},
)
_FILLED = {"token": ("string", 3), "score": ("float32", 3)}
_EMBEDDED = {"embedding": ("float32", 2)}
_WRITTEN = {"token_ids": ("int32", 2), "mask": ("bool", 2)}

# Task: signature: (inputs, outputs). What came later is not promised of every version, and exports
# have more: `classes` of labels, and the signature `stream` of a GPT.
CONTRACTS = {
    # One class, several labels or a score, of one text or of a pair. The first has two names: the
    # application `sentiment` exports it under its own.
    **{
        name + of: {"serving_default": (inputs, outputs), "token_ids": (_BATCH, outputs)}
        for name, outputs in (
            ("sentiment", _LABEL), ("classification", _LABEL), ("labels", _LABELS),
            ("score", _VALUE),
        )
        for of, inputs in (("", _TEXT), (" of pairs", _PAIR))
    },
    "ner": {"serving_default": (_TEXT, _ENTITIES), "token_ids": _TAGGED},
    "roles": {"serving_default": (_TEXT, _FRAMES), "token_ids": _TAGGED},
    "qa": {
        "serving_default": (_QUESTION, {**_ANSWER, **_NULL}),
        "n_best": (
            _QUESTION,
            {**{name: (kind, 2) for name, (kind, _) in _ANSWER.items()}, **_NULL},
        ),
        "token_ids": (_BATCH, {"start_logits": ("float32", 2), "end_logits": ("float32", 2)}),
    },
    "bert": {
        "serving_default": (_TEXT, _FILLED),
        "fill_mask": (_TEXT, _FILLED),
        "embed": (_TEXT, _EMBEDDED),
        "token_ids": (_BATCH, {**_FILLED, **_EMBEDDED}),
    },
    "gpt": {
        "serving_default": ({"prompt": ("string", 1)}, {"text": ("string", 1)}),
        "generate": (
            {
                "prompt": ("string", 1), "max_new_tokens": ("int32", 1),
                "temperature": ("float32", 1), "top_k": ("int32", 1), "top_p": ("float32", 1),
                "seed": ("int32", 1),
            },
            {"text": ("string", 1)},
        ),
        "token_ids": (_TOKENS, _WRITTEN),
    },
    **{
        name: {
            "serving_default": (
                _TEXT,
                {
                    output: ("string", 1), "score": ("float32", 1), "parts": ("int32", 1),
                    "truncated": ("bool", 1),
                },
            ),
            "token_ids": (_TOKENS, {**_WRITTEN, "score": ("float32", 1)}),
        }
        for name, output in (("summarization", "summary"), ("translation", "translation"))
    },
}  # fmt: skip


def described(graph: Any) -> dict:
    """The signatures of a `MetaGraphDef`.

    Returns:
        dict from signature name to `{"inputs": {name: tensor}, "outputs": {name: tensor}}`; a
        tensor is a dict of `dtype`, its name, and `shape`, a list with -1 for what is open, or
        None where the rank is open too.
    """
    return {
        name: {
            side: {key: _tensor(info) for key, info in sorted(getattr(signature, side).items())}
            for side in ("inputs", "outputs")
        }
        for name, signature in sorted(graph.signature_def.items())
        if not name.startswith("__")  # those are not for clients
    }


def _tensor(info):
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else [dimension.size for dimension in shape.dim]
    return {"dtype": dtypes.as_dtype(info.dtype).name, "shape": sizes}


def broken_promises(task: str, signatures: dict) -> Iterator[str]:
    """Where signatures are not as a task promises them.

    Args:
        task: a name of `CONTRACTS`.
        signatures: what `described` gave. It may have more of them than are promised.

    Yields:
        str: one for each difference.
    """
    for name, promised in CONTRACTS[task].items():
        if name not in signatures:
            yield f"signature {name} is missing, which {task} has"
            continue
        for side, wanted in zip(("inputs", "outputs"), promised, strict=True):
            actual, kind = signatures[name][side], side[:-1]
            for key in sorted(wanted.keys() - actual.keys()):
                yield f"signature {name} has no {kind} {key!r}"
            for key, tensor in actual.items():
                if key not in wanted:
                    if side == "inputs":
                        yield f"signature {name} takes {key!r}, which {task} does not send"
                    elif not _has_batch(tensor["shape"]):
                        yield f"signature {name}: the first dimension of {key!r} is not the batch"
                    continue
                dtype, rank = wanted[key]
                if tensor["dtype"] != dtype or not _has_batch(tensor["shape"], rank):
                    yield (
                        f"signature {name}: {kind} {key!r} is {tensor['dtype']} {tensor['shape']}, "
                        f"not {dtype} {[-1] * rank}"
                    )


def _has_batch(shape, rank=None):
    return shape is None or (shape[:1] == [-1] and rank in (None, len(shape)))
