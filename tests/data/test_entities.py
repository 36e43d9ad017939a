"""Entity sources on files that each test writes: rows, schemes, scans, datasets, mistakes."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.data.written import write, write_prepared
from tfmodels.data.datasets import source_errors
from tfmodels.data.entities import as_entities, entity_dataset, open_entities
from tfmodels.data.split import split
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError

PARAGRAPHS = """\
-DOCSTART- -X- O

Ann NN B-PER
Lee NN I-PER
saw VB O
Paris NN B-LOC
. . O

Rain NN O


-DOCSTART- -X- O
Bo NN B-PER
"""
ROWS = [
    ("Ann Lee saw Paris .", (("PER", 0, 7), ("LOC", 12, 17))),
    ("Rain", ()),
    ("Bo", (("PER", 0, 2),)),
]


def columns_of(*sentences):
    """A file of two columns out of sentences such as "Ann/B-PER saw/O"."""
    lines = (sentence.replace("/", "\t").replace(" ", "\n") for sentence in sentences)
    return "\n\n".join(lines) + "\n"


def read(spec, **options):
    return [values for _, values in open_entities(spec, **options).rows()]


def message(tmp_path, content, name="rows.txt", **options):
    """The message of reading a file that cannot be read, without its path."""
    path = write(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        open_entities(path, **options).scan()
    text = str(caught.value)
    assert text.startswith(path) and "\n" not in text
    return text.removeprefix(path)


# Columns


@pytest.mark.parametrize("name", ["a.txt", "a.conll", "a.tsv", "a.bio", "A.TXT.gz"])
@pytest.mark.parametrize("change", [str, lambda s: s.replace("\n", "\r\n"), lambda s: "\ufeff" + s,
                                    lambda s: s.replace(" ", "\t"), lambda s: s.replace(" ", "   "),
                                    str.rstrip])  # fmt: skip
def test_columns(tmp_path, name, change):
    path = write(tmp_path / name, change(PARAGRAPHS))
    source = open_entities(path)
    assert [row.values for row in source.stream(None)] == ROWS
    assert [source.place(row.line) for row in source.stream(None)] == [
        f"{path}:{line}" for line in (3, 9, 13)
    ]
    assert sorted(source.rows(seed=1)) == list(source.rows())


def test_other_columns(tmp_path):
    path = write(tmp_path / "a.txt", "1 B-LOC Rome x\n2 O . x\n")
    assert read(path, token_column=2, tag_column=1) == [("Rome .", (("LOC", 0, 4),))]
    assert read(path, token_column=-2, tag_column=-3) == [("Rome .", (("LOC", 0, 4),))]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("他 说 ： “ 好 ” 。", "他说：“好”。"),
        ("在 巴 黎 A B 市", "在巴黎 A B 市"),
        ("東京 は ３ 月", "東京は３月"),
        ("서울 은 \U00020000 中", "서울 은 \U00020000中"),
        ("it 's “ so ”", "it 's “ so ”"),
    ],
)
def test_spaces_between_tokens(tmp_path, tokens, text):
    path = write(tmp_path / "a.txt", "".join(f"{token}\tB-X\n" for token in tokens.split()))
    ((found, entities),) = read(path)
    assert found == text
    assert [found[start:end] for _, start, end in entities] == tokens.split()
    assert read(path, join="")[0][0] == tokens.replace(" ", "")
    assert read(path, join="_")[0][0] == tokens.replace(" ", "_")


def test_tokens_may_hold_spaces_between_tabs(tmp_path):
    path = write(tmp_path / "a.txt", "New York\tB-LOC\nis\u3000so\tO\n")
    assert read(path) == [("New York is\u3000so", (("LOC", 0, 8),))]


SAID = ("Mira is in Bonn", (("PER", 0, 4), ("LOC", 11, 15)))
LINES = "Mira x B-PER\nis x O\nin x O\nBonn x B-LOC\n"


@pytest.mark.parametrize(
    "content",
    [
        LINES.replace(" ", "\t").replace("B-LOC", "B-LOC "),
        LINES.replace("PER", "PER\u200b").replace("B-LOC", "B-LO\u00adC"),
        "# id 7 domain=en\n" + LINES + "\n# id 8\n",
        "# id\tx\n" + LINES.replace(" ", "\t"),
        "## id-1\tMira is\t<in>\n" + LINES.replace(" ", "\t"),
        "#begin document (x); part 000\n" + LINES + "\n#end document\n",
        LINES.replace(" ", "\t").replace("in", "\u200b\tx\tO\n\u00a0\tx\tO\n\tx\tO\nin"),
        LINES.replace("B-", ""),
    ],
)  # fmt: skip
def test_fields_and_lines_that_are_not_seen_or_not_read(tmp_path, content):
    """White space and invisible characters, comments, tokens of white space, types alone."""
    assert read(write(tmp_path / "a.tsv", content)) == [SAID]


def test_a_number_sign_is_a_token_where_it_has_a_tag(tmp_path):
    path = write(tmp_path / "a.txt", "# O\n#Bo B-X\n\n#a O\n# B-X\n")
    assert read(path) == [("# #Bo", (("X", 2, 5),)), ("#a #", (("X", 3, 4),))]


def test_types_without_a_prefix_that_are_not_taken_for_them(tmp_path):
    content = "Mira S.PER\nBo S.PER\nis O\n"
    assert "--scheme io for types without a prefix" in message(tmp_path, content)
    assert read(str(tmp_path / "rows.txt"), scheme="io") == [("Mira Bo is", (("S.PER", 0, 7),))]


def test_characters_with_their_white_space_make_up_the_text(tmp_path):
    text, tags = "민수는 서울에", ["B-P", "I-P", "O", "O", "B-L", "I-L", "O"]
    lines = "".join(f"{token}\t{tag}\n" for token, tag in zip(text, tags, strict=True))
    wanted = (text, (("P", 0, 2), ("L", 4, 6)))
    assert read(write(tmp_path / "a.txt", lines)) == [wanted]
    assert list(as_entities([list(text)], [tags]).rows()) == [(0, wanted)]


TABLE = "\n".join([
    "Sentence #,Word,POS,Tag", "Sentence: 1,Ann,NNP,B-per", ',"""",X,O', ',",",X,O',
    "Sentence: 2,NA,NNP,B-org", "",
])  # fmt: skip


