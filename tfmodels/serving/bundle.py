"""The files beside the graph of a version: its signatures, model card and checksums.

In: the directory of a SavedModel. Out: `signatures.json`, `README.md` and `checksums.json` in it;
a server looks at none of them.
"""

from pathlib import Path

from tfmodels.files import hash_of, read_json, write_json

SIGNATURES, CARD, CHECKSUMS = "signatures.json", "README.md", "checksums.json"


def write_signatures(directory, task, signatures, sizes):
    """Writes what the version takes and gives.

    Args:
        directory: of the version.
        task: of `contracts.CONTRACTS`, or `None` for a model of another kind.
        signatures: what `contracts.described` gave.
        sizes: dict of `float32_weights`, bytes that the weights would take as float32, and
            `exported`, bytes of the graph with its weights.
    """
    write_json(directory / SIGNATURES, {"task": task, "signatures": signatures, "bytes": sizes})


def copy_card(directory, card):
    """Copies the model card into a version; nothing if there is none."""
    if card is not None and Path(card).is_file():
        (directory / CARD).write_bytes(Path(card).read_bytes())


def write_checksums(directory):
    """Writes the SHA-256 of every file of a version, by its path."""
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    sums = {str(path.relative_to(directory)): hash_of(path) for path in paths}
    write_json(directory / CHECKSUMS, sums)


def changed_files(directory):
    """The files that are not as their checksums say, one line each; none without checksums."""
    path = directory / CHECKSUMS
    if not path.exists():
        return
    sums = read_json(path, "export it again")
    for name, wanted in sums.items():
        if not (directory / name).is_file():
            yield f"{name} is missing"
        elif hash_of(directory / name) != wanted:
            yield f"{name} has changed since it was written"


def size(directory):
    """Bytes of all files of a directory."""
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())
