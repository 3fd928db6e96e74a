"""The names that `make check` knows are those of the pinned libraries."""

from __future__ import annotations

from tests.support.lazy import lazy
from tunebook.check.promises import same_model, schedule

enums = lazy("axolotl.utils.schemas.enums")
schedulers, arguments = lazy("transformers.trainer_utils"), lazy("transformers.training_args")


def test_names_are_those_of_the_pinned_libraries() -> None:
    assert {item.value for item in schedulers.SchedulerType} | {"one_cycle", "rex"} == schedule.SCHEDULERS
    theirs = {item.value for item in arguments.OptimizerNames}
    theirs |= {item.value for item in enums.CustomSupportedOptimizers}
    assert theirs == schedule.OPTIMIZERS
    assert {item.value for item in enums.ChatTemplate} == same_model.TEMPLATES
