"""The one exception type for mistakes of the caller.

Everything below `applications` raises `InputError` when what it was given is
wrong: a file, a column, a checkpoint, a setting. The message is one line that
says what is wrong, where, and what to do. The command line prints that line
and exits with status 2; any other exception is a mistake of ours (status 1).
"""


class InputError(ValueError):
    """What the caller gave cannot be used; the message says what, where and what to do."""


class LostWorker(Exception):
    """Another worker of a distributed training, or the way to it, is gone: start all again."""


def first_line(error: object) -> str:
    """The first line of an exception's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