def test_the_table_of_kaggle(tmp_path):
    path = write(tmp_path / "ner_dataset.csv", TABLE)
    rows = [('Ann " ,', (("per", 0, 3),)), ("NA", (("org", 0, 2),))]
    source = open_entities(path)
    assert [values for _, values in source.rows()] == rows
    assert sorted(source.rows(seed=1)) == sorted(enumerate(rows))
    assert source.place(next(source.stream(None)).line) == f"{path}:2"
    filled = TABLE.replace("\n,", "\nSentence: 1,")
    assert read(write(tmp_path / "filled.csv", filled)) == rows
    other = message(tmp_path, "text,label\na,b\n", "rows.csv")
    assert other.startswith(":1: a table with the columns ['text', 'label']; give one with")


SCHEMES = {
    "iob2": "Ann/B-P Lee/I-P saw/O Bo/B-P Rome/B-L Bonn/B-L",
    "iob1": "Ann/I-P Lee/I-P saw/O Bo/I-P Rome/I-L Bonn/B-L",
    "iobes": "Ann/B-P Lee/E-P saw/O Bo/S-P Rome/S-L Bonn/S-L",
    "bilou": "Ann/B-P Lee/L-P saw/O Bo/U-P Rome/U-L Bonn/U-L",
    "bmes": "Ann/B-P Jo/M-P Lee/E-P saw/O Bo/S-P Rome/S-L Bonn/S-L",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_are_found_over_the_whole_file(tmp_path, scheme):
    path = write(tmp_path / "a.txt", columns_of("so/O", "it/O is/O", SCHEMES[scheme]))
    (text, entities) = read(path)[-1]
    found = [(kind, text[start:end]) for kind, start, end in entities]
    name = "Ann Jo Lee" if scheme == "bmes" else "Ann Lee"
    assert found == [("P", name), ("P", "Bo"), ("L", "Rome"), ("L", "Bonn")]
    assert read(path, scheme=scheme) == read(path)


def test_tags_that_contradict_their_scheme(tmp_path, capsys):
    mixed = columns_of(*["Bo/B-P Lee/I-P"] * 3, "saw/O Rome/I-L", "Bo/B-P Lee/I-L")
    path = write(tmp_path / "rows.txt", mixed)
    rows = read(path)
    assert rows[3:] == [("saw Rome", (("L", 4, 8),)), ("Bo Lee", (("P", 0, 2), ("L", 3, 6)))]
    said = f"{path}: 2 tags contradict the scheme iob2 and .*, first {path}:11: I-L after O, but"
    assert re.match(said, capsys.readouterr().err)
    assert read(path, scheme="iob") == rows and not capsys.readouterr().err
    assert message(tmp_path, mixed, scheme="iob1").startswith(":1: B-P after O, but in iob1")
    assert message(tmp_path, mixed, scheme="iob2").startswith(":11: I-L after O, but in iob2")
    unended = columns_of("a/B-P b/E-P", "c/S-P", "d/O e/B-P", "f/O")
    assert read(write(tmp_path / "rows.txt", unended))[2] == ("d e", (("P", 2, 3),))
    assert f"{path}:7: O (or the end) after B-P, but in iobes" in capsys.readouterr().err
    with pytest.raises(InputError, match="tag scheme 'bio' is unknown; give one of iob2"):
        open_entities(path, scheme="bio")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", ":1: the file has no tokens; give a file with sentences"),
        ("\n \n-DOCSTART- O\n", ":1: the file has no tokens"),
        ("a b O\na O\n", ":2: 2 columns, but 3 in the rows above; correct the row"),
        ("a O\n\na\tb\tO\n", ":3: 3 columns, but 2 in the rows above"),
        ("a\nb\n", ":1: token and tag are read from the same column (of 1); give"),
        ("a B-X\nb PER\n", ":2: 'PER' is no tag; write O, or B-TYPE, I-TYPE and so on"),
        ("a O\nb B-\n", ":2: 'B-' is no tag"),
        ("a O\n#b c O\n", ":2: 3 columns, but 2 in the rows above"),
        ("a O\n\nb O\n", ": no entity in 2 texts; give texts with entities"),
    ],
)
def test_mistakes_in_columns(tmp_path, content, problem):
    assert message(tmp_path, content).startswith(problem)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"token_column": 2}, ":1: no token_column 2 or tag_column -1; give columns from 0 to 1"),
        ({"tag_column": -3}, ":1: no token_column 0 or tag_column -3; give"),
        ({"token_column": 1}, ":1: token and tag are read from the same column (of 2)"),
    ],
)
def test_columns_that_are_not_there(tmp_path, options, problem):
    assert message(tmp_path, "a O\n", **options).startswith(problem)


