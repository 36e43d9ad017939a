"""What our trainings are measured beside: a loop of PyTorch as people write it."""

import sys
import time

RATE = 1e-4  # maximum learning rate


def peer_optimizer(model, total, rate=RATE, warmup=0.06):
    """Return AdamW of PyTorch for so many steps, and its schedule."""
    import torch

    decayed = [p for n, p in model.named_parameters() if "bias" not in n and "LayerNorm" not in n]
    rest = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm" in n]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    warm = int(warmup * total)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / max(warm, 1), (total - s) / (total - warm))
    )
    return optimizer, schedule


def peer_epoch(model, batches, optimizer, schedule, half=False):
    """Train a model of `transformers` on batches, which have their labels; return the seconds.

    Every 50 steps it says so on stderr.

    Args:
        half: whether products are in bfloat16.
    """
    import torch

    start = time.perf_counter()
    model.train()
    for step, batch in enumerate(batches, 1):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            seconds = time.perf_counter() - start
            print(f"transformers: step {step}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return time.perf_counter() - start
