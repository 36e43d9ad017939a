"""`whole_directory`: whole under its name, or not there."""

import errno
import fcntl
import shutil

import pytest

from tfmodels import files
from tfmodels.errors import InputError
from tfmodels.files import LOCK, whole_directory


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_gets_its_name_at_the_end(tmp_path):
    with whole_directory(tmp_path / "deep" / "model", "another") as partial:
        (partial / "file").write_text("x")
        assert names(tmp_path / "deep") == [partial.name]
    assert names(tmp_path / "deep") == ["model"]
    assert names(tmp_path / "deep" / "model") == ["file"]


def test_nothing_is_left_after_an_exception(tmp_path):
    with pytest.raises(RuntimeError), whole_directory(tmp_path / "model", "another"):
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_full_disk_is_the_callers_and_another_error_is_not(tmp_path):
    with pytest.raises(InputError, match="model: cannot be written .*give another"):  # noqa: SIM117
        with whole_directory(tmp_path / "model", "another"):
            raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BrokenPipeError), whole_directory(tmp_path / "model", "another"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_an_existing_directory_is_refused_and_an_empty_one_is_not(tmp_path):
    with whole_directory(tmp_path, "another") as partial:
        (partial / "file").write_text("x")
    with pytest.raises(InputError, match="already exists"), whole_directory(tmp_path, "another"):
        pass


def test_two_at_once_leave_each_other_alone(tmp_path):
    with whole_directory(tmp_path / "a", "another") as first:
        (first / "file").write_text("a")
        with whole_directory(tmp_path / "b", "another"):
            pass
        assert (first / "file").exists()
    assert names(tmp_path) == ["a", "b"]


def test_what_a_dead_process_left_is_removed(tmp_path):
    left = tmp_path / ".partial-left"
    left.mkdir()
    (left / LOCK).touch()
    with whole_directory(tmp_path / "model", "another"):
        pass
    assert names(tmp_path) == ["model"]


def test_the_result_is_kept_when_the_name_is_taken_meanwhile(tmp_path):
    with pytest.raises(InputError, match="the result is in") as refused:  # noqa: SIM117
        with whole_directory(tmp_path / "model", "another") as partial:
            (partial / "file").write_text("x")
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "other").touch()
    kept = str(refused.value).split(" is in ")[1]
    assert (tmp_path / kept / "file").read_text() == "x"


def test_others_do_not_take_it_for_left_as_it_gets_its_name(tmp_path, monkeypatch):
    rename = files._rename

    def another_looks_first(partial, path):
        files._remove_left(path.parent)
        rename(partial, path)

    monkeypatch.setattr(files, "_rename", another_looks_first)
    with whole_directory(tmp_path / "model", "another") as partial:
        (partial / "file").write_text("x")
    assert names(tmp_path / "model") == ["file"]


def test_one_that_others_took_for_left_before_its_lock_is_made_again(tmp_path, monkeypatch):
    lock, taken = fcntl.flock, []

    def another_is_quicker(file, how):
        if not taken:
            (partial,) = tmp_path.iterdir()
            taken.append(partial)
            shutil.rmtree(partial)
        lock(file, how)

    monkeypatch.setattr(files.fcntl, "flock", another_is_quicker)
    with whole_directory(tmp_path / "model", "another") as partial:
        assert partial != taken[0]
        (partial / "file").write_text("x")
    assert names(tmp_path / "model") == ["file"]
