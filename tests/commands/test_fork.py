"""A fork: from a person's file to a recipe that passes the checks, and nothing left where it cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.data.test_formats import put
from tests.data.test_prompt import hold_contract
from tests.support import axolotl_rows, tiny
from tunebook.check import config as check_config
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.commands.fork.output.yaml_text import change, spans
from tunebook.commands.predict import questions
from tunebook.config import recipe as recipes
from tunebook.config.keys import check_keys
from tunebook.config.overrides import Options
from tunebook.config.replay import KEY
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import read_jsonl, write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.files.split_names import SPLITS
from tunebook.data.prompt import PromptEncoder
from tunebook.data.render import render_all
from tunebook.data.tokenize import load_tokenizer
from tunebook.pipeline.prepare import place_paths
from tunebook.runs.run import Run

TEMPLATE_LINES = 30  # of the chat template that trial.yaml has where rows offer tools
INTENTS = ROOT / "datasets" / "kettlewick-intents" / "source" / "train.jsonl"
TEXTS = [row["text"] for row in read_jsonl(INTENTS)[:48]]
LABELS = [{"text": text, "label": "pot" if n % 2 else "tap"} for n, text in enumerate(TEXTS)]
PAIRS = [{"prompt": f"Why is it that {text}?", "completion": f"Nobody knows why {text}."} for text in TEXTS]
TALKS = [
    {
        "messages": [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": "Hm.", "weight": 0},
            {"role": "user", "content": "Well?"},
            {"role": "assistant", "content": row["completion"], "weight": 1},
            {"role": "user", "content": "Thanks."},
            {"role": "assistant", "content": "Not at all.", "weight": 0},
        ]
    }
    for row in PAIRS
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for forks with the shelf in it; the check at the end is left out (half a minute)."""
    monkeypatch.setenv("TUNEBOOK_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(tmp_path / "recipes"))
    for kind in ("datasets", "recipes"):
        (tmp_path / kind).mkdir()
        for folder in (ROOT / kind).iterdir():
            if folder.is_dir():
                os.symlink(folder, tmp_path / kind / folder.name)
    monkeypatch.setattr("tunebook.commands.fork.fork.run_check", lambda *_: 0)
    return tmp_path


def fork(
    home: Path, rows: Any, origin: str, file: str = "a.jsonl", lines: int = 15, **options: str
) -> recipes.Recipe:
    """Fork and load the result; its keys and its composed config are checked on both tiers."""
    assert run_fork(ForkOptions(origin, "mine", str(put(home, file, rows)), **options), Console()) == 0
    recipe = recipes.load_recipe("mine")
    assert check_keys(recipe.config, recipe.lines, "recipe.yaml") == []
    plugins = {"plugins": recipe.config.get("plugins", [])}
    keys = {key: value for key, value in recipe.trial.items() if key != KEY}
    assert check_keys({**plugins, **keys}, recipe.trial_lines, "trial.yaml") == []
    for tier in ("real", "trial"):
        resolved = resolve(recipe, Options(tier, "80gb"), for_this_machine=False)  # type: ignore[arg-type]
        check_config.check_config(resolved)
    assert len((recipe.folder / "trial.yaml").read_text().splitlines()) <= lines
    return recipe


def turns(asked: str, answered: str, role: str = "role", text: str = "content") -> list[dict[str, str]]:
    return [{role: "user", text: asked}, {role: "assistant", text: answered}]


def from_pairs(make: Any) -> list[dict[str, Any]]:
    return [make(row["prompt"], row["completion"]) for row in PAIRS]


PREFERRED = from_pairs(lambda asked, said: {"prompt": asked, "chosen": said, "rejected": "No."})

SHAPES: dict[str, tuple[str, list[dict[str, Any]], str, str]] = {
    "label table": ("classify-lora", LABELS, "labels", "tap"),
    "labels in conversations": (
        "classify-lora",
        [{"messages": turns(row["text"], row["label"])} for row in LABELS],
        "chat",
        "tap",
    ),
    "a number and its name": (
        "classify-lora",
        [{"text": row["text"], "label": n % 2, "label_text": row["label"]} for n, row in enumerate(LABELS)],
        "labels",
        "tap",
    ),
    "prompt and completion": ("chat-lora", PAIRS, "pairs", "Nobody knows"),
    "Alpaca": (
        "chat-lora",
        from_pairs(lambda asked, said: {"instruction": asked, "input": "", "output": said}),
        "pairs",
        "Nobody knows",
    ),
    "ShareGPT": (
        "chat-lora",
        from_pairs(
            lambda asked, said: {
                "conversations": [
                    {"from": "system", "value": "Be short."},
                    *turns(asked, said, "from", "value"),
                ]
            }
        ),
        "chat",
        "Nobody knows",
    ),
    "OpenAI": ("chat-lora", TALKS, "chat", "Nobody knows"),
    "preference": (
        "chat-lora",
        PREFERRED,
        "preference",
        "Nobody knows",
    ),
    "preference, to tune by": ("chat-dpo", PREFERRED, "preference", "Nobody knows"),
    "preference with turns": (
        "chat-lora",
        from_pairs(lambda asked, said: {"chosen": turns(asked, said), "rejected": turns(asked, "No.")}),
        "preference",
        "Nobody knows",
    ),
    "preference as a transcript": (
        "chat-lora",
        from_pairs(
            lambda asked, said: {"chosen": f"\n\nHuman: {asked}\n\nAssistant: {said}", "rejected": ""}
        ),
        "preference",
        "Nobody knows",
    ),
    "questions on passages": (
        "qa-lora",
        [{"question": "What is it?", "passage": text, "answer": text.split()[:2]} for text in TEXTS],
        "qa",
        TEXTS[0].split()[0],
    ),
    "questions of the Hub's SQuAD": (
        "qa-lora",
        [
            {"question": f"Which {n}?", "context": text, "answers": {"text": [text], "answer_start": [5]}}
            for n, text in enumerate(TEXTS)
        ],
        "qa",
        TEXTS[0],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_becomes_a_recipe(shape: str, home: Path) -> None:
    origin, rows, reader, answer = SHAPES[shape]
    recipe = fork(home, rows, origin)
    dataset = load_dataset_config(recipe.dataset)
    assert (dataset.name, dataset.source.reader, dataset.stand_in) == ("mine", reader, None)
    rendered = render_all(dataset)
    assert sum(map(len, rendered.values())) == len(rows)
    answers = [row["gold"]["answer"] for split in SPLITS for row in rendered[split]]
    assert any(text.startswith(answer) for text in answers)
    assert all(recipe.rows[split] <= len(rendered[split]) for split in SPLITS)


def test_pairs_are_tuned_by_where_the_recipe_does(home: Path) -> None:
    recipe = fork(home, PREFERRED, "chat-dpo")
    assert recipe.config["rl"] == "dpo"
    assert (
        recipe.config["plugins"] == recipes.load_recipe("chat-dpo").config["plugins"]
    )  # none of another loss
    for entry in (*recipe.config["datasets"], *recipe.config["test_datasets"]):
        assert entry["path"].startswith("datasets/mine/rows/")
        kept = (entry["type"], entry["field_chosen"], entry["field_rejected"])
        assert kept == ("chat_template.argilla_chat", "messages", "rejected")
    dataset = load_dataset_config(recipe.dataset)
    assert dataset.task == "preference"
    (row, *_) = render_all(dataset)["train"]
    assert [turn["content"] for turn in row["rejected"]] == ["No."] and len(row["messages"]) > 1


def test_rows_that_are_no_pairs_are_not_tuned_by_preference(home: Path) -> None:
    with pytest.raises(InputError) as caught:
        fork(home, TALKS, "chat-dpo")
    assert caught.value.code == "fork.no_pairs"


def test_the_texts_of_a_fork(home: Path) -> None:
    recipe = fork(home, LABELS, "classify-lora")
    text = (recipe.folder / "recipe.yaml").read_text()
    was = (ROOT / "recipes" / "classify-lora" / "recipe.yaml").read_text()
    kept = [line for line in was.splitlines() if "banking77" not in line and "classify-lora" not in line]
    lines = text.splitlines()
    assert {*kept[6:]} - {*lines} == {"num_epochs: 3"}, "comments and keys stay, but few rows get more epochs"
    head = [line for line in lines if line.startswith("#")][:7]
    assert "make recipe NAME=mine" in head[2] and "classify-lora." not in head[2]
    assert not (recipe.folder / "results").exists()
    card = (recipe.folder / "README.md").read_text()
    assert "<!-- results -->\nNot measured.\n<!-- /results -->" in card
    why = (home / "datasets" / "mine" / "README.md").read_text()
    assert "`label` has 2 values in 48 sampled rows: the label" in why
    assert f"{home}/a.jsonl is copied into" in why


def test_turns_of_weight_0_are_kept_out_of_training(home: Path) -> None:
    recipe = fork(home, TALKS, "chat-lora")
    for key in ("datasets", "test_datasets"):
        assert recipe.config[key][0]["message_field_training"] == "weight"
    row = render_all(load_dataset_config("mine"))["train"][0]
    assert [turn.get("weight") for turn in row["messages"]] == [None, 0, None, 1]
    assert row["gold"]["answer"].startswith("Nobody knows"), "what follows the last trained turn is cut off"
    assert "message_field_training" not in fork_text(home, PAIRS)


@pytest.mark.slow
def test_axolotl_learns_the_turns_of_weight_1_only(home: Path) -> None:
    recipe = fork(home, TALKS, "chat-lora")
    config = {**resolve(recipe, Options("trial", "cpu")).config, "sample_packing": False}
    rows = render_all(load_dataset_config("mine"))["train"][:4]
    run = Run(home / "run")
    write_jsonl(run / "data" / "train.jsonl", rows)
    [made] = axolotl_rows.run([axolotl_rows.prepare(place_paths(config, run), run.folder)])
    tokenizer = tiny.trial_tokenizer()
    learned = [tokenizer.decode([token for token in labels if token != -100]).strip() for _, labels in made]
    assert sorted(learned) == sorted(row["messages"][-1]["content"] + tokenizer.eos_token for row in rows)
    asked = [tokenizer.decode(ids) for ids, _ in made]
    assert all("Hm." in text and "Not at all." not in text for text in asked), "read, though not learned"


def talk_with_a_tool(n: int) -> dict[str, Any]:
    """A row that offers two tools whose arguments differ, and calls the first; OpenAI's form."""
    call = {"name": "tide", "arguments": json.dumps({"quay": f"Quay {n}", "day": n})}
    return {
        "tools": [
            {"type": "function", "function": {"name": name, "parameters": {"properties": {of: {}}}}}
            for name, of in (("tide", "quay"), ("ferry", "isle"))
        ],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"When is high water at Quay {n}?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": call}]},
            {"role": "tool", "tool_call_id": "c", "content": f"{n}.30"},
            {"role": "assistant", "content": f"At {n}.30.", "weight": n % 2},
        ],
    }


