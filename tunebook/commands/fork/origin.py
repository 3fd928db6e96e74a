"""What a fork starts from: a recipe of Tunebook, or a plain Axolotl config.

In: FROM. Out: the recipe or None, the config and its text, and notes. A config that trains something other
than answers to prompts is refused: its rows would be replaced, and nothing of its training would remain.
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
ONLINE = "trains on generated answers rated by a reward, which Tunebook does not support. " + SUPERVISED
PREFERENCE = ("dpo", "ipo", "orpo", "kto", "simpo")
KINDS = {
    "reward_model": "trains a reward model, which rates answers but does not generate any. ",
    "process_reward_model": "trains a process reward model, which does not generate answers. ",
    "pretraining_dataset": "is continued pretraining on plain text, which Axolotl would use first. ",
    "processor_type": "loads the processor of a multimodal model, but only text can be trained on. ",
    "is_multimodal": "trains on images or audio, but only text can be trained on. ",
}
# Beginnings of the `type` of datasets whose rows are not answers to prompts.
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
    "SequenceClassification": "trains a head that generates no text. Fork classify-head for labels. ",
    "TokenClassification": "trains a head that labels each token, which is not supported. ",
}
PLUGINS = {
    "DiffusionPlugin": "trains a diffusion model, which does not generate from left to right. ",
    "HatcheryPlugin": "sends the training to another service, where Tunebook cannot follow it. ",
    "NemoGymPlugin": "trains on generated answers rated by an environment, which Tunebook does not support. ",
    "KDPlugin": "needs a teacher's probabilities in each row. ",
    "LLMCompressorPlugin": (
        "needs the package llmcompressor, which requirements.lock does not have. Fork the config without "
        "this key."
    ),
}
# Packages of Axolotl's plugins that requirements.lock does not have.
NEEDS = {
    "SwanLabPlugin": "swanlab",
    "DenseMixerPlugin": "densemixer",
    "ExpertParallelPlugin": "deep_ep",
    "CutCrossEntropyPlugin": "cut-cross-entropy (Axolotl's fork of it)",
}
# Keys of `fsdp_config` from older versions, which Axolotl's schema drops.
DROPPED_FSDP = ("limit_all_gathers", "sharding_strategy", "forward_prefetch", "backward_prefetch")


class Origin(NamedTuple):
    """What the fork starts from. `recipe` is None for a plain Axolotl config; `text` is the text of the
    config."""

    recipe: Recipe | None
    config: dict[str, Any]
    text: str
    notes: list[str]


def load_origin(origin: str, allow: str = "") -> Origin:
    """Return what FROM names. `allow` lists the keys, separated by commas or spaces, that may run code or
    send data out in a config written by somebody else.

    Raises:
        InputError: there is no such recipe; or the config has unknown keys, trains something else, or has a
            key that runs code, sends data out or reads other files.
    """
    allowed = allow.replace(",", " ").split()
    if not origin.endswith((".yaml", ".yml")):
        if allowed:
            text = "only applies to a plain Axolotl config, not to a recipe of this checkout. Remove it."
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
    # Both errors together: a plugin may be unknown because it is somebody's own code.
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
    """Return the config without empty keys that Axolotl does not know, as in older examples."""
    known = schema()["models"][schema()["root"]]
    gone = [key for key, value in config.items() if value is None and key not in known]
    if not gone:
        return config, text, []
    kept = {key: value for key, value in config.items() if key not in gone}
    note = f"{', '.join(gone)}: empty and unknown to Axolotl, so removed"
    return kept, change(text, dict.fromkeys(gone), ""), [note]


def _plain(key: Any) -> str:
    """Return a key of `fsdp_config` without its prefix."""
    return str(key) if key == "fsdp_version" else str(key).removeprefix("fsdp_")


def _plain_fsdp(config: dict[str, Any], text: str) -> tuple[dict[str, Any], str, list[str]]:
    """Return the config with the keys of `fsdp_config` as Axolotl reads them: it strips their prefix `fsdp_`,
    and drops those of older versions."""
    old = config.get("fsdp_config")
    if not isinstance(old, dict):
        return config, text, []
    named = {_plain(key): value for key, value in old.items()}
    kept = {key: value for key, value in named.items() if key not in DROPPED_FSDP}
    notes = []
    if any(key not in named for key in old):
        notes.append("fsdp_config: the prefix fsdp_ is removed from its keys, as Axolotl does, too")
    if gone := [key for key in named if key not in kept]:
        notes.append(f"fsdp_config: {', '.join(gone)} is removed, because Axolotl ignores it")
    if not notes:
        return config, text, []
    return (
        {**config, "fsdp_config": kept},
        change(text, {"fsdp_config": entry("fsdp_config", kept)}, ""),
        notes,
    )
