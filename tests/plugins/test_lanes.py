"""What a plugin makes up for is still missing in the installed Axolotl, or the plugin leaves it alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import tiny
from tests.support.forked import forked
from tests.support.lazy import lazy
from tunebook.models import lanes

torch = lazy("torch")
training, trainers, arguments = (
    lazy("tunebook.plugins.training"),
    lazy("axolotl.core.trainers.base"),
    lazy("axolotl.core.training_args"),
)


@pytest.mark.slow
def test_a_step_averages_over_the_tokens_of_all_its_micro_batches(tmp_path: Path) -> None:
    """Axolotl 0.19 averages micro batches unless TokenMean is there; 0.21 counts tokens without it."""
    ids = torch.randint(3, 1000, (2, 12), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[0, :9] = -100  # 3 trained tokens against 11
    whole = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
    parts = [{key: value[row : row + 1] for key, value in whole.items()} for row in (0, 1)]
    args = arguments.AxolotlTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    trainer = trainers.AxolotlTrainer(model=tiny.model(), args=args)
    exact = trainer.model(**whole).loss.item()

    def step() -> float:
        count = trainer._get_num_items_in_batch(parts, torch.device("cpu"))
        losses = [trainer.compute_loss(trainer.model, dict(part), num_items_in_batch=count) for part in parts]
        return sum(loss.item() for loss in losses) / (1 if trainer.model_accepts_loss_kwargs else len(parts))

    right = pytest.approx(exact, rel=1e-5)
    assert (step() == right) == lanes.counts_tokens()
    training.TokenMean().post_trainer_create(SimpleNamespace(), trainer)
    assert step() == right
    assert trainer.args.average_tokens_across_devices


class LoadingError(Exception):
    """In place of loading a model."""


def seeds_while_loading() -> list[int]:
    """Return torch's seed where Axolotl loads a model, and after SeededInit of a seed and of none."""
    import axolotl.train

    seeds = []

    def load(cfg: SimpleNamespace) -> None:
        seeds.append(torch.initial_seed())
        raise LoadingError

    axolotl.train.setup_model_and_tokenizer = load
    cfg = SimpleNamespace(seed=7, full_determinism=None)
    torch.manual_seed(1)
    with pytest.raises(LoadingError):
        axolotl.train.setup_model_and_trainer(cfg, None)
    torch.manual_seed(1)
    training.SeededInit().pre_model_load(cfg)
    seeds.append(torch.initial_seed())
    training.SeededInit().pre_model_load(SimpleNamespace(seed=None))
    return [*seeds, torch.initial_seed()]


@pytest.mark.slow
def test_the_seed_covers_the_first_weights() -> None:
    """Axolotl 0.21 seeds before it loads the model, where SeededInit does nothing. In a process of its own:
    after it, pytest's standard output was closed."""
    new = lanes.seeds_weights()
    assert forked(seeds_while_loading) == [7 if new else 1, 1 if new else 7, 42]
