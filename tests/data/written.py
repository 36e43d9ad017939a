"""Files that the tests of this room write."""

import gzip
import os

import pytest


def write(path, content):
    """Write text or bytes, compressed where the name says so; return the path as a string."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def write_prepared(name, folder, splits, shard=40):
    """Write the files of the real builder of a TFDS set, with TFDS' own writer."""
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder(name, data_dir=folder)
    os.makedirs(builder.data_dir)
    writer = tfds.core.SequentialWriter(builder.info, max_examples_per_shard=shard)
    writer.initialize_splits(list(splits))
    writer.add_examples(splits)
    writer.close_all()
    return folder
