"""The names that `make check` knows are those of the pinned libraries."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from tunebook.check.promises import same_model, schedule


def values(module: str, name: str) -> set[str]:
    """Return the values of an enumeration as its file has them: to import Axolotl takes ten seconds."""
    package, *rest = module.split(".")
    spec = find_spec(package)
    assert spec and spec.origin
    tree = ast.parse(Path(spec.origin).parent.joinpath(*rest).with_suffix(".py").read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {ast.literal_eval(node.value) for node in found.body if isinstance(node, ast.Assign)}


def test_names_are_those_of_the_pinned_libraries() -> None:
    schedules = values("transformers.trainer_utils", "SchedulerType")
    assert schedules | {"one_cycle", "rex"} == schedule.SCHEDULERS
    optimizers = values("transformers.training_args", "OptimizerNames")
    optimizers |= values("axolotl.utils.schemas.enums", "CustomSupportedOptimizers")
    assert optimizers == schedule.OPTIMIZERS
    assert values("axolotl.utils.schemas.enums", "ChatTemplate") == same_model.TEMPLATES
