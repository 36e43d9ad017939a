"""Translate: train on pairs of sentences, translate a document sentence by sentence."""

import tfmodels

words = {"the king": "der König", "a dog": "ein Hund", "my sister": "meine Schwester"}
verbs = {"sleeps": "schläft", "sings": "singt", "waits": "wartet"}
pairs = [(f"{a} {v}.", f"{b} {w}.") for a, b in words.items() for v, w in verbs.items()] * 20
task = tfmodels.Translator.from_scratch([*sum(pairs, ())], size="tiny", vocabulary_size=300)
task.fit(*map(list, zip(*pairs, strict=True)), batch_tokens=512, epochs=2)
print(task.predict(["the king sleeps. a dog sings."]))
task.export("saved_models/translations")
