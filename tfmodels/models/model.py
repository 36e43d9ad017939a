"""`Model`: `keras.Model`, mended where it does not train under `tf.distribute`.

The base of every model here, and `EncoderModel`, that of the heads on an encoder. In and out:
what `keras.Model` takes and gives.
"""

import keras
from keras import tree


class Model(keras.Model):
    """A `keras.Model` whose `fit` takes bool masks under a `tf.distribute` strategy.

    To find the shapes of a batch, Keras 3.15 takes the first one from the dataset and adds
    up its parts on all replicas, which TensorFlow refuses for bool. The dataset knows the
    shapes, and no batch is lost.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None and self._distribute_strategy is not None:
            spec = iterator.data_adapter.get_tf_dataset().element_spec
            # A dataset that the caller has distributed already has specs of another kind.
            if all(hasattr(leaf, "shape") for leaf in tree.flatten(spec)):
                iterator, data_batch = None, spec
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)


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