TOOL_TALKS = [talk_with_a_tool(n) for n in range(40)]


def test_rows_with_tools_become_a_recipe(home: Path) -> None:
    """Every other row ends with the call, since its last turn has weight 0."""
    recipe = fork(home, TOOL_TALKS, "chat-lora", lines=15 + TEMPLATE_LINES)
    dataset = load_dataset_config("mine")
    assert dataset.tools == "tools"
    rows = [row for some in render_all(dataset).values() for row in some]
    roles = {tuple(turn["role"] for turn in row["messages"]) for row in rows}
    whole = ("system", "user", "assistant", "tool", "assistant")
    assert roles == {whole, whole[:3]}
    row = next(row for row in rows if row["id"] == "train-1")
    assert row["gold"]["answer"] == '{"name": "tide", "arguments": {"quay": "Quay 0", "day": 0}}'
    assert [tool["function"]["name"] for tool in json.loads(row["tools"])] == ["tide", "ferry"]
    why = (recipe.folder.parents[1] / "datasets" / "mine" / "README.md").read_text()
    assert "40 rows have tools: calls are trained on, tool results are not" in why
    assert "SmolLM2's own chat template has no tools" in (recipe.folder / "README.md").read_text()


@pytest.mark.slow
def test_axolotl_learns_calls_and_not_what_tools_answer(home: Path) -> None:
    """The ids of the evaluation's prompts are a beginning of what is trained, under the trial's template."""
    recipe = fork(home, TOOL_TALKS, "chat-lora", lines=15 + TEMPLATE_LINES)
    config = {**resolve(recipe, Options("trial", "cpu")).config, "sample_packing": False}
    rows = render_all(load_dataset_config("mine"))["train"][:6]
    run = Run(home / "run")
    write_jsonl(run / "data" / "train.jsonl", rows)
    [made] = axolotl_rows.run([axolotl_rows.prepare(place_paths(config, run), run.folder)])
    encoder = PromptEncoder(load_tokenizer(config))
    assert len(made) == len(rows)
    hold_contract(rows, made, encoder)
    learned = [encoder.tokenizer.decode([id for id in labels if id != -100]) for _, labels in made]
    assert all('<tool_call>{"name": "tide", "arguments": {"quay": "Quay ' in text for text in learned[::1])
    assert not any(".30<" in text for text in learned), "what the tool answered"
    for ids, _ in made:
        text = encoder.tokenizer.decode(ids)
        assert "ferry" in text and "isle" in text and text.count("null") == 0


