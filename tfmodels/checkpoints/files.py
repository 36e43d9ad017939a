"""The files of a checkpoint directory: its path, JSON and tensors.

In: a directory, or the name of a model on the Hugging Face Hub. Out: its path, JSON fields, NumPy
arrays read one at a time. Nothing in a file is executed: a `pytorch_model.bin` is read by PyTorch,
where that is installed, with `weights_only`; Google's checkpoints are read in `google`.
Formats: https://huggingface.co/docs/safetensors, and the `model.safetensors.index.json` of
`transformers` for weights in several files.
"""

import dataclasses
import errno
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tfmodels.checkpoints import preset_config
from tfmodels.errors import InputError, first_line
from tfmodels.files import read_json
from tfmodels.models.model import Config

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = "model-*.safetensors"
GENERATION = "generation_config.json"
# Weights as PyTorch and TensorFlow wrote them before safetensors.
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
H5 = "tf_model.h5"
PRESET_WEIGHTS = ("model.weights.h5", "model.weights.json")  # of a KerasHub preset, and of shards
# Files to fetch from the Hub: no code, and no pickles where there are safetensors.
FETCHED: tuple = ("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt", GENERATION)
FETCHED += ("vocab.json", "merges.txt", "characters.json", WEIGHTS, INDEX, SHARDS)
FETCHED += ("special_tokens_map.json", "added_tokens.json", "spiece.model")
FETCHED += (
    "source.spm",
    "target.spm",
    "sentencepiece.bpe.model",
    "task.json",
    "metadata.json",
    "assets/tokenizer/*",
)
FETCHED += (*PRESET_WEIGHTS, "model_*.weights.h5", "task.weights.h5", "head.safetensors")
FETCHED_PICKLES = (PICKLED, PICKLED_INDEX, "pytorch_model-*.bin", H5)
CONFIG, GOOGLE_CONFIGS = "config.json", "bert_config*.json"
# Files of one of Google's checkpoints: its path with these endings.
GOOGLE_FILES = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
# Names of KerasHub's presets; those of Hugging Face without a slash have no underscore.
HUB_PRESET = re.compile(r"[a-z0-9]+_[a-z0-9_.]+")
HF, KAGGLE = "hf://", "kaggle://"
FLOATS = {"F64", "F32", "F16", "BF16"}
# `model_type` in config.json: the family.
KINDS = {"bert": "bert", "gpt2": "gpt2", "bart": "bart", "transformer": "bart",
         "marian": "bart"}  # fmt: skip
# Of `models.baselines`, with the architecture behind it: no class of `transformers` reads these.
BASELINE_TYPE = "tfmodels-"
# Where `model_type` is missing, as in old files: the fields that tell the family.
TELLING = {
    "bert": ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
             "type_vocab_size"),
    "gpt2": ("n_embd", "n_layer", "n_head", "n_positions"),
    "bart": ("d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim"),
}  # fmt: skip
# End of the name of a class of `transformers`: that of its `AutoModel`, where it is another.
AUTO = {"LMHeadModel": "ForCausalLM", "ForConditionalGeneration": "ForSeq2SeqLM"}
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


def find_checkpoint(source: str | Path, revision: str | None = None, weights: bool = True) -> Path:
    """Return the directory of a checkpoint; fetch it if `source` names one on the Hub.

    Args:
        source: a directory; the path of one of Google's checkpoints, such as
            `"chinese/bert_model.ckpt"`; a name such as `"google-bert/bert-base-uncased"`, also
            with `hf://` before it; a name of KerasHub such as `"roberta_base_en"`, or
            `"kaggle://keras/roberta/keras/roberta_base_en"`.
        revision: branch, tag or commit on the Hub; its newest state if not given.
        weights: whether weights are needed, and not only the tokenizer.

    Returns:
        Path of the directory, or of the one of Google's checkpoints in it: without `.index`.

    Raises:
        InputError: there is no such directory, and the model cannot be fetched.
    """
    path = Path(source)
    prefix = path.with_name(GOOGLE_FILES.sub("", path.name)) if path.name else path
    found = path if path.is_dir() else prefix if _is_prefix(prefix) else None
    if found is not None:
        if revision is not None:
            raise InputError(f"{source} is a directory and has no revision; leave it out")
        return found
    if path.is_file():
        raise InputError(f"{source}: no such directory, but a file; give {path.parent}")
    name = str(source)
    if name.startswith(HF):
        return _from("the Hugging Face Hub", "huggingface_hub", name, revision,
                     lambda: _fetched(name.removeprefix(HF), revision, weights))  # fmt: skip
    if name.startswith(KAGGLE) or HUB_PRESET.fullmatch(name):
        if revision is not None:
            raise InputError(f"{source}: is of Kaggle and has no revision; end it with /VERSION")
        return _from("Kaggle", "keras-hub", name, None, lambda: _from_kaggle(name))
    if path.exists() or not HUB_NAME.fullmatch(name):
        raise InputError(
            f"{source}: no such directory; give one that holds config.json and {WEIGHTS}"
        )
    return _from("the Hugging Face Hub", "huggingface_hub", name, revision,
                 lambda: _fetched(name, revision, weights))  # fmt: skip


