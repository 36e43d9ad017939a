"""The page in a headless Chromium: what a person sees of each task, by mouse and keyboard.

The models answer by simple rules, in signatures of the real names, so that what has to be on the
page is known. The tagger is one that version 0.1 wrote.
"""

import contextlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import tensorflow as tf

from tfmodels.serving.saved_model import save
from tfmodels.serving.server import Server

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium; run: apt-get install chromium (or google-chrome)"
)
OLD = Path(__file__).parents[1] / "golden" / "written_0_1"
TEXT = {"text": tf.TensorSpec([None], tf.string)}
MOST = 4000  # tokens that the generator writes


def classify(text):
    good = tf.cast(tf.strings.regex_full_match(text, r"(?s).*(joy|好看).*"), tf.float32)
    probabilities = tf.stack([0.9 - 0.8 * good, 0.1 + 0.8 * good], 1)
    names = tf.constant(["<b>bad</b>", "good"])
    return {
        "label": tf.gather(names, tf.argmax(probabilities, 1)),
        "probabilities": probabilities,
        "classes": tf.broadcast_to(names, tf.shape(probabilities)),
    }


def summarize(text):
    return {"summary": tf.strings.substr(text, 0, 12, unit="UTF8_CHAR"),
            "score": tf.zeros([tf.size(text)]), "parts": tf.ones([tf.size(text)], tf.int32),
            "truncated": tf.strings.length(text) > 5000}  # fmt: skip


def translate(text):
    return {"translation": tf.strings.upper(text), "score": tf.zeros([tf.size(text)])}


def answer(question, context):
    """The first word of the context, where the question is one."""
    found = tf.strings.regex_full_match(question, r".*\?")
    word = tf.where(found, tf.strings.split(context)[:, :1].to_tensor("")[:, 0], "")
    length = tf.strings.length(word, unit="UTF8_CHAR")
    start = tf.where(found, 0, -1)
    score = tf.ones([tf.size(question)])
    end = tf.where(found, length, -1)
    return {"answer": word, "start": start, "end": end, "score": score, "null_score": 0 * score}


def answers(question, context):
    """Two answers to a question, the second one none."""
    best = answer(question, context)
    others = {"answer": "", "start": -1, "end": -1, "score": 0.5}
    return {name: tf.stack([best[name], tf.fill(tf.shape(best[name]), other)], 1)
            for name, other in others.items()}  # fmt: skip


def find_roles(text):
    """The second word is a predicate, the first one its argument; in a text of one word none."""
    rows = tf.strings.regex_full_match(text, r"\w+ \w+.*")
    places = tf.strings.split(text).to_tensor("")
    places = tf.pad(places, [[0, 0], [0, 2]])
    ends = tf.strings.length(places, unit="UTF8_CHAR")

    def where(values, other):
        return tf.where(rows, values, tf.fill(tf.shape(values), other))[:, None]

    none = tf.fill([tf.size(text), 1, 1], -1)
    return {
        "predicate": where(places[:, 1], ""), "predicate_start": where(ends[:, 0] + 1, -1),
        "predicate_end": where(ends[:, 0] + 1 + ends[:, 1], -1),
        "role": tf.concat([where(tf.fill(tf.shape(text), "ARG0"), "")[..., None],
                           tf.fill([tf.size(text), 1, 1], "")], 2),
        "start": tf.concat([where(0 * ends[:, 0], -1)[..., None], none], 2),
        "end": tf.concat([where(ends[:, 0], -1)[..., None], none], 2),
    }  # fmt: skip


def fill(text):
    rows = tf.size(text)
    there = tf.strings.regex_full_match(text, r".*\[MASK\].*")[:, None, None]
    token = tf.broadcast_to(tf.constant([[["film", "book", "day"]]]), [rows, 1, 3])
    score = tf.broadcast_to(tf.constant([[[0.5, 0.3, 0.1]]]), [rows, 1, 3])
    return {"token": tf.where(there, token, ""), "score": tf.where(there, score, 0.0)}


def generate(prompt, max_new_tokens, **rows):
    fine = tf.debugging.Assert(
        tf.reduce_all((max_new_tokens >= 1) & (max_new_tokens <= MOST)),
        [f"max_new_tokens: give 1 to {MOST}", max_new_tokens],
    )
    with tf.control_dependencies([fine]):
        return {"text": written(tf.zeros([tf.size(prompt), 0], tf.int32), max_new_tokens[0])}


def written(token_ids, length):
    one = tf.strings.reduce_join(tf.fill([length], " la"), 0)
    return tf.fill([tf.shape(token_ids)[0]], one)