NEWS = "Ann Lee of Oslo saw the old Bank of Rome fall on a grey day in May and went home ."
NER = "B-PER I-PER O B-LOC O O O B-ORG I-ORG I-ORG O O O O O O O O O O O"
POS = "NNP NNP IN NNP VBD DT JJ NNP IN NNP VB IN DT JJ NN IN NNP CC VBD NN ."
CHUNK = "B-NP I-NP B-PP B-NP B-VP B-NP I-NP I-NP B-PP B-NP B-VP O B-NP I-NP I-NP O O O B-VP O O"
NUMBERS = " ".join(map(str, range(1, 22)))
OUTSIDE = " ".join(["O"] * 21)


def table_of(*columns):
    """A file of two sentences with these columns."""
    lines = map(" ".join, zip(*map(str.split, columns), strict=True))
    return ("\n".join(lines) + "\n\n") * 2


@pytest.mark.parametrize(
    ("columns", "options", "problem"),
    [
        ((NER, NEWS, NER), {}, "column 0 is read as tokens but has tags; give"),
        ((NEWS, POS, NER), {"token_column": 2, "tag_column": 2}, ":1: token and tag are read from"),
        ((NUMBERS, NEWS, NER), {}, "column 0 is read as tokens but has numbers of tokens"),
        ((NER, POS, NEWS, NER), {"token_column": 1}, "column 1 .* has labels such as VBD, and"),
        ((POS, NEWS, NER), {}, "column 0 is read as tokens but has labels such as VBD, and"),
        ((NEWS, NER, POS, CHUNK), {}, r"column 3 .* as tags but column 1 has .*\(LOC, ORG, PER\)"),
        ((NEWS, NER, OUTSIDE), {}, r"column 2 is read as tags but column 1 has the entities"),
        ((NEWS, NER, POS), {}, r"column 2 is read as tags but column 1 has the entities"),
        ((NEWS, POS), {}, r":1: 'NNP' is no tag; write O, or B-TYPE"),
    ],
)
def test_columns_in_another_order_are_refused(tmp_path, columns, options, problem):
    """Taken as they are, they train to a loss of nothing and find no entity."""
    found = message(tmp_path, table_of(*columns), **options)
    assert re.search(problem, found), found
    assert "--token_column" in found or found.startswith(":1: ")


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ((NEWS, POS, CHUNK, NER), {}),
        ((NEWS, NER, POS, CHUNK), {"tag_column": 3}),  # phrases, as asked for
        ((NEWS, POS, CHUNK), {}),
        ((NEWS.upper(), POS, NER), {}),
        ((NEWS.upper(), POS.lower(), NER), {}),
        (("ATG CCA GGT " * 7, NER), {}),
        ((NEWS, OUTSIDE, NER), {}),
    ],
)
def test_columns_that_may_look_odd_are_read(tmp_path, columns, options):
    (first, second) = read(write(tmp_path / "a.txt", table_of(*columns)), **options)
    assert first == second and first[0] == " ".join(columns[0].split()) and first[1]


