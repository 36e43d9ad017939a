"""The files beside the graph of a version, at which a server does not look.

`signatures.json` describes the version, `README.md` is its model card, and `checksums.json` finds a
copy that is not whole: the check of the operations reads the graph alone.
"""

from tfmodels.files import hash_of, read_json, write_json

SIGNATURES, CARD, CHECKSUMS = "signatures.json", "README.md", "checksums.json"


def write_checksums(directory):
    """Write the SHA-256 of every file of a version, by its path."""
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    sums = {str(path.relative_to(directory)): hash_of(path) for path in paths}
    write_json(directory / CHECKSUMS, sums)


def changed_files(directory):
    """Yield the files that are not as their checksums say; none without checksums."""
    path = directory / CHECKSUMS
    for name, wanted in (read_json(path, "export it again") if path.exists() else {}).items():
        if not (directory / name).is_file():
            yield f"{name} is missing"
        elif hash_of(directory / name) != wanted:
            yield f"{name} has changed since it was written"
