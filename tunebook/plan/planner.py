"""Put memory, time, price and disk of one run on given GPUs together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tunebook.config.recipe import Recipe
from tunebook.config.resolved import Resolved
from tunebook.core.files import AxolotlConfig
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.evaluation import suite
from tunebook.hardware import capabilities, gpus, memory, memory_settings
from tunebook.hardware.memory_settings import Setting, Sharding
from tunebook.models import shapes
from tunebook.models.registry import model_table
from tunebook.models.shapes import Shape
from tunebook.plan import evaluation_memory, hours
from tunebook.plan.hours import Range
from tunebook.plan.rows import CHARACTERS, FEWEST_CHARACTERS, Rows, known_rows, with_further

# The environment with CUDA's libraries, as the lock installs it on Linux.
ENVIRONMENT_GB = 12.0
# A run that leaves less of a GPU's memory than this share may stop: a desktop, another process or a driver
# of another version takes as much.
SPARE = 0.05


@dataclass(frozen=True)
class Answers:
    """1,000 answers of the fine-tuned model: dollars on a GPU that is kept busy; tokens of one prompt, and of
    one with the instructions and few-shot examples that another model would need; tokens of one answer."""

    dollars: Range
    prompt: int
    prompt_with_examples: int
    answer: int

    def dollars_at(self, api: gpus.ApiPrice) -> Range:
        """Return what 1,000 answers cost at an API's price, zero-shot and few-shot."""
        out = self.answer * api.output
        return Range(self.prompt * api.input + out, self.prompt_with_examples * api.input + out).times(1e-3)


@dataclass(frozen=True)
class Plan:
    """What a run needs and costs on `count` GPUs of one kind.

    Memory is of one GPU, in GiB; `vram` is the peak of training by component, `evaluation_vram` that of
    evaluation, `capacity` what the driver reports; `shardings` is the peak of training by ways to share the
    model. Hours and dollars are ranges, since the speed of a GPU is not known better. `dollars` is None
    without a price, hours are None where the number of rows is unknown.
    """

    recipe: str
    base_model: str
    licence: str | None
    gpu: str
    gpu_name: str
    count: int
    sharding: Sharding
    hardware: str | None
    micro_batch_size: int
    accumulation: int
    tokens_a_row: int
    fits: bool
    cannot: dict[str, str]  # keys that such a GPU cannot honour, and what to do
    capacity: float
    vram: dict[str, float]
    evaluation_vram: dict[str, float]
    evaluation_batch: str  # the largest one, in words
    shardings: dict[str, float]
    host_gib: float
    steps: int | None
    tokens: float | None
    flops: float | None
    start_hours: Range
    training_hours: Range | None
    evaluation_hours: Range | None
    basis: str
    price: gpus.Price | None
    dollars: Range | None
    answers: Answers | None
    disk_gb: float
    download_gb: float
    ships_gb: float  # what training makes and somebody takes home
    rows: str

    @property
    def peak(self) -> float:
        """Return the GiB needed on one GPU: the larger of training and evaluation."""
        return max(sum(self.vram.values()), sum(self.evaluation_vram.values()))

    @property
    def tight(self) -> bool:
        """Return whether it fits with less than 5 % of the GPU's memory to spare."""
        return self.fits and self.peak > (1 - SPARE) * self.capacity

    @property
    def reason(self) -> str:
        """Why the model is shared the way it is, or not."""
        whole = self.shardings.get("ddp", 0.0)
        if self.sharding == "one GPU":
            return "nothing to share"
        if self.sharding == "ddp":
            fits = "fits" if self.fits else "does not fit"
            return f"the whole model on each GPU {fits}"
        if whole <= self.capacity:
            return f"set by the config; with the whole model on each GPU (DDP) training takes {whole:.1f} GiB"
        return f"the whole model on each GPU would take {whole:.1f} GiB"

    @property
    def hours(self) -> Range | None:
        """All hours that are paid for: start, training, evaluation."""
        if self.training_hours is None or self.evaluation_hours is None:
            return None
        return self.start_hours + self.training_hours + self.evaluation_hours

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        hours = self.hours
        value = asdict(self) | {
            "peak": self.peak,
            "tight": self.tight,
            "reason": self.reason,
            "hours": asdict(hours) if hours else None,
        }
        value["price"] = self.price.model_dump(mode="json") if self.price else None
        return value


