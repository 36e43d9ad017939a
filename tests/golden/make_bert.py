"""Makes the reference BERT checkpoints and outputs beside this file, with `transformers`.

Out: for each of two small random models a directory `bert_LxH` with what
`BertForSequenceClassification.save_pretrained` writes (`config.json`,
`model.safetensors`) and `expected.npz`: `token_ids`, `segment_ids`, `padding_mask`
`[B, S]`, and float32 `states` `[B, S, H]`, `pooled` `[B, H]`, `logits` `[B, C]`. And
`bert_pretraining`, the same of a `BertForPreTraining`, with `masked_lm` `[B, S, V]` and
`next_sentence` `[B, 2]` instead of `logits`.

    python tests/golden/make_bert.py     (made with transformers 5.23.0, torch 2.13.0)
"""

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

HERE = Path(__file__).parent
FIELDS = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
FIELDS += ("hidden_act",)
SIZES = {"bert_2x32": (2, 32, 2, 128, "gelu"), "bert_3x48": (3, 48, 4, 96, "relu")}
LENGTHS = (12, 7, 3, 1)  # real tokens of each row
FIRST_SEGMENTS = (5, 4, 3, 1)  # how many of them are in the first segment


def make(directory, kind, size):
    config = BertConfig(
        vocab_size=120,
        max_position_embeddings=24,
        type_vocab_size=2,
        id2label={0: "bad", 1: "fair", 2: "good"},
        label2id={"bad": 0, "fair": 1, "good": 2},
        **dict(zip(FIELDS, size, strict=True)),
    )
    model = kind(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Wide enough that attention is sharp and a mix-up shows; scales near 1.
            parameter.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.2)
    position = torch.arange(max(LENGTHS))
    mask = position < torch.tensor(LENGTHS)[:, None]
    segments = (position >= torch.tensor(FIRST_SEGMENTS)[:, None]) & mask
    ids = torch.randint(1, config.vocab_size, mask.shape) * mask
    with torch.no_grad():
        encoded = model.bert(ids, attention_mask=mask.long(), token_type_ids=segments.long())
        if kind is BertForPreTraining:
            heads = model.cls(encoded.last_hidden_state, encoded.pooler_output)
            outputs = dict(zip(("masked_lm", "next_sentence"), heads, strict=True))
        else:
            outputs = {"logits": model.classifier(encoded.pooler_output)}
    model.save_pretrained(directory)
    np.savez_compressed(
        directory / "expected.npz",
        token_ids=ids.int().numpy(),
        segment_ids=segments.int().numpy(),
        padding_mask=mask.numpy(),
        states=encoded.last_hidden_state.numpy(),
        pooled=encoded.pooler_output.numpy(),
        **{name: output.numpy() for name, output in outputs.items()},
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    for name, size in SIZES.items():
        make(HERE / name, BertForSequenceClassification, size)
    make(HERE / "bert_pretraining", BertForPreTraining, SIZES["bert_2x32"])