def stream(prompt, max_new_tokens, token_ids, mask, **rows):
    text = generate(prompt, max_new_tokens)["text"]
    length = tf.minimum(tf.shape(token_ids)[1] + 8, max_new_tokens[0])
    ids = tf.ones([tf.size(text), length], tf.int32)
    ended = tf.fill([tf.size(text)], length >= max_new_tokens[0])
    return {"text": written(ids, length), "token_ids": ids, "mask": ids > 0, "finished": ended}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("page") / "models"
    with tarfile.open(OLD / "ner_crf_true" / "1.tar.xz") as archive:
        archive.extractall(root / "names", filter="data")
    string, number = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.float32)
    whole = tf.TensorSpec([None], tf.int32)
    settings = {"prompt": string, "max_new_tokens": whole, "temperature": number, "top_k": whole,
                "top_p": number, "seed": whole}  # fmt: skip
    ids = {"token_ids": tf.TensorSpec([None, None], tf.int32),
           "mask": tf.TensorSpec([None, None], tf.bool)}  # fmt: skip
    asked = {"question": string, "context": string}
    for name, function in (("classify", classify), ("fill", fill), ("summarize", summarize),
                           ("roles", find_roles), ("translate", translate)):  # fmt: skip
        save(root / name, {"serving_default": (function, TEXT)})
    both = {"serving_default": (answer, asked), "n_best": (answers, asked)}
    save(root / "answer", both)
    signatures = {"generate": (generate, settings), "stream": (stream, settings | ids)}
    save(root / "write", signatures)
    return root


@pytest.fixture(scope="module")
def server(folder):
    with Server([folder], port=0, grpc_port=None) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """A page of a new visitor; a mistake of its script or a request elsewhere fails the test."""
    with opened(browser, server) as page:
        yield page


