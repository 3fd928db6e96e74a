"""Plans for each GPU and setting: which overlay a run uses, and which changes make it fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tunebook.config.overrides import Options, with_set
from tunebook.config.recipe import Recipe
from tunebook.config.resolve import resolve
from tunebook.core.errors import InputError
from tunebook.core.files import AxolotlConfig
from tunebook.hardware import gpus
from tunebook.hardware.capabilities import AMPERE
from tunebook.models.registry import model_table
from tunebook.plan.planner import Plan, plan
from tunebook.plan.rows import Rows

SHARED = "8x80gb-fsdp2"  # its keys shard a model over any number of GPUs
OFFLOADED = "8x80gb-zero3-offload"  # also shards, and uses host memory: slow, so suggested last
LIGER = "axolotl.integrations.liger.LigerPlugin"
WANTED = 3


@dataclass(frozen=True)
class Change:
    """Options to add to `make plan`, and the resulting plan."""

    words: str
    plan: Plan


def planned(
    recipe: Recipe,
    options: Options,
    gpu: str,
    count: int | None,
    price: float | None,
    rows: Rows | None = None,
) -> Plan:
    """Plan `recipe`, with other `rows` if given, with the overlay named by HARDWARE=, or else with the
    overlay for these GPUs: DDP if the whole model fits on each GPU, otherwise FSDP2."""
    card = gpus.gpu(gpu)
    if options.hardware:
        overlays = [options.hardware]
    else:
        overlays = [card.overlay] + [SHARED] * ((count or 1) > 1 and card.capability >= AMPERE)
    made: Plan | None = None
    for overlay in overlays:
        asked = replace(options, tier="real", hardware=overlay, gpus=count)
        resolved = resolve(recipe, asked, for_this_machine=False)
        made = plan(recipe, resolved, gpu, resolved.world, price, rows)
        if made.fits:
            break
    assert made is not None
    return made


def changes(recipe: Recipe, options: Options, broken: Plan, price: float | None) -> list[Change]:
    """Return up to three changes, each of which makes `broken` fit: the mildest change of each kind, then
    further changes of the first kind."""
    found, spare = [], []
    for kind in (_settings, _cards, _models, _gpus):
        fitting = []
        for words, asked, gpu, count in kind(recipe, options, broken):
            try:
                made = planned(recipe, asked, gpu, count, price)
            except InputError:
                continue  # for example, a batch that is not divisible by that many GPUs
            if made.fits:
                fitting.append(Change(words, made))
            if len(fitting) == WANTED:
                break
        found += fitting[:1]
        spare += fitting[1:]
    return (found + spare)[:WANTED]


Candidate = tuple[str, Options, str, int | None]  # options as typed, Options, GPU, count


def _settings(recipe: Recipe, options: Options, broken: Plan) -> Iterator[Candidate]:
    """Yield settings one by one, then the first two together, the first three, and so on."""
    asked = replace(options, tier="real", hardware=broken.hardware, gpus=broken.count)
    words = list(_savings(resolve(recipe, asked, for_this_machine=False).config, broken))
    for some in [[word] for word in words] + [words[:end] for end in range(2, len(words) + 1)]:
        text = " ".join(some)
        given = with_set(options, dict(word.split("=", 1) for word in text.split()))
        yield f'SET="{given.set}"', given, broken.gpu, broken.count


def _cards(recipe: Recipe, options: Options, broken: Plan) -> Iterator[Candidate]:
    """Yield larger numbers of the same GPU that shard the model."""
    for count in (2, 4, 8, 16):
        if count > broken.count and gpus.gpu(broken.gpu).capability >= AMPERE:
            shared = replace(options, hardware=SHARED)
            yield f"COUNT={count} HARDWARE={SHARED}", shared, broken.gpu, count
    if broken.count > 1 and gpus.gpu(broken.gpu).capability >= AMPERE:
        offloaded = replace(options, hardware=OFFLOADED)
        yield f"COUNT={broken.count} HARDWARE={OFFLOADED}", offloaded, broken.gpu, broken.count


def _models(recipe: Recipe, options: Options, broken: Plan) -> Iterator[Candidate]:
    """Yield smaller models of the same family, the largest first."""
    table = model_table()
    this = table.get(broken.base_model, {})
    smaller = {
        name: facts["parameters"]
        for name, facts in table.items()
        if facts["family"] == this.get("family") and facts["parameters"] < this["parameters"]
    }
    for name in sorted(smaller, key=smaller.__getitem__, reverse=True):
        yield f"MODEL={name}", replace(options, model=name), broken.gpu, broken.count


def _gpus(recipe: Recipe, options: Options, broken: Plan) -> Iterator[Candidate]:
    """Yield GPUs with more memory, the smallest first."""
    for name, card in sorted(gpus.gpus().items(), key=lambda item: item[1].gib):
        if card.gib > broken.capacity:
            yield f"GPU={name}", options, name, broken.count


def _savings(config: AxolotlConfig, broken: Plan) -> Iterator[str]:
    """Yield values for SET= that save memory, the mildest first: first those that cost time, then precision,
    then data."""
    sharded = broken.sharding == "fsdp2"
    if not config.get("gradient_checkpointing") and not sharded:
        yield "gradient_checkpointing=true"
    if not config.get("liger_fused_linear_cross_entropy"):
        yield f"plugins=[{LIGER}] liger_fused_linear_cross_entropy=true"
    if not config.get("adapter") and not sharded and "8bit" not in str(config.get("optimizer")):
        yield "optimizer=adamw_8bit"
    if config.get("adapter") == "lora" and not config.get("load_in_4bit"):
        yield "adapter=qlora load_in_4bit=true"
    if not config.get("adapter"):
        rate = float(config.get("learning_rate", 1e-5)) * 10
        yield f"adapter=lora lora_r=16 lora_alpha=32 lora_target_linear=true learning_rate={rate:g}"
    if config.get("sequence_len", 512) >= 1024 and config.get("excess_length_strategy") != "raise":
        yield f"sequence_len={config['sequence_len'] // 2}"