def _from(
    place: str, package: str, name: str, revision: str | None, fetch: Callable[[], Path]
) -> Path:
    """Return the directory that `fetch` gives; its errors in one line."""
    try:
        return fetch()
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name}: no such directory, and fetching from {place} needs {package}; run: pip "
            f"install {package}, or give a local directory"
        ) from error
    # Exceptions of the package, of its HTTP library or of the file system.
    except Exception as error:
        at = "" if revision is None else f" (revision {revision})"
        raise InputError(
            f"{name}{at}: no such directory, and fetching it from {place} failed "
            f"({type(error).__name__}: {first_line(error)}); check the name and the network, "
            "or download it elsewhere and give the path of the local directory"
        ) from error


def _from_kaggle(name):
    """Return the local directory of a preset on Kaggle, by its handle or by KerasHub's name."""
    import kagglehub  # of keras-hub

    if not name.startswith(KAGGLE):
        import keras_hub

        presets = keras_hub.models.Backbone.presets
        if name not in presets:
            raise InputError(
                f"{name}: no such directory, and no preset of keras-hub {keras_hub.__version__}; "
                "give the path of a directory"
            )
        name = presets[name]["kaggle_handle"]
    return Path(kagglehub.model_download(name.removeprefix(KAGGLE)))


def _fetched(name, revision, weights):
    """Return the local directory of a model on the Hub."""
    import huggingface_hub  # an extra: local directories do not need it

    fetch = functools.partial(huggingface_hub.snapshot_download, name, revision=revision)
    directory = Path(fetch(allow_patterns=list(FETCHED)))
    whole = (WEIGHTS, INDEX, *PRESET_WEIGHTS)
    if not weights or any((directory / file).exists() for file in whole):
        return directory
    directory = Path(fetch(allow_patterns=[*FETCHED, *(FETCHED_PICKLES if _torch() else (H5,))]))
    if not any((directory / file).exists() for file in (PICKLED, PICKLED_INDEX, H5)):
        there = huggingface_hub.list_repo_files(name, revision=revision)
        old = next((file for file in (PICKLED, PICKLED_INDEX) if file in there), None)
        if old is not None:
            raise InputError(_conversion(name, old, directory, revision))
    return directory


def _torch():
    """Return PyTorch, which is optional, or None."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def _is_prefix(path):
    """Return whether a path is that of one of Google's checkpoints."""
    return path.with_name(f"{path.name}.index").is_file() if path.name else False


def folder_of(directory: str | Path) -> Path:
    """Return the directory of a checkpoint that `find_checkpoint` found."""
    path = Path(directory)
    return path.parent if _is_prefix(path) else path


def is_google(directory: str | Path) -> bool:
    """Return whether the weights are a checkpoint of Google, and not (also) safetensors."""
    if _is_prefix(Path(directory)):
        return True
    names = {path.name for path in Path(directory).glob("*")}
    if names & {WEIGHTS, INDEX}:
        return False
    no_other = not names & {CONFIG, PICKLED, PICKLED_INDEX, H5}
    return any(Path(directory).glob("*.ckpt*.index")) or (
        no_other and any(Path(directory).glob(GOOGLE_CONFIGS))
    )


def config_path(directory: str | Path) -> Path:
    """Return the file that describes the model of a checkpoint; it may be missing."""
    folder = folder_of(directory)
    google = sorted(folder.glob(GOOGLE_CONFIGS), key=lambda path: len(path.name))
    plain = folder / CONFIG
    if is_google(directory) or not plain.is_file():
        return google[0] if google else plain
    return plain


def read_entries(directory: str | Path) -> dict:
    """Return the fields of the file that describes the model of a checkpoint."""
    path = config_path(directory)
    if not path.is_file() and is_google(directory):
        raise InputError(
            f"{path.parent}: has a checkpoint of TensorFlow but no bert_config.json; copy that of "
            "the model that its training started from there, and vocab.txt"
        )
    return _entries(path)


