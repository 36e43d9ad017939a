"""A text classifier as signatures: strings in, labels and probabilities out.

In: a `Classifier`, its tokenizer and labels. Out: what `saved_model.save` writes. The
tokenizer, the model and the labels are all inside the graph.
"""

import tensorflow as tf

from tfmodels.serving.saved_model import BATCH, TEXT, longest_text, save
from tfmodels.text.batching import encode


def classification_signatures(model, tokenizer, labels, max_length=None):
    """The signatures of a classifier.

    Args:
        model: a `Classifier`.
        tokenizer: a `WordPieceTokenizer`.
        labels: C strings, in the order of the model's classes.
        max_length: most tokens of a text; what is beyond is cut. As many as the model has
            positions for if not given.

    Returns:
        dict from signature name to `(function, specs)`, see `saved_model.save`:
        `serving_default` on `text` string `[B]`; `token_ids` on `token_ids`,
        `segment_ids` int32 `[B, S]` and `padding_mask` bool `[B, S]`. Both give `label`
        string `[B]` and `probabilities` float32 `[B, C]`.

    Raises:
        InputError: the model has fewer positions than `max_length`.
    """
    max_length = longest_text(model, max_length)
    labels = tf.constant(list(labels))

    def classify(batch):
        probabilities = tf.nn.softmax(model(batch, training=False))  # [B, C]
        label = tf.gather(labels, tf.argmax(probabilities, -1))
        return {"label": label, "probabilities": probabilities}

    def from_text(text):
        return classify(encode(tokenizer, text, max_length))

    def from_ids(**batch):
        return classify(batch)

    return {"serving_default": (from_text, TEXT), "token_ids": (from_ids, BATCH)}


def export_classifier(root, model, tokenizer, labels, max_length=None, **saving):
    """Writes a classifier as the next version of a SavedModel.

    Args:
        root: directory that holds the versions, for example `saved_models/sentiment`.
        model, tokenizer, labels, max_length: see `classification_signatures`.
        **saving: `card` and `frozen`, see `saved_model.save`.

    Returns:
        `Path` of the new version.

    Raises:
        InputError: if the directory cannot be written.
    """
    signatures = classification_signatures(model, tokenizer, labels, max_length)
    return save(root, signatures, model, task="sentiment", **saving)