def test_fingerprint_knows_how_columns_are_read(tmp_path):
    path = write(tmp_path / "a.txt", table_of(NEWS, NER, POS, CHUNK))
    options = [{"tag_column": 1}, {"tag_column": 3}, {"tag_column": 1, "join": "_"}]
    prints = [open_entities(path, **given).fingerprint() for given in options]
    assert len(set(prints)) == 3
    write(tmp_path / "a.txt", table_of(NEWS.replace("Ann", "Eve"), NER, POS, CHUNK))
    assert open_entities(path, **options[0]).fingerprint() not in prints


def test_a_file_without_empty_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("tfmodels.data.conll._SENTENCE_BYTES", 100)
    found = message(tmp_path, "a O\n\n" + "bcdefgh O\n" * 20)
    assert found.startswith(":3: the sentence that starts here is longer than")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none.txt", "does not exist; give a CoNLL file, a .jsonl or"),
    ],
)
def test_files_that_cannot_be(tmp_path, name, problem):
    with pytest.raises(InputError, match=problem):
        open_entities(tmp_path / name)


# JSONL


def as_json(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


PER, LOC = {"start": 0, "end": 7}, {"start": 12, "end": 17}


@pytest.mark.parametrize(
    ("key", "items"),
    [
        ("entities", [{"type": "PER", **PER}, {"type": "LOC", **LOC}]),
        ("spans", [{"label": "LOC", **LOC}, {"label": "PER", **PER}]),
        ("entities", [[12, 17, "LOC"], [0, 7, " PER "]]),
    ],
)
def test_json(tmp_path, key, items):
    path = write(
        tmp_path / "a.jsonl", as_json({"text": ROWS[0][0], key: items}, {"text": "", key: []})
    )
    assert read(path) == [ROWS[0], ("", ())]


def test_json_counts_unicode_characters(tmp_path):
    text = "👩‍👧 José\u0301 李"
    row = {"text": text, "entities": [[len(text) - 1, len(text), "人名"]]}
    assert read(write(tmp_path / "a.jsonl", as_json(row))) == [(text, (("人名", 10, 11),))]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Mira, Bo", "label": [[0, 4, "PER"], [6, 8, "PER"]]},
        {"data": "Mira, Bo", "labels": [[0, 4, "PER\u200b"], [6, 8, "PER "]]},
        {"text": "Mira, Bo", "relations": [], "label": "x", "entities": [
            {"id": 1, "label": "PER", "start_offset": 0, "end_offset": 4},
            {"id": 2, "label": "PER", "start_offset": 5, "end_offset": 8}]},
    ],
)  # fmt: skip
def test_exports_of_doccano_and_white_space_at_the_ends(tmp_path, row):
    wanted = [("Mira, Bo", (("PER", 0, 4), ("PER", 6, 8)))]
    assert read(write(tmp_path / "a.jsonl", as_json(row))) == wanted


def test_exports_of_prodigy(tmp_path):
    span = {"start": 0, "end": 4, "token_start": 0, "token_end": 0, "label": "PER"}
    row = {"text": "Mira is", "tokens": [{"text": "Mira"}], "spans": [span], "answer": "accept"}
    path = write(tmp_path / "a.jsonl", as_json(row))
    assert read(path) == [("Mira is", (("PER", 0, 4),))]
    path = write(tmp_path / "b.jsonl", as_json(row, {**row, "answer": "reject"}))
    with pytest.raises(InputError, match="b.jsonl:2: \"answer\" is 'reject': keep the rows whose"):
        read(path)


