"""The folder of a training that has not ended, from which the same command resumes.

In: the output directory and the settings of a training. Out: `<output_dir>.unfinished/` with
the settings, the vocabulary, the states and the logs; gone when the training has ended.
"""

import contextlib
import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from tfmodels.errors import InputError
from tfmodels.files import FULL, locked, read_json, write_json

SETTINGS, LOCK, STATES = "settings.json", ".lock", "states"


@contextlib.contextmanager
def unfinished(output_dir: str, settings: dict, free: Collection[str] = ()) -> Iterator[Path]:
    """Yield the folder of this training, new or as an earlier process left it.

    Args:
        output_dir: of the training; the folder is beside it.
        settings: dict of JSON values, all that the result depends on.
        free: names of settings that may change when it resumes.

    Yields:
        `Path` of the folder. It is removed when the block has ended well, or before there was
        a state to resume from (`states/`); else it stays.

    Raises:
        InputError: the folder is of a training with other settings, another process is
            working in it, or it cannot be written.
    """
    from tfmodels.training.state import states

    path = Path(f"{str(output_dir).rstrip('/')}.unfinished")
    busy = f"{path}: another process is training there; wait for it, or give another --output_dir"
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path / LOCK, busy))
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); give another --output_dir"
            ) from error
        settings = json.loads(json.dumps(settings))
        if states(path / STATES):
            _check_same(path, settings, free)
        else:  # nothing to resume from: a process was killed before its first state
            for left in path.iterdir():
                if left.name != LOCK:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            with _full_disk(path):
                if not (path / SETTINGS).exists():
                    write_json(path / SETTINGS, settings)
                yield path
        except BaseException:
            if not states(path / STATES):
                shutil.rmtree(path, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _full_disk(path):
    """Turn the error of a full disk into an `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(
            f"{error.filename or path}: cannot be written ({error.strerror}); free space there or "
            "give another --output_dir"
        ) from error


def _check_same(path, settings, free):
    before = read_json(path / SETTINGS, "remove the folder to start over")
    for name in sorted(settings.keys() | before.keys()):
        if name not in free and before.get(name) != settings.get(name):
            changed = f"with --{name} {before.get(name)}, and now it is {settings.get(name)}"
            if name.endswith(("_file", "_files", "_dir")):  # fingerprints mean nothing to a person
                changed = f"with --{name} of other contents"
            raise InputError(
                f"{path}: an unfinished training {changed}; give the same to resume, or remove the "
                "folder to start over"
            )
