"""What a fork comes from: a recipe of Tunebook, or a plain Axolotl config.

In: FROM. Out: the recipe or None, the config and its text, and notes. A config that trains something
else than answers to prompts is refused: its rows would be replaced, and nothing of its training would stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tunebook.commands.fork.output.yaml_text import change, entry
from tunebook.config.foreign import foreign_problems
from tunebook.config.keys import check_keys, schema
from tunebook.config.recipe import Recipe, load_recipe
from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.paths import show
from tunebook.core.yaml_file import Lines, dotted, line_of, read_yaml

SUPERVISED = "Fork a config for supervised fine-tuning, or a recipe of ours (chat-lora)."
PAIRS = "a plain Axolotl config for preference tuning cannot be forked. Fork chat-dpo instead."
ONLINE = (
    "trains on answers that the model writes and a reward rates, which Tunebook does not do. " + SUPERVISED
)
PREFERENCE = ("dpo", "ipo", "orpo", "kto", "simpo")
KINDS = {
    "reward_model": "trains a reward model, which rates answers and writes none. ",
    "process_reward_model": "trains a reward model of single steps, which writes no answers. ",
    "pretraining_dataset": "is continued pretraining on plain text, and Axolotl takes it before your rows. ",
    "processor_type": "loads the processor of a model for pictures or sound, and only text is trained. ",
    "is_multimodal": "trains on pictures or sound, and only text is trained. ",
}
# Beginnings of `type` of a dataset whose rows are no answers to prompts.
TYPES = {
    "completion": "is training on plain text. ",
    "pretrain": "is continued pretraining on plain text. ",
    "bradley_terry": KINDS["reward_model"],
    "stepwise_supervised": KINDS["process_reward_model"],
    "dpo": PAIRS,
    "ipo": PAIRS,
    "orpo": PAIRS,
    "kto": PAIRS,
    "simpo": PAIRS,
    "ebft": ONLINE,
}
MODEL_TYPES = {
    "SequenceClassification": "trains a head that writes no text. Fork classify-head for labels. ",
    "TokenClassification": "trains a head that labels each token, which is not supported. ",
}
PLUGINS = {
    "DiffusionPlugin": "trains a diffusion model, which does not write from left to right. ",
    "HatcheryPlugin": "sends the training to another service, where Tunebook cannot follow it. ",
    "NemoGymPlugin": "trains on answers that the model writes and an environment rates. ",
    "KDPlugin": "needs the probabilities of a teacher in each row. ",
    "LLMCompressorPlugin": (
        "needs the package llmcompressor, which the lock does not have. Fork the config without it instead."
    ),
}
# Packages of Axolotl's plugins that the lock does not have.
NEEDS = {
    "SwanLabPlugin": "swanlab",
    "DenseMixerPlugin": "densemixer",
    "ExpertParallelPlugin": "deep_ep",
    "CutCrossEntropyPlugin": "cut-cross-entropy (Axolotl's fork of it)",
}
# Of `fsdp_config`, from older versions; Axolotl's schema drops them.
DROPPED_FSDP = ("limit_all_gathers", "sharding_strategy", "forward_prefetch", "backward_prefetch")


class Origin(NamedTuple):
    """`recipe` is None for a plain Axolotl config; `text` is that of the config."""

    recipe: Recipe | None
    config: dict[str, Any]
    text: str
    notes: list[str]


def load_origin(origin: str, allow: str = "") -> Origin:
    """Return what FROM names. `allow` are the keys, with commas or spaces, that may reach out in a config
    somebody else wrote.

    Raises:
        InputError: there is no such recipe; or the config has unknown keys, trains something else, or has a
            key that runs code, sends something out or reads other files.
    """
    allowed = allow.replace(",", " ").split()
    if not origin.endswith((".yaml", ".yml")):
        if allowed:
            text = "goes with a plain Axolotl config; a recipe of this checkout is yours. Remove it."
            raise InputError(Problem(text, key="--allow (ALLOW=)", code="fork.nothing_to_allow"))
        try:
            recipe = load_recipe(origin)
        except InputError as error:
            raise InputError(str(error).replace("NAME:", "FROM:", 1), code=error.code) from None
        text = (recipe.folder / "recipe.yaml").read_text(encoding="utf-8")
        return Origin(recipe, recipe.config, text, [])
    path = Path(origin).expanduser()
    config, lines = read_yaml(path)
    raise_all(_other_training(config, lines, show(path)))
    text = path.read_text(encoding="utf-8")
    config, text, notes = _plain_fsdp(config, text)
    config, text, more = _without_empty(config, text)
    lines = {
        (*where[:1], *map(_plain, where[1:])) if where[:1] == ("fsdp_config",) else where: line
        for where, line in lines.items()
    }
    # Both at once: a plugin may be unknown because it is somebody's code.
    problems = foreign_problems(config, lines, show(path), allowed)
    raise_all(problems + check_keys(config, lines, show(path)))
    plugins = [str(plugin).rpartition(".")[2] for plugin in _list(config.get("plugins"))]
    more += [
        f"plugins: {name} needs the package {NEEDS[name]}, which requirements.lock does not have; install it "
        "where the recipe trains"
        for name in plugins
        if name in NEEDS
    ]
    return Origin(None, config, text, [*notes, *more])


def _other_training(config: dict[str, Any], lines: Lines, file: str) -> list[Problem]:
    """Return a Problem for each key that makes the config one for another kind of training."""

    def at(where: tuple[str | int, ...], text: str) -> Problem:
        text = text if text.endswith(("instead.", SUPERVISED)) else text + SUPERVISED
        return Problem(text, file, line_of(lines, where), dotted(where), "fork.other_training")

    problems = []
    if rl := config.get("rl"):
        text = PAIRS if str(rl) in PREFERENCE else ONLINE
        problems.append(Problem(text, file, line_of(lines, ("rl",)), "rl", "fork.preference_config"))
    problems += [at((key,), text) for key, text in KINDS.items() if config.get(key)]
    for part, text in MODEL_TYPES.items():
        if part in str(config.get("model_type")) and not config.get("reward_model"):
            problems.append(at(("model_type",), text))
    for index, plugin in enumerate(_list(config.get("plugins"))):
        if text := PLUGINS.get(str(plugin).rpartition(".")[2], ""):
            problems.append(at(("plugins", index), text))
    for index, dataset in enumerate(_list(config.get("datasets"))):
        kind = str(dataset.get("type")) if isinstance(dataset, dict) else ""
        known = next((text for start, text in TYPES.items() if kind.partition(".")[0] == start), None)
        if known and not problems:
            problems.append(at(("datasets", index, "type"), known))
    return problems


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _without_empty(config: dict[str, Any], text: str) -> tuple[dict[str, Any], str, list[str]]:
    """Return the config without empty keys that Axolotl does not know, as older examples have them."""
    known = schema()["models"][schema()["root"]]
    gone = [key for key, value in config.items() if value is None and key not in known]
    if not gone:
        return config, text, []
    kept = {key: value for key, value in config.items() if key not in gone}
    note = f"{', '.join(gone)}: empty, unknown to Axolotl and left out"
    return kept, change(text, dict.fromkeys(gone), ""), [note]


def _plain(key: Any) -> str:
    """Return a key of `fsdp_config` without its prefix."""
    return str(key) if key == "fsdp_version" else str(key).removeprefix("fsdp_")


def _plain_fsdp(config: dict[str, Any], text: str) -> tuple[dict[str, Any], str, list[str]]:
    """Return the config with the keys of `fsdp_config` as Axolotl reads them: it strips their prefix `fsdp_`,
    and drops the ones of older versions."""
    old = config.get("fsdp_config")
    if not isinstance(old, dict):
        return config, text, []
    named = {_plain(key): value for key, value in old.items()}
    kept = {key: value for key, value in named.items() if key not in DROPPED_FSDP}
    notes = []
    if any(key not in named for key in old):
        notes.append(
            "fsdp_config: its keys are written without the prefix fsdp_, which Axolotl removes as well"
        )
    if gone := [key for key in named if key not in kept]:
        notes.append(f"fsdp_config: {', '.join(gone)} is left out, because Axolotl ignores it")
    if not notes:
        return config, text, []
    return (
        {**config, "fsdp_config": kept},
        change(text, {"fsdp_config": entry("fsdp_config", kept)}, ""),
        notes,
    )