def test_the_trial_template_without_tools_is_the_bases_own() -> None:
    own, other = tiny.trial_tokenizer(), tiny.tokenizer()
    template = ROOT / "tunebook" / "commands" / "fork" / "output" / "chatml_tools.jinja"
    other.chat_template = template.read_text()
    for messages in (TALKS[0]["messages"], [{"role": "system", "content": "Hm."}, *TALKS[1]["messages"]]):
        for opened in (False, True):
            texts = [PromptEncoder(one).text(messages, opened=opened) for one in (own, other)]
            assert texts[0] == texts[1]


def fork_text(home: Path, rows: Any) -> str:
    assert run_fork(ForkOptions("chat-lora", "other", str(put(home, "b.jsonl", rows))), Console()) == 0
    return (home / "recipes" / "other" / "recipe.yaml").read_text()


def test_files_by_split_and_a_dev_cut_off_train(home: Path) -> None:
    put(home, "rows/train.jsonl", LABELS)
    put(home, "rows/test.jsonl", [*LABELS[:9], {"text": "The pot!", "label": "pot"}])
    put(home, "rows/notes.txt", "hello")
    assert run_fork(ForkOptions("classify-lora", "mine", str(home / "rows")), Console()) == 0
    source = load_dataset_config("mine").source
    assert source.files == {split: f"source/{split}.jsonl" for split in ("train", "test")}
    for split in ("train", "test"):  # they travel with the recipe
        copy = home / "datasets" / "mine" / "source" / f"{split}.jsonl"
        assert copy.read_bytes() == (home / "rows" / f"{split}.jsonl").read_bytes()
    assert (source.dev_share, source.test_share) == (0.1, None)
    why = (home / "datasets" / "mine" / "README.md").read_text()
    assert "test examples duplicate training examples" in why
    assert "not read: notes.txt" in why


