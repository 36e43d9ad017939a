"""The forward pass of exported classifiers beside the engines that serve them elsewhere.

    python -m benchmarks.exports [--sizes minilm base] [--rounds 5] [--threads 2] [--nodes]

In: nothing; a `BertForSequenceClassification` of transformers with random weights, random ids.
Out: a table of milliseconds by batch and length, medians of the rounds, and a last line of JSON.
Ours are exports as TF Serving runs them: a session with the options that its flags set, by default
or, where it says one thread, as in `deploy/`. The peers
are PyTorch with weights in bfloat16, ONNX Runtime in float32 and int8, and OpenVINO in float32 and
bfloat16; whichever is installed takes part (`pip install '.[peers,engines]'`). Each has a process
of its own, which stays; they take turns, so all see the same machine. Before it is timed, each must
give the probabilities of PyTorch in float32, to 1e-5 in float32. `--nodes` prints the operations
of the optimized graphs of our exports instead.
"""

import argparse
import collections
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.special import softmax

from benchmarks import turns
from benchmarks.speed import SHAPES

BATCHES = ((1, 16), (1, 128), (8, 32), (32, 32), (16, 128))
VOCABULARY = 30522
SECONDS = 0.4  # of passes in one turn
# Name: (module that it needs, largest difference of a probability).
RUNNERS = {
    "tfmodels float32": ("tensorflow", 1e-5),
    "tfmodels float32 frozen": ("tensorflow", 1e-5),
    "tfmodels bfloat16": ("tensorflow", 0.02),
    "tfmodels bfloat16 frozen": ("tensorflow", 0.02),
    "tfmodels bfloat16 frozen, one thread": ("tensorflow", 0.02),
    "torch bfloat16": ("torch", 0.02),
    "onnxruntime float32": ("onnxruntime", 1e-5),
    "onnxruntime int8": ("onnxruntime", 0.1),
    "openvino float32": ("openvino", 1e-5),
    "openvino bfloat16": ("openvino", 0.02),
}


def batch_of(batch, length):
    """Return ids and mask; the last row of a batch is a little shorter."""
    numbers = np.random.default_rng(batch + length)
    ids = numbers.integers(1000, VOCABULARY, (batch, length)).astype("int32")
    mask = np.ones_like(ids, bool)
    if batch > 1:
        mask[-1, -3:] = False
    return ids, mask


def write_models(folder, size, names):
    """Write the checkpoint, our exports, the ONNX files and what PyTorch answers in float32."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from tfmodels.tasks.text_classifier import TextClassifier

    layers, hidden, heads, feedforward = SHAPES[size]
    torch.manual_seed(0)
    labels = {0: "negative", 1: "positive"}
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY, num_hidden_layers=layers, hidden_size=hidden, id2label=labels,
            num_attention_heads=heads, intermediate_size=feedforward, initializer_range=0.05,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():  # zeros and ones would be folded away
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.05 * torch.randn_like(weight))
    model.save_pretrained(folder / "model")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = special + [f"w{number}" for number in range(VOCABULARY - len(special))]
    (folder / "model" / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "model" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )
    forms = {name.removeprefix("tfmodels ").split(",")[0] for name in names if "tfmodels" in name}
    for form in sorted(forms):
        precision, _, frozen = form.partition(" ")
        task = TextClassifier.load(folder / "model", dtype=precision)
        task.export(folder / form, frozen=bool(frozen))
    if importlib.util.find_spec("onnxruntime"):
        _write_onnx(model, folder)
    expect = run_torch(folder, "float32", os.cpu_count())
    for shape in BATCHES:
        np.save(folder / f"{shape[0]}x{shape[1]}.npy", expect(*batch_of(*shape)))
    print(json.dumps("written"))


def _write_onnx(model, folder):
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids, mask):
            return self.model(input_ids=ids, attention_mask=mask).logits

    ids, mask = (torch.from_numpy(x.astype("int64")) for x in batch_of(2, 16))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    program = torch.onnx.export(
        Plain(), (ids, mask), input_names=["ids", "mask"], output_names=["logits"],
        dynamic_shapes=(axes, axes), dynamo=True,
    )  # fmt: skip
    program.save(folder / "float32.onnx")
    quantize_dynamic(folder / "float32.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8)


def run_tfmodels(folder, precision, threads):
    """Return a function of a batch: a session as TF Serving has one."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers its operations

    precision, _, one_thread = precision.partition(", ")
    threads, inter = (1, -1) if one_thread else (threads, 0)
    (version,) = (folder / precision).iterdir()
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=inter
    )
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
    signature = loaded.signature_def["token_ids"]
    names = ("token_ids", "padding_mask", "segment_ids")
    feeds = [signature.inputs[name].name for name in names]
    answer = session.make_callable(signature.outputs["probabilities"].name, feeds)
    return lambda ids, mask: answer(ids, mask, np.zeros_like(ids))


