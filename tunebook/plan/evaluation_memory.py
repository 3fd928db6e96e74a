"""GPU memory that the evaluation of a model needs: weights, key-value cache and logits."""

from __future__ import annotations

from tunebook.evaluation.jobs import BATCH
from tunebook.hardware.memory import FRAMEWORK, GIB
from tunebook.models.shapes import Shape


def evaluation(shape: Shape, prompt: int, answer: int, new: int, ranked: int = 0) -> dict[str, float]:
    """Return the memory in GiB of evaluating the base in 16 bits, by component, for the job that takes most.

    Args:
        prompt: tokens of a prompt in the longest batch, shots included.
        answer: tokens of the longest reference answer that is scored; 0 for none.
        new: cap of generated tokens.
        ranked: tokens of all labels together; 0 where no labels are ranked.

    The cache keeps key and value of each layer (Pope et al. 2022, arXiv 2211.05102, section 2); batches are
    those of tunebook/evaluation/jobs.py; scoring takes logits for the answer only, ranking for all labels
    at once.
    """

    cache = 2 * shape.layers * shape.key * 2
    working = 2 * 3 * shape.intermediate + 4 * shape.hidden
    b, v = BATCH, shape.vocab
    jobs = [(b["generate"] * (prompt + new) * cache, b["generate"] * prompt * working, 0)]
    if answer:
        logits = b["score"] * (answer + 1) * v * 2 + answer * v * 8  # all in 16 bits, one row of them in 32
        jobs.append((0, b["score"] * (prompt + answer) * working, logits))
    if ranked:
        jobs.append((0, b["rank"] * (prompt + ranked) * working, b["rank"] * (ranked + 1) * v * 10))
    largest = max(jobs, key=sum)
    parts = {"weights": shape.parameters * 2.0, "framework": FRAMEWORK * GIB}
    parts |= dict(zip(("KV cache", "activations", "logits"), map(float, largest), strict=True))
    return {name: value / GIB for name, value in parts.items()}
