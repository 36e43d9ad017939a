"""AdamW and its learning-rate schedules.

In: gradients. Out: updated variables. Loshchilov and Hutter 2019 (arXiv:1711.05101). As BERT is
fine-tuned (Devlin et al. 2018, appendix A.2): linear warm-up, then linear decay to zero; no weight
decay on biases and layer normalizations. As the Transformer was trained (Vaswani et al. 2017,
5.3): linear warm-up, then the inverse square root of the step.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from tfmodels.errors import InputError
from tfmodels.training.losses import labels_of_step

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

# Parts of variable names that are not decayed.
NOT_DECAYED = ("bias", "gamma", "beta")


@keras.saving.register_keras_serializable("tfmodels")
class WarmupLinear(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 up to `peak` over `warmup_steps`, then down to 0 at `total_steps`.

    Args:
        peak: the largest learning rate.
        total_steps: steps of the whole training.
        warmup_steps: steps until the peak; fewer than `total_steps`.

    Raises:
        ValueError: if the steps do not fit each other.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int = 0) -> None:
        super().__init__()
        if not 0 <= warmup_steps < max(total_steps, 1):
            raise ValueError(
                f"warmup_steps must be 0 or more and less than total_steps, got "
                f"warmup_steps={warmup_steps} and total_steps={total_steps}"
            )
        self.peak, self.total_steps, self.warmup_steps = peak, total_steps, warmup_steps

    def __call__(self, step: KerasTensor) -> KerasTensor:
        # The first step is number 0 and must move the weights: it counts as step 1.
        step = ops.cast(step, "float32")
        up = (step + 1.0) / (self.warmup_steps + 1.0)
        down = (self.total_steps - step) / max(self.total_steps - self.warmup_steps, 1)
        return self.peak * ops.maximum(ops.minimum(up, down), 0.0)

    def get_config(self) -> dict:
        return {name: getattr(self, name) for name in ("peak", "total_steps", "warmup_steps")}


@keras.saving.register_keras_serializable("tfmodels")
class WarmupInverseSqrt(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 up to `peak` over `warmup_steps`, then down as the inverse square root of the step.

    Args:
        peak: the largest learning rate. That of Vaswani et al. 2017 is
            `(hidden_dim * warmup_steps) ** -0.5`.
        warmup_steps: steps until the peak, 1 or more.

    Raises:
        ValueError: if there is no warm-up.
    """

    def __init__(self, peak: float, warmup_steps: int) -> None:
        super().__init__()
        if warmup_steps < 1:
            raise ValueError(f"warmup_steps must be 1 or more, got {warmup_steps}")
        self.peak, self.warmup_steps = peak, warmup_steps

    def __call__(self, step: KerasTensor) -> KerasTensor:
        step = ops.cast(step, "float32") + 1.0
        up = step / self.warmup_steps
        return self.peak * ops.minimum(up, ops.sqrt(self.warmup_steps / step))

    def get_config(self) -> dict:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


def make_optimizer(
    total_steps: int, *, learning_rate: float, warmup: float = 0.1, weight_decay: float = 0.01,
    clip_norm: float = 1.0, ema: float = 0.999, schedule: str = "linear", accumulate_steps: int = 1,
    layers: Sequence = (), layer_decay: float = 1.0, float16: bool = False,
) -> keras.optimizers.Optimizer:  # fmt: skip
    """Return the optimizer that a training of so many steps is compiled with.

    Args:
        total_steps: of the whole training.
        learning_rate: maximum learning rate.
        warmup: share of all steps until the maximum.
        weight_decay: `weight_decay` of `AdamW`.
        clip_norm: its `global_clipnorm`.
        ema: its `ema_momentum`; 0: no average.
        accumulate_steps: its `gradient_accumulation_steps`.
        schedule: "linear" or "inverse_sqrt".
        layers: the layers of the encoder, from below; built.
        layer_decay: factor of the learning rate from each of `layers` to the one below.
        float16: whether the loss is scaled.

    Raises:
        InputError: the training ends before the first update.
        ValueError: there is no such schedule.
    """
    updates = total_steps // accumulate_steps
    if not updates:
        raise InputError(
            f"accumulate_steps {accumulate_steps}: the training has {total_steps} steps, so that "
            "nothing would move the weights; give fewer"
        )
    warm = int(warmup * updates)
    if schedule not in ("linear", "inverse_sqrt"):
        raise ValueError(f'schedule must be "linear" or "inverse_sqrt", got {schedule!r}')
    if schedule == "linear":
        rate = WarmupLinear(learning_rate, updates, warm)
    else:
        rate = WarmupInverseSqrt(learning_rate, max(warm, 1))
    optimizer = AdamW(
        rate,
        weight_decay=weight_decay,
        global_clipnorm=clip_norm,
        use_ema=ema > 0,
        ema_momentum=ema or 0.99,  # 0 is refused, and not used
        gradient_accumulation_steps=accumulate_steps if accumulate_steps > 1 else None,
    )
    if layer_decay < 1:
        for below, layer in enumerate(reversed(layers)):
            optimizer.scale_learning_rate(layer.trainable_variables, layer_decay**below)
    return LossScale(optimizer) if float16 else optimizer


