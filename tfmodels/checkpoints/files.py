"""The files of a checkpoint directory: its path, JSON and tensors.

In: a directory, or the name of a model on the Hugging Face Hub. Out: its path, JSON fields, NumPy
arrays read one at a time. Nothing is unpickled or executed; checkpoints of TensorFlow are read in
`google`. Formats: https://huggingface.co/docs/safetensors, and the `model.safetensors.index.json`
of `transformers` for weights in several files.
"""

import dataclasses
import errno
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfmodels.errors import InputError, first_line
from tfmodels.files import read_json
from tfmodels.models.model import Config

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = "model-*.safetensors"
GENERATION = "generation_config.json"
# Files to fetch from the Hub: no code and no pickles.
FETCHED: tuple = ("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt", GENERATION)
FETCHED += ("vocab.json", "merges.txt", "characters.json", WEIGHTS, INDEX, SHARDS)
FETCHED += ("special_tokens_map.json", "added_tokens.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "model.ckpt.index")
CONFIG, GOOGLE_CONFIG = "config.json", "bert_config.json"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
FLOATS = {"F64", "F32", "F16", "BF16"}
# `model_type` in config.json: the family.
KINDS = {"bert": "bert", "gpt2": "gpt2", "bart": "bart", "transformer": "bart"}
SETTINGS = "tfmodels"  # key in config.json of settings that `transformers` does not have
LISTED = 5  # maximum number of names in a message; the others are counted


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """Which tensors of a checkpoint were loaded into which weights of a model, in one line.

    Args:
        directory: of the checkpoint.
        loaded: names of the tensors that were loaded.
        new: paths of the model's weights without a tensor: they keep their initial values.
        ignored: names of the tensors that the model does not use.
    """

    directory: Path
    loaded: tuple[str, ...]
    new: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.directory}: {len(self.loaded)} tensors loaded"]
        if self.new:
            parts.append(f"new, to be trained: {listed(self.new)}")
        if self.ignored:
            parts.append(f"ignored: {listed(self.ignored)}")
        return "; ".join(parts)


def find_checkpoint(source: str | Path, revision: str | None = None) -> Path:
    """Return the directory of a checkpoint; fetch it if `source` names one on the Hub.

    Args:
        source: a directory, or a name such as `"google-bert/bert-base-uncased"`.
        revision: branch, tag or commit on the Hub; its newest state if not given.

    Raises:
        InputError: there is no such directory, and the model cannot be fetched from the Hub.
    """
    directory = Path(source)
    if directory.is_dir():
        if revision is not None:
            raise InputError(f"{source} is a directory and has no revision; leave it out")
        return directory
    if directory.exists() or not HUB_NAME.fullmatch(str(source)):
        raise InputError(
            f"{source}: no such directory; give one that holds config.json and {WEIGHTS}"
        )
    try:
        import huggingface_hub  # an extra: local directories do not need it
    except ImportError as error:
        raise InputError(
            f"{source}: no such directory, and fetching from the Hugging Face Hub needs "
            "huggingface_hub; run: pip install huggingface_hub, or give a local directory"
        ) from error
    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(source), revision=revision, allow_patterns=list(FETCHED)
            )
        )
    # Exceptions of its own, of its HTTP library or of the file system.
    except Exception as error:
        at = "" if revision is None else f" (revision {revision})"
        raise InputError(
            f"{source}{at}: no such directory, and fetching it from the Hugging Face Hub failed "
            f"({type(error).__name__}: {first_line(error)}); check the name and the network, "
            "or download it elsewhere and give the path of the local directory"
        ) from error


def is_google(directory: str | Path) -> bool:
    """Return whether a directory has Google's layout, and not (also) Hugging Face's."""
    directory = Path(directory)
    others = [name for name in (WEIGHTS, INDEX) if (directory / name).exists()]
    return (directory / GOOGLE_CONFIG).is_file() and not others


def config_path(directory: str | Path) -> Path:
    """Return the file that describes the model of a checkpoint; it may be missing."""
    return Path(directory) / (GOOGLE_CONFIG if is_google(directory) else CONFIG)


def model_type(directory: str | Path) -> str | None:
    """Return `model_type` of `config.json`; None without the file or the field."""
    path = config_path(directory)
    if path.name == GOOGLE_CONFIG:
        return "bert"
    return read_json(path).get("model_type") if path.is_file() else None


def kind_of(directory: str | Path) -> str:
    """Return the family of a checkpoint: `"bert"`, `"gpt2"` or `"bart"`; refuse others."""
    path = config_path(directory)
    kind = read_json(path).get("model_type") if path.name == CONFIG else "bert"
    if kind not in KINDS:
        raise InputError(
            f"{path}: model_type is {kind!r}; give a checkpoint of type {', '.join(KINDS)}"
        )
    return KINDS[kind]


