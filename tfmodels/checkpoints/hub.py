"""KerasHub's encoders, in and out: a preset, and a head of ours beside it.

In: a preset of one of `preset_config.ENCODERS`, or a Hugging Face directory that KerasHub converts.
Out: a built `HubEncoder`, or a model with a head on one, and a `LoadReport`; or, the other way, a
preset that KerasHub loads, with the head in a file of its own. So what a task has saved is a preset
for both packages.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfmodels.checkpoints.bert import BERT, CRF, HEAD, POOLER, SPANS, head_kind, label_entries
from tfmodels.checkpoints.family import Family, Weight, check_only, named
from tfmodels.checkpoints.files import (
    SETTINGS,
    config_path,
    is_preset,
    read_entries,
    write_tensors,
    wrong_type,
)
from tfmodels.checkpoints.preset_config import CONVERTED, ENCODERS
from tfmodels.checkpoints.preset_tokenizers import FOLD
from tfmodels.checkpoints.presets import (
    HEAD_FILE,
    PresetTensors,
    add_fields,
    load_backbone,
    write_preset,
)
from tfmodels.checkpoints.tokenizers import read_tokenizer
from tfmodels.errors import InputError
from tfmodels.models.hub import HubConfig, HubEncoder

TYPES = (*ENCODERS, *CONVERTED)  # `model_type` of what is read here


class HubFamily(Family):
    """See `Family`; tensors have the paths and shapes of KerasHub's variables."""

    name, model_class = "KerasHub encoder", HubEncoder
    unseen = ("backbone", "arguments")
    heads = {POOLER: "pooler.dense", "classifier": "head.logits", "crf": "crf",
             "qa_outputs": "span_head.logits"}  # fmt: skip
    optional = (POOLER, HEAD, CRF, SPANS)
    transposed = False

    def is_ignored(self, name: str) -> bool:
        return name.startswith(self.optional)

    def backbone(self, model: keras.Model) -> HubEncoder:
        return getattr(model, "encoder", model)

    def weights(self, model: keras.Model) -> dict[str, Weight]:
        variables = self.backbone(model).backbone.weights
        return {weight.path: Weight(weight) for weight in variables} | named(model, self.heads)

    def open(self, directory: Path) -> PresetTensors:
        return PresetTensors(directory, self)

    def takes(self, part: str, directory: Path, model: keras.Model, fits: bool) -> bool:
        return BERT.takes(part, directory, model, fits)

    def read_config(self, directory: str | Path) -> HubConfig:
        directory = Path(directory)
        path, entries = config_path(directory), read_entries(directory)
        name, arguments = entries.get("model_type"), entries.get("backbone", {})
        if not is_preset(directory) and name in CONVERTED:
            name, only = CONVERTED[name]
            check_only(path, entries, only)
            made = load_backbone(directory, weights=False).get_config()
            arguments = {argument: made[argument] for argument in ENCODERS[name]}
        if name not in ENCODERS:
            raise InputError(wrong_type(directory, name, TYPES))
        arguments = dict(arguments)
        dropout = arguments.pop("dropout")
        # The only one that reads padding.
        pad_id = read_tokenizer(directory).pad_id if name == "FNetBackbone" else 0
        return HubConfig(backbone=name, arguments=arguments, dropout=dropout, pad_id=pad_id)


HUB = HubFamily()


def write_hub(
    model: keras.Model, directory: str | Path, tokenizer: Any, labels: Sequence[str] | None = None,
    settings: dict | None = None,
) -> None:  # fmt: skip
    """Write a model on a `HubEncoder` into an existing directory.

    KerasHub loads the encoder and the tokenizer from it as from any preset.

    Args, errors: as of `write_bert`, and as of `write_preset`.
    """
    directory = Path(directory)
    write_preset(model, directory, tokenizer)
    inner = getattr(tokenizer, "inner", None)
    further: dict = {FOLD: True} if getattr(inner, "fold", False) else {}
    if kind := head_kind(model):
        further |= label_entries(model, labels)
        settings = {**(settings or {}), "pooling": kind}
    add_fields(directory, further | ({SETTINGS: settings} if settings else {}))
    head = {name: weight.read() for name, weight in named(model, HUB.heads).items()}
    if head:
        write_tensors(directory / HEAD_FILE, head)
