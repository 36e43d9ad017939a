"""The versions that a server has: found on disk, loaded, warmed up, and let go again.

In: directories of exported versions, and perhaps a models.config. Out: for a name, and perhaps a
version or a label, the `Loaded` version that answers. A thread looks for changes: a new version is
loaded beside the old one and takes its place when it has answered its warm-up requests; requests
that the old one has begun, or that wait for it, are answered by it.
"""

import dataclasses
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers its operations

from tfmodels.errors import InputError, first_line
from tfmodels.serving import warmup
from tfmodels.serving.compatibility import read
from tfmodels.serving.configuration import (
    Policy,
    models_in,
    numbers_in,
    read_policies,
    some_models_in,
)
from tfmodels.serving.refusals import Refused

DEFAULT = "serving_default"


class Loaded:
    """A version that answers.

    Args:
        path: directory of the version.

    Attributes:
        name, number: of the model and the version.
        definitions: its signatures, as of a `MetaGraphDef`.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.number = path.resolve().parent.name, int(path.name)
        self._path = path
        graphs = [g for g in read(path).meta_graphs if "serve" in g.meta_info_def.tags]
        if not graphs:
            raise InputError(f"{path}: no graph with the tag 'serve'")
        self.definitions = {
            key: value
            for key, value in sorted(graphs[0].signature_def.items())
            if not key.startswith("__")
        }
        self._loaded = tf.saved_model.load(str(path), tags=["serve"])
        self._functions = dict(self._loaded.signatures)
        self._inputs = {
            name: {
                key: (
                    tf.as_dtype(info.dtype),
                    None if info.tensor_shape.unknown_rank else len(info.tensor_shape.dim),
                )
                for key, info in sorted(definition.inputs.items())
            }
            for name, definition in self.definitions.items()
        }

    def inputs(self, signature: str) -> dict[str, tuple[tf.DType, int | None]]:
        """Return the dtype and the rank of each input of a signature; raises `Refused`."""
        if signature not in self._inputs:
            raise Refused(
                "INVALID_ARGUMENT",
                f'Serving signature name: "{signature}" not found in signature def',
            )
        return self._inputs[signature]

    def checked(self, signature: str, inputs: dict[str, np.ndarray], most: int) -> int:
        """Return the number of rows of a request; raise `Refused` if the signature has others.

        Args:
            signature: name.
            inputs: dict from input to array.
            most: maximum number of rows.
        """
        wanted = self.inputs(signature)
        if inputs.keys() != wanted.keys():
            extra, missing = (
                ",".join(sorted(names))
                for names in (inputs.keys() - wanted.keys(), wanted.keys() - inputs.keys())
            )
            raise Refused(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(inputs)}!={len(wanted)}. Sent extra: "
                f"{{{extra}}}. Missing but required: {{{missing}}}.",
            )
        rows = set()
        for name, (dtype, rank) in wanted.items():
            value = inputs[name]
            if tf.as_dtype(value.dtype) != dtype:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"input {name} has dtype {tf.as_dtype(value.dtype).name}, not {dtype.name}",
                )
            if rank is not None and value.ndim != rank or not value.ndim:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"input {name} has {value.ndim} dimensions, not {rank or 'one or more'}",
                )
            rows.add(len(value))
        if len(rows) > 1:
            raise Refused(
                "INVALID_ARGUMENT", "Batching input tensors must have equal 0th-dimension size"
            )
        (number,) = rows or {0}
        if number > most:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{number} rows in a request, and the server takes {most}; send several requests",
            )
        return number

    def ask(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the answers of a signature; raises `Refused` for what the model refuses."""
        tensors = {
            key: tf.constant(inputs[key], dtype)
            for key, (dtype, _) in self._inputs[signature].items()
        }
        try:
            answers = self._functions[signature](**tensors)
        except tf.errors.OpError as error:
            code = next(
                (name for name, number in vars(tf.errors).items()
                 if number == error.error_code and name in _CODES), "INTERNAL")  # fmt: skip
            raise Refused(code, warmup.reason(error)) from None
        return {key: value.numpy() for key, value in answers.items()}

    def warm_up(self) -> None:
        """Answer the warm-up requests of the version, if it has any; raises as `ask`."""
        if (self._path / warmup.PATH).is_file():
            for signature, inputs in warmup.read(self._path):
                self.ask(signature, inputs)


_CODES = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "RESOURCE_EXHAUSTED",
          "UNIMPLEMENTED", "UNAVAILABLE", "INTERNAL"}  # fmt: skip


@dataclasses.dataclass
class _Model:
    """A model: its folder, versions by number and their states, labels."""

    root: Path
    versions: dict[int, Loaded] = dataclasses.field(default_factory=dict)
    states: dict[int, tuple[str, str]] = dataclasses.field(default_factory=dict)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    failed: dict[int, tuple[int, int, int]] = dataclasses.field(default_factory=dict)


