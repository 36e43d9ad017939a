"""Directories that are whole or not there at all.

What a process was writing when it was killed, or when the disk was full, is never
found under the final name.
"""

import contextlib
import os
import re
import shutil
from pathlib import Path


@contextlib.contextmanager
def renamed_when_whole(parent):
    """A new directory in `parent` to write into and rename; gone if it was not renamed.

    What earlier processes left when they were killed is removed as well.

    Args:
        parent: an existing directory.

    Yields:
        `Path` of the new directory, `<parent>/.partial-<process id>`.
    """
    parent = Path(parent)
    for old in parent.glob(".partial-*"):
        if not _is_running(re.sub(r"\D", "", old.name)):
            shutil.rmtree(old, ignore_errors=True)
    partial = parent / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_running(process_id):
    try:
        os.kill(int(process_id), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
