"""The check against TF Serving 2.20, on SavedModels that know nothing of this package."""

import json
import re
import shutil

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

from tests.applications.verbs import printed, refused
from tfmodels.errors import InputError
from tfmodels.serving import warmup
from tfmodels.serving.compatibility import ABSOLUTE, PYTHON, check, server
from tfmodels.serving.contracts import CONTRACTS, broken_promises
from tfmodels.serving.saved_model import save


class Letters(tf.Module):
    """Counts letters, inside of a function that the signature calls."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def __call__(self, text):
        return {"letters": self.count(text)}

    @tf.function(autograph=False)
    def count(self, text):
        none = tf.zeros([0], tf.int32)
        return tf.cond(tf.size(text) > 0, lambda: tf.strings.length(text), lambda: none)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A version that `tf.saved_model.save` wrote."""
    path = tmp_path_factory.mktemp("elsewhere") / "3"
    module = Letters()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.__call__})
    return path


@pytest.fixture
def edited(elsewhere, tmp_path):
    """A function that copies the version with its `MetaGraphDef` changed by a function."""

    def edit(change):
        path = tmp_path / "edited"
        shutil.copytree(elsewhere, path)
        model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        change(model.meta_graphs[0])
        (path / "saved_model.pb").write_bytes(model.SerializeToString())
        return path

    return edit


def length_node(graph):
    """The node that counts; it stands in a function of a function."""
    functions = graph.graph_def.library.function
    found = [node for f in functions for node in f.node_def if node.op == "StringLength"]
    return found[0]


def test_the_list_is_that_of_the_server():
    version, has = server()
    known = {"MatMul", "PartitionedCall", "LookupTableFindV2", "TFText>FastSentencepieceTokenize"}
    assert known | {"FastWordpieceTokenizeWithOffsets"} <= has.keys()
    assert len(has) > 1500 and not PYTHON & has.keys()
    assert has["StringLength"] == {"unit"} and version == 2288


def test_a_model_made_elsewhere(elsewhere, capsys):
    (answer,) = printed(capsys, "check", elsewhere)
    text = {"text": {"dtype": "string", "shape": [-1]}}
    assert answer["runs_on"] == "TF Serving 2.20" and answer["operations"] > 5
    letters = {"letters": {"dtype": "int32", "shape": [-1]}}
    assert answer["signatures"] == {"serving_default": {"inputs": text, "outputs": letters}}
    assert printed(capsys, "check", elsewhere.parent) == [answer]


def test_a_foreign_operation_in_a_function_is_named(edited, capsys):
    def change(graph):
        length_node(graph).op = "Acme>CountLetters"

    line = refused(capsys, "check", edited(change))
    assert "TF Serving 2.20 cannot run it: operation Acme>CountLetters (node 'cond/String" in line
    assert "of function cond_true_" in line


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('graph_def { node { name: "call" op: "EagerPyFunc" } }', "EagerPyFunc .* calls Python"),
        (
            'graph_def { node { name: "file" op: "Const" attr { key: "value" value { tensor { '
            'dtype: DT_STRING tensor_shape {} string_val: "/home/me/words.txt" } } } } }',
            r"the absolute path /home/me/words.txt \(node 'file'\)",
        ),
        ('asset_file_def { filename: "/home/me/words.txt" }', "the asset /home/me/words.txt"),
        ("graph_def { versions { min_consumer: 2289 } }", "version 2289 or more, the server's is"),
        ("graph_def { versions { bad_consumers: 2288 } }", "the server's is 2288"),
    ],
)
def test_what_a_server_does_not_have(fields, said, edited):
    with pytest.raises(InputError, match=said):
        check(edited(lambda graph: text_format.Merge(fields, graph)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda graph: graph.meta_info_def.ClearField("tags"), "no graph with the tag 'serve'"),
        (lambda graph: graph.signature_def.clear(), "no signature"),
        (
            lambda graph: length_node(graph).attr["of_next_year"].SetInParent(),
            "operation StringLength .* has the attribute of_next_year",
        ),
    ],
)
def test_what_is_not_for_a_server(change, said, edited):
    with pytest.raises(InputError, match=said):
        check(edited(change))