def task_of(text, *results, **more):
    values = [{"type": "labels", "value": value} for value in results]
    values.append({"type": "choices", "value": {"choices": ["good"]}})
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": values}], **more}


def test_exports_of_label_studio(tmp_path, capsys):
    """Its offsets are of JavaScript: an emoji counts twice."""
    mira = {"start": 3, "end": 7, "text": "Mira", "labels": ["PER"]}
    text, wanted = "👩 Mira is", ("👩 Mira is", (("PER", 2, 6),))
    tasks = [task_of(text, mira), {**task_of("new"), "annotations": []}]
    path = write(tmp_path / "a.json", json.dumps(tasks, indent=1))
    assert read(path) == [wanted]
    assert capsys.readouterr().err.startswith(f"{path}: 1 of 2 texts have no annotation")
    assert open_entities(path).place(1) == f"{path}: item 1"
    short = json.dumps([{"text": text, "label": [mira]}])
    assert read(write(tmp_path / "short.json", short)) == [wanted]
    lines = as_json(task_of(text, {**mira, "start": 5, "end": 9}))  # bytes
    assert read(write(tmp_path / "a.jsonl", lines)) == [wanted]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', ": not valid JSON .*name the file .jsonl"),
        ('{"text": "a"}', ": not an array of objects; give a CoNLL file"),
        (json.dumps([task_of("Bo", {"start": 0, "end": 2, "text": "Mo", "labels": ["PER"]})]),
         ": item 1: characters 0 to 2 are 'Bo', not 'Mo' as the entity says; correct"),
        (json.dumps([task_of("Bo", {"start": 0, "end": 2, "labels": ["A", "B"]})]),
         ": item 1: .*is not an entity"),
        (json.dumps([{**task_of("Bo"), "annotations": [{}, {}]}]), ": item 1: 2 annotations; keep"),
    ],
)  # fmt: skip
def test_mistakes_in_arrays(tmp_path, content, problem):
    assert re.match(problem, message(tmp_path, content, "a.json"))


@pytest.mark.parametrize(
    ("entities", "problem"),
    [
        ([[0, 8, "A"]], ":2: A from character 0 to 8 is empty or outside the text, which has 7"),
        ([[-1, 2, "A"]], "outside the text"),
        ([[2, 2, "A"]], "A from character 2 to 2 is empty"),
        ([[3, 4, "A"]], ":2: A from character 3 to 4 is only whitespace; remove it"),
        ([[4, 7, "B"], [0, 5, "A"]], ":2: A 'Ann L' (0 to 5) and B 'Lee' (4 to 7) overlap; keep"),
        ([[0, 3, "A"], [0, 3, "A"]], "A 'Ann' (0 to 3) and A 'Ann' (0 to 3) overlap"),
        (
            [[0, 3]],
            '[0, 3] is not an entity; write {"type": "PER", "start": 0, "end": 3} or [0, 3,',
        ),
        ([{"type": "A", "start": 0}], "is not an entity"),
        ([[0.0, 3, "A"]], "is not an entity"),
        ([[False, True, "A"]], "is not an entity"),
        ([[0, 3, " "]], "is not an entity"),
        ([[0, 3, "\ud800"]], "surrogates not allowed"),
        (["A"], "is not an entity"),
        ("A", ':2: give one list, under "entities" or "spans"'),
        (None, "give one list"),
    ],
)
def test_mistakes_in_json(tmp_path, entities, problem):
    rows = as_json({"text": "Bo", "entities": []}, {"text": "Ann Lee", "entities": entities})
    assert problem in message(tmp_path, rows, "a.jsonl")


@pytest.mark.parametrize("keys", [["text"], ["text", "spans", "entities"], ["entities"]])
def test_json_rows_without_a_key(tmp_path, keys):
    problem = "give one list" if "text" in keys else "no text under \"text\", only ['entities'];"
    row = {**dict.fromkeys(keys, []), **({"text": "a"} if "text" in keys else {})}
    assert message(tmp_path, as_json(row), "a.jsonl").startswith(f":1: {problem}")


# Passes


def chunks(dataset):
    return [
        (text.numpy().tolist(), *(column.to_list() for column in columns))
        for text, *columns in dataset
    ]


