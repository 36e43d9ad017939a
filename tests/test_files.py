"""Files that are whole or not there: directories, locks, JSON."""

import errno
import hashlib
import subprocess
import sys

import pytest

from tfmodels.errors import InputError
from tfmodels.files import hash_of, locked, read_json, whole_directory, write_json

WRITES = """
import sys
from tfmodels.files import whole_directory
with whole_directory(sys.argv[1], "another") as partial:
    (partial / "file").write_text("x")
    print(partial.name, flush=True)
    sys.stdin.read()
"""


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def writer(tmp_path):
    """Another process that is writing `other` until it is killed or its input is closed."""
    command = [sys.executable, "-c", WRITES, str(tmp_path / "other")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith(".partial-")
        yield process
        process.kill()


class TestDirectory:
    def test_gets_its_name_at_the_end(self, tmp_path):
        with whole_directory(tmp_path / "deep" / "model", "another") as partial:
            (partial / "file").write_text("x")
            assert names(tmp_path / "deep") == [partial.name, f"{partial.name}.lock"]
        assert names(tmp_path / "deep") == ["model"]
        assert names(tmp_path / "deep" / "model") == ["file"]

    def test_nothing_is_left_after_an_exception(self, tmp_path):
        with pytest.raises(RuntimeError), whole_directory(tmp_path / "model", "another"):
            raise RuntimeError
        assert names(tmp_path) == []

    def test_a_full_disk_is_the_callers_and_another_error_is_not(self, tmp_path):
        message = "model: cannot be written .*give another"
        with (
            pytest.raises(InputError, match=message),
            whole_directory(tmp_path / "model", "another"),
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(BrokenPipeError), whole_directory(tmp_path / "model", "another"):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def test_an_existing_directory_is_refused_and_an_empty_one_is_not(self, tmp_path):
        with whole_directory(tmp_path, "another") as partial:
            (partial / "file").write_text("x")
        message = "already exists"
        with pytest.raises(InputError, match=message), whole_directory(tmp_path, "another"):
            pass

    def test_two_of_one_process_leave_each_other_alone(self, tmp_path):
        with whole_directory(tmp_path / "a", "another") as first:
            (first / "file").write_text("a")
            with whole_directory(tmp_path / "b", "another"):
                pass
            assert (first / "file").exists()
        assert names(tmp_path) == ["a", "b"]

    def test_a_living_process_is_left_alone(self, writer, tmp_path):
        with whole_directory(tmp_path / "model", "another"):
            pass
        assert len(names(tmp_path)) == 3
        writer.communicate()
        assert names(tmp_path) == ["model", "other"]
        assert names(tmp_path / "other") == ["file"]

    def test_what_a_killed_process_left_is_removed_and_nothing_else(self, writer, tmp_path):
        (tmp_path / ".partial-of-somebody").mkdir()
        writer.kill()
        writer.wait()
        assert len(names(tmp_path)) == 3
        with whole_directory(tmp_path / "model", "another"):
            pass
        assert names(tmp_path) == [".partial-of-somebody", "model"]

    def test_the_result_is_kept_when_the_name_is_taken_meanwhile(self, tmp_path):
        with pytest.raises(InputError, match="the result is in") as refused:  # noqa: SIM117
            with whole_directory(tmp_path / "model", "another") as partial:
                (partial / "file").write_text("x")
                (tmp_path / "model").mkdir()
                (tmp_path / "model" / "other").touch()
        kept = str(refused.value).split(" is in ")[1]
        assert (tmp_path / kept / "file").read_text() == "x"


def test_a_lock_is_one_process_at_a_time(tmp_path):
    program = (
        "import sys\nfrom tfmodels.files import locked\nwith locked(sys.argv[1], 'busy'): pass"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    with locked(tmp_path / "lock"):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1 and "InputError: busy" in done.stderr
    assert subprocess.run(command).returncode == 0


@pytest.mark.parametrize("text", [None, "{", "\xff", "[1]", "[" * 100_000])
def test_json_that_is_no_object_is_one_line(text, tmp_path):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="a.json: .*; make it again") as refused:
        read_json(path, "make it again")
    assert "\n" not in str(refused.value)


def test_json_is_replaced_whole(tmp_path):
    write_json(tmp_path / "a.json", {"a": "真"})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    (tmp_path / "b.json").write_text('{"a": "真"}', encoding="utf-8-sig")  # as Windows editors save
    assert read_json(tmp_path / "b.json") == {"a": "真"}
    (tmp_path / "b.json").unlink()
    assert read_json(tmp_path / "a.json") == {"a": "真"} and names(tmp_path) == ["a.json"]


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    assert hash_of(tmp_path / "a") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
