"""What a translator reads texts in, and the languages that they name, before it is trained."""

import keras
import pytest

import tfmodels
from tfmodels.data.lines import say_once
from tfmodels.tasks.sentence_writer import Entry, SentenceWriter

SENTENCES = ["The old king saw the river.", "A small dog found some bread in the house."]
LONG = "the old king saw the river and " * 6
TEXTS = [*SENTENCES, " ".join(SENTENCES) + "\n\n" + LONG, "", "  "]


@pytest.fixture(scope="module", params=["sentencepiece", "bytes"])
def task(request):
    keras.utils.set_random_seed(0)
    task = tfmodels.Translator.from_scratch(
        SENTENCES * 5, size="tiny", vocabulary_size=320, tokenizer=request.param,
        languages=["de", "zh"], max_length=24, max_target_length=24,
    )  # fmt: skip
    task.configure(max_new_tokens=6, num_beams=2)
    return task


def test_every_part_has_the_language_in_front(task):
    """A sentence that is read in several parts is written in one language."""
    texts = [">>zh<< " + text for text in TEXTS[:3]] + [LONG]
    (row,) = task.tokenizer.tokenize([">>zh<<"]).to_list()
    sentences, ids, number = task._writer().parts(texts)
    assert max(number.numpy()) > 2 and max(map(len, ids.to_list())) <= 24 - 1
    named = ids.to_list()[: -number.numpy()[-1]]
    assert all(part[: len(row)] == row for part in named if part)
    assert all(part[: len(row)] != row for part in ids.to_list()[len(named) :])
    # Together they are the sentence.
    whole = task.tokenizer.tokenize([texts[0]]).to_list()[0]
    assert sum((part[len(row) :] for part in named[: number.numpy()[0]]), row) == whole


def test_translate_reads_what_predict_reads(task):
    for texts in (TEXTS, [">>de<< " + text for text in TEXTS[:3]]):
        plain, found = task.predict(texts), task.translate(texts, alignment=True)
        for one, other in zip(plain, found, strict=True):
            for name in ("translation", "parts", "truncated"):
                assert other[name] == one[name]
            assert other["score"] == pytest.approx(one["score"], abs=1e-4)
        *_, last = found[2]["sentences"]
        assert found[2]["parts"] > 3 and last["text"] and last["text"] in LONG.strip()


def test_alignment_is_of_every_word(task):
    """The token that ends a source of pairs of bytes is that of the padding."""
    (found,) = task.translate(["The dog"], alignment=True)
    (sentence,) = found["sentences"]
    assert (
        len(sentence["alignment"]) == len(sentence["translation"].split())
        or not sentence["translation"]
    )
    writer = SentenceWriter(task._writer(), alignment=True)
    ((part,),) = writer(["dog"], 1)
    assert part.alignment and {pair["source"] for pair in part.alignment} == {"dog"}


def test_alignment_of_the_longest_translation(task):
    """As many tokens as the model has positions, which leave no room for the one that ends it."""
    most = task.model.config.max_length - 1
    task.configure(max_new_tokens=most, min_new_tokens=most)
    (found,) = task.translate(["The dog"], alignment=True)
    task.configure(max_new_tokens=6, min_new_tokens=0)
    (sentence,) = found["sentences"]
    words = sentence["translation"].split()
    assert [pair["target"] for pair in sentence["alignment"]] == words


def test_an_entry_in_a_script_without_spaces(task):
    (found,) = task.translate(["มีแมวก"], glossary=[("แมว", "king")])
    assert "king" in found["translation"]


def test_lengths_are_those_of_sentences():
    pairs = zip(SENTENCES, SENTENCES, strict=True)  # which can be read once
    task = tfmodels.Translator.from_scratch(
        pairs, size="tiny", vocabulary_size=300, max_length=100, max_target_length=100
    )
    again = tfmodels.Translator(task.model, task.tokenizer)
    assert (again.max_length, again.max_target_length) == (101, 100)  # as many as there are


def test_an_entry_is_a_word(task):
    """Its tokens are those of the word behind another one."""
    writer = SentenceWriter(task._writer(), glossary=[Entry("dog", "king")])
    (phrase,) = writer._phrases.values()
    (inside,) = task.tokenizer.tokenize(["The king"]).to_list()
    assert inside[-len(phrase) :] == phrase


class TestLanguages:
    def test_named_by_the_task(self, task, capsys):
        say_once.cache_clear()
        (plain,) = task.predict([">>zh<< " + SENTENCES[0]])
        task.language = "zh"
        assert task.predict([SENTENCES[0]]) == [plain]
        assert "texts name no language" not in capsys.readouterr().err
        assert task.predict([">>zh<< " + SENTENCES[0]]) == [plain]
        task.language = "fr"
        with pytest.raises(tfmodels.InputError, match="target_language fr: the model has no token"):
            task.predict([SENTENCES[0]])
        task.language = None

    def test_nothing_is_written_for_nothing(self, task):
        texts = ["", " ", ">>zh<< "]
        task.language, before = "de", task.long_texts
        for task.long_texts in ("cut", "parts", "sentences"):
            task._functions.clear()
            assert [answer["translation"] for answer in task.predict(texts)] == ["", "", ""]
            assert [answer["translation"] for answer in task.translate(texts)] == ["", "", ""]
        task.language, task.long_texts = None, before
        task._functions.clear()

    def test_a_copy_is_a_copy(self, task, monkeypatch):
        monkeypatch.setattr(task, "answers", lambda texts, _: [
            {"translation": "a b", "truncated": False} for _ in texts
        ])  # fmt: skip
        pytest.importorskip("sacrebleu")
        assert task.evaluate([">>de<< a b"], ["c d"])["copies"] == 1

    def test_rows_that_name_another(self, task):
        texts, others = [">>de<< a dog"] * 4, [">>pt<< a dog"]
        with pytest.raises(tfmodels.InputError, match="names the language 'pt', of which the mod"):
            task.fit(texts, ["ein Hund"] * 4, validation_data=(others, ["um"]), epochs=1)
        with pytest.raises(tfmodels.InputError, match="no token .it has de, zh.; correct"):
            task.fit(others * 4, ["um"] * 4, epochs=1)

    def test_none_of_several_translations(self, task):
        with pytest.raises(tfmodels.InputError, match="is empty; every row needs a text to write"):
            task.evaluate(["a", "b"], [["c"], [" "]])