def test_dataset(tmp_path):
    source = open_entities(write(tmp_path / "a.txt", PARAGRAPHS))
    texts = [text.encode() for text, _ in ROWS]
    assert chunks(entity_dataset(source, ["PER", "LOC"])) == [
        (texts, [[0, 1], [], [0]], [[0, 12], [], [0]], [[7, 17], [], [2]])
    ]
    spec = entity_dataset(source, ["LOC", "PER"]).element_spec
    assert [part.dtype.name for part in spec] == ["string"] + ["int32"] * 3
    assert [part.shape.as_list() for part in spec] == [[None]] + [[None, None]] * 3


def test_parts_of_a_source(tmp_path):
    """As many of the texts with entities, the second half, as of those without are held out."""
    tags = ["O" if i < 100 else "B-" + "LP"[i % 2] for i in range(200)]
    sentences = (f"w{i}/{tag}" for i, tag in enumerate(tags))
    source = open_entities(write(tmp_path / "many.txt", columns_of(*sentences)))
    scan = source.scan(None, 0.1)
    assert scan.rows == 200 and scan.label_counts == {"L": 50, "P": 50}
    assert sum(number < 100 for number in scan.held_out) == 10 == len(scan.held_out) / 2
    train, held_out = split(source, 0.1)
    assert as_entities(train) is train
    assert train.scan().rows == 180 and train.scan().label_counts == {"L": 50, "P": 50}
    found = [number for number, _ in held_out.rows()]
    assert found == sorted(scan.held_out)
    ((texts, *_),) = chunks(entity_dataset(held_out, ["L", "P"], seed=1))
    assert sorted(texts) == sorted(f"w{number}".encode() for number in found)


def test_dataset_mistakes(tmp_path):
    path = write(tmp_path / "a.txt", PARAGRAPHS)
    source = open_entities(path)
    with (
        pytest.raises(
            InputError, match=r":3: 'Paris' is a 'LOC', which is not one of the types PER;"
        ),
        source_errors(source),
    ):
        list(entity_dataset(source, ["PER"]))
    with pytest.raises(InputError, match="entity types"):
        entity_dataset(source, ["PER", "PER"])


# TFDS


@pytest.fixture(scope="module")
def written_set(tmp_path_factory):
    """The real builder's `wikiann/en`."""
    tokens = [["Ann", "Lee", "saw", "Paris", "."], ["Rain"], ["Bo"]]
    tags = [[1, 2, 0, 5, 0], [0], [1]]
    rows = [
        {"tokens": t, "tags": g, "langs": ["en"] * len(t), "spans": []}
        for t, g in zip(tokens, tags, strict=True)
    ]
    splits = {"train": rows, "test": [{**rows[0], "tags": [2, 2, 0, 1, 0]}, rows[2]]}
    return write_prepared("wikiann/en", tmp_path_factory.mktemp("tfds"), splits, shard=2)


@pytest.fixture
def prepared(written_set, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(written_set))


def test_tfds(prepared):
    source = open_entities("tfds:wikiann/en")
    assert [values for _, values in source.rows()] == ROWS
    assert source.place(1) == "tfds:wikiann/en row 1"
    assert sorted(source.rows(seed=1)) == sorted(source.rows())
    assert source.scan().label_counts == {"LOC": 1, "PER": 2}
    assert read("tfds:wikiann/en:train[1:]") == ROWS[1:]


def test_tfds_mistakes(prepared, monkeypatch, capsys):
    with pytest.raises(InputError, match="wikiann/en:test row 0: tag 1: I-PER after O"):
        open_entities("tfds:wikiann/en:test", scheme="iob2").scan()
    assert read("tfds:wikiann/en:test")[0][1] == (("PER", 0, 7), ("PER", 12, 17))
    assert "1 tags contradict" in capsys.readouterr().err
    assert len(read("tfds:wikiann/en:test", scheme="iob")) == 2
    with pytest.raises(InputError, match="no column 'tokens' of tokens, only .*; give another"):
        tfds = pytest.importorskip("tensorflow_datasets")
        monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
        open_entities("tfds:glue/sst2")


# Of a script

