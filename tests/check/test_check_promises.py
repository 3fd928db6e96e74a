"""Configs that would not do what they say are found with file, line and key; right ones raise no alarm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.config.test_resolve import Make, make  # noqa: F401 (a fixture)
from tunebook.check.config import adder, config_findings
from tunebook.check.findings import Finding
from tunebook.check.promises import schedule
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.paths import ROOT
from tunebook.models import base_files
from tunebook.models.registry import model_table
from tunebook.models.templates import ChatTemplate, traits

LAYERS, WORDS = 2, ["<s>", "</s>", "a", "b", "<think>"]
LINEAR = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
LINEAR += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
NORMS = ["input_layernorm", "post_attention_layernorm"]


TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}"
OPENED = "{% if add_generation_prompt %}[assistant]{% endif %}"
TEMPLATE = TURNS + OPENED


def write_base(folder: Path, template: str | None = TEMPLATE, **changes: object) -> Path:
    """Write what check reads of a base model: config.json, the names of its weights, its tokens."""
    folder.mkdir(exist_ok=True)
    config = {"model_type": "llama", "num_hidden_layers": LAYERS, "vocab_size": len(WORDS), "hidden_size": 8}
    config |= {"intermediate_size": 16, "num_attention_heads": 2, "tie_word_embeddings": True}
    config |= {"max_position_embeddings": 4096, "bos_token_id": 0, "eos_token_id": 1, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    names = [f"model.layers.{n}.{part}.weight" for n in range(LAYERS) for part in [*LINEAR, *NORMS]]
    names += ["model.embed_tokens.weight", "model.norm.weight"]
    index = {"weight_map": {name: "model.safetensors" for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    vocabulary = {"model": {"vocab": {word: n for n, word in enumerate(WORDS[:4])}}}
    added = {"added_tokens": [{"content": WORDS[4], "id": 4}]}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary | added))
    settings = {"chat_template": template} if template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", **settings}))
    return folder


# Keys that replace or remove (None) those of PLAIN, and the key whose line is named.
PLAIN: dict[str, str | None] = {
    "chat_template": "tokenizer_default",
    "adapter": "lora",
    "lora_r": "8",
    "lora_alpha": "16",
    "lora_target_linear": "true",
    "bf16": "true",
    "sequence_len": "256",
    "excess_length_strategy": "raise",
    "micro_batch_size": "8",
    "learning_rate": "0.0002",
    "num_epochs": "3",
    "seed": "42",
}
STEPS: dict[str, str | None] = {"eval_steps": "10", "save_steps": "10"}
STOP = {**STEPS, "early_stopping_patience": "3"}
NO_LORA: dict[str, str | None] = dict.fromkeys(
    ("adapter", "lora_r", "lora_alpha", "lora_target_linear"), None
)
FULL = {**NO_LORA, "plugins": "[tunebook.plugins.Float32Weights]", "learning_rate": "0.00002"}
QLORA = {"adapter": "qlora", "load_in_4bit": "true"}
DEV = {**STOP, "plugins": "[tunebook.plugins.DevMetric]"}
FAULTS: list[tuple[dict[str, str | None], str]] = [
    # early stopping and the best checkpoint
    ({"early_stopping_patience": "3"}, "early_stopping_patience"),
    ({**STOP, "save_steps": "15"}, "early_stopping_patience"),
    ({**STEPS, "load_best_model_at_end": "true", "save_steps": "25"}, "load_best_model_at_end"),
    ({**STOP, "metric_for_best_model": "eval_accuracy"}, "metric_for_best_model"),
    ({**STOP, "metric_for_best_model": "eval_dev_accuracy"}, "metric_for_best_model"),
    ({**STOP, "metric_for_best_model": "bleu"}, "metric_for_best_model"),
    ({"metric_for_best_model": "eval_ppl"}, "metric_for_best_model"),
    ({**STOP, "metric_for_best_model": "eval_ppl"}, "metric_for_best_model"),
    ({**DEV, "metric_for_best_model": "eval_dev_nonsense"}, "metric_for_best_model"),
    ({**DEV, "metric_for_best_model": "eval_dev_invalid_rate"}, "metric_for_best_model"),
    (
        {**DEV, "metric_for_best_model": "eval_dev_accuracy", "greater_is_better": "false"},
        "greater_is_better",
    ),
    ({**STOP, "metric_for_best_model": "eval_loss", "greater_is_better": "true"}, "greater_is_better"),
    ({**STOP, "greater_is_better": "true"}, "greater_is_better"),
    ({**STOP, "early_stopping_patience": "0"}, "early_stopping_patience"),
    # amounts
    ({"num_epochs": "0"}, "num_epochs"),
    ({"num_epochs": "-1"}, "num_epochs"),
    ({"max_steps": "0"}, "max_steps"),
    ({"learning_rate": "0"}, "learning_rate"),
    ({"micro_batch_size": "0"}, "micro_batch_size"),
    ({"gradient_accumulation_steps": "0"}, "gradient_accumulation_steps"),
    ({"sequence_len": "0"}, "sequence_len"),
    ({"eval_steps": "0"}, "eval_steps"),
    ({"save_total_limit": "0"}, "save_total_limit"),
    ({"warmup_ratio": "1.0"}, "warmup_ratio"),
    ({"warmup_ratio": "10"}, "warmup_ratio"),
    ({"warmup_steps": "-5"}, "warmup_steps"),
    ({"lora_dropout": "1"}, "lora_dropout"),
    ({"max_steps": "20", "warmup_steps": "20"}, "warmup_steps"),
    ({"warmup_steps": "5", "warmup_ratio": "0.1"}, "warmup_steps"),
    ({"evals_per_epoch": "2", "eval_steps": "5"}, "evals_per_epoch"),
    ({"saves_per_epoch": "2", "save_steps": "5"}, "saves_per_epoch"),
    ({"fp16": "true"}, "bf16"),
    # names that nobody knows
    ({"lr_scheduler": "cosinus"}, "lr_scheduler"),
    ({"lr_scheduler": "cosine_with_min_lr"}, "lr_scheduler"),
    ({"lr_scheduler": "warmup_stable_decay"}, "lr_scheduler"),
    ({"optimizer": "adamw"}, "optimizer"),
    ({"chat_template": "chat_ml"}, "chat_template"),
    ({"chat_template": "jinja"}, "chat_template"),
    ({"chat_template_jinja": "'{{ messages }}'"}, "chat_template_jinja"),
    ({"resume_from_checkpoint": "runs/nowhere/checkpoint-5"}, "resume_from_checkpoint"),
    ({"resume_from_checkpoint": "true_"}, "resume_from_checkpoint"),
    ({"resume_from_checkpoint": "tests"}, "resume_from_checkpoint"),
    # quantization
    ({**FULL, "load_in_4bit": "true"}, "load_in_4bit"),
    ({**FULL, "load_in_8bit": "true"}, "load_in_8bit"),
    ({"load_in_4bit": "true"}, "load_in_4bit"),
    ({"load_in_8bit": "true", "bf16": "false"}, "load_in_8bit"),
    ({**QLORA, "load_in_8bit": "true"}, "load_in_8bit"),
    ({"adapter": "qlora"}, "adapter"),
    # what the base has
    ({"lora_target_modules": "[q_prj]"}, "lora_target_modules"),
    ({"lora_target_modules": "[q_proj, wqkv]"}, "lora_target_modules"),
    ({"lora_target_modules": "[norm]"}, "lora_target_modules"),
    ({"lora_target_modules": "'.*attention.*'"}, "lora_target_modules"),
    ({"lora_modules_to_save": "[head]"}, "lora_modules_to_save"),
    ({"lora_rank_pattern": "{wqkv: 4}"}, "lora_rank_pattern"),
    ({"peft_layers_to_transform": "[0, 2]"}, "peft_layers_to_transform"),
    ({"peft_layers_to_transform": "[]"}, "peft_layers_to_transform"),
    (
        {"peft_layers_to_transform": "[0]", "lora_target_modules": "'.*q_proj'", "lora_target_linear": None},
        "peft_layers_to_transform",
    ),
    ({"lora_target_parameters": "[experts.down]"}, "lora_target_parameters"),
    ({"peft_trainable_token_indices": "[5]"}, "peft_trainable_token_indices"),
    ({**FULL, "unfrozen_parameters": "[encoder.layer]"}, "unfrozen_parameters"),
    ({**FULL, "unfrozen_parameters": "['model.layers.[5-9]+.']"}, "unfrozen_parameters"),
    ({"unfrozen_parameters": "[model.norm.weight]"}, "unfrozen_parameters"),
    ({"tokens": "['<tool>']"}, "tokens"),
    ({"special_tokens": "{pad_token: '<pad>'}"}, "special_tokens"),
    ({"eot_tokens": "['<|im_end|>']"}, "eot_tokens"),
    ({"sequence_len": "8192"}, "sequence_len"),
    # another model in training than in evaluation
    ({"overrides_of_model_config": "{rope_theta: 1000000}"}, "overrides_of_model_config"),
    ({**QLORA, "bnb_config_kwargs": "{bnb_4bit_quant_type: fp4}"}, "bnb_config_kwargs"),
    ({"trust_remote_code": "true"}, "trust_remote_code"),
    ({"relora": "true"}, "relora"),
]
TABLES = "[embed_tokens, lm_head]"
WARNED: list[tuple[dict[str, str | None], str]] = [
    ({"lr_scheduler": "constant", "warmup_ratio": "0.1"}, "warmup_ratio"),
    ({**STEPS, "save_strategy": "'no'", "auto_resume_from_checkpoints": "true"}, "save_strategy"),
    ({"save_only_model": "true", "auto_resume_from_checkpoints": "true"}, "save_only_model"),
    ({"load_best_model_at_end": "true"}, "load_best_model_at_end"),
    ({"load_in_8bit": "true"}, "load_in_8bit"),
    ({**FULL, "tokens": "['<tool>']"}, "tokens"),
    ({"tokens": "['<tool>']", "lora_modules_to_save": TABLES}, "tokens"),
]
RIGHT: list[dict[str, str | None]] = [
    {},
    {"metric_for_best_model": "eval_loss"},  # keeps the best checkpoint
    FULL,
    QLORA,
    STOP,
    {**STOP, "save_steps": "20"},
    {**STOP, "metric_for_best_model": "eval_loss"},
    {**STOP, "metric_for_best_model": "loss", "greater_is_better": "false"},
    {**DEV, "metric_for_best_model": "eval_dev_accuracy"},
    {**DEV, "metric_for_best_model": "dev_macro_f1", "greater_is_better": "true"},
    {**DEV, "metric_for_best_model": "eval_dev_loss"},
    {**STEPS, "load_best_model_at_end": "true"},
    {"eval_steps": "0.25", "save_steps": "0.5"},
    {"warmup_steps": "5"},
    {"warmup_ratio": "0"},
    {"weight_decay": "0", "max_grad_norm": "0", "lora_dropout": "0"},
    {"lr_scheduler": "rex"},
    {"lr_scheduler": "constant_with_warmup", "warmup_ratio": "0.1"},
    {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_kwargs": "{min_lr_rate: 0.1}"},
    {"optimizer": "paged_adamw_8bit"},
    {"chat_template": "chatml"},
    {"chat_template": "tokenizer_default_fallback_chatml"},
    {"chat_template": "jinja", "chat_template_jinja": f"'{TEMPLATE}'"},
    {"lora_target_modules": "[q_proj, self_attn.v_proj]", "lora_target_linear": None},
    {"lora_target_modules": "[lm_head]"},
    {"lora_target_modules": "all-linear", "lora_target_linear": None},
    {"lora_target_modules": "'.*self_attn.*_proj'", "lora_target_linear": None},
    {"lora_modules_to_save": "[embed_tokens, lm_head]"},
    {"lora_modules_to_save": "[norm]"},
    {"lora_rank_pattern": "{q_proj: 4}", "lora_alpha_pattern": "{'layers.1.mlp.up_proj': 8}"},
    {"peft_layers_to_transform": "[0, 1]"},
    {"peft_trainable_token_indices": "[0, 4]"},
    {"peft_trainable_token_indices": "{embed_tokens: [2]}"},
    {**FULL, "unfrozen_parameters": "['model.layers.1.', '^model.embed_tokens.weight$[:3]']"},
    {"tokens": "['<think>']"},
    {"special_tokens": "{pad_token: '<think>', eos_token: '</s>'}"},
    {"eot_tokens": "['</s>']"},
    {"sequence_len": "4096"},
    {"base_model_config": None},
]


def text_of(base: Path, changes: dict[str, str | None]) -> str:
    lines = [f"base_model: {base}"]
    lines += [f"{key}: {value}" for key, value in (PLAIN | changes).items() if value is not None]
    for key, split in (("datasets", "train"), ("test_datasets", "dev")):
        lines += [f"{key}:", f"  - path: datasets/kettlewick-intents/rows/{split}.jsonl"]
        lines += ["    type: chat_template"]
    return "\n".join(lines) + "\n"


def found_in(recipe: recipes.Recipe) -> list[Finding]:
    return config_findings(resolve(recipe, Options("real"), for_this_machine=False))


def ids(cases: list[dict[str, str | None]]) -> list[str]:
    return [" ".join(f"{key}={value}" for key, value in case.items()) or "plain" for case in cases]


@pytest.mark.parametrize(("changes", "key"), FAULTS, ids=ids([changes for changes, _ in FAULTS]))
def test_a_fault_is_named_where_it_stands(
    changes: dict[str, str | None],
    key: str,
    make: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    text = text_of(write_base(tmp_path / "base"), changes)
    recipe = make(text)
    errors = [finding for finding in found_in(recipe) if finding.grade == "error"]
    assert key in [finding.key for finding in errors], [str(finding) for finding in errors]
    finding = next(finding for finding in errors if finding.key == key)
    line = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(f"{key}:"))
    assert (finding.file, finding.line) == (recipe.file, line)
    assert finding.do, "what to type"
    assert finding.code.startswith(("training.", "base.", "template."))


@pytest.mark.parametrize("changes", RIGHT, ids=ids(RIGHT))
def test_a_right_config_raises_no_alarm(
    changes: dict[str, str | None],
    make: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    found = found_in(make(text_of(write_base(tmp_path / "base"), changes)))
    assert [str(finding) for finding in found if finding.grade != "note"] == []


@pytest.mark.parametrize(("changes", "key"), WARNED, ids=ids([changes for changes, _ in WARNED]))
def test_what_rarely_is_meant_is_a_warning(
    changes: dict[str, str | None],
    key: str,
    make: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    found = found_in(make(text_of(write_base(tmp_path / "base"), changes)))
    assert [(finding.grade, finding.key) for finding in found if finding.grade != "note"] == [
        ("warning", key)
    ]


def provoked(make: Make, folder: Path) -> list[Finding]:  # noqa: F811
    """Return every finding of these rules, for tests/check/test_findings.py."""
    base = write_base(folder / "base")
    found = [one for changes, _ in [*FAULTS, *WARNED] for one in found_in(make(text_of(base, changes)))]
    found += found_in(make(text_of(base, STOP).partition("test_datasets")[0]))
    other = write_base(folder / "other", None, pad_token_id=5, sliding_window=128)
    found += found_in(make(text_of(other, {})))
    code = {"AutoModelForCausalLM": "modeling_own.Own"}
    coded = write_base(folder / "coded", None, model_type="mine", auto_map=code)
    found += found_in(make(text_of(coded, {})))
    for number, (text, _, _) in enumerate(TEMPLATES):
        found += found_in(make(text_of(write_base(folder / f"template-{number}", text), {})))
    found += found_in(make(text_of(base, {"plugins": "[tunebook.plugins.Thinking]", "thinking": "keep"})))
    schedule.after_counting({"eval_steps": 50}, 40, adder(resolve(make(), Options("real"), False), found))
    return found


THOUGHTLESS = "{{ m.content.split('</think>')[-1] if m.role == 'assistant' else m.content }}"
LAST_ONLY = "{{ m.content if loop.last or m.role != 'assistant' else 'done' }}"
HELPFUL = "{% if messages[0].role != 'system' %}[system]You are a helpful, kind assistant.</s>{% endif %}"
TEMPLATES: list[tuple[str, str, str]] = [
    ("[system]{{ strftime_now('%d %B %Y') }}</s>" + TEMPLATE, "error", "template.depends_on_day"),
    ("{{ range(99999) | random }}" + TEMPLATE, "error", "template.depends_on_day"),
    ("{% for m in messages %}{{ m.nothing.at_all }}{% endfor %}", "error", "template.broken"),
    ("{% for m in messages %}", "error", "template.broken"),
    ("{{ raise_exception('no') }}", "error", "template.broken"),
    ("{% for n in range(9999999) %}{% endfor %}", "error", "template.broken"),
    ("{{ messages[7].content }}{{ 1 / 0 }}", "error", "template.broken"),
    (TURNS.replace("in messages", "in messages[:1]") + OPENED, "error", "template.drops_text"),
    (TURNS + OPENED.replace("[assistant]", "[assistant]<think>"), "error", "template.prompt_differs"),
    (TURNS.replace("</s>", "") + OPENED, "error", "template.no_turn_end"),
    (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE,
        "warning",
        "template.no_system",
    ),
    (TEMPLATE.replace("in messages", "in messages if m.role != 'system'"), "warning", "template.no_system"),
    (
        "{% if messages | length > 3 %}{{ raise_exception('one turn') }}{% endif %}" + TEMPLATE,
        "warning",
        "template.one_turn_only",
    ),
    (HELPFUL + TEMPLATE, "note", "template.default_system"),
    (TURNS.replace("{{ m.content }}", THOUGHTLESS) + OPENED, "note", "template.strips_thoughts"),
    (TURNS.replace("{{ m.content }}", LAST_ONLY) + OPENED, "note", "template.rewrites_turns"),
]


@pytest.mark.parametrize(("text", "grade", "code"), TEMPLATES)
def test_what_a_template_of_a_folder_does(
    text: str,
    grade: str,
    code: str,
    make: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    recipe = make(text_of(write_base(tmp_path / "base", text), {}))
    found = [finding for finding in found_in(recipe) if finding.code.startswith("template.")]
    assert [(one.grade, one.code) for one in found] == [(grade, code)]
    assert found[0].key == "chat_template" and found[0].line and found[0].do


def test_a_date_that_is_pinned_depends_on_no_day(make: Make, tmp_path: Path) -> None:  # noqa: F811
    """As in Llama 3.1, whose template takes `date_string`."""
    dated = "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    base = write_base(tmp_path / "base", dated + "[system]{{ date_string }}</s>" + TEMPLATE)
    assert [one.code for one in found_in(make(text_of(base, {})))] == ["template.depends_on_day"]
    pinned: dict[str, str | None] = {"chat_template_kwargs": "{date_string: 26 Jul 2024}"}
    assert found_in(make(text_of(base, pinned))) == []


THINKS = "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}"


@pytest.mark.parametrize("thinking", ["off", "keep", "mask"])
@pytest.mark.parametrize("thinks", [True, False])
def test_reasoning_needs_a_template_that_has_it(
    thinks: bool,
    thinking: str,
    make: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    template = TEMPLATE.replace("{{ m.content }}", THINKS) if thinks else TEMPLATE
    keys: dict[str, str | None] = {"plugins": "[tunebook.plugins.Thinking]", "thinking": thinking}
    found = found_in(make(text_of(write_base(tmp_path / "base", template), keys)))
    codes = [(one.grade, one.code) for one in found if one.code.startswith("template.")]
    assert codes == ([] if thinks or thinking == "off" else [("error", "template.no_thinking")])


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "fixtures" / "families").glob("*.jinja")), ids=str)
def test_the_templates_of_the_model_table_have_no_fault(path: Path) -> None:
    rows = [row for row in model_table().values() if row["family"] == path.stem]
    arguments = rows[0]["axolotl"].get("chat_template_kwargs") or {}
    found = traits(ChatTemplate(path.read_text(), {**arguments, "bos_token": ""}), None)
    assert set(found) <= {"default_system", "rewrites_turns", "strips_thoughts"}


def test_early_stopping_without_dev_rows(make: Make, tmp_path: Path) -> None:  # noqa: F811
    text = text_of(write_base(tmp_path / "base"), STOP).partition("test_datasets")[0]
    errors = [finding for finding in found_in(make(text)) if finding.grade == "error"]
    assert [(finding.key, finding.code) for finding in errors] == [
        ("early_stopping_patience", "training.no_dev_rows")
    ]


def test_a_template_that_is_not_there_and_ids_out_of_range(make: Make, tmp_path: Path) -> None:  # noqa: F811
    base = write_base(tmp_path / "base", template=None, pad_token_id=5)
    keys = {finding.key for finding in found_in(make(text_of(base, {}))) if finding.grade == "error"}
    assert keys == {"chat_template", "base_model"}


@pytest.mark.parametrize(
    ("scaling", "most"),
    [
        ({}, 4096),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}},
            16384,
        ),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, 4096),
    ],
)
def test_positions_of_a_base_with_scaling(scaling: dict[str, object], most: int, tmp_path: Path) -> None:
    files = base_files.read(str(write_base(tmp_path / "base", **scaling)))
    assert files and files.positions == most


def test_a_sliding_window_is_mentioned(make: Make, tmp_path: Path) -> None:  # noqa: F811
    base = write_base(tmp_path / "base", sliding_window=128)
    assert [(f.grade, f.key) for f in found_in(make(text_of(base, {})))] == [("warning", "sequence_len")]
    off = write_base(tmp_path / "off", sliding_window=128, use_sliding_window=False)
    assert found_in(make(text_of(off, {}))) == []


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({"warmup_steps": 40}, {"warmup_steps": "error"}),
        ({"warmup_steps": 4, "eval_steps": 10, "save_steps": 20}, {}),
        ({"eval_steps": 50}, {"eval_steps": "warning"}),
        ({"save_steps": 50}, {"save_steps": "warning"}),
        (
            {"eval_steps": 50, "save_steps": 50, "early_stopping_patience": 1},
            {"eval_steps": "error", "save_steps": "error"},
        ),
        ({"eval_steps": 0.5, "save_steps": 0.5}, {}),
    ],
)
def test_what_needs_the_number_of_steps(config: dict[str, object], keys: dict[str, str], make: Make) -> None:  # noqa: F811
    resolved = resolve(make(), Options("real"), for_this_machine=False)
    found: list[Finding] = []
    schedule.after_counting(config, 40, adder(resolved, found))
    assert {finding.key: finding.grade for finding in found} == keys


def test_a_base_that_cannot_be_read_is_left_to_who_loads_it(tmp_path: Path) -> None:
    assert base_files.read(str(tmp_path)) is None
    (tmp_path / "config.json").write_text("{")
    assert base_files.read(str(tmp_path)) is None
    write_base(tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").unlink()
    files = base_files.read(str(tmp_path / "base"))
    assert files and files.tokens is None and files.layers == LAYERS
