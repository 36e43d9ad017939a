"""Generation beside PyTorch `transformers`, KerasHub and CTranslate2: GPT-2 and summaries.

    python -m benchmarks.decoding [--rounds 5] [--threads 2] [--only gpt2 summaries]

In: nothing; checkpoints of transformers with random weights, random ids. `gpt2`: GPT-2, small,
prompts of 32 tokens, 96 new ones, greedy, batches of 1 and 8. `summaries`: a BART of 6 + 6 layers,
384 wide, sources of 128 tokens, 4 beams, 64 new tokens, batches of 1 and 8. Out: tables of new
tokens per second, medians of the rounds by turns (`turns.py`), and a last line of JSON. Weights are
stored in the precision of the products. In float32 every program must give PyTorch's tokens. Ours
is the generation of an export with frozen weights, in a session with TF Serving's options. Exit
status 1 if our best precision is less than the goal times the best of the others.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import turns

PROMPT, NEW, VOCABULARY = 32, 96, 50257
SOURCE, SUMMARY, BEAMS = 128, 64, 4
GOALS = {"gpt2": 1.5, "summaries": 2.0}
# Who: the modules that it needs.
PEERS = {
    "gpt2": {
        "tfmodels": ("tensorflow",),
        "transformers": ("torch", "transformers"),
        "keras_hub": ("keras_hub",),
        "ctranslate2": ("ctranslate2",),
    },
    "summaries": {
        "tfmodels": ("tensorflow",),
        "transformers": ("torch", "transformers"),
        "ctranslate2": ("ctranslate2",),
    },
}
PRECISIONS = ("float32", "bfloat16")


def prompts(batch, length=PROMPT):
    import numpy as np

    return np.random.default_rng(0).integers(3, VOCABULARY, (batch, length)).astype("int32")


def write_checkpoint(folder, work):
    """Write a model of transformers; its biases and scales are no zeros and ones."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    if work == "gpt2":
        model = GPT2LMHeadModel(GPT2Config())
    else:
        width = {
            f"{part}_{name}": value
            for part in ("encoder", "decoder")
            for name, value in (("layers", 6), ("attention_heads", 12), ("ffn_dim", 1536))
        }
        # The last two are read by CTranslate2.
        others = {"forced_eos_token_id": None, "normalize_before": False}
        others["normalize_embedding"] = True
        config = BartConfig(vocab_size=VOCABULARY, d_model=384, **width, **others)
        model = BartForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.05 * torch.randn_like(weight))
    model.save_pretrained(folder)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<|endoftext|>"]
    words = special + [f"w{number}" for number in range(VOCABULARY - len(special))]
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    kind = "GPT2Tokenizer" if work == "gpt2" else "BartTokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))


def session_of(function, model, folder, threads):
    """Return a function as a server runs an export: of ids int32 `[B, P]`, to what it returns."""
    import tensorflow as tf

    from tfmodels.layers import kernels

    module = tf.Module()
    module.model_variables = [weight.value for weight in model.weights]
    with kernels.folding(frozen=True):
        function = tf.function(function, autograph=False).get_concrete_function(
            ids=tf.TensorSpec([None, None], tf.int32, name="ids")
        )
        tf.saved_model.save(module, str(folder), signatures={"ids": function})
    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1
    )
    session = tf.compat.v1.Session(graph=tf.Graph(), config=options)
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    signature = loaded.signature_def["ids"]
    return session.make_callable(signature.outputs["ids"].name, [signature.inputs["ids"].name])


def tfmodels(precision):
    """Return GPT-2's generation with random weights, for `benchmarks.against`."""
    import tensorflow as tf

    from tfmodels.models.gpt import Gpt, GptConfig

    generate = tf.function(gpt2_function(Gpt(GptConfig(), dtype=precision)), autograph=False)
    return lambda batch: generate(prompts(batch))["ids"].numpy()


def gpt2_function(model):
    import tensorflow as tf

    from tfmodels.generation.decoding import generate
    from tfmodels.generation.settings import Generation

    settings = Generation(
        max_new_tokens=NEW, min_new_tokens=NEW, stop_ids=(model.config.vocabulary_size - 1,)
    )

    def function(ids):
        logits, state = model.prompt({"token_ids": ids}, PROMPT + NEW)
        real = tf.ones_like(ids, tf.bool)
        return {"ids": generate(model.step, logits, state, ids, real, settings).token_ids}

    return function


def search_function(model, settings, start_id):
    """Return a function of ids int32 `[B, S]` to what an encoder-decoder writes, a dict."""
    import tensorflow as tf

    from tfmodels.generation.decoding import generate

    def search(ids):
        start = tf.fill([tf.shape(ids)[0], 1], start_id)
        batch = {"token_ids": ids, "decoder_token_ids": start}
        logits, state = model.prompt(batch, 1 + settings.max_new_tokens)
        real = tf.ones_like(start, tf.bool)
        return {"ids": generate(model.step, logits, state, start, real, settings).token_ids}

    return search


def run_tfmodels(folder, work, precision, threads):
    import tensorflow as tf

    from tfmodels.checkpoints.bart import BART
    from tfmodels.checkpoints.gpt2 import GPT2
    from tfmodels.generation.settings import Generation

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, _ = (GPT2 if work == "gpt2" else BART).load(folder, dtype=precision)
    settings = Generation(
        max_new_tokens=SUMMARY, num_beams=BEAMS, min_new_tokens=SUMMARY, stop_ids=(2,), pad_id=1
    )

    function = gpt2_function(model) if work == "gpt2" else search_function(model, settings, 2)
    return session_of(function, model, folder / f"export {precision}", threads)