@keras.saving.register_keras_serializable("tfmodels")
class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW; on TensorFlow each variable's update is one pass over memory.

    Keras' own update runs about ten kernels a variable, each over all of it, which for
    a small encoder with a large vocabulary takes as long as its gradients. Here both
    moments, clipping, decay and the step are one function compiled by XLA. The numbers
    are Keras' up to rounding, but for two things. Under a `tf.distribute` strategy
    `global_clipnorm` clips the sum of the replicas' gradients, where Keras clips each
    replica's own, so that one device and many give the same weights. And with `use_ema`
    the momentum of the average rises from 0 at step 1, as (t - 1) / (t + 9), up to
    `ema_momentum`, so that a short training does not average in where it started.

    Gradients that are not finite move nothing (`keras.optimizers.AdamW` spoils the weights for
    good); the step is counted.

    With `gradient_accumulation_steps` N every N-th step moves the weights, under every strategy;
    schedule, averages and bias correction count these updates. N batches are one batch of N times
    the size: with `Crossentropy` or `SequenceLoss` alone, each weighs as many labels as it has that
    count; with another loss, or two of these, each of the N weighs the same. A batch whose
    gradients are not finite is left out of the N. On other backends than TensorFlow accumulation
    is Keras' own.

    Args:
        learning_rate: float or schedule.
        weight_decay: decoupled weight decay, times the learning rate; not applied to
            variables with one of `NOT_DECAYED` in their names.
        epsilon: added to the square root of the second moment.
        **kwargs: as `keras.optimizers.AdamW`, but for `amsgrad`.

    Raises:
        ValueError: if `amsgrad` is asked for, or with `gradient_accumulation_steps` something
            that would see parts of the gradient: `clipnorm`, `clipvalue`,
            `ema_overwrite_frequency`.
    """

    def __init__(
        self, learning_rate: Any = 5e-5, weight_decay: float = 0.01, epsilon: float = 1e-6,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay=weight_decay, epsilon=epsilon, **kwargs)
        if self.amsgrad:
            raise ValueError("amsgrad is not supported here; use keras.optimizers.AdamW")
        if self.gradient_accumulation_steps and (
            self.clipnorm or self.clipvalue or (self.use_ema and self.ema_overwrite_frequency)
        ):
            raise ValueError(
                "gradient_accumulation_steps does not go with clipnorm, clipvalue or "
                "ema_overwrite_frequency; use global_clipnorm"
            )
        self.exclude_from_weight_decay(var_names=NOT_DECAYED)
        self._rate_factors: dict[Any, float] = {}

    def scale_learning_rate(self, variables: Iterable, factor: float) -> None:
        """Move some variables slower or faster than the others, decay included.

        As for "discriminative" learning rates, smaller from block to block downwards (Howard and
        Ruder 2018, arXiv:1801.06146, 3.2). Like `exclude_from_weight_decay`, it is
        not part of the config.

        Args:
            variables: of a built model, before the first step.
            factor: of the learning rate, 0 or more.

        Raises:
            ValueError: on another backend than TensorFlow.
        """
        if tf is None:
            raise ValueError("scale_learning_rate needs the TensorFlow backend")
        self._rate_factors |= {self._var_key(variable): factor for variable in variables}

    if tf is not None:

        def apply(self, grads: Iterable, trainable_variables: Iterable | None = None) -> None:
            grads = list(grads)
            # Keras counts the step beside the gradients, not after them: one too many in a pass
            # over a dataset of unknown length, at whose end there are none. One operation waits for
            # all of them: each operation below waiting for each gradient made most of the graph.
            with tf.control_dependencies([tf.group(*(g for g in grads if g is not None))]):
                super().apply(grads, trainable_variables)

        def _apply_weight_decay(self, variables):
            """Nothing: `update_step` decays."""

        def _clip_gradients(self, gradients):
            # By the global norm: later, when the replicas' gradients are summed.
            return gradients if self.global_clipnorm else super()._clip_gradients(gradients)

        def _get_current_learning_rate(self):
            # Keras asks the schedule for the rate of a batch, not for that of an update.
            if self.gradient_accumulation_steps and callable(self._learning_rate):
                return self._learning_rate(self.iterations)
            return super()._get_current_learning_rate()

        def _backend_apply_gradients(self, grads, trainable_variables):
            if not self.gradient_accumulation_steps:
                return super()._backend_apply_gradients(grads, trainable_variables)
            # Keras decides in a conditional whether to update, and replicas cannot meet in one.
            # Here they meet at every step, and `update_step` decides.
            rate = self._get_current_learning_rate()
            return self._backend_update_step(grads, trainable_variables, rate)

        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            variables = [getattr(variable, "value", variable) for variable in trainable_variables]
            reduced = self._all_reduce_sum_gradients(zip(grads, variables, strict=True))
            # A gathered table's gradient is a list of rows, which may name a row twice; its norm
            # is that of the sums.
            reduced = [(tf.convert_to_tensor(gradient), v) for gradient, v in reduced]
            scale, labels = tf.constant(1.0), None
            if self.gradient_accumulation_steps:
                reduced, labels = self._with_those_before(reduced)
                scale = tf.math.divide_no_nan(scale, labels)
                labels = tf.where(self._moves_the_weights(), 0.0, labels)
            norm = tf.linalg.global_norm([gradient for gradient, _ in reduced])
            norm = tf.cast(norm, tf.float32) * scale
            if self.global_clipnorm:
                scale *= self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)
            # 0 where a gradient is not finite: the step changes nothing.
            scale = tf.where(tf.math.is_finite(norm), scale, 0.0)
            tf.__internal__.distribute.interim.maybe_merge_call(
                self._update_all,
                self._distribution_strategy,
                reduced,
                self._numbers(tf.cast(learning_rate, tf.float32), scale),
                labels,
            )

        def _numbers(self, learning_rate, scale):
            """Return what `_adamw` computes with beside the variables: with decay, and without.

            Once a step, and not once a variable, which made half of the operations of a step.
            """
            step = tf.cast(self.iterations + 1, tf.float32)
            bias_correction = tf.sqrt(1.0 - tf.pow(self.beta_2, step)) / (
                1.0 - tf.pow(self.beta_1, step)
            )
            # 0 without `use_ema`
            momentum = tf.minimum(self.ema_momentum or 0.0, (step - 1.0) / (step + 9.0))
            betas = [tf.constant(self.beta_1), tf.constant(self.beta_2), tf.constant(self.epsilon)]
            return tuple(
                tf.stack([
                    learning_rate * bias_correction, learning_rate * (decay or 0.0), *betas, scale,
                    momentum,
                ])
                for decay in (self.weight_decay, 0.0)
            )  # fmt: skip

        def _with_those_before(self, reduced):
            """Return the sums of a group's gradients up to this step, and of their labels."""
            number = labels_of_step()
            number = tf.constant(1.0) if number is None else tf.cast(number, tf.float32)
            norm = tf.linalg.global_norm([gradient for gradient, _ in reduced])
            finite = tf.math.is_finite(norm)

            def added(gradient, variable):
                gradient = tf.cast(gradient, variable.dtype) * tf.cast(number, variable.dtype)
                total = self._gradient_sum(variable)
                return tf.where(finite, total + gradient, total), variable

            labels = self._labels_so_far.value + tf.where(finite, number, 0.0)
            return [added(*pair) for pair in reduced], labels

        def _update_all(self, strategy, reduced, learning_rate, labels):
            self._distributed_tf_update_step(strategy, reduced, learning_rate)
            if labels is not None:
                so_far = self._labels_so_far.value
                strategy.extended.update(so_far, lambda v, n: v.assign(n), args=(labels,))

        def _moves_the_weights(self):
            return (self._iterations.value + 1) % self.gradient_accumulation_steps == 0

        def build(self, variables: Iterable) -> None:
            if self.built:
                return
            super().build(variables)
            if self.gradient_accumulation_steps:
                self._labels_so_far = self.add_variable((), dtype="float32", name="labels_so_far")
            if self.use_ema:
                # Not zeros, as Keras starts them: a weight that gets no gradient keeps its value.
                for variable, average in zip(
                    variables, self._model_variables_moving_average, strict=True
                ):
                    average.assign(variable)

        def _update_model_variables_moving_average(self, trainable_variables):
            """Nothing: `update_step` averages."""

        def _gradient_sum(self, variable):
            return self._accumulated_gradients[self._get_variable_index(variable)].value

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
            if not self.gradient_accumulation_steps:
                return self._update(gradient, variable, learning_rate)
            total = self._gradient_sum(variable)

            def update():
                self._update(gradient, variable, learning_rate)
                total.assign(tf.zeros_like(gradient))
                return tf.constant(True)

            def wait():
                total.assign(gradient)
                return tf.constant(False)

            return tf.cond(self._moves_the_weights(), update, wait)

        def _update(self, gradient, variable, numbers):
            factor = self._rate_factors.get(self._var_key(variable), 1.0)
            numbers = numbers[0 if self._use_weight_decay(variable) else 1]
            if factor != 1:
                numbers *= tf.constant([factor, factor, 1.0, 1.0, 1.0, 1.0, 1.0])
            index = self._get_variable_index(variable)
            state = [self._momentums[index].value, self._velocities[index].value]
            if self.use_ema:
                state.append(self._model_variables_moving_average[index].value)
            variables = [variable, *state]
            if tf.distribute.has_strategy():
                updated = _updated(gradient, [tf.identity(v) for v in variables], numbers)
                for target, value in zip(variables, updated, strict=True):
                    target.assign(value)
            else:
                update = _update_in_place(variable.dtype, len(variables))
                update(tf.cast(gradient, variable.dtype), [v.handle for v in variables], numbers)


