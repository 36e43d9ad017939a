"""Atomic writing of files and directories, JSON files, locks and hashes.

A file or directory gets its final name only when it is complete, even if the process is killed or
the disk is full.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from tfmodels.errors import InputError, first_line

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # no space
# Errors that the caller can fix: no space, no permission, an existing file, a failing disk.
_FIXABLE = FULL | {
    errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EIO,
}  # fmt: skip


@contextlib.contextmanager
def whole_directory(path: str | Path, instead: str) -> Iterator[Path]:
    """Yield a temporary directory that is renamed to `path` when the block ends without error.

    The temporary directory is `.partial-<random>` beside `path`; it is removed after an exception.
    Temporary directories of killed processes are removed as well: a process holds the lock
    `.partial-<random>.lock` while it writes, and loses it when it ends.

    Args:
        path: the final name; must not exist, or be an empty directory.
        instead: the alternative that messages name, such as `"another --output_dir"`.

    Yields:
        `Path` to write into.

    Raises:
        InputError: `path` exists or cannot be written, or the disk is full.
    """
    path = Path(path)
    refuse_existing(path, instead)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        partial = path.with_name(f".partial-{uuid.uuid4().hex[:12]}")
        lock = partial.with_name(f"{partial.name}.lock")
        with locked(lock):
            try:
                partial.mkdir()
                yield partial
                _rename(partial, path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                lock.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _FIXABLE:
            raise
        raise InputError(
            f"{path}: cannot be written ({first_line(error)}); free space there or give {instead}"
        ) from error


def refuse_existing(path: str | Path, instead: str) -> None:
    """Raise `InputError` if the path exists and is not an empty directory."""
    path = Path(path)
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise InputError(f"{path}: already exists; give {instead} or remove it")


def check_new_file(path: str | Path, instead: str) -> None:
    """Raise `InputError` if the path exists, or no file can be written there.

    Args:
        path: of a file that `whole_file` will write.
        instead: as of `whole_directory`.
    """
    path = Path(path)
    try:
        there = next(parent for parent in path.absolute().parents if parent.exists())
        exists = path.is_symlink() or path.exists()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give {instead}") from None
    if exists:
        raise InputError(f"{path}: already exists; give {instead} or remove it")
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{path}: cannot be written in {there}; give {instead}")


def _remove_abandoned(parent):
    for lock in parent.glob(".partial-*.lock"):
        # Suppressed: a running process holds the lock, or another one has removed the files.
        with contextlib.suppress(OSError, InputError), locked(lock, "being written"):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)


def _rename(partial, path):
    """Rename `partial` to `path`, or to another name if `path` was created in the meantime."""
    try:
        partial.rename(path)
    except OSError as error:
        kept = path.with_name(path.name + partial.name.removeprefix(".partial"))
        partial.rename(kept)
        raise InputError(f"{path}: was created in the meantime; the result is in {kept}") from error


@contextlib.contextmanager
def locked(path: str | Path, busy: str | None = None) -> Iterator[None]:
    """Hold a lock while the block runs; one process at a time can hold it.

    The operating system releases the lock when the process ends; the file remains.

    Args:
        path: path of the lock file; created if missing.
        busy: message of the error if another process holds the lock; None waits for the lock.

    Raises:
        InputError: another process holds the lock, and `busy` is given.
        OSError: the file cannot be created.
    """
    lock = FileLock(path, timeout=-1 if busy is None else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(busy) from error
    try:
        yield
    finally:
        lock.release()


def read_json(
    path: str | Path,
    remedy: str = "copy or download the file again, or give a directory that has it",
) -> dict:
    """Return the JSON object in a file.

    Args:
        path: path of the file.
        remedy: the remedy that messages name.

    Raises:
        InputError: the file is missing or does not hold a JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except (ValueError, RecursionError) as error:  # invalid UTF-8 or JSON
        raise InputError(f"{path}: not valid JSON ({first_line(error)}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; {remedy}")
    return content


def write_json(path: str | Path, content: Any) -> None:
    """Write indented JSON in UTF-8, atomically; raises as `write_text`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write text in UTF-8, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(path) as file:
        file.write(text)


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[TextIO]:
    """Yield a file to write UTF-8 into, which gets its name when the block ends without error.

    Directories above it are made.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def hash_of(path: str | Path) -> str:
    """Return the SHA-256 hash of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