def saved_settings(directory: str | Path) -> dict:
    """Return the settings that a task saved in `config.json`; empty for a published checkpoint."""
    settings = read_json(config_path(directory)).get(SETTINGS)
    return settings if isinstance(settings, dict) else {}


def read_labels(directory: str | Path) -> list[str] | None:
    """Return the label names in `config.json`, by class; None if there are none."""
    path = config_path(directory)
    entries = read_json(path)
    names = entries.get("id2label")
    if names is None:
        # transformers writes no names where they are its default, of two classes.
        two = "BertForSequenceClassification" in (entries.get("architectures") or ())
        return ["LABEL_0", "LABEL_1"] if two else None
    try:
        return [str(names[str(number)]) for number in range(len(names))]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: id2label does not name the classes 0, 1, 2, ...; correct it there"
        ) from error


def check_vocabulary_size(tokenizer: Any, config: Config) -> None:
    """Refuse a tokenizer that has more tokens than the model has embeddings."""
    if tokenizer.vocabulary_size > config.vocabulary_size:
        raise InputError(
            f"the tokenizer has {tokenizer.vocabulary_size} tokens and the model "
            f"{config.vocabulary_size}; give the tokenizer that the model was trained with"
        )


class TensorFiles:
    """The tensors of `model.safetensors`, or of the files that its index names.

    Opening reads only the headers; `read` reads one tensor.

    Args:
        directory: of the checkpoint.

    Attributes:
        directory: its `Path`.
        shapes: dict of tensor name to shape (a tuple of ints).

    Raises:
        InputError: no weights, only pickled ones, a file missing, cut off or damaged.
    """

    def __init__(self, directory: str | Path):
        try:
            import safetensors  # an extra: only checkpoints need it
        except ImportError as error:
            raise InputError(
                f"{directory}: reading {WEIGHTS} needs safetensors; run: pip install safetensors"
            ) from error
        self.directory = Path(directory)
        self._types = {}
        self._file_of = {}
        self.shapes = {}
        for path in self._paths():
            try:
                file = safetensors.safe_open(path, framework="numpy")
            except (safetensors.SafetensorError, OSError) as error:
                raise InputError(
                    f"{path}: damaged or cut off ({first_line(error)}); "
                    "copy or download the file again"
                ) from error
            for name in file.keys():  # noqa: SIM118 - not a dict
                part = file.get_slice(name)
                self._file_of[name] = file
                self._types[name] = part.get_dtype()
                self.shapes[name] = tuple(part.get_shape())

    def _paths(self):
        """Return the weight files, after checking that those in the index exist."""
        if (self.directory / WEIGHTS).is_file():
            return [self.directory / WEIGHTS]
        index = self.directory / INDEX
        if not index.is_file():
            pickled = [name for name in PICKLES if (self.directory / name).exists()]
            if pickled:
                raise InputError(
                    f"{self.directory}: has {pickled[0]} but no {WEIGHTS}; convert it first, "
                    "with transformers: "
                    "AutoModel.from_pretrained(directory).save_pretrained(new_directory)"
                )
            raise InputError(f"{self.directory}: has no {WEIGHTS}; give a directory that has it")
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise InputError(f"{index}: names no files (weight_map); download the file again")
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            # A plain name: an index must not point outside its directory.
            if Path(name).name != name or not (self.directory / name).is_file():
                raise InputError(
                    f"{self.directory}: {INDEX} names {name!r}, which is not there; "
                    f"copy or download all {len(names)} files"
                )
        return [self.directory / name for name in names]

    def read(self, name: str) -> np.ndarray:
        """Return one tensor, named as in `shapes`, as float32 array.

        Raises:
            InputError: the tensor is not of 16, 32 or 64 bit floats.
        """
        if self._types[name] not in FLOATS:
            raise InputError(
                f"{self.directory}: {name} is of type {self._types[name]}; give a checkpoint "
                "of floats that is not quantized"
            )
        return self._file_of[name].get_tensor(name).astype(np.float32)


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray]) -> None:
    """Write a dict of name to float32 array as a safetensors file."""
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError as error:
        raise InputError(
            f"writing {path} needs safetensors; run: pip install safetensors"
        ) from error
    # C order: the format stores the bytes of memory. transformers requires the metadata.
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    path = Path(path)
    path.touch()
    mode = path.stat().st_mode  # save_file restricts it to the owner
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(errno.EIO, first_line(error)) from error
    path.chmod(mode)


def listed(names: Sequence) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(str, names[:LISTED])) + more
