"""Find named entities: train on words with tags, ask strings."""

import tfmodels

words = [["Ada", "met", "Bo", "in", "Paris"], ["Oslo", "is", "large"],
         ["Bo", "is", "in", "Rome"]] * 40  # fmt: skip
tags = [["B-PER", "O", "B-PER", "O", "B-LOC"], ["B-LOC", "O", "O"],
        ["B-PER", "O", "O", "B-LOC"]] * 40  # fmt: skip
texts = [" ".join(row) for row in words]
task = tfmodels.TokenClassifier.from_scratch(texts, size="tiny")
task.fit(words, tags, batch_size=8, epochs=8, validation_data=(words, tags))
for entity in task.predict(["Ada is in Paris"])[0]:
    print(entity["type"], entity["entity"], entity["start"], entity["end"])
task.export("saved_models/entities")
