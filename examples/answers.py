"""Answer questions by a part of their context: train on pairs with answers, ask strings."""

import tfmodels

pairs = [(q, c) for c in ("Ada left at noon.", "Bo left at dawn.") for q in ("Who?", "When?")] * 20
answers = [("Ada", 0), ("noon", 12), ("Bo", 0), ("dawn", 11)] * 20
texts = [text for pair in pairs for text in pair]
task = tfmodels.QuestionAnswerer.from_scratch(texts, size="tiny", max_length=32)
task.fit(pairs, answers, batch_size=8, epochs=8, validation_data=(pairs[:8], answers[:8]))
print(task.predict([("Who?", "Bo left at noon.")]))
task.export("saved_models/answers")
