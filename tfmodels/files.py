"""Files that are whole or not there at all, and what everybody reads and writes in them.

What a process was writing when it was killed, or when the disk was full, is never found under
its final name.
"""

import contextlib
import errno
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tfmodels.errors import InputError, first_line

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # no space
# What the caller can mend: that, no permission, a file in the way, a failing disk.
_OF_THE_CALLER = FULL | {
    errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EIO,
}  # fmt: skip


@contextlib.contextmanager
def whole_directory(path: str | Path, instead: str) -> Iterator[Path]:
    """Yield a directory to fill, which gets its name only when the block has ended well.

    Until then it is `.partial-<random>` beside it; after an exception nothing is left. What
    earlier processes left when they were killed is removed as well: the lock
    `.partial-<random>.lock`, which ends with its process, tells a directory that is being
    written from one that was left.

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
        if error.errno not in _OF_THE_CALLER:
            raise
        raise InputError(
            f"{path}: cannot be written ({first_line(error)}); free space there or give {instead}"
        ) from error


def refuse_existing(path: str | Path, instead: str) -> None:
    """Raise `InputError` where something is; an empty directory is nothing."""
    path = Path(path)
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise InputError(f"{path}: already exists; give {instead} or remove it")


def _remove_left(parent):
    for lock in parent.glob(".partial-*.lock"):
        # Locked by a living process, or just now removed by another one.
        with contextlib.suppress(OSError, InputError), locked(lock, "being written"):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)


def _rename(partial, path):
    """Give `partial` its name; another one if somebody took it while it was written."""
    try:
        partial.rename(path)
    except OSError as error:
        kept = path.with_name(path.name + partial.name.removeprefix(".partial"))
        partial.rename(kept)
        raise InputError(f"{path}: exists by now; the result is in {kept}") from error


@contextlib.contextmanager
def locked(path: str | Path, busy: str | None = None) -> Iterator[None]:
    """Hold a lock while the block runs: of all processes, only one is in it at a time.

    The lock ends with its process, however that ends; its file stays.

    Args:
        path: of the file to lock; it is made if it is missing.
        busy: the message if another process holds the lock; waits for it if not given.

    Raises:
        InputError: another process holds the lock, and `busy` is given.
        OSError: the file cannot be made.
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
        path: of the file.
        remedy: what the caller can do, for the messages.

    Raises:
        InputError: the file is missing or holds no JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValueError as error:  # broken UTF-8 and broken JSON
        raise InputError(f"{path}: no JSON ({first_line(error)}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; {remedy}")
    return content


def write_json(path: str | Path, content: Any) -> None:
    """Write indented JSON in UTF-8; under its name it is whole or not there.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{uuid.uuid4().hex[:12]}-{path.name}")
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def hash_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