class Models:
    """The models of a server.

    Args:
        directories: each a model's folder, with versions in it, or a folder of such folders.
        config_file: a models.config whose policies and labels apply to the models of its names;
            None serves the newest version of each. It is read again when it changes.
        poll_seconds: pause between two looks for changes.
        log: function of a line about what happens.

    Raises:
        InputError: there is no version, two models have a name, or the file cannot be read.
    """

    def __init__(
        self, directories: Iterable[str | Path], config_file: str | Path | None = None,
        poll_seconds: float = 2.0, log: Callable[[str], Any] | None = None,
    ) -> None:  # fmt: skip
        self._directories, self._poll = [Path(path) for path in directories], poll_seconds
        self._config_file = None if config_file is None else Path(config_file)
        self._log = log or (lambda line: print(line, file=sys.stderr, flush=True))
        self._models: dict[str, _Model] = {}
        self._policies = self._read_config()
        some_models_in(self._directories)
        self._stop, self._thread = (
            threading.Event(),
            threading.Thread(target=self._watch, daemon=True, name="versions"),
        )

    def start(self) -> None:
        """Load what there is, and look for changes from then on.

        Raises:
            InputError: no model could be loaded.
        """
        self.look()
        if not any(model.versions for model in self._models.values()):
            self._stop.set()
            name, model = next(iter(self._models.items()))
            problem = next((text for _, text in model.states.values()), "no version of the policy")
            raise InputError(f"{model.root}: {name} cannot be loaded ({problem}); export it again")
        self._thread.start()

    def close(self) -> None:
        """Look for changes no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def names(self) -> list[str]:
        """Return the names of the models."""
        return sorted(self._models)

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Loaded:
        """Return the version that answers: the newest, that of a number, or that of a label.

        Raises:
            Refused: there is none.
        """
        model = self._models.get(name)
        versions = model.versions if model else {}
        if label is not None:
            labels = model.labels if model else {}
            if label not in labels:
                raise Refused("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
            version = labels[label]
        number = max(versions, default=None) if version is None else version
        if number not in versions:
            which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {which}")
        return versions[number]

    def states(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> dict[int, tuple[str, str]]:
        """Return `{number: (state, message)}` of the versions of a model; raises `Refused`."""
        model = self._models.get(name)
        if label is not None:
            version = self.find(name, label=label).number
        states = {} if model is None else dict(model.states)
        if version is not None:
            states = {number: state for number, state in states.items() if number == version}
        if not states:
            what = f"version {version}" if version is not None else "any versions"
            raise Refused("NOT_FOUND", f"Could not find {what} of model {name}")
        return states

    def _watch(self):
        while not self._stop.wait(self._poll):
            try:
                self.look()
            except Exception as error:  # the next look may go well
                self._log(f"looking for versions: {first_line(error)}")

    def look(self) -> None:
        """Load and let go of versions, as the disk and the configuration are now."""
        try:
            self._policies = self._read_config()
        except InputError as error:
            self._log(f"{error}; what was read before stays")
        found = models_in(self._directories)
        for name, root in found.items():
            model = self._models.setdefault(name, _Model(root))
            there = numbers_in(root)
            policy = self._policies.get(name, Policy())
            wanted = policy.wanted(there)
            for number in sorted(wanted - model.versions.keys(), reverse=True):
                self._load(name, model, number)
            # Labels first: a version is let go when no label leads to it.
            model.labels = {k: n for k, n in policy.labels.items() if n in model.versions}
            if wanted & model.versions.keys():
                for number in sorted(model.versions.keys() - wanted):
                    self._let_go(name, model, number)

    def _load(self, name, model, number):
        path = model.root / str(number)
        try:
            stamp = _stamp(path)
        except OSError:
            return  # gone
        if model.failed.get(number) == stamp:
            return
        start = time.monotonic()
        model.states[number] = ("LOADING", "")
        try:
            loaded = Loaded(path)
            loaded.warm_up()
        except Exception as error:
            model.failed[number] = stamp
            model.states[number] = ("END", first_line(error))
            self._log(f"{name}: version {number} cannot be served: {first_line(error)}")
            return
        model.versions = {**model.versions, number: loaded}  # as a whole: others read it meanwhile
        model.states[number] = ("AVAILABLE", "")
        self._log(f"{name}: version {number} is served, after {time.monotonic() - start:.1f} s")

    def _let_go(self, name, model, number):
        model.versions = {k: v for k, v in model.versions.items() if k != number}
        model.states[number] = ("END", "")
        gc.collect()  # a SavedModel is full of cycles
        self._log(f"{name}: version {number} is served no more")

    def _read_config(self):
        return {} if self._config_file is None else read_policies(self._config_file)


def _stamp(path):
    """Return what changes while a version is copied, which is then tried again.

    Raises:
        OSError: it is gone.
    """
    found = [(path / "saved_model.pb").stat()]
    found += [file.stat() for file in path.rglob("*") if file.is_file()]
    return len(found), sum(s.st_size for s in found), max(s.st_mtime_ns for s in found)
