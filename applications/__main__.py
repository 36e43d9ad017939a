"""The command line: `tfmodels APPLICATION VERB --name value`, and `tfmodels VERB` for all.

In: arguments. Out: what the verb prints, and an exit status: 0 done, 2 a mistake of the
caller, said in one line, 1 a mistake of ours, with its traceback.
"""

import dataclasses
import importlib.util
import os
import signal
import sys

import tfmodels
from applications import deployment
from tfmodels.errors import InputError, LostWorker, first_line

LOST = 75  # sysexits.h: a failure that passes; try again
APPLICATIONS = {name: room.VERBS for name, room in deployment.ROOMS.items()}
# Given without a name.
POSITIONAL = {
    "url": {"help": "of a model on a server"},
    "text": {"nargs": "*", "help": "texts to answer"},
    "directory": {"help": "of a version, or of several"},
}


def build_parser():
    """The parser of the command line; settings are the fields of the verbs' dataclasses."""
    import jsonargparse

    class ArgumentParser(jsonargparse.ArgumentParser):
        """One whose mistakes are one line, without the usage above it."""

        def error(self, message, ex=None):
            line = " ".join(str(message).split())
            raise InputError(f"{line} (see {self.prog.split(' [')[0]} --help)") from ex

    def add_verbs(subcommands, verbs):
        for verb, (settings, _) in verbs.items():
            options = ArgumentParser()
            options.add_argument("--config", action="config", help="YAML file with the settings")
            fields = {field.name for field in dataclasses.fields(settings)}
            names = [name for name in POSITIONAL if name in fields]
            for name in names:
                options.add_argument(name, **POSITIONAL[name])
            options.add_class_arguments(settings, skip=set(names))
            subcommands.add_subcommand(verb, options, help=settings.__doc__.splitlines()[0])

    parser = ArgumentParser(prog="tfmodels", description="Transformers in Keras, text to server.")
    applications = parser.add_subcommands(dest="application", metavar="APPLICATION")
    for application, verbs in APPLICATIONS.items():
        verb_parser = ArgumentParser()
        applications.add_subcommand(application, verb_parser)
        add_verbs(verb_parser.add_subcommands(dest="verb", metavar="VERB"), verbs)
    add_verbs(applications, deployment.VERBS)
    return parser


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if importlib.util.find_spec("jsonargparse") is None:
        print("tfmodels: the command line needs: pip install '.[applications]' in its checkout",
              file=sys.stderr)  # fmt: skip
        return 2
    values = {}
    try:
        parsed = build_parser().parse_args(arguments)
        # So that what is half written is removed, as after any exception.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        tfmodels._import_tensorflow()
        name, options, verbs = parsed.application, parsed[parsed.application], deployment.VERBS
        if name in APPLICATIONS:
            verbs, name = APPLICATIONS[name], options.verb
            options = options[name]
        settings, run = verbs[name]
        values = {k: v for k, v in options.as_dict().items() if k != "config"}
        run(settings(**values))
    except InputError as error:
        print(f"tfmodels: {_as_flag(first_line(error), values)}", file=sys.stderr)
        return 2
    except LostWorker as error:
        print(f"tfmodels: {error}", file=sys.stderr)
        return LOST
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


def _as_flag(message, values):
    """Return a message that begins with an argument's name with the name of its flag."""
    name, *rest = message.split(" ", 1)
    return f"--{message}" if rest and name.rstrip(":") in values else message


if __name__ == "__main__":
    sys.exit(main())