@keras.saving.register_keras_serializable("tfmodels")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' loss scaling for float16, where all replicas scale alike; around an `AdamW`.

    Keras looks at the gradients of one replica and updates in a conditional, which others whose
    gradients did not overflow enter without it. Here the scale is halved where those of any
    replica overflow, and it is `AdamW` that then moves nothing (and counts the step).

    Args:
        inner_optimizer: `AdamW`.
        **kwargs: as `keras.optimizers.LossScaleOptimizer`.

    Raises:
        ValueError: if it is another optimizer.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        if not isinstance(inner_optimizer, AdamW):
            raise ValueError(
                f"LossScale needs an AdamW of tfmodels, got {type(inner_optimizer).__name__}"
            )
        super().__init__(inner_optimizer, **kwargs)

    def _tf_apply(self, grads, trainable_variables=None):
        scale, counter = (v.value for v in (self.dynamic_scale, self.step_counter))
        grads = [
            gradient if gradient is None else tf.convert_to_tensor(gradient) for gradient in grads
        ]
        overflows = 1.0 - tf.cast(self.check_finite(grads), tf.float32)
        replicas = tf.distribute.get_replica_context()
        if replicas.num_replicas_in_sync > 1:
            overflows = replicas.all_reduce(tf.distribute.ReduceOp.SUM, overflows)
        before = tf.identity(scale)
        self.inner_optimizer.apply(
            [g if g is None else g / tf.cast(before, g.dtype) for g in grads], trainable_variables
        )
        grown = tf.equal(counter, self.dynamic_growth_steps - 1)
        factor = tf.where(overflows > 0, 0.5, tf.where(grown, 2.0, 1.0))
        following = tf.where((overflows > 0) | grown, tf.zeros_like(counter), counter + 1)
        scale.assign(before * factor)
        counter.assign(following)


