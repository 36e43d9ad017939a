"""Documents cut into sentences and line breaks, in the graph.

In: texts. Out: the parts of each, which together say all of it: sentences, and between them the
line breaks with the white space around them. The rules are for English, German and Chinese and need
no model: a sentence ends after `.`, `!`, `?` or `…` (and closing marks) before white space, and
after `。`, `！` or `？` anywhere; not after an abbreviation, a title, an initial or an ordinal, and
not before a small letter.

B = texts, P = parts of a text.
"""

import tensorflow as tf

from tfmodels.text.sentences import CLOSING

LINE_BREAK = r"[ \t\r]*\n\s*"
_END = "\x1e"  # U+001E, the record separator: hardly any text has it
# Words before a period that end no sentence; those with several periods are single letters here.
_TITLES = "Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|Mt|Hr|Fr|Frl|Herrn|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Pres|Gov|Sen"
_SHORT = ("No|Nr|vs|approx|fig|Fig|Abb|vol|Vol|ca|bzw|evtl|ggf|inkl|Abs|Art|Bd|Str|Tel|Inc|Ltd|Co"
          "|Mio|Mrd|Jh|Chr|geb|sog|vgl|Vgl|bspw|Jan|Feb|Aug|Sept|Okt|Oct|Nov|Dez|Dec")  # fmt: skip
_RULES = (
    # What ends a sentence, then what does not.
    (rf"([.!?…]{CLOSING}{{0,4}})([ \t\p{{Z}}]+)", rf"\1{_END}\2"),
    (rf"([。！？]+{CLOSING}{{0,4}})", rf"\1{_END}"),
    (rf"(\b(?:{_TITLES}|{_SHORT})\.){_END}", r"\1"),
    (rf"((?:^|[\s(.])\pL\.){_END}", r"\1"),  # J. Smith, z. B., d. h.
    (rf"((?:^|[^\pL\pN.,])\d{{1,2}}\.){_END}", r"\1"),  # am 3. Oktober
    (rf"{_END}([ \t\p{{Z}}]+\p{{Ll}})", r"\1"),
    (rf"({LINE_BREAK})", rf"{_END}\1{_END}"),
)


def split_document(text: tf.Tensor) -> tf.RaggedTensor:
    """Cut texts into sentences and line breaks.

    Args:
        text: string `[B]`.

    Returns:
        ragged string `[B, (P)]`, one part or more for each text; a part that matches `LINE_BREAK`
        is what stands between two paragraphs, and the others have no white space around them.
    """
    with tf.device("CPU:0"):
        for pattern, rewrite in _RULES:
            text = tf.strings.regex_replace(text, pattern, rewrite)
        parts = tf.strings.split(text, _END)
        is_break = tf.strings.regex_full_match(parts.values, LINE_BREAK)
        stripped = tf.where(is_break, parts.values, tf.strings.strip(parts.values))
        # A text of nothing has one part, so that every text has a row.
        kept = (stripped != "") | (tf.gather(parts.row_lengths(), parts.value_rowids()) == 1)
        return tf.ragged.boolean_mask(parts.with_values(stripped), parts.with_values(kept))
