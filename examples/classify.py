"""Classify texts: train on a table, ask strings, save, export for TF Serving."""

import tfmodels
from tfmodels import data

rows = data.open_table("reviews.csv", "text", "label")
task = tfmodels.TextClassifier.from_scratch(rows, size="tiny")  # or .from_preset("a/checkpoint")
task.fit(rows, epochs=16, validation_split=0.1)
print(task.predict(["what a joy", "such a bore"]))
print(task.evaluate(rows)["accuracy"])
task.save("runs/reviews")
task.export("saved_models/reviews")