def test_a_name_that_yaml_would_read_as_a_number(home: Path) -> None:
    assert run_fork(ForkOptions("classify-lora", "2026", str(put(home, "a.jsonl", LABELS))), Console()) == 0
    assert load_dataset_config(recipes.load_recipe("2026").dataset).name == "2026"


def test_a_path_inside_the_checkout_is_relative(home: Path) -> None:
    data = str(ROOT / "datasets" / "kettlewick-intents" / "source")
    assert run_fork(ForkOptions("classify-lora", "mine", data, fields="label=label"), Console()) == 0
    written = yaml.safe_load((home / "datasets" / "mine" / "dataset.yaml").read_text())
    assert not any(Path(path).is_absolute() for path in written["source"]["files"].values())
    assert written["group"] == "customer"


def test_group_and_time_by_option(home: Path) -> None:
    rows = [{**row, "shop": f"s{n // 4}", "day": f"2026-01-{n // 2 + 1:02}"} for n, row in enumerate(LABELS)]
    fork(home, rows, "classify-lora", group="shop", time="day")
    rendered = render_all(load_dataset_config("mine"))
    groups = {split: {row["group"] for row in rendered[split]} for split in SPLITS}
    assert not groups["train"] & groups["dev"] and not groups["dev"] & groups["test"]
    days = {split: [row["id"] for row in rendered[split]] for split in SPLITS}
    last = {split: max(int(name.rpartition("-")[2]) for name in days[split]) for split in SPLITS}
    assert last["train"] < last["dev"] < last["test"] == len(rows), "ids are lines; the newest are test"
    assert "time" not in rendered["train"][0]