def plan(recipe: Recipe, resolved: Resolved, gpu: str, count: int = 1, price: float | None = None) -> Plan:
    """Plan the real run of `resolved` on `count` GPUs called `gpu` in hardware/facts/gpus.yaml.

    Args:
        resolved: composed for this hardware, `world` equal to `count`.
        price: dollars per GPU-hour, in place of the table's.

    Raises:
        InputError: the GPU or the base model's shape is not known.
    """
    card, config = gpus.gpu(gpu), resolved.config
    base = str(config["base_model"])
    shape = shapes.find(base, config.get("revision_of_model"), download=True)
    dataset = load_dataset_config(recipe.dataset)
    rows = with_further(known_rows(dataset, config.get("sequence_len", 512)), config)
    asked = suite.load_suite(recipe, dataset.task, "real", "default")
    s = memory_settings.setting(config, rows.longest)
    how = memory_settings.sharding(config, count)
    vram = memory.components(shape, s, how, count)
    evaluated, batch = _evaluation(shape, s, rows, asked, dataset.labels)
    todo = hours.work(config, rows, count)
    machines = hours.machines(count)
    training = evaluation = None
    if todo:
        training = hours.train_seconds(shape, s, todo, card, count, machines).times(1 / 3600)
        jobs = hours.asked(dataset, asked, rows, bool(config.get("adapter")))
        if rows.test:
            evaluation = hours.evaluation_seconds(shape, jobs, card, count).times(1 / 3600)
    start = hours.start_seconds(shape).times(1 / 3600)
    paid = gpus.asked_price(price) if price is not None else card.price
    dollars = None
    if paid and training and evaluation:
        dollars = (start + training + evaluation).times(paid.usd * count)
    others = memory_settings.SHARDINGS if count > 1 else ("offload",)
    cannot = capabilities.too_much(config, card.capability)
    peak = max(sum(vram.values()), sum(evaluated.values()))
    return Plan(
        recipe=recipe.name,
        base_model=base,
        licence=(model_table().get(base) or shapes.others().get(base) or {}).get("licence"),
        gpu=gpu.lower(),
        gpu_name=card.name,
        count=count,
        sharding=how,
        hardware=resolved.hardware,
        micro_batch_size=s.rows,
        accumulation=config.get("gradient_accumulation_steps", 1),
        tokens_a_row=s.tokens,
        fits=peak <= card.gib and not cannot,
        cannot=cannot,
        capacity=card.gib,
        vram=vram,
        evaluation_vram=evaluated,
        evaluation_batch=batch,
        shardings={name: memory.total(shape, s, name, count) for name in others},
        host_gib=memory.host_gib(shape, s, how),
        steps=todo.steps if todo else None,
        tokens=todo.tokens if todo else None,
        flops=todo.tokens * hours.step_flops(shape, s, todo.length) if todo else None,
        start_hours=start,
        training_hours=training,
        evaluation_hours=evaluation,
        basis=card.utilisation.basis,
        price=paid,
        dollars=dollars,
        answers=_answers(shape, rows, asked, dataset, card, paid),
        disk_gb=ENVIRONMENT_GB + _disk_gb(shape, s, config),
        download_gb=shape.parameters * 2 / 1e9,
        ships_gb=_ships_gb(shape, s),
        rows=rows.source,
    )


def _answers(
    shape: Shape, rows: Rows, asked: suite.Suite, dataset: Dataset, card: gpus.Gpu, price: gpus.Price | None
) -> Answers | None:
    """Return what 1,000 answers of the fine-tuned model cost on one card; None without rows or a price."""
    if price is None or rows.train is None:
        return None
    new = min(rows.answer, asked.max_new_tokens)
    job = hours.Asked("generate", 1000, rows.prompt, Range(new, new))
    seconds = hours.evaluation_seconds(shape, [job], card, 1)
    shots = asked.shots * (rows.prompt + rows.answer)
    written = len(dataset.baseline_prompt or "") / CHARACTERS
    return Answers(seconds.times(price.usd / 3600), rows.prompt, round(rows.prompt + shots + written), new)


def _evaluation(
    shape: Shape, s: Setting, rows: Rows, asked: suite.Suite, labels: list[str]
) -> tuple[dict[str, float], str]:
    """Return the memory of the evaluation and its largest batch, prompted with shots of the usual length."""
    shots = asked.shots * (rows.prompt + rows.answer)
    scored = rows.longest_answer if asked.primary == "loss" else 0
    ranked = round(sum(len(label) / FEWEST_CHARACTERS + 1 for label in labels))
    prompts = [length + shots for length in (rows.batch, rows.longest) if length]
    return evaluation_memory.evaluation(shape, s, prompts, scored, asked.max_new_tokens, ranked)


def _width(s: Setting) -> int:
    """Return the bytes that a trained weight has on disk."""
    return 4 if s.weights == "fp32" or s.rank is not None else 2


def _ships_gb(shape: Shape, s: Setting) -> float:
    return memory.trained_parameters(shape, s) * _width(s) / 1e9


def _disk_gb(shape: Shape, s: Setting, config: AxolotlConfig) -> float:
    """Return the disk in GB for weights from the Hub, checkpoints with optimizer states, and what ships.

    One checkpoint more than `save_total_limit` exists while the newest is written.
    """
    trained = memory.trained_parameters(shape, s)
    states = memory.STATES.get(s.optimizer, 2.0 * _width(s))
    kept = config.get("save_total_limit", 4) + 1
    checkpoints = kept * trained * (_width(s) + states)
    return (shape.parameters * 2 + checkpoints) / 1e9 + _ships_gb(shape, s)
