"""A config that somebody else wrote: every key of the schema is decided, and what reaches out is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tunebook.config.foreign import JUDGES, decided, foreign_problems
from tunebook.config.keys import versions

RECIPE = {
    "base_model": "Qwen/Qwen3-0.6B",
    "model_type": "AutoModelForCausalLM",
    "tokenizer_type": "AutoTokenizer",
    "chat_template": "chatml",
    "attn_implementation": "flash_attention_2",
    "plugins": ["axolotl.integrations.liger.LigerPlugin", "tunebook.plugins.TokenMean"],
    "deepspeed": "deepspeed_configs/zero2.json",
    "overrides_of_model_config": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    "use_tensorboard": True,
    "wandb_project": None,
    "use_wandb": False,
    "trust_remote_code": False,
    "hub_model_id": "",
}


def problems(config: dict[str, Any], *allowed: str) -> list[tuple[str, str | None]]:
    return [(one.code, one.key) for one in foreign_problems(config, {}, "x.yaml", allowed)]


def test_every_key_of_every_version_is_decided_once() -> None:
    """A key of a newer Axolotl has to be added to foreign_keys.yaml."""
    table = decided()
    closed = frozenset().union(*table.refused.values(), table.replaced)
    tops: set[str] = set()
    keys: set[str] = set()
    inner: dict[str, set[str]] = {}
    for known in versions().values():
        models = known["models"]
        top = {known["root"], *known["plugins"].values()} & set(models)
        tops |= top
        todo = [(name, key) for name in top for key in models[name]]
        keys |= {key for _, key in todo}
        passed: set[str] = set()
        while todo:
            name, key = todo.pop()
            if name in top and key in closed:
                continue
            # What a plain key holds may be a model, whose keys are decided, too.
            for kind in models[name][key]:
                if (found := kind.partition("model:")[2]) and found not in passed:
                    passed.add(found)
                    inner.setdefault(found, set()).update(models[found])
                    todo += [(found, one) for one in models[found]]
    alone = [*table.refused.values(), table.judged, table.replaced]
    listed = frozenset().union(*alone, *(table.plain.get(name, frozenset()) for name in tops))
    assert listed == keys
    assert sum(map(len, alone)) == len(frozenset().union(*alone)), "a key is in two lists"
    assert not frozenset().union(*alone) & frozenset().union(*(table.plain.get(name, set()) for name in tops))
    assert set(JUDGES) == table.judged
    assert {name: set(table.plain[name]) for name in inner} == inner
    assert set(table.plain) <= tops | set(inner)


def test_a_usual_config_passes() -> None:
    assert problems(RECIPE) == []


@pytest.mark.parametrize(
    "key", [key for keys in decided().refused.values() for key in sorted(keys)] + ["chat_template_jinja"]
)
def test_a_key_that_reaches_out_needs_to_be_allowed(key: str) -> None:
    for value in (True, "x", {"a": 1}, ["x"], 1):
        assert problems({**RECIPE, key: value}) == [("fork.foreign_key", key)]
        assert problems({**RECIPE, key: value}, key) == []
    assert problems({**RECIPE, key: None}) == []


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("plugins", ["tunebook.paths.os.system"], "plugins[0]"),
        ("plugins", ["tunebook.plugins.training.os.system"], "plugins[0]"),
        ("plugins", ["axolotl.integrations.liger.LigerPlugin", "os.system"], "plugins[1]"),
        ("plugins", "os.system", "plugins[0]"),
        ("plugins", [{"a": 1}], "plugins[0]"),
        ("plugins", ["axolotl.integrations.kernels.KernelsPlugin"], "plugins[0]"),
        ("deepspeed", "file:///etc/passwd", "deepspeed"),
        ("deepspeed", "../x.json", "deepspeed"),
        ("deepspeed", "deepspeed_configs/../../x.json", "deepspeed"),
        ("deepspeed", {"csv_monitor": {"enabled": True}}, "deepspeed"),
        ("attn_implementation", "somebody/kernel", "attn_implementation"),
        ("experts_implementation", "somebody/kernel@v1", "experts_implementation"),
        ("model_type", "os.system", "model_type"),
        ("tokenizer_type", "../x", "tokenizer_type"),
        ("chat_template", "{{ messages }}", "chat_template"),
        ("chat_template", "/etc/passwd", "chat_template"),
        (
            "overrides_of_model_config",
            {"auto_map": {"AutoModel": "x--y"}},
            "overrides_of_model_config.auto_map",
        ),
        ("model_config", {"a": {"_attn_implementation": "x/y"}}, "model_config.a._attn_implementation"),
    ],
)
def test_a_value_that_reaches_out_is_named(key: str, value: Any, where: str) -> None:
    assert problems({**RECIPE, key: value}) == [("fork.foreign_key", where)]
    assert problems({**RECIPE, key: value}, key) == []


def test_allowing_what_is_not_there_is_refused() -> None:
    assert problems(RECIPE, "use_wandb") == [("fork.nothing_to_allow", "--allow (ALLOW=)")]
    assert problems(RECIPE, "no_such_key") == [("fork.nothing_to_allow", "--allow (ALLOW=)")]
