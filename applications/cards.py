"""The model card, `README.md` in the model directory: what it is, how it was made, how good it is.

In: a trained task, its metrics and settings. Out: Markdown with the header that the Hugging Face
Hub reads. No path of this machine gets into it.
"""

import datetime
import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tfmodels
from tfmodels.serving.cards import ENDS, STAYS
from tfmodels.text.languages import guess_language


def write_card(
    directory: Path, application: Any, task: Any, rows: Any, settings: Any, metrics: dict,
    pictures: Iterable[str],
) -> None:  # fmt: skip
    """Write the model card, `card.md` filled in.

    Args:
        directory: of the model.
        application, task, rows, settings, metrics: `Application`, the task that it trained, on
            what, the dataclass of the verb, and the metrics of held-out rows.
        pictures: names of the PNG files in `plots/`.
    """
    import keras
    import tensorflow as tf

    kind, name = application.kind, Path(settings.output_dir).name
    values = {key: public(key, value) for key, value in vars(settings).items()}
    chinese = is_chinese(rows)
    texts = [
        kind.examples[chinese],
        *([kind.pairs[chinese]] if kind.pairs[chinese] and task.text_columns == 2 else []),
    ]
    in_python, in_shell = application.example(task, texts)
    export = also = ""
    if application.can_export(task):
        export = f"tfmodels {application.name} export --model_dir {shlex.quote(name)}\n"
        also = ", and a SavedModel for TF Serving"
    data = _files(values, "train_file", "dataset", "text_files", "records_dir")
    held_out = _files(values, "eval_file", "eval_files")
    drawn = f"{settings.held_out:.0%} of it, drawn at random"
    drawn += ", stratified by label" if application.labelled else ""
    results = [
        *application.card(metrics, settings, task),
        *(f"![{picture.capitalize()}](plots/{picture}.png)" for picture in pictures),
    ]
    shown = {k: v for k, v in values.items() if v is not None and k != "output_dir"}
    card = Path(__file__).with_name("card.md").read_text(encoding="utf-8").format(
        header=_header(kind, name, data, settings.checkpoint, metrics, chinese),
        title=application.title, name=name, what=kind.what, use=kind.use, data=data,
        start="from " + ("scratch" if settings.checkpoint == "none" else values["checkpoint"]),
        described=task.history.data, results="\n\n".join(results), date=datetime.date.today(),
        held_out=f"`{held_out}`" if held_out else drawn,
        tfmodels=tfmodels.__version__, tensorflow=tf.__version__, keras=keras.__version__,
        ended=task.history.ended, settings=json.dumps(shown, indent=2, ensure_ascii=False),
        stays=STAYS, ends=ENDS, application=application.name,
        name_in_python=json.dumps(name, ensure_ascii=False), name_in_shell=shlex.quote(name),
        text_in_python=in_python, text_in_shell=in_shell,
        export=export, also=also,
    )  # fmt: skip
    (directory / "README.md").write_text(card, encoding="utf-8")


def public(name: str, value: Any) -> Any:
    """Return a setting without the folders of this machine: a file's name, or a name on the hub."""
    if isinstance(value, list):
        return [public(name, part) for part in value]
    if not isinstance(value, str) or re.match(r"[a-z][a-z-]+:(?![/\\~.])", value):  # tfds:NAME
        return value
    path = name.endswith(("_file", "_files", "_dir")) or name in ("tokenizer", "vocabulary")
    path |= name == "checkpoint" and Path(value).exists()
    path |= re.match(r"(~|\.{0,2})[/\\]+\w|[A-Za-z]:[/\\]", value) is not None
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if path else value


def is_chinese(rows: Any) -> bool:
    """Return whether the first texts are in Chinese."""
    texts = (text for _, text, _ in rows.passages()) if hasattr(rows, "passages") else (
        (row[0] for _, row in rows.rows()) if hasattr(rows, "rows") else ()
    )  # fmt: skip
    return guess_language(texts) == "zh"


def _files(values: dict, *names: str) -> str:
    """Return the first of the settings that is given."""
    files = next((values[name] for name in names if values.get(name)), "")
    return ", ".join(files) if isinstance(files, list) else files


def _header(kind, name, data, checkpoint, metrics, chinese):
    """Return the YAML that the hub reads."""
    import yaml

    from tfmodels.checkpoints.files import HUB_NAME, HUB_PRESET

    header = {"library_name": "keras", "tags": ["tfmodels"], "pipeline_tag": kind.pipeline}
    if chinese:
        header["language"] = ["zh"]
    on_hub = HUB_NAME.fullmatch(checkpoint) and not HUB_PRESET.fullmatch(checkpoint)
    if checkpoint != "none" and not Path(checkpoint).exists() and on_hub:
        header["base_model"] = checkpoint
    results = [
        {"type": kind.metrics[key], "name": key, "value": round(float(metrics[key]), 4)}
        for key in kind.metrics if key in metrics
    ]  # fmt: skip
    if results:
        header["metrics"] = list(dict.fromkeys(result["type"] for result in results))
        dataset = {"name": data, "type": data, "split": "held out"}
        result = {"task": {"type": kind.pipeline}, "dataset": dataset, "metrics": results}
        header["model-index"] = [{"name": name, "results": [result]}]
    return yaml.safe_dump(header, allow_unicode=True, sort_keys=False)