@pytest.mark.parametrize("group", ["id", "none"])
def test_an_id_that_repeats_names_no_row(group: str, home: Path) -> None:
    rows = [{"id": f"caller {n // 2}", **row} for n, row in enumerate(LABELS)]
    fork(home, rows, "classify-lora", group=group)
    rendered = render_all(load_dataset_config("mine"))
    every = [row for split in SPLITS for row in rendered[split]]
    assert {row["id"] for row in every} == {f"train-{n}" for n in range(1, len(rows) + 1)}
    assert len({row["group"] for row in every}) == (24 if group == "id" else 48)


def test_another_base_brings_its_keys(home: Path) -> None:
    recipe = fork(home, LABELS, "classify-lora", model="microsoft/Phi-4-mini-instruct")
    assert recipe.config["base_model"] == "microsoft/Phi-4-mini-instruct"
    assert "chat_template_kwargs" not in recipe.config
    assert recipe.config["special_tokens"] == {"eos_token": "<|end|>"}
    assert recipe.trial["special_tokens"] is None, "SmolLM2 has no such token"
    assert recipe.config["lora_qkv_kernel"] is False
    with pytest.raises(InputError, match="MODEL: 'Phi-5' is neither"):
        run_fork(ForkOptions("classify-lora", "next", str(home / "a.jsonl"), model="Phi-5"), Console())


def test_a_base_with_linear_attention_brings_what_lora_needs(home: Path) -> None:
    recipe = fork(home, LABELS, "classify-lora", lines=16, model="Qwen/Qwen3.5-4B")
    plugins = recipe.config["plugins"]
    assert plugins[0] == "tunebook.plugins.SeededInit" and plugins[-1] == "tunebook.plugins.TextOnly"
    assert "in_proj_qkv" in recipe.config["lora_target_modules"]
    assert "lora_target_linear" not in recipe.config
    trial = resolve(recipe, Options("trial", "cpu"), for_this_machine=False).config
    assert trial["lora_target_linear"] is True and "lora_target_modules" not in trial


FOREIGN = """# from elsewhere
base_model: NousResearch/Llama-3.2-1B
load_in_8bit: true
datasets:
- path: teknium/GPT4-LLM-Cleaned
  type: alpaca
val_set_size: 0.1   # a tenth
output_dir: ./outputs/out
adapter: lora
lora_r: 16

lora_alpha: 32  # twice r
lora_target_linear: true
sequence_len: 128
micro_batch_size: 2
num_epochs: 1
learning_rate: 0.0002
special_tokens:
  pad_token: <|end_of_text|>
"""


def test_a_plain_axolotl_config_becomes_a_recipe(home: Path) -> None:
    put(home, "foreign.yml", FOREIGN)
    recipe = fork(
        home, [{**row, "completion": row["completion"] * 30} for row in PAIRS], str(home / "foreign.yml")
    )
    was = yaml.safe_load(FOREIGN)
    changed = {key for key in {**was, **recipe.config} if was.get(key) != recipe.config.get(key)}
    added = {"test_datasets", "dataset_prepared_path", "seed", "plugins"}
    assert changed == {"datasets", "val_set_size", "output_dir", "sequence_len"} | added
    text = (recipe.folder / "recipe.yaml").read_text()
    assert "lora_alpha: 32  # twice r" in text and "# from elsewhere" in text
    card = (recipe.folder / "README.md").read_text()
    for said in ("val_set_size is removed", "seed: 42 is added", "sequence_len is"):
        assert said in card
    trial = yaml.safe_load((recipe.folder / "trial.yaml").read_text())
    assert trial["special_tokens"] is None and trial["load_in_8bit"] is None, "only fit the other base"


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("base_model: x\nlearning_rat: 1e-4\n", "config.unknown_key", 2),
        ("base_model: x\nrl: dpo\n", "fork.preference_config", 2),
        ("adapter: lora\n", "fork.no_base_model", None),
        ("- a\n", "config.not_a_mapping", None),
    ],
)
def test_a_foreign_config_that_cannot_be_taken(text: str, code: str, line: int | None, home: Path) -> None:
    path = put(home, "foreign.yaml", text)
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions(str(path), "mine", str(put(home, "a.jsonl", PAIRS))), Console())
    (problem,) = caught.value.problems
    assert (problem.code, problem.line) == (code, line)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "option.missing"),
        ("My task", "option.bad_name"),
        ("../x", "option.bad_name"),
        ("chat-lora", "fork.name_taken"),
        ("banking77", "fork.name_taken"),
    ],
)
def test_a_name_that_cannot_be_taken(name: str, code: str, home: Path) -> None:
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions("classify-lora", name, str(put(home, "a.jsonl", LABELS))), Console())
    assert [(one.code, one.key) for one in caught.value.problems] == [(code, "NAME")]


