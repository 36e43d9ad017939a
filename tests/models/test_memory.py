"""What a process keeps of models that are gone: nothing."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[2]
LOOP = """
import gc
import keras, numpy as np
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier
from tfmodels.training.losses import Crossentropy
from tfmodels.training.optimizer import AdamW

sizes = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "feedforward_dim": 64}
for number in range(20):
    model = Classifier(Bert(BertConfig(vocabulary_size=50, max_length=16, **sizes)), num_classes=2)
    model.compile(AdamW(1e-3), Crossentropy())
    model.fit({"token_ids": np.ones((4, 8), "int32")}, np.arange(4) % 2, verbose=0)
    del model
    keras.backend.clear_session()
    gc.collect()
    lines = open("/proc/self/status").read().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmRSS")))
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's graphs")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux")
def test_models_in_a_loop():
    # What the arenas of many threads leave free between their blocks varies from run to run.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", LOOP]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    kilobytes = [int(line) for line in done.stdout.split()]
    assert len(kilobytes) == 20
    assert kilobytes[-1] - kilobytes[2] < 20 * 1024
