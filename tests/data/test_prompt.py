"""The prompt contract, held against Axolotl's own tokenisation: every recipe and every model family."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.support import axolotl_rows, tiny
from tests.support.families import FAMILIES, family_tokenizer
from tests.support.prepared_rows import compared
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.files import write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.formats.turns import trained
from tunebook.data.prompt import PromptEncoder, with_shots, with_system
from tunebook.data.render import render
from tunebook.data.tool_calls import written
from tunebook.models import methods
from tunebook.models.registry import model_table
from tunebook.pipeline.prepare import place_paths
from tunebook.runs.run import Run

TWINS = ROOT / "tests" / "twins"
REWRITING = {"qwen3", "qwen3-base", "qwen3.5", "olmo3"}
# Keys that decide how rows are learned, not what they are.
TUNING = frozenset(
    """adapter lora_r lora_alpha lora_dropout lora_target_linear load_in_4bit peft_layers_to_transform plugins
    learning_rate optimizer warmup_ratio num_epochs micro_batch_size gradient_accumulation_steps
    eval_batch_size gradient_checkpointing gradient_checkpointing_kwargs output_dir peft_use_dora
    num_virtual_tokens prompt_tuning_init prefix_init_std encoder_hidden_size encoder_reparameterization_type
    bottleneck_size group_by_length pad_to_sequence_len""".split()
)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where does the Wend rise?"},
    {"role": "assistant", "content": "On Crake Fell."},
    {"role": "user", "content": "  And where does it end? "},
    {"role": "assistant", "content": "In the sea:\nat Low Quay, 17.30 m wide."},
]


def hold_contract(rows: list[dict], axolotl: axolotl_rows.Rows, encoder: PromptEncoder) -> None:
    """Assert that each row's prompt is an exact prefix of its training ids and the answer is trained."""
    for row in rows:
        encoded = encoder.encode(row["messages"], row.get("tools"))
        full = [*encoded.context, *encoded.answer, encoded.end]
        matches = [labels for ids, labels in axolotl if ids[: len(full)] == full]
        assert matches, f"{row['id']}: the prompt is no prefix of what Axolotl trains on"
        # The shortest: a row may be the beginning of another, whose earlier turns need not be supervised.
        labels, start = min(matches, key=len), len(encoded.context)
        assert labels[start : len(full)] == full[start:], "answer and turn end are supervised"
        assert all(label == -100 for label in labels[len(full) :])
        assert labels[start - 1] == -100, "the first supervised label of the turn stands at its start"
        hold_turns(row, labels[: len(full)], full, encoder)
        answer = encoder.tokenizer.decode(encoded.answer).strip()
        assert re.sub("</?tool_call>", "", answer) == written(row["messages"][-1]).strip()


def hold_turns(row: dict, labels: list[int], full: list[int], encoder: PromptEncoder) -> None:
    """Assert that what is scored of a conversation is what is learned of it, but for the ends of turns."""
    if "rejected" in row:
        return
    passes = encoder.passes(row["messages"], trained(row["messages"]), row.get("tools"))
    if len(passes) > 1:
        return  # the template rewrites earlier turns
    (one,) = passes
    assert one.context + one.rest == full[:-1]
    scored = {len(one.context) + i for start, end in one.spans for i in range(start, end)}
    ends = {len(one.context) + end for _, end in one.spans}
    learned = {place for place, label in enumerate(labels) if label != -100}
    assert scored <= learned
    assert {full[place] for place in ends} == {encoder.tokenizer.eos_token_id}
    if all("weight" not in turn for turn in row["messages"]):
        assert learned - scored <= ends


