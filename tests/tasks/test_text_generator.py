"""An exported GPT: continuations in a process without any of our code."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from applications.__main__ import main
from tests.applications.conftest import documents, gpt_dir  # noqa: F401 - fixtures
from tests.applications.verbs import printed
from tests.serving.fresh import ask
from tfmodels.errors import InputError
from tfmodels.generation.settings import Generation
from tfmodels.serving.client import Client
from tfmodels.serving.server import Server
from tfmodels.tasks.text_generator import TextGenerator

PROMPTS = ["the old king", "", "my sister saw the moon.\nthe captain", "a", "every child painted",
           "her friend sold two", "<|endoftext|>the", "每个孩子 😀"]  # fmt: skip
NEW = 12
ROW = {"max_new_tokens": NEW, "temperature": 0.9, "top_k": 20, "top_p": 0.95, "seed": 7}
TYPES = {"max_new_tokens": "int32", "temperature": "float32", "top_k": "int32",
         "top_p": "float32", "seed": "int32"}  # fmt: skip


def request(prompts, **rows):
    """A call of `generate`, with the same settings or with lists of them."""
    inputs = {"prompt": ("string", prompts)}
    for name, value in {**ROW, **rows}.items():
        values = value if isinstance(value, list) else [value] * len(prompts)
        inputs[name] = (TYPES[name], values)
    return ("generate", inputs)


@pytest.fixture(scope="module")
def root(gpt_dir, tmp_path_factory):  # noqa: F811
    root = tmp_path_factory.mktemp("served") / "gpt"
    arguments = ["--model_dir", str(gpt_dir), "--export_dir", str(root)]
    assert main(["gpt", "export", *arguments, "--max_new_tokens", str(NEW)]) == 0
    return root / "1"


@pytest.fixture(scope="module")
def loaded(root):
    return tf.saved_model.load(str(root))


@pytest.fixture(scope="module")
def served(root, gpt_dir):  # noqa: F811
    """What a fresh process says."""
    tokenizer = tfmodels.load(gpt_dir).tokenizer
    ids = tokenizer.tokenize([PROMPTS[0]]).to_list()
    signatures, answers = ask(
        root,
        ("serving_default", {"prompt": ("string", PROMPTS)}),
        request(PROMPTS),
        request(PROMPTS[:2] * 2, seed=[7, 7, 8, 7], max_new_tokens=[12, 3, 12, 12]),
        ("token_ids", {"token_ids": ("int32", ids), "padding_mask": ("bool", [[True] * len(i)
                                                                              for i in ids])}),
        ("serving_default", {"prompt": ("string", [])}),
    )  # fmt: skip
    return signatures, answers


def test_signatures(served):
    assert served[0] == {
        "serving_default": ["prompt"],
        "generate": sorted(["prompt", *TYPES]),
        "stream": sorted(["prompt", *TYPES, "token_ids", "mask"]),
        "token_ids": ["padding_mask", "token_ids"],
    }


def test_greedy_as_predict(served, gpt_dir, capsys):  # noqa: F811
    flags = ["--model_dir", gpt_dir, "--max_new_tokens", NEW]
    found = printed(capsys, "gpt", "predict", *flags, *PROMPTS)
    assert served[1][0] == {"text": [row["text"] for row in found]}


def test_sampled_as_predict(served, gpt_dir, capsys):  # noqa: F811
    rows = [f"--{name}={value}" for name, value in ROW.items()]
    flags = ["--model_dir", gpt_dir, "--sample", "true", *rows]
    found = printed(capsys, "gpt", "predict", *flags, *PROMPTS)
    assert served[1][1] == {"text": [row["text"] for row in found]}


def test_settings_of_each_row(served):
    everything, rows = served[1][1]["text"], served[1][2]["text"]
    assert rows[0] == everything[0] and rows[3] == everything[1]
    assert rows[2] != rows[0]
    assert everything[1].startswith(rows[1].rstrip("\ufffd")) and rows[1] != everything[1]


def test_ids(served, gpt_dir):  # noqa: F811
    tokenizer = tfmodels.load(gpt_dir).tokenizer
    answer = served[1][3]
    ids = np.array(answer["token_ids"])[np.array(answer["mask"])]
    text = tokenizer.detokenize([ids]).numpy()[0].decode("utf-8", "replace")
    assert text == served[1][0]["text"][0]


def test_no_prompts(served):
    assert served[1][4] == {"text": []}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"max_new_tokens": 0}, "max_new_tokens: give 1 to 12"),
        ({"max_new_tokens": NEW + 1}, "max_new_tokens: give 1 to 12"),
    ],
)
def test_refused_requests(loaded, rows, said):
    _, inputs = request(["x"], **rows)
    inputs = {name: tf.constant(value, dtype) for name, (dtype, value) in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        loaded.signatures["generate"](**inputs)


def test_prompt_too_long(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError, match="a prompt is too long"):
        loaded.signatures["serving_default"](prompt=tf.constant(["moon " * 100]))


def test_stop_strings_and_what_comes_after_a_prompt(gpt_dir):  # noqa: F811
    task = tfmodels.load(gpt_dir)
    model, tokenizer = task.model, task.tokenizer
    generation = Generation(max_new_tokens=20)
    whole = TextGenerator(model, tokenizer, generation)

    def text(generator, prompt):
        found = generator(generator.prompts([prompt]))
        return generator.text(found.token_ids, found.mask)[0].numpy().decode(), found.mask

    long, _ = text(whole, "the old king")
    cut = TextGenerator(model, tokenizer, generation, stop=[long[5:8], "never"])
    short, mask = text(cut, "the old king")
    assert short == long[: long.index(long[5:8])]
    assert mask.numpy().sum() < 20  # and it did not go on after it
    before = TextGenerator(model, tokenizer, generation, before=" king")
    assert text(before, "the old")[0] == long


def test_settings_are_saved(gpt_dir, tmp_path, capsys):  # noqa: F811
    """And used wherever a flag says nothing else; flags without effect are refused by them."""
    task = tfmodels.load(gpt_dir)
    task.configure(max_new_tokens=8, sample=True, temperature=0.9, stop=["."], seed=3)
    wanted = task.generate(PROMPTS[:1])
    task.save(tmp_path / "model")
    assert tfmodels.load(tmp_path / "model").generate(PROMPTS[:1]) == wanted
    flags = ["gpt", "predict", "--model_dir", tmp_path / "model"]
    (found,) = printed(capsys, *flags, PROMPTS[0])
    assert found["text"] == wanted[0]
    greedy = ["--sample", "false", "--temperature", "0.5", PROMPTS[0]]
    assert main([str(part) for part in [*flags, *greedy]]) == 2
    assert "--temperature 0.5: has no effect here" in capsys.readouterr().err


def test_several_texts_for_a_prompt(gpt_dir, capsys):  # noqa: F811
    """Each with a seed of its own, in a batch, across batches, on a terminal and in the graph."""
    task, prompt = tfmodels.load(gpt_dir), PROMPTS[0]
    with pytest.raises(InputError, match=r"num_return_sequences 3: .* configure\(sample=True\)"):
        task.predict([prompt], num_return_sequences=3)
    task.configure(max_new_tokens=8, sample=True, seed=2**32 - 2)
    texts = task.generate([prompt], num_return_sequences=3)
    assert len(set(texts)) == 3
    assert task.generate([prompt, "a", prompt, prompt], batch_size=2)[::2] == texts[:2]
    assert ["".join(task.stream(prompt, number)) for number in range(3)] == texts
    function, _ = task.signatures()["serving_default"]
    served = function(tf.constant([prompt, "a", prompt, prompt]))["text"].numpy()
    assert [text.decode() for text in served[[0, 2, 3]]] == texts
    flags = ["--model_dir", gpt_dir, "--max_new_tokens", 8, "--sample", "true", "--seed", 2**32 - 2]
    found = printed(capsys, "gpt", "predict", *flags, "--num_return_sequences", 3, prompt)
    assert [row["text"] for row in found] == texts


def test_a_text_that_comes_part_by_part(root, loaded):
    """`stream` asked until it is finished gives what `generate` gives, in rows of any length."""
    rows = {name: tf.constant([value] * 3, TYPES[name]) for name, value in ROW.items()}
    rows |= {"prompt": tf.constant(PROMPTS[:3]), "max_new_tokens": tf.constant([NEW, 3, 9])}
    whole = loaded.signatures["generate"](**rows)["text"].numpy().tolist()
    part = {"token_ids": tf.zeros([3, 0], tf.int32), "mask": tf.zeros([3, 0], tf.bool)}
    lengths = []
    while not lengths or not part["finished"].numpy().all():
        so_far = {name: part[name] for name in ("token_ids", "mask")}
        part = loaded.signatures["stream"](**rows, **so_far)
        lengths.append(part["token_ids"].shape[1])
    assert part["text"].numpy().tolist() == whole
    assert lengths == [8, NEW]
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"token_ids: give fewer than {NEW}"):
        loaded.signatures["stream"](**rows, token_ids=part["token_ids"], mask=part["mask"])


def test_a_server_sends_the_parts(root):
    prompt = {**ROW, "prompt": PROMPTS[0]}
    with Server([root.parent], port=0, grpc_port=None) as server:
        url = server.url("gpt")
        whole = {"prompt": [PROMPTS[0]], **{name: [value] for name, value in ROW.items()}}
        text = Client(url).predict(whole, "generate")["text"][0].decode()
        request = urllib.request.Request(f"{url}:stream", json.dumps(prompt).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            events = answer.read().decode().split("\n\n")
        found = [json.loads(event.removeprefix("data: ")) for event in events if event]
        assert [event["finished"] for event in found] == [False] * (len(found) - 1) + [True]
        assert found[-1]["text"] == text and len(found) == 2
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{url}:stream", json.dumps({**prompt, "top_p": 2}).encode())
        assert "top_p: give a number above 0" in json.loads(error.value.read())["error"]
