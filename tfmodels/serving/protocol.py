"""The protocol buffers of TF Serving, which a package of their own brings.

In: the name of a module of `tensorflow_serving.apis`. Out: that module. Warm-up requests, gRPC and
the server need it; asking by REST does not.
"""

import importlib
from types import ModuleType

from tfmodels.errors import InputError


def import_api(name: str, purpose: str, package: str = "apis") -> ModuleType:
    """Import a module of `tensorflow_serving.apis`.

    Args:
        name: of the module, such as "predict_pb2".
        purpose: what needs it, for the message.
        package: of `tensorflow_serving`, where it is another.

    Returns:
        The module.

    Raises:
        InputError: tensorflow-serving-api is not installed.
    """
    try:
        return importlib.import_module(f"tensorflow_serving.{package}.{name}")
    except ImportError as error:
        raise InputError(
            f"{purpose} needs tensorflow-serving-api; run: "
            "pip install 'tensorflow-serving-api==2.21.*'"
        ) from error
