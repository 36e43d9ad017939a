"""Write a text for a text: summaries, headlines, translations; the search uses beams."""

import tfmodels
from tfmodels import data

rows = data.open_table("mails.jsonl", "mail", "subject")
task = tfmodels.Seq2SeqLM.from_scratch(rows, size="tiny", max_length=32, max_target_length=8)
task.configure(num_beams=2)
task.fit(rows, epochs=4, validation_split=0.2)
print(task.generate(["please send the report before friday"]))
task.export("saved_models/subjects")
