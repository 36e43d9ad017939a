"""The command line: `tfmodels APPLICATION VERB --name value`, and `tfmodels VERB` for all.

In: arguments. Out: the output of the verb, and an exit status: 0 done, 2 a mistake of the caller
in one line, 1 a mistake of this package, with its traceback.
"""

import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import tfmodels
from applications import comparison, deployment, parsing, server
from applications.settings import Settings
from tfmodels.errors import InputError, LostWorker, first_line

LOST = 75  # sysexits.h: a failure that passes; try again
APPLICATIONS = (
    "classification", "sentiment", "ner", "roles", "qa", "summarization", "translation", "bert",
    "gpt",
)  # fmt: skip
HELP = ("-h", "--help", "--help-all")
EXTRA = ("matplotlib", "rouge_score", "safetensors", "tokenizers", "yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    settings = None
    try:
        if not all(map(importlib.util.find_spec, EXTRA)):
            raise InputError("the command line needs: pip install '.[applications]' in a checkout")
        settings, run = parse(sys.argv[1:] if arguments is None else arguments)
        if isinstance(settings, str):
            print(settings)
            return 0
        settings.check_files()
        # An exception, so that files that are half written are removed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        tfmodels._import_tensorflow()
        run(settings)
    except InputError as error:
        message = parsing.as_flag(first_line(error), vars(settings) if settings else ())
        print(f"tfmodels: {message}", file=sys.stderr)
        return 2
    except LostWorker as error:
        print(f"tfmodels: {error}", file=sys.stderr)
        return LOST
    except BrokenPipeError:
        # The reader of the output ended, as `head` does; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


def parse(arguments: Sequence[str]) -> tuple[Settings | str, Any]:
    """Return `(settings, run)`: the settings of a command line, and the function that takes them.

    For `--help` and `--version`, `settings` is the text to print.

    Raises:
        InputError: a name or a setting is wrong.
    """
    words, command = [*arguments], "tfmodels"
    if words == ["--version"]:
        return f"tfmodels {tfmodels.__version__}", None
    choices = {**dict.fromkeys(APPLICATIONS), **comparison.VERBS, **deployment.VERBS}
    choices |= server.VERBS
    while isinstance(choices, dict):
        if not words or words[0] in HELP:
            return _overview(command, choices), None
        name = words.pop(0)
        if name not in choices:
            kind = "application or verb" if command == "tfmodels" else "verb"
            raise parsing.unknown_name(kind, name, choices, f"give one of {', '.join(choices)}")
        command, choices = f"{command} {name}", choices[name] or _room(name).VERBS
    kind, run = choices
    asked = {*HELP} & {*words}
    if asked:
        return parsing.help_of(kind, command, "--help-all" in asked), None
    return parsing.read(kind, words, command), run


def _room(application):
    return importlib.import_module(f"applications.{application}")


def _overview(command, choices):
    """Return the help of `tfmodels` or of an application: a line for each choice, an example."""
    _, _, application = command.partition(" ")
    title = _about(_room(application).APPLICATION if application else tfmodels)
    lines = [title, "", "Verbs:" if application else "Applications and other verbs:"]
    for name, choice in choices.items():
        about = _about(choice[0] if choice else _room(name).APPLICATION)
        more = "" if choice else f" Verbs: {', '.join(_room(name).VERBS)}."
        lines.append(f"  {name:<15}{about}{more}")
    verb, (kind, _) = next(iter(_room(application or APPLICATIONS[0]).VERBS.items()))
    example = kind.EXAMPLE.format(f"tfmodels {application or APPLICATIONS[0]} {verb}")
    words = f"{command} VERB" if application else f"{command} APPLICATION [VERB]"
    return "\n".join([*lines, "", "Example:", f"  {example}", "", f"More: {words} --help"])


def _about(described):
    return described.__doc__.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