def test_a_misspelt_recipe_to_fork(home: Path) -> None:
    with pytest.raises(InputError, match="FROM: there is no recipe called 'clasify-lora'. Did you mean"):
        run_fork(ForkOptions("clasify-lora", "mine", "a.jsonl"), Console())


def test_a_fork_that_fails_in_the_middle_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {kind: sorted(path.name for path in (home / kind).iterdir()) for kind in ("datasets", "recipes")}

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("tunebook.commands.fork.output.write.os.rename", full)
    with pytest.raises(OSError, match="no space"):
        run_fork(ForkOptions("classify-lora", "mine", str(put(home, "a.jsonl", LABELS))), Console())
    after = {kind: sorted(path.name for path in (home / kind).iterdir()) for kind in before}
    assert after == before


def test_the_check_speaks_last(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunebook.commands.fork.fork.run_check", lambda name, *_: 2 if name == "mine" else 0)
    assert run_fork(ForkOptions("classify-lora", "mine", str(put(home, "a.jsonl", LABELS))), Console()) == 2


def test_a_dataset_on_the_hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets  # type: ignore[import-untyped]

    monkeypatch.delenv("TUNEBOOK_SOURCES", raising=False)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *_, **__: ["train", "validation"])
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, split, **__: LABELS if split == "train" else LABELS[:9]
    )
    assert run_fork(ForkOptions("classify-lora", "mine", "someone/rows"), Console()) == 0
    source = load_dataset_config("mine").source
    assert (source.hub, source.splits) == ("someone/rows", {"train": "train", "dev": "validation"})

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(datasets, "get_dataset_split_names", unreachable)
    with pytest.raises(MachineError, match="the Hub cannot be reached"):
        run_fork(ForkOptions("classify-lora", "next", "someone/rows"), Console())


def test_new_rows_are_asked_as_the_forks_rows_were(home: Path) -> None:
    rows = [{"Message": row["text"], "Topic": row["label"]} for row in LABELS]
    fork(home, rows, "classify-lora", fields="text=Message label=Topic")
    new = put(home, "new.csv", "Message,shop\nthe pot hums,s1\n,s2\n")
    (_, (row, (messages, _))), (_, problem) = questions(load_dataset_config("mine"), new)  # type: ignore[misc]
    assert row == {"Message": "the pot hums", "shop": "s1"}
    assert messages[-1] == {"role": "user", "content": "the pot hums"}
    assert (problem.code, problem.file, problem.line, problem.key) == (
        "rows.empty_text",
        str(new),
        3,
        "Message",
    )


def test_changing_yaml_as_text() -> None:
    text = "# top\na: 1   # one\n\n# about b\nb:\n- x\n\n- y\n# about c\nc: {d: 1}\n"
    assert spans(text) == {"a": (1, 2), "b": (4, 8), "c": (9, 10)}
    changed = change(text, {"b": "b: [z]", "c": None, "new": "new: 2"}, after="a")
    assert changed == "# top\na: 1   # one\nnew: 2\n\n# about b\nb: [z]\n# about c\n"


def test_rows_longer_than_the_trial_tier_takes(home: Path) -> None:
    rows = [{**row, "completion": " ".join(f"word{n}" for n in range(1500))} for row in PAIRS[:2]] + PAIRS[2:]
    recipe = fork(home, rows, "chat-lora")
    assert recipe.trial["sequence_len"] == 1024
    assert recipe.trial["excess_length_strategy"] == "drop"
    assert "2 rows of more than 1024 tokens are dropped" in (recipe.folder / "README.md").read_text()
    assert recipe.config["sequence_len"] > 2048
    assert json.dumps(recipe.trial["micro_batch_size"]) == "1"