def _entries(path):
    """Return the fields of a `config.json`, also of that of a KerasHub preset."""
    content = read_json(path)
    return preset_config.as_entries(path, content) if preset_config.is_preset(content) else content


def is_preset(directory: str | Path) -> bool:
    """Return whether a directory is a preset of KerasHub."""
    path = config_path(directory)
    return path.is_file() and preset_config.is_preset(read_json(path))


def model_type(directory: str | Path) -> str | None:
    """Return the type of the model that `config.json` describes; None where it is unknown."""
    path = config_path(directory)
    if path.name != CONFIG:
        return "bert"
    entries = _entries(path) if path.is_file() else {}
    given = entries.get("model_type")
    return _type_of_fields(entries) if given is None else given


def _type_of_fields(entries):
    """Return the family that has the fields of an old `config.json`, or None."""
    classes = entries.get("architectures") or ()
    for kind, fields in TELLING.items():
        of_kind = all(str(name).lower().startswith(kind) for name in classes)
        if of_kind and all(field in entries for field in fields):
            # RoBERTa and ELECTRA, for example, have BERT's fields too.
            other = kind == "bert" and (entries.get("pad_token_id") or "embedding_size" in entries)
            return None if other else kind
    return None


def kind_of(directory: str | Path) -> str:
    """Return the family of a checkpoint: `"bert"`, `"gpt2"` or `"bart"`; refuse others."""
    read_entries(directory)  # refuses a missing file
    kind = model_type(directory)
    if kind not in KINDS:
        raise InputError(wrong_type(directory, kind))
    return KINDS[kind]


def wrong_type(directory: str | Path, kind: str | None, wanted: Sequence[str] = ()) -> str:
    """Return what is wrong with a checkpoint of a type that is not wanted, and what to do."""
    path, types = config_path(directory), wanted or tuple(KINDS)
    names = ", ".join(map(repr, wanted) if wanted else KINDS)
    if kind is None:
        return f'{path}: has no model_type; if it is one of {names}, add it: "model_type": "..."'
    if is_preset(directory):
        families = preset_config.FAMILIES.items()
        takes = [name for name, family in families if family.model_type in types]
        return f"{path}: a preset of {read_json(path)['class_name']}; give one of {listed(takes)}"
    return f"{path}: model_type is {kind!r}; give a checkpoint of type {names}"


def saved_settings(directory: str | Path) -> dict:
    """Return the settings that a task saved in `config.json`; empty for a published checkpoint."""
    settings = read_entries(directory).get(SETTINGS)
    return settings if isinstance(settings, dict) else {}


