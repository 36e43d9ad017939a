"""Model directories of the encoders of `models.baselines`.

In: a directory with `config.json` and `model.safetensors`. Out: a config and loaded weights; or,
the other way, a written directory. Its `model_type` ("tfmodels-gru" and others) is one that
`transformers` refuses: it has no such models.
"""

from collections.abc import Sequence
from pathlib import Path

import keras

from tfmodels.checkpoints.bert import HEAD, label_entries
from tfmodels.checkpoints.family import Family, read_fields
from tfmodels.checkpoints.files import (
    BASELINE_TYPE,
    config_path,
    model_type,
    read_entries,
    wrong_type,
)
from tfmodels.errors import InputError
from tfmodels.models.baselines import ARCHITECTURES, WIDTHS, BaselineConfig, BaselineEncoder
from tfmodels.text.wordpiece import WordPieceTokenizer

TYPES = tuple(BASELINE_TYPE + architecture for architecture in ARCHITECTURES)


class BaselineFamily(Family):
    """See `Family`; tensors are stored as Keras has them."""

    name, model_class = "baseline", BaselineEncoder
    fields = {
        "vocabulary_size": "vocab_size",
        "embedding_dim": "embedding_dim",
        "max_length": "max_position_embeddings",
        "dropout": "dropout",
        "initializer_range": "initializer_range",
    }
    unseen = ("architecture",)
    parts = {
        "embeddings.weight": "embeddings.token",
        **{f"convolution_{width}": f"convolution_{width}" for width in WIDTHS},
        "forward": "recurrent.forward_layer.cell",
        "backward": "recurrent.backward_layer.cell",
    }
    heads = {"classifier": "head.logits"}
    optional = (HEAD,)
    transposed = False

    def is_ignored(self, name: str) -> bool:
        return name.startswith(HEAD)

    def backbone(self, model: keras.Model) -> BaselineEncoder:
        return getattr(model, "encoder", model)

    def takes(self, part: str, directory: Path, model: keras.Model, fits: bool) -> bool:
        return fits

    def read_config(self, directory: str | Path) -> BaselineConfig:
        path, entries, kind = config_path(directory), read_entries(directory), model_type(directory)
        if kind not in TYPES:
            raise InputError(wrong_type(directory, kind, TYPES))
        required = ("vocabulary_size", "embedding_dim")
        fields = read_fields(path, entries, self.fields, required, BaselineConfig)
        return BaselineConfig(architecture=kind.removeprefix(BASELINE_TYPE), **fields)

    def write_config(self, config: BaselineConfig) -> dict:
        entries = {name: getattr(config, field) for field, name in self.fields.items()}
        return {"model_type": BASELINE_TYPE + config.architecture, **entries}


BASELINES = BaselineFamily()


def write_baseline(
    model: keras.Model, directory: str | Path, tokenizer: WordPieceTokenizer,
    labels: Sequence[str] | None = None, settings: dict | None = None,
) -> None:  # fmt: skip
    """Write the files of a `Classifier` on a `BaselineEncoder` into an existing directory.

    Args, errors: as of `write_bert`.
    """
    BASELINES.write(model, directory, tokenizer, label_entries(model, labels), settings)
