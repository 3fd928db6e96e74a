"""Combine memory, time, price and disk space of one run on given GPUs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tunebook.config.recipe import Recipe
from tunebook.config.resolved import Resolved
from tunebook.core.files import AxolotlConfig
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.thinking import setting
from tunebook.evaluation import suite
from tunebook.hardware import capabilities, gpus, memory, memory_settings
from tunebook.hardware.memory_settings import Setting, Sharding
from tunebook.models import shapes
from tunebook.models.architecture import Shape
from tunebook.models.registry import model_table
from tunebook.plan import evaluation_memory, hours
from tunebook.plan.hours import Range
from tunebook.plan.rows import CHARACTERS, FEWEST_CHARACTERS, Rows, known_rows, with_further

# Size of the environment with CUDA's libraries, as the lock file installs it on Linux.
ENVIRONMENT_GB = 12.0
# A run that leaves less than this share of a GPU's memory free may fail: a desktop, another process or
# another driver version uses that much.
SPARE = 0.05


@dataclass(frozen=True)
class Answers:
    """1,000 answers of the fine-tuned model: dollars on a fully used GPU; tokens of a prompt, and of a prompt
    with the instructions and few-shot examples that another model would need; tokens of an answer."""

    dollars: Range
    prompt: int
    prompt_with_examples: int
    answer: int

    def dollars_at(self, api: gpus.ApiPrice) -> Range:
        """Return the cost of 1,000 answers at an API's price, zero-shot and few-shot."""
        out = self.answer * api.output
        return Range(self.prompt * api.input + out, self.prompt_with_examples * api.input + out).times(1e-3)


@dataclass(frozen=True)
class Plan:
    """What a run needs and costs on `count` GPUs of one kind.

    Memory is per GPU, in GiB: `vram` is the peak in training by component, `evaluation_vram` the peak in
    evaluation, `capacity` what the driver reports, `shardings` the peak in training for each way to shard the
    model. Hours and dollars are ranges, because the speed of a GPU is not known more precisely. `dollars` is
    None without a price; hours are None if the number of rows is unknown.
    """

    recipe: str
    base_model: str
    parameters: int
    active_parameters: int  # those that a token passes; fewer only in a mixture of experts
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
    cannot: dict[str, str]  # keys that such a GPU does not support, and what to do
    capacity: float
    vram: dict[str, float]
    evaluation_vram: dict[str, float]
    evaluation_batch: str  # description of the largest batch
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
    ships_gb: float  # size of the result that is downloaded
    rows: str

    @property
    def peak(self) -> float:
        """Return the GiB needed per GPU: the larger of training and evaluation."""
        return max(sum(self.vram.values()), sum(self.evaluation_vram.values()))

    @property
    def tight(self) -> bool:
        """Return whether the run fits with less than 5 % of the GPU's memory to spare."""
        return self.fits and self.peak > (1 - SPARE) * self.capacity

    @property
    def reason(self) -> str:
        """Why the model is sharded, or why not."""
        whole = self.shardings.get("ddp", 0.0)
        if self.sharding == "one GPU":
            return "nothing to share"
        if self.sharding == "ddp":
            fits = "fits" if self.fits else "does not fit"
            return f"with the whole model on each GPU, training {fits}"
        if whole <= self.capacity:
            return f"set by the config; with the whole model on each GPU (DDP) training takes {whole:.1f} GiB"
        return f"the whole model on each GPU would take {whole:.1f} GiB"

    @property
    def hours(self) -> Range | None:
        """Total hours billed: start, training, evaluation."""
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