def read_labels(directory: str | Path) -> list[str] | None:
    """Return the label names in `config.json`, by class; None if there are none."""
    entries = read_entries(directory)
    names = entries.get("id2label")
    if names is None:
        # transformers writes no names where they are its default, of two classes.
        classes = entries.get("architectures") or ()
        number = 2 if any(str(name).endswith("Classification") for name in classes) else 0
        number = entries.get("num_labels", number)  # in old files
        return [f"LABEL_{i}" for i in range(number)] if number else None
    try:
        return [str(names[str(number)]) for number in range(len(names))]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{config_path(directory)}: id2label does not name the classes 0, 1, 2, ...; correct "
            "it there"
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
        self.directory = Path(directory)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._types: dict[str, str] = {}
        self._readers: dict[str, Callable[[], np.ndarray]] = {}
        for path in self._paths():
            try:
                for name, shape, kind, reader in OPEN.get(path.suffix, _opened)(path):
                    self.shapes[name], self._types[name] = tuple(shape), kind
                    self._readers[name] = reader
            # PyTorch raises whatever its unpickler does; also for a file that would run code.
            except Exception as error:
                reason = first_line(error) if path.suffix != ".bin" else "or not of tensors only"
                raise InputError(
                    f"{path}: damaged or cut off ({reason}); copy or download the file again"
                ) from error

    def _paths(self):
        """Return the weight files, after checking that those in the index exist."""
        old = False
        for name, index in ((WEIGHTS, INDEX), (PICKLED, PICKLED_INDEX), (H5, None)):
            files = [self.directory / file for file in (name, index) if file is not None]
            file = next((file for file in files if file.is_file()), None)
            if file is not None and name == PICKLED and not _torch():
                old = file.name
            elif file is not None:
                return [file] if file.name == name else self._indexed(file)
        if old:
            raise InputError(_conversion(self.directory, old, self.directory))
        raise InputError(f"{self.directory}: has no {WEIGHTS}; give a directory that has it")

    def _indexed(self, index):
        """Return the files that an index names."""
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise InputError(f"{index}: names no files (weight_map); download the file again")
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            # A plain name: an index must not point outside its directory.
            if Path(name).name != name or not (self.directory / name).is_file():
                raise InputError(
                    f"{self.directory}: {index.name} names {name!r}, which is not there; "
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
        return self._readers[name]().astype(np.float32)


def _opened(path):
    """Yield name, shape, type and reader of each tensor of a safetensors file."""
    file = safetensors.safe_open(path, framework="numpy")
    for name in file.keys():  # noqa: SIM118 - not a dict
        part = file.get_slice(name)
        yield name, part.get_shape(), part.get_dtype(), functools.partial(file.get_tensor, name)


def _unpickled(path):
    """Yield the same of a `pytorch_model.bin`; only PyTorch reads its types, such as bfloat16."""
    torch = _torch()
    for name, tensor in torch.load(path, map_location="cpu", weights_only=True).items():
        if torch.is_tensor(tensor):
            kind = "F32" if tensor.is_floating_point() else str(tensor.dtype)
            yield name, tensor.shape, kind, tensor.float().numpy


def _from_tensorflow(path):
    """Yield the same of a `tf_model.h5`, with the names and shapes of PyTorch."""
    import h5py  # which Keras requires

    found: list = []
    file = h5py.File(path)
    file.visititems(lambda name, item: found.append(item) if hasattr(item, "dtype") else None)
    leaves = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}
    for tensor in found:
        # /layer/model/encoder/layer_._0/output/dense/kernel:0, or /layer/name:0 at the top
        parts = tensor.name.split(":")[0].split("/")
        *parts, leaf = parts[3:] or parts[-1:]
        name = re.sub(r"\w+___", "", ".".join((*parts, leaves.get(leaf, leaf)))).replace("_._", ".")
        shape = tensor.shape[::-1] if leaf == "kernel" else tensor.shape
        shape = shape[-1:] if leaf == "bias" else shape  # [1, O] of GPT-2
        kind = "F32" if tensor.dtype.kind == "f" else str(tensor.dtype)
        yield name, shape, kind, functools.partial(_as_pytorch, tensor, leaf == "kernel", shape)


def _as_pytorch(tensor, transposed, shape):
    return tensor[()].T if transposed else tensor[()].reshape(shape)


OPEN = {".bin": _unpickled, ".h5": _from_tensorflow}


def _conversion(source, file, directory, revision=None):
    """Return the message for weights that need PyTorch: what to install, or how to convert them.

    Args:
        source: directory, or name on the Hub.
        file: that has the weights.
        directory: where the config is.
        revision: on the Hub.
    """
    path = config_path(directory)
    entries = read_json(path) if path.is_file() else {}
    name = str(next(iter(entries.get("architectures") or ()), ""))
    auto = next((auto for end, auto in AUTO.items() if name.endswith(end)), None)
    auto = auto or (f"For{name.partition('For')[2]}" if "For" in name else "")
    kind, new = model_type(directory), f"{Path(source).name}-converted"
    first = ""
    if kind is not None and (path.name != CONFIG or "model_type" not in entries):
        copy = "" if path.name == CONFIG else f", a copy of {path.name},"
        first = f'put "model_type": "{kind}" into {path.with_name(CONFIG)}{copy} and '
    where = repr(str(source)) + ("" if revision is None else f", revision={revision!r}")
    return (
        f"{source}: has {file} but no {WEIGHTS}; run: pip install torch, with which it is read as "
        f'it is, or {first}convert it: python -c "from transformers import AutoModel{auto} as M, '
        f"AutoTokenizer as T; M.from_pretrained({where}).save_pretrained({new!r}); "
        f'T.from_pretrained({where}).save_pretrained({new!r})" and give {new}'
    )


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray]) -> None:
    """Write a dict of name to float32 array as a safetensors file."""
    # C order: the format stores the bytes of memory. transformers requires the metadata.
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    path = Path(path)
    path.touch()
    mode = path.stat().st_mode  # save_file restricts it to the owner
    try:
        safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:
        raise OSError(errno.EIO, first_line(error)) from error
    path.chmod(mode)


def listed(names: Sequence) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(str, names[:LISTED])) + more
