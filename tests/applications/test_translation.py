"""`tfmodels translation`: every verb on real files, and what it answers to mistakes."""

import json
import shutil

import pytest

import tfmodels
from tests.applications.conftest import TRANSLATION_FLAGS
from tests.applications.verbs import printed, refused
from tests.serving.fresh import ask
from tfmodels.tasks.sentence_writer import Entry

TEXTS = ["the old king saw the river.", "A dog! The moon.\n\nthe captain saw the moon.",
         "", " \t", "it is 很好 😀 for every child."]  # fmt: skip


def answers(capsys, *arguments):
    return printed(capsys, "translation", *arguments)


def files(*paths):
    return json.dumps([*map(str, paths)])


@pytest.fixture(scope="module")
def task(translator_dir):
    return tfmodels.load(translator_dir)


class TestModelDirectory:
    def test_learned(self, translator_dir):
        metrics = json.loads((translator_dir / "metrics.json").read_text())
        assert metrics["examples"] == 20
        assert metrics["bleu"] > 60 and metrics["chrf"] > 70
        assert max(metrics["history"]["val_bleu"]) > 60
        card = (translator_dir / "README.md").read_text()
        assert "pipeline_tag: translation" in card and "tok:13a" in card

    def test_one_vocabulary_for_both_sides(self, translator_dir, task):
        assert (translator_dir / "source.spm").read_bytes() == task.tokenizer.source
        text = "Schrödinger's 猫 😀"
        ids = task.tokenizer.tokenize_target([text])
        assert task.tokenizer.detokenize(ids).numpy()[0].decode().strip() == text

    def test_no_unknown_token_is_written(self, translator_dir):
        found = json.loads((translator_dir / "generation_config.json").read_text())
        size = json.loads((translator_dir / "config.json").read_text())["vocabulary_size"]
        assert found["bad_words_ids"] == [[1], [size - 1]] and found["num_beams"] == 4


def test_evaluate_equals_the_library(translator_dir, translations, tmp_path, capsys):
    sacrebleu = pytest.importorskip("sacrebleu")
    sides = [path.read_text(encoding="utf-8").splitlines()[:30] for path in translations]
    sides.append([line.upper() for line in sides[1]])
    paths = [tmp_path / name for name in ("a.en", "a.de", "b.de")]
    for path, side in zip(paths, sides, strict=True):
        path.write_text("\n".join(side), encoding="utf-8")
    flags = ["--model_dir", translator_dir, "--report_dir", tmp_path / "report"]
    *worst, found = answers(capsys, "evaluate", *flags, "--eval_file", files(*paths))
    outputs = [
        row["translation"]
        for row in answers(
            capsys, "predict", "--model_dir", translator_dir, "--input_file", paths[0]
        )
    ]
    assert found["bleu"] == sacrebleu.corpus_bleu(outputs, sides[1:]).score
    assert found["chrf"] == sacrebleu.corpus_chrf(outputs, sides[1:]).score
    assert "nrefs:2" in found["signatures"]["bleu"]
    assert len(worst) == 10 and (found["empty"], found["truncated"]) == (0, 0)
    assert len((tmp_path / "report" / "mistakes.jsonl").read_text().splitlines()) == 10


