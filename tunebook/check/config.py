"""Faults of a composed config: what Axolotl rejects or misinterprets, and settings that are rarely intended.

Unknown keys and wrong types are reported earlier, when the config is composed (tunebook/config/keys.py).
"""

from __future__ import annotations

from pathlib import Path

from tunebook.check import model_rules, promises, training_rules
from tunebook.check.findings import Add, Finding, Grade, of_problem
from tunebook.config import method_limits
from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError, raise_all
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_or_stand_in
from tunebook.data.thinking import setting
from tunebook.hardware import capabilities

TABLES = (".jsonl", ".json", ".parquet", ".csv")


def check_config(resolved: Resolved) -> None:
    """Raise InputError with every error in the composed config; warnings and notes only appear in `make
    check`."""
    raise_all([finding.problem() for finding in config_findings(resolved) if finding.grade == "error"])


def config_findings(resolved: Resolved) -> list[Finding]:
    """Return all findings about the composed config that do not depend on the rows. Fast."""
    found: list[Finding] = []
    _needed(resolved, found)
    _rows_files(resolved, found)
    _reasoning(resolved, found)
    found += [of_problem(problem, "config") for problem in method_limits.problems(resolved)]
    add = adder(resolved, found)
    machine = resolved.overlay.machine if resolved.overlay else None
    if machine:
        for key, text in capabilities.too_much(resolved.config, machine.compute_capability).items():
            add("error", key, f"on {resolved.hardware}: {text}", code="config.unsupported_by_gpu")
    for rule in (*training_rules.RULES, *model_rules.RULES, *promises.RULES):
        rule(resolved, add)
    return found


def adder(resolved: Resolved, found: list[Finding], kind: str = "config") -> Add:
    """Return a function that adds a finding about a key, with the file and line that set the key."""
    config, recipe = resolved.config, resolved.recipe

    def add(grade: Grade, key: str, text: str, do: str = "", link: str | None = None, *, code: str) -> None:
        here = config.get(key) == recipe.config.get(key)
        line = recipe.lines.get((key,)) if here else None
        layers = {"trial.yaml": recipe.trial if resolved.tier == "trial" else {}}
        layers[f"hardware/{resolved.hardware}.yaml"] = resolved.overlay.keys if resolved.overlay else {}
        file = (
            recipe.file
            if here
            else " or ".join(["--set (SET=)", *(n for n, keys in layers.items() if key in keys)])
        )
        found.append(Finding(grade, kind, text, do, file, line, key, link, code=code))

    return add


def _needed(resolved: Resolved, found: list[Finding]) -> None:
    config, add = resolved.config, adder(resolved, found)
    if "seed" not in config:
        add("error", "seed", "required for reproducibility.", "Add `seed: 42`.", code="config.no_seed")
    if not config.get("datasets"):
        add("error", "datasets", "missing. List the rows to train on.", code="config.no_datasets")
    if config.get("val_set_size"):
        add(
            "error",
            "val_set_size",
            "splits dev from train at random; list the dev split under test_datasets instead.",
            code="config.random_dev_split",
        )


def _rows_files(resolved: Resolved, found: list[Finding]) -> None:
    """Check that the dev rows are the dev split, and that further files of a mixture exist."""
    config, recipe = resolved.config, resolved.recipe

    def add(key: str, index: int, text: str, *, code: str) -> None:
        line = recipe.lines.get((key, index, "path"))
        found.append(
            Finding(
                "error",
                "config",
                text,
                file=recipe.file,
                line=line,
                key=f"{key}[{index}].path",
                code=code,
            )
        )

    dev = f"datasets/{recipe.dataset}/rows/dev.jsonl"
    for index, entry in enumerate(recipe.config.get("test_datasets") or []):
        if entry.get("path") != dev:
            add(
                "test_datasets",
                index,
                f"must be {dev}, the dev split; test rows must not be used in training (got "
                f"{entry.get('path')!r}).",
                code="config.not_the_dev_split",
            )
    for index, entry in enumerate(config.get("datasets") or []):
        path = Path(str(entry.get("path")))
        if index and path.suffix in TABLES and not (ROOT / path).is_file():
            add(
                "datasets",
                index,
                f"file not found: {path}. Render the rows of that dataset with `make data`.",
                code="config.no_such_rows",
            )


def _reasoning(resolved: Resolved, found: list[Finding]) -> None:
    """Check that `thinking` says what becomes of reasoning where the rows have any, and only there."""
    add, thinking = adder(resolved, found), setting.of(resolved.config)
    try:
        dataset = load_dataset_or_stand_in(resolved.recipe.dataset, resolved.tier == "trial")
    except InputError:
        return  # reported by those who read the rows
    if dataset.source.reasoning and thinking is None:
        add(
            "error",
            setting.KEY,
            f"missing, but datasets/{dataset.name} reads reasoning (source.reasoning), and nothing says what "
            "becomes of it.",
            f"Add {setting.PLUGIN} to plugins, and `thinking: keep` (learned), `mask` (shown, only the "
            "answer is learned) or `off` (left out).",
            code="thinking.not_set",
        )
    if thinking in setting.SHOWN and not dataset.source.reasoning:
        add(
            "warning",
            setting.KEY,
            f"{thinking}, but datasets/{dataset.name} reads no reasoning, so that the model is prompted to "
            "think and learns answers without it.",
            "Set `reasoning: true` under `source:` in dataset.yaml, or `thinking: off`.",
            code="thinking.no_reasoning",
        )


def requested_and_effective(resolved: Resolved, effective: AxolotlConfig) -> list[dict[str, str]]:
    """Return the keys that Axolotl sets to other values than the recipe, each with recipe.yaml's value and
    the effective one."""
    requested = resolved.recipe.config
    shown = [key for key in effective if key in requested or key in SET_BY_AXOLOTL]
    rows = []
    for key in sorted(shown):
        before, after = requested.get(key), effective[key]
        if key in ("datasets", "test_datasets", "plugins", "dataset_prepared_path") or before == after:
            continue
        if after in (None, False) and before in (None, False):
            continue
        rows.append(
            {"key": key, "recipe.yaml": "not set" if before is None else str(before), "effective": str(after)}
        )
    return rows


# Keys that Axolotl sets on its own and that change what a run does.
SET_BY_AXOLOTL = frozenset(
    """eval_sample_packing pad_to_sequence_len lora_mlp_kernel lora_qkv_kernel lora_o_kernel
    lora_embedding_kernel eval_batch_size batch_size excess_length_strategy sequence_len seed
    load_best_model_at_end attn_implementation fp16 activation_offloading special_tokens""".split()
)