def run_transformers(folder, work, precision, threads):
    import torch
    from transformers import BartForConditionalGeneration, GPT2LMHeadModel

    torch.set_num_threads(threads)
    kind = GPT2LMHeadModel if work == "gpt2" else BartForConditionalGeneration
    model = kind.from_pretrained(folder, dtype=getattr(torch, precision)).eval()
    new = NEW if work == "gpt2" else SUMMARY
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
    if work == "summaries":
        options["num_beams"] = BEAMS

    def generate(ids):
        ids = torch.tensor(ids).long()
        with torch.inference_mode():
            found = model.generate(
                ids, attention_mask=torch.ones_like(ids), pad_token_id=1, **options
            )
        return found[:, PROMPT if work == "gpt2" else 1 :].numpy()

    return generate


def run_keras_hub(folder, work, precision, threads):
    import keras_hub
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    backbone = keras_hub.models.GPT2Backbone.from_preset(str(folder), dtype=precision)
    model = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
    model.compile(sampler="greedy")

    def generate(given):
        ids = np.zeros((len(given), PROMPT + NEW), "int32")
        ids[:, :PROMPT] = given
        mask = np.broadcast_to(np.arange(PROMPT + NEW) < PROMPT, ids.shape)
        inputs = {"token_ids": ids, "padding_mask": mask}
        return np.asarray(model.generate(inputs, stop_token_ids=None)["token_ids"])[:, PROMPT:]

    return generate


def run_ctranslate2(folder, work, precision, threads):
    import ctranslate2
    import numpy as np

    path = folder / f"ctranslate2 {precision}"
    ctranslate2.converters.TransformersConverter(str(folder)).convert(str(path))
    options = {"compute_type": precision, "inter_threads": 1, "intra_threads": threads}
    words = json.loads((folder / "vocab.json").read_text())
    names = list(words)

    def tokens(ids):
        return [[names[number] for number in row] for row in ids]

    if work == "gpt2":
        generator = ctranslate2.Generator(str(path), **options)

        def generate(ids):
            found = generator.generate_batch(
                tokens(ids), max_length=NEW, min_length=NEW, include_prompt_in_result=False
            )
            return np.array([result.sequences_ids[0] for result in found])

        return generate
    translator = ctranslate2.Translator(str(path), **options)

    def translate(ids):
        found = translator.translate_batch(
            tokens(ids), beam_size=BEAMS, max_decoding_length=SUMMARY, min_decoding_length=SUMMARY
        )
        return np.array([[words[word] for word in result.hypotheses[0]] for result in found])

    return translate


def answers(who, folder, work, precision, threads):
    """Return a function of a batch size: the new tokens per second of one generation."""
    import time

    import numpy as np

    generate = globals()[f"run_{who}"](folder, work, precision, threads)
    new, length = (NEW, PROMPT) if work == "gpt2" else (SUMMARY, SOURCE)

    def answer(question):
        batch = int(question.split()[1])
        start = time.perf_counter()
        found = generate(prompts(batch, length))
        seconds = time.perf_counter() - start
        assert found.shape == (batch, new), found.shape
        expected = np.load(folder / f"{batch}.npy")
        assert precision != "float32" or (found == expected).all(), (who, work, batch)
        return batch * new / seconds

    return answer


def precisions(who):
    """Return what a program computes in; CTranslate2 has no bfloat16 on some processors."""
    if who != "ctranslate2":
        return PRECISIONS
    import ctranslate2

    kinds = ctranslate2.get_supported_compute_types("cpu")
    return ("float32", "bfloat16" if "bfloat16" in kinds else "int8")


def measure(work, rounds, threads):
    """Return the speeds of `turns.rounds`."""
    import numpy as np

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder, work)
        exact = run_transformers(folder, work, "float32", os.cpu_count())
        length = PROMPT if work == "gpt2" else SOURCE
        for batch in (1, 8):
            np.save(folder / f"{batch}.npy", exact(prompts(batch, length)))
        del exact
        found = {batch: {} for batch in ("batch 1", "batch 8")}
        for place in range(2):  # not all at once, for the sake of memory
            processes = {
                f"{who} {precisions(who)[place]}": turns.start(
                    "benchmarks.decoding", "--serve", who, folder, work, precisions(who)[place],
                    "--threads", threads, threads=threads,
                )
                for who, needs in PEERS[work].items() if turns.installed(*needs)
            }  # fmt: skip
            for batch, speeds in turns.rounds(processes, list(found), rounds).items():
                found[batch].update(speeds)
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        who, folder, work, precision = options.serve
        return turns.serve(lambda: answers(who, Path(folder), work, precision, options.threads))
    result = {"machine": turns.machine(options.threads)}
    for work in options.only:
        table = turns.print_table(
            f"{work}, tokens/s", measure(work, options.rounds, options.threads)
        )
        others = [who for who in PEERS[work] if who != "tfmodels"]
        for precision in PRECISIONS:
            # int8 gives other answers: it is in the table, not in the ratio.
            sides = [f"tfmodels {precision}"], [f"{who} {precision}" for who in others]
            found = turns.ratios(table, *sides, smaller_is_better=False)
            table[f"goal, {precision}"] = turns.print_goal(
                f"{work}, {precision}", found, GOALS[work]
            )
        result[work] = table
    print(json.dumps(result))
    held = (result[work][f"goal, {p}"]["reached"] for work in options.only for p in PRECISIONS)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