if tf is not None:
    # Few functions for all optimizers and shapes, each compiled once a shape. One of an optimizer's
    # own, or one that is given variables, would keep the graphs of every model that was ever
    # trained; and of each compiled function in a graph TensorFlow keeps a copy.

    def _adamw(gradient, values, numbers):
        dtype = values[0].dtype
        gradient, *before = (tf.cast(value, tf.float32) for value in (gradient, *values))
        weight, first, second, *average = before
        rate, decay, beta_1, beta_2, epsilon, scale, momentum = tf.unstack(numbers, 7)
        gradient = gradient * scale
        first = first + (gradient - first) * (1.0 - beta_1)
        second = second + (tf.square(gradient) - second) * (1.0 - beta_2)
        weight = weight * (1.0 - decay) - rate * first / (tf.sqrt(second) + epsilon)
        average = [a + (weight - a) * (1.0 - momentum) for a in average]
        after = (weight, first, second, *average)
        after = [tf.where(scale > 0, a, b) for a, b in zip(after, before, strict=True)]
        return [tf.cast(value, dtype) for value in after]

    _updated = tf.function(_adamw, jit_compile=True, reduce_retracing=True, autograph=False)

    @functools.cache
    def _update_in_place(dtype, handles):
        """Return the function that updates variables of a dtype, of any shape.

        Args:
            dtype: of the gradient and the variables.
            handles: number of variables.
        """
        handle, numbers = tf.TensorSpec([], tf.resource), tf.TensorSpec([7], tf.float32)
        specs = [tf.TensorSpec(None, dtype), [handle] * handles, numbers]

        @tf.function(input_signature=specs, jit_compile=True, autograph=False)
        def update(gradient, handles, numbers):
            values = [tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype) for handle in handles]
            for handle, value in zip(handles, _adamw(gradient, values, numbers), strict=True):
                tf.raw_ops.AssignVariableOp(resource=handle, value=value)

        return update
