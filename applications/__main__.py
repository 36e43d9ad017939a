"""The command line: `tfmodels APPLICATION VERB --name value`, and `tfmodels VERB` for all.

In: arguments. Out: what the verb prints, and an exit status: 0 done, 2 a mistake of the
caller, said in one line, 1 a mistake of ours, with its traceback.
"""

import dataclasses
import importlib.util
import os
import signal
import sys

from applications import deployment
from tfmodels.errors import InputError, first_line

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


def _start_tensorflow():
    """Imports TensorFlow without what its libraries write to standard error as they load.

    It says nothing that the caller can act on, comes before any log level is read, and would
    bury the one line of a mistake. Python's own messages and exceptions are not touched.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401

        tf.config.list_physical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if importlib.util.find_spec("jsonargparse") is None:
        print("tfmodels: the command line needs: pip install '.[applications]' in its checkout",
              file=sys.stderr)  # fmt: skip
        return 2
    try:
        parsed = build_parser().parse_args(arguments)
        # So that what is half written is removed, as after any exception.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        _start_tensorflow()
        name, options, verbs = parsed.application, parsed[parsed.application], deployment.VERBS
        if name in APPLICATIONS:
            verbs, name = APPLICATIONS[name], options.verb
            options = options[name]
        settings, run = verbs[name]
        values = {k: v for k, v in options.as_dict().items() if k != "config"}
        run(settings(**values))
    except InputError as error:
        print(f"tfmodels: {first_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
