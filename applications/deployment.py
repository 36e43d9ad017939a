"""What every SavedModel is asked, whichever application it is of: `tfmodels check DIR`.

In: the directory of a version or of several. Out: JSON lines, or one line about what a server
lacks. TensorFlow is imported when a verb runs, not before.
"""

import json
from dataclasses import dataclass


@dataclass(kw_only=True)
class Check:
    """Checks that TF Serving 2.20 can run a SavedModel, ours or not; loads nothing.

    Args:
        directory: of a version, or of several, which are all checked.
    """

    directory: str


def check(settings: Check):
    """Runs `Check`: a JSON line for each version; returns what `check_all` does."""
    from tfmodels.serving.compatibility import SERVER, check_all

    found = check_all(settings.directory)
    for version in found:
        answer = {"saved_model": str(version.directory), "runs_on": SERVER}
        answer |= {"operations": version.operations, "signatures": version.signatures}
        print(json.dumps(answer))
    return found


VERBS = {"check": (Check, check)}
