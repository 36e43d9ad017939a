"""Peak memory and speed of reading a large file, or peak memory of any command.

Without `--command` this writes a TSV of `--gb` gigabytes to a temporary folder and starts itself
once more to scan the file and to read it through `chunk_dataset`, shuffled. With `--command`
it runs that command. Either way it prints the peak resident memory of the largest process that
was started, and exits with 1 when that is above `--limit_gb` (or with the command's own status).

    python benchmarks/streaming.py --gb 2 --row_bytes 100
    python benchmarks/streaming.py --limit_gb 4 --command python -m applications sentiment train ...
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GB = 1e9
# `ru_maxrss` counts kibibytes on Linux and bytes on macOS.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def write_tsv(path: Path, size: float, row_bytes: int) -> None:
    """Write rows of about `row_bytes` bytes, all of one label and then all of the other."""
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz      "
    alphabet = "".join(rng.choices(letters, k=2 * row_bytes + 1000))
    width = max(row_bytes - 3, 1)
    with path.open("w", newline="") as file:
        written = file.write("text\tlabel\n")
        while written < size:
            at = rng.randrange(len(alphabet) - width)
            label = 1 if written > size / 2 else 0
            written += file.write(f"{alphabet[at : at + width]}\t{label}\n")


def read(path: str, max_characters: int) -> None:
    """Scan the file and read it once, shuffled; print rows a second."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tfmodels.data.datasets import chunk_dataset
    from tfmodels.data.split import split
    from tfmodels.data.tables import open_source

    source = open_source(path, ("text", "label"))
    start = time.perf_counter()
    train, held_out = split(source, 0.05, "label")
    seconds = time.perf_counter() - start
    expected, others = train.scan().rows, held_out.scan().rows
    total = expected + others
    print(f"scan: {total:,} rows, {total / seconds:,.0f} rows/s", flush=True)

    dataset = chunk_dataset(
        train, lambda row: (row.values[0][:max_characters], row.values[1]), seed=0
    )
    start = time.perf_counter()
    rows = sum(len(labels) for _, labels in dataset.as_numpy_iterator())
    seconds = time.perf_counter() - start
    print(f"chunk_dataset, shuffled: {rows:,} rows, {rows / seconds:,.0f} rows/s", flush=True)
    if rows != expected:
        raise SystemExit(f"read {rows} of {expected} rows")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gb", type=float, default=2.0, help="size of the file in 1e9 bytes")
    parser.add_argument("--row_bytes", type=int, default=100)
    parser.add_argument("--max_characters", type=int, default=10_000)
    parser.add_argument("--limit_gb", type=float, default=4.0, help="of peak memory, in 1e9 bytes")
    parser.add_argument("--read", metavar="FILE", help="read this file in this process, no watch")
    parser.add_argument("--command", nargs=argparse.REMAINDER, help="run this instead; comes last")
    options = parser.parse_args()
    if options.read:
        read(options.read, options.max_characters)
        return 0
    if options.command:
        status = subprocess.run(options.command).returncode
    else:
        # This process stays small (no TensorFlow): Linux counts a child's memory from its fork.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.tsv"
            write_tsv(path, options.gb * GB, options.row_bytes)
            print(f"file: {path.stat().st_size / GB:.2f} GB", flush=True)
            again = [sys.executable, __file__, "--read", str(path)]
            again += ["--max_characters", str(options.max_characters)]
            status = subprocess.run(again).returncode
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * RSS_UNIT / GB
    print(f"peak memory: {peak:.2f} GB (limit {options.limit_gb:g} GB), exit status {status}")
    return status or int(peak > options.limit_gb)


if __name__ == "__main__":
    sys.exit(main())
