"""Summaries, and any other text written for a text: `tfmodels summarization VERB`.

In: a table with a source and a target column: articles and summaries, e-mails and subjects,
sentences and translations. Out: a model directory (a `Transformer`, laid out as BART is), ROUGE
beside what the first sentences alone would get, answers as JSON lines, a SavedModel. The settings
of each verb are the fields of its dataclass; TensorFlow is imported when a verb runs, not before.
"""

from dataclasses import dataclass
from typing import Literal

from applications.flags import Evaluating, Exporting, FineTuning, Predicting
from applications.flow import WORST_MISTAKES, Application

SEARCH = ("num_beams", "length_penalty", "min_new_tokens", "max_new_tokens", "no_repeat_ngram",
          "long_texts")  # fmt: skip


@dataclass(kw_only=True)
class Searching:
    """How an encoder-decoder searches for its answer; as the model says where not given.

    Args:
        num_beams: sequences that the beam search follows; 1 takes the likeliest token.
        length_penalty: above 1 for longer answers.
        min_new_tokens: fewest tokens of an answer.
        max_new_tokens: most tokens of an answer.
        no_repeat_ngram: no so many tokens twice in a row; 0 for off.
        long_texts: cut reads as much of a long text as the model can; parts reads all of it
            in parts and writes an answer for each, one behind the other.
    """

    num_beams: int | None = None
    length_penalty: float | None = None
    min_new_tokens: int | None = None
    max_new_tokens: int | None = None
    no_repeat_ngram: int | None = None
    long_texts: Literal["cut", "parts"] | None = None


@dataclass(kw_only=True)
class Train(Searching, FineTuning):
    """Trains an encoder-decoder and writes a model directory.

    Args:
        train_file: .tsv, .csv or .jsonl (also .gz), or tfds:NAME[:SPLIT].
        eval_file: rows to choose the best weights on; part of train_file if not given.
        checkpoint: directory or Hugging Face Hub name of a BART, or of a BERT, whose weights then
            start the encoder and the decoder; a directory that train or `tfmodels bert pretrain`
            wrote; or none to start from zero.
        source_column: column of the text to read.
        target_column: column of the text to write.
        max_length: most tokens of a source; what is beyond is cut.
        max_target_length: most tokens of a target, likewise.
        architecture: transformer (Vaswani et al. 2017) or bart, when starting from zero.
        norm_first: normalize before each part (which trains more steadily than behind it, as both
            papers do), when starting from zero; if not given, only a bart is as in its paper.
        size: tiny, mini, small, base or large, when starting from zero.
        num_decoder_layers: decoder blocks, when not starting from a BART.
        label_smoothing: share of the probability that the loss spreads over all tokens.
        schedule: linear (down to zero) or inverse_sqrt (of the step), after the warm-up.
        rouge_examples: held-out rows that are written for and measured, at each evaluation
            with the likeliest token in the place of beams.
        lead_k: sentences, or lines of a dialogue, that the baseline takes.
        evaluations: measurements in each epoch; the weights with the best ROUGE-L are kept.
        num_beams: sequences that the beam search follows, here and when the model is used.
    """

    source_column: str = "text"
    target_column: str = "summary"
    epochs: int = 10
    max_length: int = 256
    max_target_length: int = 64
    architecture: Literal["transformer", "bart"] = "transformer"
    norm_first: bool | None = None
    num_decoder_layers: int | None = None
    label_smoothing: float = 0.1
    schedule: Literal["linear", "inverse_sqrt"] = "linear"
    rouge_examples: int = 200
    lead_k: int = 3


@dataclass(kw_only=True)
class Evaluate(Searching, Evaluating):
    """Measures a model on pairs; the last line printed is one JSON object.

    Args:
        model_dir: what train wrote, or any BART.
        eval_file: rows with a source and a target, as train_file.
        source_column: column of the text to read.
        target_column: column of the text to write.
        lead_k: sentences, or lines of a dialogue, that the baseline takes.
        report_dir: gets examples.md and mistakes.jsonl, if given.
    """

    source_column: str = "text"
    target_column: str = "summary"
    lead_k: int = 3


@dataclass(kw_only=True)
class Predict(Searching, Predicting):
    """Writes for texts; prints one JSON object a text.

    Args:
        model_dir: what train wrote, or any BART.
    """


@dataclass(kw_only=True)
class Export(Searching, Exporting):
    """Writes a SavedModel that takes strings, as the next version in export_dir.

    Args:
        model_dir: what train wrote, or any BART.
    """

    export_dir: str = "saved_models/summarization"


class Summarization(Application):
    """Pairs of a text to read and a text to write."""

    name = "summarization"
    title = "Text to text"
    summary = ("examples", "rouge1", "rouge2", "rougeL", "lead")
    held_out_maximum = 2000

    def task(self):
        from tfmodels.tasks.seq2seq_lm import Seq2SeqLM

        return Seq2SeqLM

    def check(self, settings):
        from tfmodels.generation.settings import Generation
        from tfmodels.metrics import rouge

        search = {name: getattr(settings, name) for name in SEARCH[:-1]}
        given = {name: value for name, value in search.items() if value is not None}
        Generation(**{"max_new_tokens": settings.max_target_length, **given})
        rouge.Tokenizer()

    def open(self, settings, file):
        from tfmodels.data import open_table

        return open_table(file, settings.source_column, settings.target_column)

    def options(self, settings, rows):
        names = ("num_decoder_layers", "max_length", "max_target_length")
        return {name: getattr(settings, name) for name in names}

    def new(self, settings, rows, folder):
        names = ("architecture", "norm_first", "max_new_tokens")
        more = {name: getattr(settings, name) for name in names}
        return {**super().new(settings, rows, folder), **more}

    def started(self, task, settings, rows, folder):
        task.measured_rows = settings.rouge_examples
        self.configure(task, settings)

    def configure(self, task, settings):
        task.lead_k = getattr(settings, "lead_k", task.lead_k)
        task.configure(**{name: getattr(settings, name) for name in SEARCH})

    def measure(self, task, held_out, settings):
        sources, references = task.sample(held_out, settings.rouge_examples)
        return task.evaluate(sources, references, settings.batch_size, mistakes=WORST_MISTAKES)

    def write_report(self, directory, metrics):
        (directory / "examples.md").write_text(metrics["table"] + "\n", encoding="utf-8")

    def card(self, metrics, settings, task):
        from tfmodels.metrics.tables import table
        from tfmodels.serving.cards import ENDS, STAYS

        names = ("rouge1", "rouge2", "rougeL", "rougeLsum")
        rows = [("this model", *(metrics[name] for name in names))]
        rows.append((f"lead {metrics['lead']['k']}", *(metrics["lead"][name] for name in names)))
        return [
            f"On {metrics['examples']} held-out pairs, the best of {len(task.history.epoch)} "
            "evaluations on them:",
            table(("", "ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"), rows),
            STAYS,
            "What it writes:",
            metrics["table"],
            ENDS,
        ]


APPLICATION = Summarization()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
