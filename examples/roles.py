"""Find who did what to whom: train on words with frames, ask strings."""

import tfmodels

words = [["Ada", "left", "Rome"], ["Bo", "saw", "Ada"], ["Bo", "left", "today"]] * 20
arguments = [[("ARG0", 0, 1), ("ARG1", 2, 3)]] * 2 + [[("ARG0", 0, 1), ("ARGM-TMP", 2, 3)]]
frames = [[{"predicate": 1, "arguments": spans}] for spans in arguments] * 20
task = tfmodels.RoleLabeler.from_scratch([" ".join(row) for row in words], size="tiny")
task.fit(words, frames, batch_size=8, epochs=8, validation_data=(words, frames))
for frame in task.predict(["Bo left Rome"])[0]:
    print(frame["predicate"], [(a["role"], a["argument"]) for a in frame["arguments"]])
task.export("saved_models/roles")
