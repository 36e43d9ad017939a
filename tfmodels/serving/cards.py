"""The model card of an exported version: that of its model directory, without what stays there.

In: the card, the signatures. Out: Markdown without examples of held-out data and without pictures,
with how to call the version.
"""

import re
from pathlib import Path

# What is between these lines of a card is not exported.
STAYS, ENDS = "<!-- stays in the model directory -->", "<!-- is exported, too -->"
# Also examples and pictures in the cards of 0.1, which have no such lines.
_LEFT_OUT = re.compile(
    rf"{STAYS}.*?{ENDS}\n*|^What it writes:\n\n(?:\|[^\n]*\n)+\n*|^!\[\w+\]\(plots/[^\n]*\n*",
    re.DOTALL | re.MULTILINE,
)


def exported_card(card: str | Path | None, version: Path, signatures: dict) -> str:
    """Return the card of a version.

    Args:
        card: file of the model's card, if there is one.
        version: directory of the version, as it is named in the end.
        signatures: as of `contracts.described`.
    """
    text = f"# {version.parent.name}\n"
    if card is not None and Path(card).is_file():
        text = _LEFT_OUT.sub("", Path(card).read_text(encoding="utf-8"))
    names = ", ".join(f"`{name}`" for name in signatures)
    text = f"{text.rstrip()}\n\n## How to call it\n\n`signatures.json` describes {names}.\n"
    inputs = signatures.get("serving_default", {}).get("inputs", {})
    if [tensor["dtype"] for tensor in inputs.values()] == ["string"]:
        (name,) = inputs
        text += f'''From the directory above, without tfmodels:

```python
import tensorflow as tf
import tensorflow_text

ask = tf.saved_model.load("{version.name}").signatures["serving_default"]
print(ask({name}=tf.constant(["A text."])))
```
'''
    return text
