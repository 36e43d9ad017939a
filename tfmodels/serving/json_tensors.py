"""JSON requests and answers of TF Serving's REST API, as arrays.

In: the body of a request, and the inputs of its signature. Out: arrays; and from the arrays of an
answer the body of the response, in rows (`instances`, `predictions`) or in columns (`inputs`,
`outputs`). Strings are UTF-8; bytes that are not stand as `{"b64": "..."}`.
"""

import base64
import binascii
import json
from typing import Any

import numpy as np

from tfmodels.serving.refusals import Refused

_NAMES = {str: "String", bool: "Bool", int: "Number", float: "Number", type(None): "Null",
          list: "Array", dict: "Object"}  # fmt: skip
_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def parsed(body: bytes) -> dict:
    """Return the JSON object of a request; raises `Refused`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:  # also of bytes that are not UTF-8
        raise _invalid(f"JSON Parse error: {str(error) or 'nested too deeply'}") from None
    if not isinstance(value, dict):
        raise _invalid(f"JSON Value: {_brief(value)} Is not object")
    return value


def signature_of(body: dict, default: str) -> str:
    """Return the name of the signature that a request asks; raises `Refused`."""
    name = body.get("signature_name", default)
    if not isinstance(name, str):
        raise _invalid(f"JSON Value: {_brief(name)} 'signature_name' key must be a string value.")
    return name or default


def tensors_of(body: dict, wanted: dict) -> tuple[dict[str, np.ndarray], bool]:
    """Return the inputs of a request, and whether they are rows.

    Args:
        body: of `parsed`.
        wanted: dict from input to `(dtype, rank)`.

    Raises:
        Refused: they are not those of the signature.
    """
    if ("instances" in body) == ("inputs" in body):
        raise _invalid(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
            if "inputs" in body
            else "Missing 'inputs' or 'instances' key"
        )
    if "instances" in body:
        return _of_rows(body["instances"], wanted), True
    given = body["inputs"]
    if not isinstance(given, dict) or _is_bytes(given):
        if len(wanted) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                f"required: {','.join(wanted)}"
            )
        given = dict.fromkeys(wanted, given)
    missing = [name for name in wanted if name not in given]
    if missing:
        raise _invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
    if unknown := [name for name in given if name not in wanted]:
        raise _invalid(
            f"Unknown input: {unknown[0]} in 'inputs' object; it takes {','.join(wanted)}"
        )
    return {name: _array(given[name], *wanted[name]) for name in wanted}, False


def _of_rows(rows, wanted):
    if not isinstance(rows, list) or not rows:
        raise _invalid("'instances' must be a list with one value or more")
    named = isinstance(rows[0], dict) and not _is_bytes(rows[0])
    if not named and len(wanted) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            f"required: {','.join(wanted)}"
        )
    columns: dict[str, list] = {name: [] for name in wanted}
    for number, row in enumerate(rows):
        is_named = isinstance(row, dict) and not _is_bytes(row)
        if is_named != named:
            kind = ("value/list", "object")
            raise _invalid(f"Expecting {kind[named]} but got {kind[is_named]} at item {number} of "
                           "input list")  # fmt: skip
        values = row if named else dict.fromkeys(wanted, row)
        if values.keys() != wanted.keys():
            raise _invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{_brief(row)} keys must be equal to: {','.join(wanted)}"
            )
        for name, value in values.items():
            columns[name].append(value)
    try:
        return {name: _array(column, *wanted[name]) for name, column in columns.items()}
    except Refused as error:
        raise _invalid(f"Failed to process 'instances' list. Error: {error.message}") from None


def _array(value, dtype, rank):
    """Return a JSON value as an array; raise `Refused` if it is ragged or of another type."""
    name = dtype.name
    shape, flat = [], [value]
    while isinstance(flat[0] if flat else None, list):
        sizes = {len(part) if isinstance(part, list) else -1 for part in flat}
        if len(sizes) > 1:
            raise _invalid("lists of different lengths: every row of a tensor has as many values")
        shape.append(sizes.pop())
        flat = [part for parts in flat for part in parts]
    if rank is not None and not flat:  # an empty list has no inner dimensions
        shape += [0] * (rank - len(shape))
    convert = _bytes if name == "string" else _number
    values = [convert(part, name) for part in flat]
    try:
        array = np.empty(len(values), object) if name == "string" else None
        if array is None:
            return np.array(values, dtype.as_numpy_dtype).reshape(shape)
        array[:] = values
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise _invalid(f"no tensor of type {name}: {error}") from None


def _bytes(value, name):
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise _invalid("JSON Parse error: The surrogate pair in string is invalid.") from None
    if isinstance(value, dict) and _is_bytes(value):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise _invalid(f"Unable to base64 decode {_brief(value)}") from None
    raise _unexpected(value, name)


def _number(value, name):
    if name == "bool":
        if isinstance(value, bool):
            return value
    elif isinstance(value, bool):
        pass
    elif name.startswith(("float", "double", "half", "bfloat")):
        if isinstance(value, int | float):
            return value
    elif isinstance(value, int):
        low, high = _RANGES.get(name, (-(2**63), 2**63 - 1))
        if low <= value <= high:
            return value
    raise _unexpected(value, name)


def _unexpected(value, name):
    return _invalid(
        f"JSON Value: {_brief(value)} Type: {_NAMES[type(value)]} is not of expected type: {name}"
    )


def _is_bytes(value):
    return isinstance(value, dict) and value.keys() == {"b64"}


def _brief(value):
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _invalid(message):
    return Refused("INVALID_ARGUMENT", message)


def response(answers: dict[str, np.ndarray], in_rows: bool, rows: int) -> bytes:
    """Return the body of a response.

    Args:
        answers: dict from output to array.
        in_rows: whether the request was.
        rows: number of them.

    Raises:
        Refused: an output has not a value for each row.
    """
    lists = {name: _plain(value, name) for name, value in sorted(answers.items())}
    if not in_rows:
        only = len(lists) == 1
        return _dumped({"outputs": next(iter(lists.values())) if only else lists})
    for name, value in answers.items():
        if value.ndim == 0 or len(value) != rows:
            size = len(value) if value.ndim else 0
            raise _invalid(f"Tensor name: {name} has inconsistent batch size: {size} expecting "
                           f"batch size: {rows}")  # fmt: skip
    if len(lists) == 1:
        return _dumped({"predictions": next(iter(lists.values()))})
    columns = zip(*lists.values(), strict=True)
    return _dumped({"predictions": [dict(zip(lists, row, strict=True)) for row in columns]})


def _plain(value: np.ndarray, name: str) -> Any:
    """Return an array as lists; outputs whose name says so are bytes, as TF Serving has it."""
    if value.dtype.kind != "O":
        return value.tolist()
    if name.endswith("_bytes"):
        flat: list = [{"b64": base64.b64encode(item).decode()} for item in value.ravel()]
    else:
        flat = [item.decode("utf-8", "replace") for item in value.ravel()]
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(value.shape).tolist()


def _dumped(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
