"""Exceptions of the library.

The library raises `InputError` for invalid input: a file, a column, a checkpoint, an argument. The
message is one line with the problem, its place and the remedy. The command line prints the line
and exits with status 2; any other exception is a bug of the library (status 1).
"""

import reprlib

brief = reprlib.Repr()  # keeps values in messages short and on one line
brief.maxstring, brief.maxlist, brief.maxtuple = 60, 30, 30


class InputError(ValueError):
    """Invalid input of the caller; the message names the problem, its place and the remedy."""


class LostWorker(Exception):
    """The connection to a worker of a distributed training is lost: restart all workers."""


def first_line(error: object) -> str:
    """Return the first line of an exception's message, or its type if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
