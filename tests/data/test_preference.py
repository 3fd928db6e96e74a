"""Preference pairs: rows, prompts, what is measured of them, and the model that they start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.test_resolve import earlier
from tests.support import tiny
from tunebook.check.config import check_config
from tunebook.config import recipe as recipes
from tunebook.config.continue_from import merge_refusal
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.errors import InputError, RowFault
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.files.split_names import SPLITS
from tunebook.data.formats.rows.layouts import read_layout
from tunebook.data.prompt import PromptEncoder, with_arguments
from tunebook.data.render import render_all
from tunebook.data.renderer import Renderer
from tunebook.hardware.memory_settings import setting
from tunebook.metrics.aggregate import difference, measure
from tunebook.metrics.scoring import margins
from tunebook.plan.hours import work
from tunebook.plan.rows import known_rows

PAIR = {"id": "1", "member": "Abe", "hearth": "Saltmarket", "conversation": "c"}
PAIR |= {"turns": [{"role": "user", "content": "Open?"}], "chosen": "Abe, yes.", "rejected": "No idea."}


@pytest.fixture
def pairs() -> Dataset:
    return load_dataset_config("kettlewick-preference")


def rendered(dataset: Dataset, value: dict[str, Any]) -> Any:
    (found,) = read_layout(iter([(1, value)]), "preference", dataset.source.columns, "pairs.jsonl")
    return Renderer(dataset).row(found[1], "1") if isinstance(found[1], dict) else found[1]


# Rows


def test_a_rendered_pair_is_a_conversation_and_its_other_answer(pairs: Dataset) -> None:
    row = rendered(pairs, PAIR)
    assert [turn["content"] for turn in row["messages"][1:]] == ["Abe, Saltmarket: Open?", "Abe, yes."]
    assert row["messages"][-1]["content"] == row["gold"]["answer"]
    assert row["rejected"] == [{"role": "assistant", "content": "No idea."}]


def test_answers_may_be_messages(pairs: Dataset) -> None:
    answers = {name: [{"role": "assistant", "content": PAIR[name]}] for name in ("chosen", "rejected")}
    assert rendered(pairs, PAIR | answers) == rendered(pairs, PAIR)
    whole = {name: [*PAIR["turns"], *answer] for name, answer in answers.items()}
    assert rendered(pairs, PAIR | whole) == rendered(pairs, PAIR)


@pytest.mark.parametrize(
    ("rejected", "code"), [("", "rows.empty_render"), (" Abe, yes. ", "rows.same_answers")]
)
def test_a_pair_without_a_difference_is_refused(rejected: str, code: str, pairs: Dataset) -> None:
    with pytest.raises(RowFault) as caught:
        rendered(pairs, PAIR | {"rejected": rejected})
    assert (caught.value.field, caught.value.code) == ("rejected", code)


def test_rejected_that_is_no_answer_is_named_by_its_column(pairs: Dataset) -> None:
    problem = rendered(pairs, PAIR | {"rejected": {"a": 1}})
    assert (problem.code, problem.key) == ("rows.not_text", "rejected")


def test_rejected_belongs_to_preference_only(pairs: Dataset) -> None:
    given = pairs.model_dump()
    for change in ({"task": "chat"}, {"rejected": None}):
        with pytest.raises(ValueError, match="rejected .* is required for the task preference"):
            Dataset.model_validate(given | change)


def test_splits_share_no_conversation(pairs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEBOOK_SOURCES", raising=False)
    rows = render_all(pairs)
    assert {split: len(rows[split]) for split in SPLITS} == {"train": 173, "dev": 36, "test": 160}
    groups = [{row["group"] for row in rows[split]} for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups))


# The prompt


def test_arguments_of_a_template_are_those_that_nobody_has_to_pass() -> None:
    tokenizer = tiny.trial_tokenizer()
    ends = "{% if thinking is defined and not thinking %}<no>{{ tag }}{% endif %}"
    tokenizer.chat_template = "{{ messages[0].content }}" + ends
    messages, given = [{"role": "user", "content": "Hm?"}], {"thinking": False, "tag": "it's"}
    passed = tokenizer.apply_chat_template(messages, tokenize=False, **given)
    plain = tokenizer.apply_chat_template(messages, tokenize=False)
    tokenizer.chat_template = with_arguments(tokenizer.chat_template, given)
    assert tokenizer.apply_chat_template(messages, tokenize=False) == passed == "Hm?<no>it's" != plain
    assert with_arguments("x", None) == "x"


def test_scored_answers_of_pairs_have_their_turn_end(pairs: Dataset) -> None:
    from tunebook.evaluation import suite
    from tunebook.evaluation.contenders import PLAIN, JobMaker, untuned

    encoder, row = PromptEncoder(tiny.trial_tokenizer()), rendered(pairs, PAIR)
    settings = suite.load_suite(recipes.load_recipe("chat-dpo"), "preference", "trial", "default")
    for dataset, end in ((pairs, "<|im_end|>"), (load_dataset_config("kettlewick-chat"), "")):
        job = JobMaker(dataset, settings, encoder, []).score(untuned(PLAIN), "test", [row])
        assert encoder.tokenizer.decode(job.answers[0]) == "Abe, yes." + end


# What is measured


def records(changes: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "id": str(i),
            "group": str(i),
            "loss": 1.0,
            "reward": change,
            **margins(-10 + change, -10, "abcd", "ab"),
        }
        for i, change in enumerate(changes)
    ]


def test_margins_are_differences_of_log_likelihoods() -> None:
    found = margins(-6.0, -5.0, "abcdef", "\u00e9")
    assert found == {"margin": -1.0, "margin_per_byte": pytest.approx(-1.0 + 2.5)}


def test_shares_of_pairs() -> None:
    tuned, base = records([3.0, 1.0, -2.0, 0.5]), records([0.0] * 4)
    found = measure(tuned, "preference", [])
    assert found["preference"]["value"] == found["reward_accuracy"]["value"] == 0.75
    assert found["preference_per_byte"]["value"] == 1.0, "the chosen text is twice as long"
    assert found["reward"]["value"] == pytest.approx(2.5 / 4)
    assert found["byte_perplexity"]["value"] == 2.0
    plain = measure(base, "preference", [])
    assert plain["reward_accuracy"]["value"] == plain["preference"]["value"] == 0.5, "a tie is half a win"


def test_more_rewards_above_zero_than_a_coin_gives_are_a_difference() -> None:
    answers = {"tuned": records([1.0] * 15 + [-1.0]), "base_generate_0": records([0.0] * 16)}
    found = difference("reward_accuracy", "tuned", "base_generate_0", answers)
    assert found and found["difference"] == pytest.approx(15 / 16 - 0.5)
    assert found["p"] < 0.01
    flat = difference("reward_accuracy", "base_generate_0", "base_generate_0", answers)
    assert flat and flat["difference"] == 0


def test_the_interval_of_a_reward_is_no_shares() -> None:
    reward = measure(records([4.0, 5.0, 6.0, 7.0]), "preference", [])["reward"]
    assert reward["value"] == 5.5
    reach = 3.1824 * (5 / 3) ** 0.5 / 2  # Student's t, 3 degrees of freedom
    assert (reward["low"], reward["high"]) == pytest.approx((5.5 - reach, 5.5 + reach), abs=1e-3)


def test_an_endpoint_has_no_likelihoods() -> None:
    found = measure([{"id": "1", "group": "1", "answer": "a", "gold": "a", "chrf": 1.0}], "preference", [])
    assert found["preference"]["value"] is None and found["chrf"]["value"] == 1.0


# The plan


def test_a_pair_is_two_sequences(pairs: Dataset) -> None:
    config = {"micro_batch_size": 4, "adapter": "lora", "num_epochs": 1, "sequence_len": 512}
    rows = known_rows(pairs, 512)
    for given in ({}, {"rl": "dpo"}):
        found, todo = setting(config | given), work(config | given | {"max_steps": 10}, rows, 1)
        assert todo and (found.sequences, todo.pairs) == ((8, True) if given else (4, False))
        assert found.lora_mlp is not bool(given), "Axolotl switches its kernels on for supervised tuning"
    one, both = (work(config | given | {"max_steps": 10}, rows, 1) for given in ({}, {"rl": "dpo"}))
    assert one and both and both.tokens == 2 * one.tokens


# The model before


def resolved(folder: Path, base: str = "Qwen/Qwen3-1.7B", **before: Any) -> dict[str, Any]:
    run = earlier(folder, base, r=4)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | before))
    options = Options(tier="real", from_run=str(run.folder))
    found = resolve(recipes.load_recipe("chat-dpo"), options, for_this_machine=False)
    check_config(found)
    assert found.identity["base_model"] == "Qwen/Qwen3-1.7B", "the run is known by the base's name"
    assert found.identity["from_run"]
    return found.config


def test_from_run_takes_the_merged_model_as_the_base(tmp_path: Path) -> None:
    config = resolved(tmp_path)
    assert config["base_model"] == str(tmp_path / "earlier" / "merged")
    assert "lora_model_dir" not in config
    assert config["lora_r"] == 16, "a new adapter need not have the shape of the earlier one"


@pytest.mark.parametrize(
    ("base", "before", "said"),
    [
        ("Qwen/Qwen3-8B", {}, "base_model: .*Qwen3-8B"),
        ("Qwen/Qwen3-1.7B", {"load_in_4bit": True}, "quantized base"),
        ("Qwen/Qwen3-1.7B", {"adapter": "prompt_tuning"}, "precede the text"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(
    base: str, before: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"FROM_RUN=\): .*{said}"):
        resolved(tmp_path, base, **before)


def test_what_can_be_merged() -> None:
    assert merge_refusal({"adapter": "lora"}) is merge_refusal({"adapter": "ia3"}) is None


def test_without_its_plugin_the_recipe_is_refused() -> None:
    recipe, options = recipes.load_recipe("chat-dpo"), Options("real", set="plugins=null")
    with pytest.raises(
        InputError, match="plugins: Axolotl does not apply chat_template_kwargs to preference pairs"
    ):
        check_config(resolve(recipe, options, for_this_machine=False))
