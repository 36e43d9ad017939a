"""Makes `op_list.txt`: every operation that TF Serving 2.20 has, with its attributes.

    python tools/make_op_list.py > tfmodels/serving/op_list.txt

In: an environment with tensorflow 2.20.0 and tensorflow-text 2.20.1, the wheels of what the
server is built from. Out: text; the first line has the versions of graphs that it reads, each
other line an operation and the names of its attributes.
"""

import sys

import tensorflow as tf
import tensorflow_text  # noqa: F401 - loads its operations
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

# In the wheel, where a Python is; never in a server.
PYTHON_ONLY = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def main():
    """Prints the list."""
    release = [".".join(m.__version__.split(".")[:2]) for m in (tf, tensorflow_text)]
    if release != ["2.20", "2.20"]:
        sys.exit(f"tensorflow and tensorflow-text are {release}; the list is of 2.20")
    operations = op_def_pb2.OpList.FromString(
        pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    ).op
    print(
        f"# TF Serving 2.20: tensorflow {tf.__version__}, tensorflow-text "
        f"{tensorflow_text.__version__}; graphs {tf.version.GRAPH_DEF_VERSION_MIN_PRODUCER} to "
        f"{tf.version.GRAPH_DEF_VERSION}"
    )
    for operation in sorted(operations, key=lambda op: op.name):
        if operation.name not in PYTHON_ONLY:
            print(" ".join([operation.name, *sorted(attr.name for attr in operation.attr)]))


if __name__ == "__main__":
    main()
