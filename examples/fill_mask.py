"""Pretrain a BERT on a text, ask it for masked words, and fine-tune it."""

import tfmodels
from tfmodels import data

texts = data.open_texts("story.txt")
task = tfmodels.MaskedLM.from_scratch(texts, size="tiny", vocabulary_size=300, max_length=32)
task.fit(texts, batch_size=8, epochs=2)
print(task.predict(["The old [MASK] saw a ship."]))
task.save("runs/bert")
classifier = tfmodels.TextClassifier.from_preset("runs/bert", labels=["bad", "good"])