def plan(
    recipe: Recipe,
    resolved: Resolved,
    gpu: str,
    count: int = 1,
    price: float | None = None,
    rows: Rows | None = None,
) -> Plan:
    """Plan the real run of `resolved` on `count` GPUs named `gpu` in hardware/facts/gpus.yaml.

    Args:
        resolved: composed for this hardware, with `world` equal to `count`.
        price: dollars per GPU-hour; overrides the table.
        rows: replaces those of the recipe's dataset.

    Raises:
        InputError: the GPU or the base model's shape is not known.
    """
    card, config = gpus.gpu(gpu), resolved.config
    base = str(config["base_model"])
    shape = shapes.find(base, config.get("revision_of_model"), download=True)
    dataset = load_dataset_config(recipe.dataset)
    rows = rows or with_further(known_rows(dataset, config.get("sequence_len", 512)), config)
    settings = suite.load_suite(recipe, dataset.task, "real", "default", "", setting.of(config))
    s = memory_settings.setting(config, rows.longest)
    how = memory_settings.sharding(config, count)
    vram = memory.components(shape, s, how, count)
    evaluated, batch = _evaluation(shape, s, rows, settings, dataset.labels)
    todo = hours.work(config, rows, count)
    machines = hours.machines(count)
    training = evaluation = None
    if todo:
        training = hours.train_seconds(shape, s, todo, card, count, machines).times(1 / 3600)
        jobs = hours.evaluation_jobs(dataset, settings, rows, bool(config.get("adapter")))
        if rows.test:
            evaluation = hours.evaluation_seconds(shape, jobs, card, count).times(1 / 3600)
    start = hours.start_seconds(shape).times(1 / 3600)
    paid = gpus.own_price(price) if price is not None else card.price
    dollars = None
    if paid and training and evaluation:
        dollars = (start + training + evaluation).times(paid.usd * count)
    others = memory_settings.SHARDINGS if count > 1 else ("offload",)
    cannot = capabilities.too_much(config, card.capability)
    peak = max(sum(vram.values()), sum(evaluated.values()))
    return Plan(
        recipe=recipe.name,
        base_model=base,
        parameters=shape.parameters,
        active_parameters=shape.active_parameters,
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
        answers=_answers(shape, rows, settings, dataset, card, paid),
        disk_gb=ENVIRONMENT_GB + _disk_gb(shape, s, config),
        download_gb=shape.parameters * 2 / 1e9,
        ships_gb=_ships_gb(shape, s),
        rows=rows.source,
    )


def _answers(
    shape: Shape,
    rows: Rows,
    settings: suite.Suite,
    dataset: Dataset,
    card: gpus.Gpu,
    price: gpus.Price | None,
) -> Answers | None:
    """Return the cost of 1,000 answers of the fine-tuned model on one GPU; None without rows or a price."""
    if price is None or rows.train is None:
        return None
    new = min(rows.answer, settings.max_new_tokens)
    job = hours.EvaluationJob("generate", 1000, rows.prompt, Range(new, new))
    seconds = hours.evaluation_seconds(shape, [job], card, 1)
    shots = settings.shots * (rows.prompt + rows.answer)
    written = len(dataset.baseline_prompt or "") / CHARACTERS
    return Answers(seconds.times(price.usd / 3600), rows.prompt, round(rows.prompt + shots + written), new)


def _evaluation(
    shape: Shape, s: Setting, rows: Rows, settings: suite.Suite, labels: list[str]
) -> tuple[dict[str, float], str]:
    """Return the memory of the evaluation and its largest batch, for prompts with the usual number of
    few-shot examples."""
    shots = settings.shots * (rows.prompt + rows.answer)
    scored = rows.longest_answer if settings.primary == "loss" else 0
    ranked = round(sum(len(label) / FEWEST_CHARACTERS + 1 for label in labels))
    prompts = [length + shots for length in (rows.batch, rows.longest) if length]
    return evaluation_memory.evaluation(shape, s, prompts, scored, settings.max_new_tokens, ranked)


def _width(s: Setting) -> int:
    """Return the bytes per trained weight on disk."""
    return 4 if s.weights == "fp32" or s.rank is not None else 2


def _ships_gb(shape: Shape, s: Setting) -> float:
    return memory.trained_parameters(shape, s) * _width(s) / 1e9


def _disk_gb(shape: Shape, s: Setting, config: AxolotlConfig) -> float:
    """Return the disk space in GB for weights from the Hub, checkpoints with optimizer states, and shipped
    files.

    One checkpoint more than `save_total_limit` exists while the newest is being written.
    """
    trained = memory.trained_parameters(shape, s)
    states = memory.STATES.get(s.optimizer, 2.0 * _width(s))
    kept = config.get("save_total_limit", 4) + 1
    checkpoints = kept * trained * (_width(s) + states)
    return (shape.parameters * 2 + checkpoints) / 1e9 + _ships_gb(shape, s)
