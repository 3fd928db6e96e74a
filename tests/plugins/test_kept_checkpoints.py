"""What full fine-tuning keeps: the newest checkpoint and the best so far, by transformers' own rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.lazy import lazy
from tunebook.runs.checkpoints import numbered

torch, transformers = lazy("torch"), lazy("transformers")


def trainer_of(losses: list[float], arguments: Any) -> Any:
    """Return transformers' own trainer of a line, whose loss on dev is given for each step."""

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: Any) -> dict[str, Any]:
            return {"loss": (self.weight * x).square().mean()}

    class Given(transformers.Trainer):
        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            return {"eval_loss": losses[self.state.global_step - 1]}

    rows: Any = [{"x": torch.ones(1)}] * 8
    return Given(Line(), arguments, train_dataset=rows, eval_dataset=rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "losses", "kept"),
    [
        ("eval_loss", [3.0, 1.0, 2.0, 2.5, 4.0], [2, 5]),
        ("eval_loss", [1.0, 2.0, 3.0, 4.0, 5.0], [1, 5]),
        ("eval_loss", [5.0, 4.0, 3.0, 2.0, 1.0], [4, 5]),
        (None, [1.0, 2.0, 3.0, 4.0, 5.0], [4, 5]),  # as it was: the best is gone
    ],
)
def test_the_best_so_far_is_not_deleted(
    metric: str | None, losses: list[float], kept: list[int], tmp_path: Path
) -> None:
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=5,
        per_device_train_batch_size=1,
        eval_strategy="steps",
        eval_steps=1,
        save_steps=1,
        save_total_limit=2,
        metric_for_best_model=metric,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer_of(losses, arguments).train()
    assert [step for step, _ in numbered(tmp_path)] == kept