class TestPredict:
    def test_documents_keep_their_paragraphs(self, translator_dir, capsys):
        rows = answers(capsys, "predict", "--model_dir", translator_dir, *TEXTS)
        assert [row["text"] for row in rows] == TEXTS
        assert rows[0]["translation"] == "der alte König sah den Fluss."
        first, _, last = rows[1]["translation"].split("\n")
        assert first and last == "der Kapitän sah den Mond."
        assert [row["parts"] for row in rows[:4]] == [1, 3, 1, 1]
        assert [row["translation"] for row in rows[2:4]] == ["", ""]

    def test_sentences_with_alternatives_alignment_and_glossary(
        self, translator_dir, tmp_path, capsys
    ):
        glossary = tmp_path / "glossary.tsv"
        glossary.write_text("king\tKaiser\nriver\tBach\n", encoding="utf-8")
        flags = ["--model_dir", translator_dir, "--num_translations", 3, "--alignment", "true"]
        (row,) = answers(capsys, "predict", *flags, "--glossary", glossary, TEXTS[0])
        (sentence,) = row["sentences"]
        assert "Kaiser" in row["translation"] and "Bach" in row["translation"]
        assert len(sentence["alternatives"]) == 2 and sentence["missing"] == []
        scores = [sentence["score"], *(other["score"] for other in sentence["alternatives"])]
        assert scores == sorted(scores, reverse=True)
        words = [pair["target"] for pair in sentence["alignment"]]
        assert " ".join(words) == row["translation"]
        assert {pair["source"] for pair in sentence["alignment"]} <= {*TEXTS[0].split()}

    def test_the_best_of_several_is_the_one(self, task):
        plain = task.predict(TEXTS[:2])
        several = task.translate(TEXTS[:2], num_translations=2)
        for one, other in zip(plain, several, strict=True):
            assert one["translation"] == other["translation"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_export_answers_as_predict_does(translator_dir, tmp_path, capsys):
    root = tmp_path / "served" / "translation"
    answers(capsys, "export", "--model_dir", translator_dir, "--export_dir", root)
    found = answers(capsys, "predict", "--model_dir", translator_dir, *TEXTS)
    _, (answer,) = ask(root / "1", ("serving_default", {"text": ("string", TEXTS)}))
    for name in ("translation", "parts", "truncated"):
        assert answer[name] == [row[name] for row in found]
    assert answer["score"] == pytest.approx([row["score"] for row in found], abs=1e-4)


def test_the_other_direction(translator_dir, translations, tmp_path, capsys):
    """Back-translations of one side, cleaned, beside pairs of several languages to write."""
    back = tmp_path / "back.jsonl"
    mono = tmp_path / "mono.en"
    mono.write_text("the captain saw the moon.\n\nmy sister found some bread.\n", encoding="utf-8")
    flags = ["--model_dir", translator_dir, "--input_file", mono, "--output_file", back]
    (counts,) = answers(capsys, "back_translate", *flags)
    assert (counts["pairs"], counts["empty"]) == (2, 1)
    first = json.loads(back.read_text(encoding="utf-8").splitlines()[0])
    assert first == {
        "text": "der Kapitän sah den Mond.",
        "translation": "the captain saw the moon.",
    }

    more = tmp_path / "more.jsonl"
    flags = [*flags[:-1], more, "--language", "en"]
    answers(capsys, "back_translate", *flags)
    first["language"] = "en"
    assert json.loads(more.read_text(encoding="utf-8").splitlines()[0]) == first

    table = tmp_path / "pairs.jsonl"
    english, german = (path.read_text(encoding="utf-8").splitlines() for path in translations)
    pairs = [*zip(english, german, ["de"] * 40, strict=False),
             *zip(german, english, ["en"] * 40, strict=False)]  # fmt: skip
    rows = [dict(zip(("text", "translation", "language"), pair, strict=True)) for pair in pairs]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    flags = ["--train_file", table, "--extra_file", more, "--language_column", "language",
             "--clean", "true", "--tokenizer", "bytes", *TRANSLATION_FLAGS, "--epochs",
             1]  # fmt: skip
    (metrics,) = answers(capsys, "train", *flags, "--output_dir", tmp_path / "both")
    assert metrics["examples"] == 2
    task = tfmodels.load(tmp_path / "both")
    assert sorted(task.languages) == ["de", "en"]
    flags = ["--model_dir", tmp_path / "both", "--target_language"]
    assert answers(capsys, "predict", *flags, "en", "der Mond")[0]["text"] == "der Mond"
    line = refused(capsys, "translation", "predict", *flags, "fr", "der Mond")
    assert "--target_language fr: the model has no token of it; give one of" in line
    line = refused(capsys, "translation", "predict", *flags[:2], ">>fr<< der Mond")
    assert "fr: the model has no token of it" in line
    marked = tmp_path / "marked.jsonl"
    marked.write_text("".join(json.dumps(row) + "\n" for row in rows[40:44]))
    plain = [tmp_path / "plain.de", tmp_path / "plain.en"]
    for path, side in zip(plain, (german, english), strict=True):
        path.write_text("\n".join(side[:4]), encoding="utf-8")
    common = ["evaluate", "--model_dir", tmp_path / "both", "--eval_file"]
    named = answers(capsys, *common, marked, "--language_column", "language")
    assert answers(capsys, *common, files(*plain), "--target_language", "en") == named
    tmx = tmp_path / "plain.tmx"
    units = "".join(
        f'<tu><tuv xml:lang="de"><seg>{a}</seg></tuv><tuv xml:lang="en"><seg>{b}</seg></tuv></tu>'
        for a, b in zip(german[:4], english[:4], strict=True)
    )
    tmx.write_text(f"<tmx>{units}</tmx>", encoding="utf-8")
    flags = ["--source_language", "de", "--target_language", "en"]
    assert answers(capsys, *common, tmx, *flags) == named
    tmx.write_text(f"<tmx>{units}</tmx>".replace('"en"', '"eng"'), encoding="utf-8")
    line = refused(capsys, "translation", *common, tmx, *flags[:-1], "eng")
    assert "its language eng is none of the model's, de, en; write its pairs to" in line
    line = refused(capsys, "translation", "evaluate", "--model_dir", translator_dir, "--eval_file",
                   files(*plain), "--target_language", "en")  # fmt: skip
    assert "--target_language en: the model has no token of it; leave it out" in line


def test_compare(translator_dir, translations, tmp_path, capsys):
    other = shutil.copytree(translator_dir, tmp_path / "other")
    flags = ["--model_dir", translator_dir, "--other_dirs", files(other)]
    part = [tmp_path / path.name for path in translations]
    for path, whole in zip(part, translations, strict=True):
        path.write_text("\n".join(whole.read_text().splitlines()[:8]), encoding="utf-8")
    flags += ["--samples", 20, "--eval_file", files(*part)]
    (found,) = answers(capsys, "compare", *flags)
    one, same = found["models"]
    assert one["bleu"] == same["bleu"] > 60 and same["bleu_p"] > 0.5
    assert "bs:20" in found["signatures"]["bleu"]
    line = refused(capsys, "translation", "compare", *flags[:2], "--other_dirs",
                   files(translator_dir), *flags[4:])  # fmt: skip
    assert "--other_dirs: give one or more directories, and each model once" in line


class TestRefusals:
    @pytest.mark.parametrize(
        ("entry", "message"),
        [("king", "'king' is not a term, a tab and its translation"),
         ("king\t" + "Kaiser " * 30, "tokens, and a sentence has room for 1 to"),
         ("king " * 40 + "\tKaiser", "tokens, and a sentence has room for 1 to")],
    )  # fmt: skip
    def test_glossary(self, translator_dir, tmp_path, capsys, entry, message):
        glossary = tmp_path / "glossary.tsv"
        glossary.write_text(f"moon\tMond\n{entry}\n", encoding="utf-8")
        flags = ["--model_dir", translator_dir, "--glossary", glossary]
        line = refused(capsys, "translation", "predict", *flags, TEXTS[0])
        assert f"{glossary}:2" in line and message in line

    def test_encoding_of_a_glossary(self, translator_dir, tmp_path, capsys):
        glossary = tmp_path / "glossary.tsv"
        glossary.write_bytes("river\tGroßbach\n".encode("cp1252"))
        flags = ["--model_dir", translator_dir, "--glossary", glossary, TEXTS[0]]
        assert "give --encoding" in refused(capsys, "translation", "predict", *flags)
        (row,) = answers(capsys, "predict", *flags, "--encoding", "cp1252")
        assert "Großbach" in row["translation"]

    def test_what_has_no_effect_together(self, translations, tmp_path, capsys):
        out = ["--output_dir", tmp_path / "m"]
        train = ["translation", "train", "--train_file"]
        line = refused(capsys, *train, files(*translations), "--language_column", "language", *out)
        assert "--language_column is of tables" in line
        table = tmp_path / "a.tsv"
        table.write_text("text\ttranslation\tlanguage\na\tb\tde\n")
        flags = [table, "--language_column", "language", "--reverse", "true"]
        assert "leave one of the two out" in refused(capsys, *train, *flags, *out)
        line = refused(capsys, *train, "a.tmx", "--missing", "skip", *out)
        assert "has no effect here: a translation memory has its own" in line
        memory = tmp_path / "a.tmx"
        memory.write_text("<tmx/>", encoding="utf-8")
        for flags, problem in (
            ([table, "--max_length_ratio", 2], "without --clean true no pair is left out"),
            ([table, "--source_language", "de"], "it is of .tmx files"),
            ([files(*translations), "--source_column", "a"], "files of lines have no columns"),
            ([table, "--language_column", "language", "--target_language", "de"],
             "--language_column names the language of each row"),
            ([files(*translations, translations[0])], "3 files, and a text has one translation"),
            ([files(*translations), "--missing", "keep"], "give refuse or skip"),
            ([files(memory, memory)], "a list is of files of lines"),
            (["[]"], "no file is given"),
        ):  # fmt: skip
            assert problem in refused(capsys, *train, *flags, *out), flags

    def test_a_line_that_is_empty_in_a_text_file(self, tmp_path, capsys):
        """What the message says is accepted."""
        paths = [tmp_path / name for name in ("train_en.txt", "train_de.txt")]
        paths[0].write_text("one\ntwo\n" * 20, encoding="utf-8")
        paths[1].write_text("eins\n\n" * 20, encoding="utf-8")
        flags = ["translation", "train", "--train_file", files(*paths), *TRANSLATION_FLAGS,
                 "--output_dir", tmp_path / "m", "--epochs", 9]  # fmt: skip
        line = refused(capsys, *flags)
        assert f"{paths[1]}:2: the line is empty" in line and "--missing skip" in line
        (metrics,) = answers(capsys, *flags[1:], "--missing", "skip")
        assert metrics["examples"] == 1

    def test_files(self, translations, tmp_path, capsys):
        english, german = translations
        short = tmp_path / "short.de"
        short.write_text("eins\n", encoding="utf-8")
        out = ["--output_dir", tmp_path / "m"]
        line = refused(capsys, "translation", "train", "--train_file", files(english, short), *out)
        assert f"{short}:1: ends here" in line
        line = refused(capsys, "translation", "train", "--train_file", files("a.tsv", german), *out)
        assert "no such file" in line
        tmx = tmp_path / "a.tmx"
        tmx.write_text("<tmx/>", encoding="utf-8")
        line = refused(capsys, "translation", "train", "--train_file", tmx, *out)
        assert "give --source_language and --target_language" in line

    def test_more_translations_than_beams(self, task):
        with pytest.raises(
            tfmodels.InputError, match="num_translations 5: give at most num_beams, 4"
        ):
            task.translate(["a"], num_translations=5)
        with pytest.raises(tfmodels.InputError, match="the model has no token of it; leave it out"):
            task.check_language("de")

    def test_an_entry_without_tokens(self, task):
        with pytest.raises(tfmodels.InputError, match="the term '' has 0 tokens"):
            task.translate(["a"], glossary=[Entry("", "b", "here")])