def test_a_vocabulary_in_a_file(tmp_path):
    """Its table is named after the file's path, which the server does not open."""
    (tmp_path / "words.txt").write_text("a\nb\n")
    words = tf.lookup.TextFileInitializer(
        str(tmp_path / "words.txt"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(words, -1)
    signature = [tf.TensorSpec([None], tf.string, name="text")]
    find = tf.function(module.table.lookup, signature)
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": find})
    (tmp_path / "words.txt").unlink()
    assert list(check(tmp_path / "1").signatures["serving_default"]["inputs"]) == ["text"]


def test_what_is_no_saved_model(tmp_path, capsys):
    assert "saved_model.pb: cannot be read" in refused(capsys, "check", tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    assert "saved_model.pb: no SavedModel" in refused(capsys, "check", tmp_path)


@pytest.mark.parametrize(
    ("text", "absolute"),
    [("/home/me/a.txt", True), ("file:///tmp/x", True), ("C:\\words.txt", True), ("/", False),
     ("and/or", False), ("words.txt", False), ("//", False), (r"\C*(?:a|/b/c)\C*", False)],
)  # fmt: skip
def test_absolute_paths(text, absolute):
    assert bool(ABSOLUTE.fullmatch(text.encode())) == absolute


def described(task):
    """Signatures exactly as a task promises them."""

    def tensors(kinds):
        return {name: {"dtype": d, "shape": [-1] * rank} for name, (d, rank) in kinds.items()}

    return {
        name: {"inputs": tensors(inputs), "outputs": tensors(outputs)}
        for name, (inputs, outputs) in CONTRACTS[task].items()
    }


class TestContracts:
    @pytest.mark.parametrize(
        ("signature", "side", "key", "value", "said"),
        [
            ("token_ids", None, None, None, "signature token_ids is missing"),
            ("serving_default", "outputs", "label", None, "has no output 'label'"),
            ("serving_default", "inputs", "language", ("string", [-1]), "takes 'language'"),
            ("serving_default", "inputs", "text", ("string", []), "input 'text' is string []"),
            ("token_ids", "inputs", "token_ids", ("int64", [-1, -1]), "is int64 [-1, -1], not"),
            ("serving_default", "outputs", "version", ("string", []), "is not the batch"),
        ],
    )
    def test_broken(self, signature, side, key, value, said):
        signatures = described("sentiment")
        if side is None:
            del signatures[signature]
        elif value is None:
            del signatures[signature][side][key]
        else:
            signatures[signature][side][key] = {"dtype": value[0], "shape": value[1]}
        (line,) = broken_promises("sentiment", signatures)
        assert said in line


def save_letters(root, **options):
    def count(text):
        return {"letters": tf.strings.length(text)}

    signatures = {"serving_default": (count, {"text": tf.TensorSpec([None], tf.string)})}
    return save(root / "letters", signatures, **options)


class TestOurs:
    @pytest.fixture
    def ours(self, tmp_path):
        card = tmp_path / "card.md"
        card.write_text("# Counts letters\n")
        return save_letters(tmp_path, card=card)

    def test_whole(self, ours):
        found = json.loads((ours / "signatures.json").read_text())
        assert found["task"] is None and found["signatures"] == check(ours).signatures
        assert found["bytes"]["float32_weights"] == 0 < found["bytes"]["exported"]
        assert (ours / "README.md").read_text().startswith("# Counts letters\n")
        assert json.loads((ours / "checksums.json").read_text()).keys() >= {
            "saved_model.pb", "signatures.json", "variables/variables.index", "README.md",
            "assets.extra/tf_serving_warmup_requests",
        }  # fmt: skip

    def test_versions_are_counted_up(self, ours, tmp_path):
        (ours.parent / "9").mkdir()
        (ours.parent / "notes").mkdir()
        assert ours.name == "1" and save_letters(tmp_path).name == "10"

    def test_signatures_of_another_task(self, ours):
        said = json.loads((ours / "signatures.json").read_text())
        (ours / "signatures.json").write_text(json.dumps({**said, "task": "sentiment"}))
        (ours / "checksums.json").unlink()
        with pytest.raises(InputError, match="signature serving_default has no output 'label'"):
            check(ours)

    def test_a_task_that_is_not_kept_is_not_exported(self, tmp_path):
        with pytest.raises(InputError, match="not what sentiment promises"):
            save_letters(tmp_path, task="sentiment")
        assert not list((tmp_path / "letters").iterdir())

    @pytest.mark.parametrize("said", ["{}", "[1]", "no JSON"])
    def test_signatures_that_are_not_described(self, said, ours):
        (ours / "signatures.json").write_text(said)
        (ours / "checksums.json").unlink()
        with pytest.raises(InputError, match="signatures.json: .*; export it again"):
            check(ours)

    def test_files_that_were_changed(self, ours):
        (ours / "variables" / "variables.index").unlink()
        with pytest.raises(InputError, match=re.escape("variables.index is missing; export it")):
            check(ours)


class TestWarmup:
    def test_every_length_in_every_batch(self, tmp_path):
        found = warmup.read(save_letters(tmp_path))
        assert {signature for signature, _ in found} == {"serving_default"}
        shapes = [(len(i["text"]), len(i["text"][0].split())) for _, i in found]
        assert shapes == [(n, words) for words in warmup.WORDS for n in warmup.BATCH_SIZES]

    def test_ids_and_rows(self):
        kinds = {"token_ids": tf.int32, "padding_mask": tf.bool}
        specs = {name: tf.TensorSpec([None, None], kind) for name, kind in kinds.items()}
        found = list(warmup.requests(specs, max_length=20))
        shapes = [(1, 1), (8, 1), (1, 16), (8, 16), (1, 20), (8, 20)]
        assert [request["token_ids"].shape for request in found] == shapes
        assert found[0]["token_ids"].tolist() == [[0]]
        assert found[0]["padding_mask"].tolist() == [[True]]
        kinds = {"prompt": tf.string, "top_p": tf.float32}
        specs = {name: tf.TensorSpec([None], kind) for name, kind in kinds.items()}
        found = list(warmup.requests(specs, max_words=5))
        assert [len(i["prompt"][0].split()) for i in found] == [1, 1, 5, 5]
        assert found[1]["top_p"].tolist() == [1.0] * 8
        assert list(warmup.requests(specs, max_words=0)) == []  # no word may have room

    def test_a_model_that_does_not_answer_is_not_exported(self, tmp_path):
        def refuse(text):
            with tf.control_dependencies([tf.debugging.Assert(tf.size(text) < 8, ["too many"])]):
                return {"same": tf.identity(text)}

        signatures = {"serving_default": (refuse, {"text": tf.TensorSpec([None], tf.string)})}
        said = (
            r"serving_default does not .* request text \[8\] of 1 words: .*\[too many\]; a server"
        )
        with pytest.raises(InputError, match=said):
            save(tmp_path, signatures)
        assert not list(tmp_path.iterdir())
