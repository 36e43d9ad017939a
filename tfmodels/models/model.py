"""`Model`: `keras.Model`, mended where it does not train under `tf.distribute`.

The base of every model here; `ConfigModel`, that of what a config describes, and `EncoderModel`,
that of the heads on an encoder. In and out: what `keras.Model` takes and gives.
"""

import dataclasses

import keras
from keras import tree

from tfmodels.errors import InputError
from tfmodels.models import workers


class Model(keras.Model):
    """A `keras.Model` that trains under every `tf.distribute` strategy.

    To find the shapes of a batch, Keras 3.15 takes the first one from the dataset and adds
    up its parts on all replicas, which TensorFlow refuses for bool, and which several workers
    do not understand. The dataset knows the shapes, and no batch is lost. The rest of what
    Keras gets wrong on several workers stands in `workers`.
    """

    @property
    def distribute_strategy(self):
        return workers.for_trainer(super().distribute_strategy)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None and self._distribute_strategy is not None:
            spec = iterator.data_adapter.get_tf_dataset().element_spec
            if not all(hasattr(leaf, "shape") for leaf in tree.flatten(spec)):
                raise InputError("distributed data: give the dataset itself, fit distributes it")
            iterator, data_batch = None, spec
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)


class ConfigModel(Model):
    """A model that a frozen dataclass of numbers describes whole, and is saved as.

    Args:
        config: of the type `config_type`, a class attribute.
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        self.config = config

    def get_config(self):
        config = {"config": dataclasses.asdict(self.config), "name": self.name}
        return {**config, "dtype": keras.dtype_policies.serialize(self.dtype_policy)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": cls.config_type(**config["config"])})


def shape_of_size(size, sizes):
    """The number of layers and the widths of a published size.

    Args:
        size: str.
        sizes: dict from size to `(layers, hidden_dim)`.

    Returns:
        pair of the layers and a dict of `hidden_dim`, `num_heads` (of 64 each) and
        `feedforward_dim`.

    Raises:
        ValueError: if there is no such size.
    """
    if size not in sizes:
        raise ValueError(f"size must be one of {', '.join(sizes)}, got {size!r}")
    layers, width = sizes[size]
    return layers, {
        "hidden_dim": width,
        "num_heads": width // 64,
        "feedforward_dim": 4 * width,
    }


class EncoderModel(Model):
    """A model that stands on an encoder: of its dtype policy, and saved with it.

    Args:
        encoder: a model with a `config`, for example `Bert`. It may be built already, with
            weights from a checkpoint.
    """

    def __init__(self, encoder, **kwargs):
        kwargs.setdefault("dtype", encoder.dtype_policy)
        super().__init__(**kwargs)
        self.encoder = encoder

    def build(self, batch_shape=None):
        if not self.encoder.built:
            self.encoder.build()

    def get_config(self):
        return {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config):
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**{**config, "encoder": encoder})