TEXT = "Ann Lee saw Paris ."
WORDS, TAGS = (
    [["Ann", "Lee", "saw", "Paris", "."], ["Rain"]],
    {
        "iob2": [["B-PER", "I-PER", "O", "B-LOC", "O"], ["O"]],
        "iob1": [["I-PER", "I-PER", "O", "I-LOC", "O"], ["O"]],
        "iobes": [["B-PER", "E-PER", "O", "S-LOC", "O"], ["O"]],
    },
)
SPANS = [{"type": "LOC", **LOC}, {"label": "PER", **PER}]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (["Ann Lee saw Paris .", "Rain"], [SPANS, []]),
        (
            np.array(["Ann Lee saw Paris .", "Rain"]),
            [[("LOC", 12, np.int64(17)), ["PER", 0, 7]], ()],
        ),
        *((WORDS, tags) for tags in TAGS.values()),
        (map(tuple, WORDS), map(np.array, TAGS["iob2"])),
    ],
)
def test_entities_of_a_script(x, y):
    source = as_entities(x, y)
    assert list(source.rows()) == [(0, ROWS[0]), (1, ROWS[1])]
    assert source.scan().label_counts == {"LOC": 1, "PER": 1}
    assert as_entities(source) is source
    assert source.fingerprint() == as_entities(WORDS, TAGS["iob1"]).fingerprint()


def test_words_and_tags_of_a_script_that_need_cleaning(capsys):
    words = [["Ann", "\u200b", "saw", "Rome"], ["", "Bo", "Lee"]]
    tags = [["B-PER ", "O", "O", "I-LOC"], ["O", "B-PER", "I-PER\u200b"]]
    rows = [values for _, values in as_entities(words, tags).rows()]
    assert rows == [
        ("Ann saw Rome", (("PER", 0, 3), ("LOC", 8, 12))), ("Bo Lee", (("PER", 0, 6),)),
    ]  # fmt: skip
    said = "the rows: 1 tags contradict the scheme iob2 .*, first row 0: I-LOC after O"
    assert re.match(said, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (TEXT, [[]], r"one string, 'Ann Lee.*give fit\(texts, spans\)"),
        ([TEXT], None, r"entities are missing; give fit\(texts, spans\), .* fit\(words, tags\)"),
        ([TEXT], [[], []], "x has 1 rows and y 2; give the same number"),
        ([], [], "no rows; give one or more"),
        ([TEXT], ["B-PER"], r"row 0: a text with B-PER, .*not a list of entities; give fit"),
        (
            [TEXT],
            [["B-PER", "O"]],
            r"row 0: a text with \['B-PER', 'O'\], which is not a list of ent",
        ),
        ([TEXT], [{"type": "PER", **PER}], "row 0: a text with .*not a list of entities"),
        ([TEXT, TEXT], [[], [("PER", 0, 70)]], "row 1: PER from character 0 to 70 is .* outside"),
        ([TEXT], [[("PER", 0, 7), ("LOC", 4, 7)]], "row 0: PER 'Ann Lee' .* overlap; keep one"),
        ([TEXT, 3], [[], []], r"row 1: 3 \(int\) instead of a text"),
        (WORDS, [["O"] * 5, []], "row 1: 1 words and 0 tags; give a tag for each word"),
        (WORDS, [["O"] * 5, [3]], "row 1: the word 'Rain' with the tag 3; give strings"),
        (WORDS, [["B-X"] * 5, ["PER"]], "'PER' is no tag; write O, or B-TYPE"),
        (WORDS, ["OOOOO", "O"], "row 0: .*one string, 'OOOOO'"),
        (WORDS, [SPANS, []], "row 0: 5 words and 2 tags"),
    ],
)
def test_first_mistakes(x, y, problem):
    with pytest.raises(InputError, match=problem) as caught:
        as_entities(x, y)
    assert "\n" not in str(caught.value)


def test_rows_that_hold_no_entities(tmp_path):
    source = open_entities(write(tmp_path / "a.txt", PARAGRAPHS))
    with pytest.raises(InputError, match="y: entities are a column of .*a.txt already; remove y"):
        as_entities(source, [])
    table = open_source(write(tmp_path / "a.tsv", "text\tlabel\na\tb\n"), ["text", "label"])
    with pytest.raises(InputError, match=r"rows of text, label, .* tfmodels.data.open_entities\("):
        as_entities(table)
    with pytest.raises(
        InputError, match=r"a tf.data.Dataset is not supported for entities; give fit"
    ):
        as_entities(tf.data.Dataset.from_tensor_slices([TEXT]))
