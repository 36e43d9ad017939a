"""What is particular to `Bert`, its config and the classifier that wraps it."""

import doctest

import numpy as np
from keras import ops

from tests.models.test_contract import BATCH, CASES
from tfmodels.models import bert
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier


def test_parameters_of_bert_base():
    """Devlin et al. 2018: 110 M; without the pooler 108.9 M. Counted by hand:

    embeddings (30522 + 512 + 2) x 768 + 2 x 768            =  23,837,184
    a layer 4 x (768 x 768 + 768) + (768 x 3072 + 3072)
            + (3072 x 768 + 768) + 4 x 768                  =   7,087,872
    """
    one_layer = Bert(BertConfig(num_layers=1))
    assert one_layer.count_params() == 23_837_184 + 7_087_872


def test_example_of_the_docstring():
    assert doctest.testmod(bert, extraglobs={"np": np}) == (0, 3)


def test_classifier_keeps_the_weights_of_its_encoder():
    """The encoder of a fine-tuning comes built, with weights from a checkpoint."""
    case = CASES["bert"]
    encoder = case.made()
    states = case.run(encoder)
    classifier = Classifier(encoder, num_classes=3, pooling="mean")
    logits = classifier(BATCH)
    np.testing.assert_array_equal(case.run(classifier.encoder), states)
    real = BATCH["padding_mask"][..., None]
    pooled = (states * real).sum(1) / real.sum(1)
    kernel, bias = classifier.head.get_weights()
    np.testing.assert_allclose(ops.convert_to_numpy(logits), pooled @ kernel + bias, atol=1e-5)


def test_classifier_computes_like_its_encoder():
    classifier = CASES["classifier_first"].make(dtype="mixed_bfloat16")
    assert classifier.dtype_policy.name == "mixed_bfloat16"
    assert classifier.pooler.compute_dtype == "bfloat16"
    assert classifier(BATCH).dtype == "float32"
