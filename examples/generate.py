"""Train a small GPT on a text and let it continue prompts."""

import tfmodels
from tfmodels import data

texts = data.open_texts("story.txt")
task = tfmodels.CausalLM.from_scratch(texts, size="tiny", vocabulary_size=300, max_length=32)
task.fit(texts, batch_size=4, epochs=2, validation_split=0.1)
task.configure(max_new_tokens=16, sample=True, top_p=0.9)
print(task.generate(["The old king"]))
task.export("saved_models/stories")
