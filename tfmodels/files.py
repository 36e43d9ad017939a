"""Directories that are whole or not there at all.

What a process was writing when it was killed, or when the disk was full, is never
found under the final name.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import shutil
import uuid
from pathlib import Path

from tfmodels.errors import InputError, first_line

LOCK = ".lock"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # no space
# What the caller can mend: that, no permission, a file in the way, a failing disk.
_OF_THE_CALLER = FULL | {
    errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EIO,
}  # fmt: skip


def write_json(path, value):
    """Write a JSON value, indented, in UTF-8."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    Path(path).write_text(text, encoding="utf-8")


def hash_of(path):
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


@contextlib.contextmanager
def whole_directory(path, instead):
    """A directory to fill, which gets its name only when the block has ended well.

    Until then it is `.partial-<random>` beside it; after an exception nothing is left. What
    earlier processes left when they were killed is removed as well: a lock, which ends with
    its process, tells a directory that is being written from one that was left.

    Args:
        path: the final name; must not exist yet, or be an empty directory.
        instead: what the caller can give instead, for the messages: `"another --output_dir"`.

    Yields:
        `Path` to write into.

    Raises:
        InputError: `path` exists, cannot be written, or the disk is full.
    """
    path = Path(path)
    refuse_existing(path, instead)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path.parent)
        partial, lock = _locked(path.parent)
        try:
            with lock:
                yield partial
                # Under the lock: without it, or without its file, it would count as left.
                (partial / LOCK).unlink()
                _rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        if error.errno not in _OF_THE_CALLER:
            raise
        raise InputError(
            f"{path}: cannot be written ({first_line(error)}); free space there or give {instead}"
        ) from error


def refuse_existing(path, instead):
    """Raises `InputError` where something is; an empty directory is nothing."""
    path = Path(path)
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise InputError(f"{path}: already exists; give {instead} or remove it")


def _locked(parent):
    """A new directory to write into, and the open lock that says so."""
    while True:
        partial = parent / f".partial-{uuid.uuid4().hex[:12]}"
        partial.mkdir()
        lock = open(partial / LOCK, "wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (partial / LOCK).exists():
            return partial, lock
        lock.close()  # another process took it for left before it was locked


def _remove_left(parent):
    for old in parent.glob(".partial-*"):
        # Locked by a living process, or just now removed by another one.
        with contextlib.suppress(OSError), open(old / LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)


def _rename(partial, path):
    """Gives `partial` its name; another one if somebody took it while it was written."""
    try:
        partial.rename(path)
    except OSError as error:
        kept = path.with_name(path.name + partial.name.removeprefix(".partial"))
        partial.rename(kept)
        raise InputError(f"{path}: exists by now; the result is in {kept}") from error
