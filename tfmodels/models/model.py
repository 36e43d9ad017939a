"""`Model`: `keras.Model`, mended where it does not train under `tf.distribute`.

The base of every model here. In and out: what `keras.Model` takes and gives.
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