@pytest.mark.slow
def test_every_recipe_gives_the_ids_that_axolotl_trains_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written and as resolved for both tiers; offline, so on a local base and on twins of Hub rows.

    Configs that differ only in TUNING share one preprocessing.
    """
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(TWINS))
    folders: dict[str, Path] = {}
    given = []
    base = resolve(recipes.load_recipe("classify-lora"), Options("trial", "cpu")).config["base_model"]
    local = {"base_model": base, "bf16": False, "tf32": False}
    for name in recipes.names():
        recipe = recipes.load_recipe(name)
        if methods.uses_head(recipe.config):
            continue  # its rows are not Axolotl's; tests/e2e/test_adapters.py holds them
        dataset = load_dataset_config(recipe.dataset)
        trial = load_dataset_config(dataset.stand_in) if dataset.stand_in else dataset
        with monkeypatch.context() as own:
            own.delenv("TUNEBOOK_SOURCES")
            small = render(trial, "train")[:24]
        rows = render(dataset, "train") if dataset.stand_in else small
        real = resolve(recipe, Options("real"), for_this_machine=False).config
        configs = {
            "written": ({**recipe.config, **local}, rows),
            "real": ({**real, **local}, rows),
            "trial": (resolve(recipe, Options("trial", "cpu")).config, small),
        }
        for kind, (config, some) in configs.items():
            # Packing only decides how rows share a sequence; the ids of each row are asked for here.
            config = {**config, "sample_packing": False, "datasets": config["datasets"][:1]}  # no replay
            decides = {key: value for key, value in config.items() if key not in TUNING}
            same = json.dumps([decides, some], sort_keys=True)
            given.append((name, kind, some, same))
            if same in folders:
                continue
            run = Run(tmp_path / name / kind)
            write_jsonl(run / "data" / "train.jsonl", some)
            folders[same] = axolotl_rows.prepare(place_paths(config, run), run.folder)
    made = dict(zip(folders, axolotl_rows.run(list(folders.values())), strict=True))
    found = [made[same] for *_, same in given]
    encoder = PromptEncoder(tiny.trial_tokenizer())
    for (name, kind, rows, _), axolotl in zip(given, found, strict=True):
        assert len(axolotl) == len(rows), f"{name} {kind}"
        hold_contract(rows, axolotl, encoder)
        if "rejected" not in rows[0]:  # tests/e2e/test_preference.py compares pairs
            seen = compared(tmp_path, rows, axolotl, encoder)
            assert (seen.differ, seen.not_compared.total()) == (0, 0), f"{name} {kind}: {seen.first}"
    for as_is, real in zip(found[::3], found[1::3], strict=True):
        assert sorted(as_is) == sorted(real)


@pytest.mark.slow
def test_model_keeps_the_contract_for_every_family(tmp_path: Path) -> None:
    """`MODEL=` in one move: only the base and its row of the model table change."""
    from transformers import AutoTokenizer

    families: dict[str, str] = {}
    for model, facts in model_table().items():
        families.setdefault(facts["family"], model)
    assert set(families) == set(FAMILIES)
    rows = [
        {"id": "long", "messages": TALK},
        {"id": "short", "messages": TALK[1:3]},
        {"id": "told", "messages": TALK[:3]},
    ]
    folders = []
    for family, model in families.items():
        folder = tmp_path / family
        resolved = resolve(
            recipes.load_recipe("chat-lora"), Options("real", model=model), for_this_machine=False
        )
        config = {**resolved.config, "bf16": False, "tf32": False, "sample_packing": False}
        config["base_model"] = str(family_tokenizer(family, folder / "base"))
        run = Run(folder)
        write_jsonl(run / "data" / "train.jsonl", rows)
        folders.append(axolotl_rows.prepare(place_paths(config, run), folder))
    for family, folder, axolotl in zip(families, folders, axolotl_rows.run(folders), strict=True):
        tokenizer = AutoTokenizer.from_pretrained(folder / "base")
        told = model_table()[families[family]]["axolotl"]
        tokenizer.eos_token = told.get("special_tokens", {}).get("eos_token", tokenizer.eos_token)
        encoder = PromptEncoder(tokenizer, told.get("chat_template_kwargs"))
        assert len(axolotl) == len(rows), family
        hold_contract(rows, axolotl, encoder)


@pytest.mark.slow
def test_a_mixture_has_the_rows_that_its_page_says(tmp_path: Path) -> None:
    """docs/mixing-data.md: intents whole, a quarter of the conversations, the handbook twice."""
    page = (ROOT / "docs" / "mixing-data.md").read_text()
    entries = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["datasets"]
    sets = {}
    for entry in entries:
        name = Path(entry["path"]).parent.parent.name
        sets[name] = render(load_dataset_config(name), "train")
        write_jsonl(tmp_path / entry["path"], sets[name])
        entry["path"] = str(tmp_path / entry["path"])
    recipe = recipes.load_recipe("classify-lora")
    config = resolve(recipe, Options("trial", "cpu")).config
    config = {**config, "datasets": [{**entries[0], "ds_type": "json"}, *entries[1:]], "sequence_len": 1024}
    (found,) = axolotl_rows.run([axolotl_rows.prepare(config, tmp_path / "job")])

    encoder = PromptEncoder(tiny.trial_tokenizer())

    def whole(row: dict) -> tuple[int, ...]:
        encoded = encoder.encode(row["messages"])
        return (*encoded.context, *encoded.answer, encoded.end)

    end = encoder.encode(sets["kettlewick-intents"][0]["messages"]).end
    seen = Counter(tuple(ids[: len(ids) - ids[::-1].index(end)]) for ids, _ in found)
    count = {name: sum(seen[whole(row)] for row in rows) for name, rows in sets.items()}
    assert count == {"kettlewick-intents": 600, "kettlewick-chat": 50, "kettlewick-handbook": 600}
    assert len(found) == sum(count.values())


def test_the_answer_is_what_follows_the_prompt() -> None:
    encoder = PromptEncoder(tiny.trial_tokenizer())
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  blanks   kept? "},
        {"role": "assistant", "content": "Yes: 17.30, caf\u00e9."},
    ]
    encoded = encoder.encode(messages)
    assert encoder.tokenizer.decode(encoded.answer) == messages[-1]["content"]
    assert encoder.tokenizer.decode([encoded.end]) == "<|im_end|>"
    assert encoder.tokenizer.decode(encoded.context).endswith("<|im_start|>assistant\n")


def test_one_pass_has_every_answer_where_its_own_prompt_ends() -> None:
    encoder = PromptEncoder(tiny.trial_tokenizer())
    (one,) = encoder.passes(TALK, [2, 4])
    ids = one.context + one.rest
    for place, (start, end) in zip([2, 4], one.spans, strict=True):
        encoded = encoder.encode(TALK[: place + 1])
        begin = len(one.context) + start
        assert ids[:begin] == encoded.context
        assert ids[begin : len(one.context) + end] == encoded.answer
    last = encoder.encode(TALK)
    (alone,) = encoder.passes(TALK, [4])
    assert (alone.context, alone.rest) == (last.context, last.answer)
    assert alone.spans == [(0, len(last.answer))]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_template_that_rewrites_earlier_turns_gets_a_pass_for_each(family: str, tmp_path: Path) -> None:
    """Qwen3's puts an empty thought before the last answer only; Olmo 3's ends the last one otherwise."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(family_tokenizer(family, tmp_path))
    told = next(facts["axolotl"] for facts in model_table().values() if facts["family"] == family)
    tokenizer.eos_token = told.get("special_tokens", {}).get("eos_token", tokenizer.eos_token)
    encoder = PromptEncoder(tokenizer, told.get("chat_template_kwargs"))
    passes = encoder.passes(TALK, [2, 4])
    assert len(passes) == (2 if family in REWRITING else 1)
    found = [
        ((one.context + one.rest)[: len(one.context) + start], one.rest[start:end])
        for one in passes
        for start, end in one.spans
    ]
    each = [encoder.encode(TALK[: place + 1]) for place in (2, 4)]
    assert found == [(one.context, one.answer) for one in each]


def test_system_and_shots_are_put_in_place() -> None:
    row = [{"role": "system", "content": "a"}, {"role": "user", "content": "u"}]
    shot = [
        {"role": "system", "content": "z"},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
    ]
    assert [m["content"] for m in with_shots(with_system(row, "b"), [shot])] == ["b", "x", "y", "u"]
    assert with_system(row, None) == row