def run_torch(folder, precision, threads):
    import torch
    from transformers import BertForSequenceClassification

    torch.set_num_threads(threads)
    dtype = getattr(torch, precision)
    model = BertForSequenceClassification.from_pretrained(folder / "model", dtype=dtype).eval()

    def answer(ids, mask):
        with torch.inference_mode():
            inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            return model(**inputs).logits.float().softmax(-1).numpy()

    return answer


def run_onnxruntime(folder, precision, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        folder / f"{precision}.onnx", options, providers=["CPUExecutionProvider"]
    )

    def answer(ids, mask):
        inputs = {"ids": ids.astype("int64"), "mask": mask.astype("int64")}
        return softmax(session.run(None, inputs)[0], -1)

    return answer


def run_openvino(folder, precision, threads):
    import openvino

    kind = {"float32": "f32", "bfloat16": "bf16"}[precision]
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    options["INFERENCE_PRECISION_HINT"] = kind
    model = openvino.Core().compile_model(folder / "float32.onnx", "CPU", options)
    request = model.create_infer_request()

    def answer(ids, mask):
        inputs = {"ids": ids.astype("int64"), "mask": mask.astype("int64")}
        return softmax(request.infer(inputs)["logits"], -1)

    return answer


def answers(name, folder, threads):
    """Return a function of a question such as "8x32": the median milliseconds of a pass."""
    who, precision = name.split(" ", 1)
    answer = globals()[f"run_{who}"](folder, precision, threads)

    def milliseconds(question):
        shape = tuple(map(int, question.split("x")))
        ids, mask = batch_of(*shape)
        found = np.asarray(answer(ids, mask), "float32")
        difference = float(np.abs(found - np.load(folder / f"{question}.npy")).max())
        assert difference <= RUNNERS[name][1], (name, shape, difference)
        return turns.milliseconds(lambda: answer(ids, mask), seconds=SECONDS)

    return milliseconds


def optimized_nodes(folder, precision):
    """Return how many nodes of each operation the optimized graph of an export has."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers its operations

    session = tf.compat.v1.Session(graph=tf.Graph())
    (version,) = (folder / precision).iterdir()
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
    signature = loaded.signature_def["token_ids"]
    ids, mask = batch_of(8, 32)
    feeds = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
    feeds = {signature.inputs[name].name: value for name, value in feeds.items()}
    metadata = tf.compat.v1.RunMetadata()
    session.run(
        signature.outputs["probabilities"].name, feeds, run_metadata=metadata,
        options=tf.compat.v1.RunOptions(output_partition_graphs=True),
    )  # fmt: skip
    nodes = collections.Counter()
    for graph in metadata.partition_graphs:
        nodes.update(node.op for node in graph.node)
    return dict(nodes.most_common())


def measure(folder, rounds, threads, names):
    """Return milliseconds of each round by shape and runner."""
    processes = {
        name: turns.start(
            "benchmarks.exports", "--serve", name, folder, "--threads", threads, threads=threads
        )
        for name in names
    }
    return turns.rounds(processes, [f"{b}x{n}" for b, n in BATCHES], rounds)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["minilm"], choices=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names of runners")
    parser.add_argument("--nodes", action="store_true")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        folder, size, *names = options.write
        return write_models(Path(folder), size, names)
    if options.serve:
        name, folder = options.serve
        return turns.serve(lambda: answers(name, Path(folder), options.threads))
    names = [
        name
        for name, (module, _) in RUNNERS.items()
        if turns.installed(module) and any(part in name for part in options.only)
    ]
    result: dict = {} if options.nodes else {"machine": turns.machine(options.threads)}
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # In a process of its own, whose memory is free again when the others are measured.
            turns.run_once("benchmarks.exports", "--write", folder, size, *names)
            if options.nodes:
                for precision in ("float32", "bfloat16", "bfloat16 frozen"):
                    nodes = optimized_nodes(folder, precision)
                    print(json.dumps({"size": size, "export": precision,
                                      "total": sum(nodes.values()), "nodes": nodes}))  # fmt: skip
                continue
            found = measure(folder, options.rounds, options.threads, names)
        table = turns.print_table(f"{size}, ms", found)
        goals = {
            "torch bfloat16": (1.0, found),
            "openvino bfloat16": (1 / 1.3, ("8x32", "32x32", "16x128")),
        }
        for peer, (goal, shapes) in goals.items():
            ratios = turns.ratios(table, ["tfmodels bfloat16"], [peer])
            ratios = {shape: ratio for shape, ratio in ratios.items() if shape in shapes}
            table[peer + ", goal"] = turns.print_goal(f"{size}, {peer}", ratios, round(goal, 2))
        result[size] = table
    print(json.dumps(result))
    return None


if __name__ == "__main__":
    sys.exit(main())