@contextlib.contextmanager
def opened(browser, server, query="", **options):
    context = browser.new_context(
        locale="en-US", viewport={"width": 1000, "height": 900}, **options
    )
    context.set_default_timeout(30_000)
    page, wrong, asked = context.new_page(), [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on(
        "console", lambda line: wrong.append(line.text) if "Security Policy" in line.text else None
    )
    page.goto(server.address + query)
    page.wait_for_selector("#run:not(:disabled)")
    yield page
    assert not wrong
    allowed = ("http://127.0.0.1:", "data:", "blob:")
    assert all(url.startswith(allowed) for url in asked)
    context.close()


def choose(page, model):
    page.select_option("#model", model)
    page.wait_for_selector("#signature option", state="attached")
    page.wait_for_selector("#inputs textarea")


def run(page, model, **texts):
    """Fill in, press the button, and return what the answer says."""
    choose(page, model)
    for name, text in texts.items():
        page.fill(f"textarea[name={name}]", text)
    page.click("#run")
    page.wait_for_selector("#run:not(:disabled)")
    return page.inner_text("#answer")


def test_models_come_from_the_server(page):
    options = page.eval_on_selector_all("#model option", "all => all.map(one => one.value)")
    assert options == ["answer", "classify", "fill", "names", "roles", "summarize", "translate",
                       "write"]  # fmt: skip
    assert page.inner_text("#version") == "version 1"


def test_classes(page):
    text = run(page, "classify", text="such a joy")
    assert text.splitlines()[0] == "good"
    assert "90.0 %" in text and "10.0 %" in text and "<b>bad</b>" in text
    widths = page.eval_on_selector_all(".bar", "all => all.map(one => one.offsetWidth)")
    filled = page.eval_on_selector_all(".bar > span", "all => all.map(one => one.offsetWidth)")
    assert filled[0] == pytest.approx(0.9 * widths[0], abs=2)


def test_entities(page):
    # Five characters that are one family, a letter with its accent, and one beyond 16 bits.
    text = "👩‍👩‍👧 e\u0301 𝄞 Ada Lovelace flew to Paris ."
    run(page, "names", text=text)
    spans = page.eval_on_selector_all(
        ".entity",
        "all => all.map(one => [one.firstChild.data, one.querySelector('.type').innerText])",
    )
    found = [(text, kind.split()[0]) for text, kind in spans]
    assert ("Ada Lovelace", "PER") in found and ("Paris", "LOC") in found
    assert all(kind.endswith(" %") for _, kind in spans)
    colours = page.eval_on_selector_all(
        ".entity", "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert len(set(colours)) == 2
    page.eval_on_selector_all(".type", "all => all.map(one => one.remove())")
    assert page.text_content("#answer") == text


def test_answer(page):
    run(page, "answer", question="Who?", context="Ada 😀 wrote")
    assert page.inner_text("mark") == "Ada"
    assert page.inner_text("#answer p:last-child") == "Ada 😀 wrote"
    assert "No answer in the context." in run(page, "answer", question="no", context="Ada")


def test_masks(page):
    run(page, "fill", text="A good [MASK].")
    found = page.eval_on_selector_all("ol.words li", "all => all.map(one => one.innerText)")
    assert found == ["film 50.0 %", "book 30.0 %", "day 10.0 %"]
    assert "write [MASK]" in run(page, "fill", text="A good film.")


def test_summary_and_translation_are_beside_the_source(page):
    run(page, "summarize", text="一部很好看的电影，我非常喜欢。")
    sides = page.eval_on_selector_all(".beside p", "all => all.map(one => one.innerText)")
    assert sides == ["一部很好看的电影，我非常喜欢。", "一部很好看的电影，我非常"]
    boxes = page.eval_on_selector_all(
        ".beside > *", "all => all.map(one => one.getBoundingClientRect().top)"
    )
    assert boxes[0] == boxes[1]
    assert "HELLO" in run(page, "translate", text="hello")


def test_generation_comes_as_it_is_written(page):
    choose(page, "write")
    page.fill("textarea[name=prompt]", "Sing:")
    page.fill("input[name=max_new_tokens]", "200")
    lengths = """() => { window.seen = []; new MutationObserver(() => window.seen.push(
        document.querySelector('#answer').innerText.length)).observe(
        document.querySelector('#answer'), {childList: true, subtree: true}); }"""
    page.evaluate(lengths)
    page.click("#run")
    page.wait_for_selector("#run:not(:disabled)")
    assert page.inner_text("#answer") == "Sing:" + " la" * 200
    seen = page.evaluate("window.seen")
    assert len(set(seen)) > 10 and seen == sorted(seen)
    assert "200 tokens" in page.inner_text("#took")


@pytest.mark.parametrize("by", ["button", "key"])
def test_generation_stops(page, by):
    choose(page, "write")
    page.fill("textarea[name=prompt]", "Sing:")
    page.fill("input[name=max_new_tokens]", str(MOST))
    page.click("#run")
    page.wait_for_selector(".cursor")
    page.click("#stop") if by == "button" else page.keyboard.press("Escape")
    page.wait_for_selector("#run:not(:disabled)")
    text = page.inner_text("#answer")
    assert text.startswith("Sing: la") and len(text) < 3 * MOST
    assert "stopped" in page.inner_text("#took") and not page.query_selector(".cursor")


def test_a_setting_beyond_what_the_model_writes(page):
    choose(page, "write")
    page.fill("input[name=max_new_tokens]", "9999")
    page.fill("textarea[name=prompt]", "Sing:")
    page.click("#run")
    page.wait_for_selector(".cursor")
    assert page.input_value("input[name=max_new_tokens]") == str(MOST)
    page.keyboard.press("Escape")
    page.wait_for_selector("#run:not(:disabled)")
    page.fill("input[name=max_new_tokens]", "0")
    page.evaluate("document.querySelector('#form').noValidate = true")
    page.click("#run")
    page.wait_for_selector("#error:not([hidden])")
    assert f"max_new_tokens: give 1 to {MOST}" in page.inner_text("#error")


def test_nothing_to_run(page):
    assert run(page, "classify", text="  ") == ""
    assert page.inner_text("#error") == "Nothing to run: type a text first."
    assert run(page, "classify", text="a joy") and page.is_hidden("#error")


def test_long_text(page):
    text = ("很好看 and a joy, " * 700)[:10_000]
    assert len(text) == 10_000
    assert run(page, "classify", text=text).startswith("good")
    run(page, "summarize", text=text)
    assert page.text_content(".beside p") == text
    assert "The source was cut" in page.inner_text("#answer")


def test_right_to_left(page):
    run(page, "summarize", text="שלום עולם, زيارة رائعة")
    directions = page.eval_on_selector_all(
        "#inputs textarea, .beside p", "all => all.map(one => getComputedStyle(one).direction)"
    )
    assert directions == ["rtl"] * 3


def test_text_stays_text(page):
    text = "<script>window.wrong = 1</script><img src=x onerror='window.wrong = 1'> a joy"
    run(page, "summarize", text=text)
    assert page.inner_text(".beside p") == text
    assert run(page, "classify", text="no").splitlines()[0] == "<b>bad</b>"
    assert page.evaluate("window.wrong") is None
    assert not page.query_selector("#answer img") and not page.query_selector("#answer b")


def test_keyboard(page):
    choose(page, "classify")
    page.focus("#theme")
    page.keyboard.press("Enter")
    for _ in range(3):  # one text, table, then the text
        page.keyboard.press("Tab")
    page.keyboard.type("a joy")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#answer .bars")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "run"


def test_chinese_and_dark_are_remembered(browser, server):
    with opened(browser, server) as page:
        page.click("#language")
        assert (
            page.inner_text("#run") == "运行"
            and page.evaluate("document.documentElement.lang") == "zh"
        )
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        page.reload()
        page.wait_for_selector("#run:not(:disabled)")
        assert page.inner_text("#run") == "运行" and page.inner_text("#theme") == "浅色"


def test_every_text_is_in_both_languages(page):
    pairs = page.evaluate(
        "import('/page/texts.js').then(({TEXTS}) => [TEXTS.en, TEXTS.zh].map(Object.keys))"
    )
    assert pairs[0] == pairs[1]
    used = page.eval_on_selector_all("[data-text]", "all => all.map(one => one.dataset.text)")
    assert set(used) <= set(pairs[0])


def test_a_phone(browser, server):
    with opened(browser, server, color_scheme="dark") as page:
        page.set_viewport_size({"width": 360, "height": 640})
        run(page, "summarize", text="x" * 300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        boxes = page.eval_on_selector_all(
            ".beside > *", "all => all.map(one => one.getBoundingClientRect().top)"
        )
        assert boxes[0] < boxes[1]  # one below the other
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_table(page):
    choose(page, "classify")
    page.click("#many")
    rows = "\n".join(f'{number},"a ""joy"", line\nbreak {number}"' for number in range(40))
    page.fill("#csv", f"id,text\n{rows}\n\n7,很难看\n")
    page.click("#run")
    page.wait_for_selector("#run:not(:disabled)")
    found = page.eval_on_selector_all(
        "tbody tr", "all => all.map(one => [...one.cells].map(c => c.textContent))"
    )
    assert len(found) == 41
    assert found[0] == ["1", 'a "joy", line\nbreak 0', "good", "90.0 %"]
    assert found[-1] == ["41", "很难看", "<b>bad</b>", "90.0 %"]
    page.select_option("#columns select", "0")
    page.click("#run")
    page.wait_for_selector("#run:not(:disabled)")
    assert page.inner_text("tbody tr:last-child td:nth-child(2)") == "7"


def test_a_card_for_each_predicate(page):
    run(page, "roles", text="Ada left today")
    spans = page.eval_on_selector_all("#answer .entity", "all => all.map(one => one.textContent)")
    assert spans == ["AdaARG0", "leftV"]
    assert "No predicates found" in run(page, "roles", text="Ada")


def test_several_answers_in_their_order(page):
    choose(page, "answer")
    page.select_option("#signature", "n_best")
    page.wait_for_selector("#inputs textarea[name=context]")
    for name, text in (("question", "who?"), ("context", "Ada left")):
        page.fill(f"textarea[name={name}]", text)
    page.click("#run")
    page.wait_for_selector("#run:not(:disabled)")
    assert page.inner_text("#answer strong") == "Ada"
    assert page.inner_text("#answer ol") == "Ada 1.000"


def test_the_lines_to_copy_work(page, server):
    text = 'it\'s a "joy" \\ 很好看'
    run(page, "classify", text=text)
    curl, python = page.text_content("#curl"), page.text_content("#python")
    done = subprocess.run(
        ["bash", "-c", curl.replace("curl ", "curl -s ", 1)], capture_output=True, text=True
    )
    assert '"label":"good"' in done.stdout
    printed = []
    exec(python, {"print": printed.append})  # noqa: S102
    assert printed[0]["label"].tolist() == [b"good"]
    page.click("#code summary")
    page.click("button[data-copy=curl]")
    page.wait_for_selector("button[data-copy=curl]:text('Copied')")


def test_a_server_that_goes_away(browser, folder):
    gone = Server([folder / "classify"], port=0, grpc_port=None)
    with opened(browser, gone) as page:
        run(page, "classify", text="a joy")
        gone.close()
        page.click("#run")
        page.wait_for_selector("#error:not([hidden])")
        assert "The server does not answer" in page.inner_text("#error")
        with Server([folder / "classify"], port=gone.port, grpc_port=None):
            page.click("#run")
            page.wait_for_selector("#error", state="hidden")
            page.wait_for_selector("#run:not(:disabled)")
            assert page.is_hidden("#error") and page.inner_text("#answer").startswith("good")


def test_another_server(browser, server, folder):
    """The page of one server asks another, as it would a TF Serving that allows it."""
    with Server([folder / "write"], port=0, grpc_port=None, cors=True) as other:
        query = f"?server=http://127.0.0.1:{other.port}/&model=write"
        with opened(browser, server, query) as page:
            page.fill("input[name=max_new_tokens]", "20")
            assert run(page, "write", prompt="Sing:") == "Sing:" + " la" * 20
            assert f"127.0.0.1:{other.port}" in page.text_content("#curl")
