"""The prompt contract, held against Axolotl's own tokenisation and against the trial model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import tiny
from tunebook import recipes
from tunebook.dataset import load, render, write_rows
from tunebook.paths import ROOT, child_environment
from tunebook.prompt import PromptEncoder, with_shots, with_system
from tunebook.recipe import place_paths
from tunebook.resolve import Options, resolve
from tunebook.run import Run

AXOLOTL = """
import json, sys
from datasets import load_from_disk
from pathlib import Path
def main():
    from axolotl.cli.preprocess import do_cli
    config, out = sys.argv[1:3]
    sys.argv = ["axolotl"]
    do_cli(config)
    prepared = Path(json.loads(Path(out).read_text())["prepared"])
    found = [p.parent for p in prepared.rglob("dataset_info.json")]
    rows = [(r["input_ids"], r["labels"]) for p in sorted(found) for r in load_from_disk(str(p))]
    Path(out).write_text(json.dumps(rows))
if __name__ == "__main__":
    main()
"""


def axolotl_rows(config: dict, folder: Path) -> list[tuple[list[int], list[int]]]:
    """Run `axolotl preprocess` on `config` and return (input ids, labels) of its training rows."""
    config = {**config, "dataset_prepared_path": str(folder / "prepared")}
    config.pop("test_datasets", None)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "out.json").write_text(json.dumps({"prepared": str(folder / "prepared")}))
    (folder / "run.py").write_text(AXOLOTL)
    result = subprocess.run(
        [sys.executable, str(folder / "run.py"), str(folder / "config.yaml"), str(folder / "out.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=child_environment() | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [tuple(row) for row in json.loads((folder / "out.json").read_text())]


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_same_ids_as_axolotl_and_the_prompt_is_their_prefix(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    dataset = load(recipe.dataset)
    rows = render(dataset, "train")[:24]
    resolved = resolve(recipe, Options(tier="trial", hardware="cpu"))
    run = Run(tmp_path / "run")
    write_rows(run / "data" / "train.jsonl", rows)
    ours = axolotl_rows(place_paths(resolved.config, run), run.folder)

    # The recipe as written, with a local base in place of the Hub's and the same rows.
    plain = {key: value for key, value in recipe.config.items() if key != "chat_template_kwargs"}
    plain |= {"base_model": resolved.config["base_model"], "bf16": False, "tf32": False}
    plain["datasets"] = [{**recipe.config["datasets"][0], "path": str(run / "data" / "train.jsonl")}]
    (tmp_path / "plain").mkdir()
    theirs = axolotl_rows(plain, tmp_path / "plain")
    assert sorted(ours) == sorted(theirs)

    encoder = PromptEncoder(tiny.tokenizer(), resolved.config.get("chat_template_kwargs"))
    by_ids = {tuple(ids): labels for ids, labels in ours}
    for row in rows:
        encoded = encoder.encode(row["messages"])
        full = [*encoded.context, *encoded.answer, encoded.end]
        match = next(ids for ids in by_ids if list(ids[: len(full)]) == full)
        labels = by_ids[match]
        start = len(encoded.context)
        assert labels[start : len(full)] == full[start:], "answer and turn end are supervised"
        assert all(label == -100 for label in labels[len(full) :])
        assert labels[start - 1] == -100, "the first supervised label of the turn stands at its start"
        assert match.count(1) == len(row["messages"]), "one <|im_start|> a message: no extra bos"


def test_the_answer_is_what_follows_the_prompt() -> None:
    encoder = PromptEncoder(tiny.tokenizer())
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  blanks   kept? "},
        {"role": "assistant", "content": "Yes: 17.30, caf\u00e9."},
    ]
    encoded = encoder.encode(messages)
    assert encoder.tokenizer.decode(encoded.answer) == messages[-1]["content"]
    assert encoder.tokenizer.decode([encoded.end]) == "<|im_end|>"
    assert encoder.tokenizer.decode(encoded.context).endswith("<|im_start|>assistant\n")


def test_system_and_shots_are_put_in_place() -> None:
    row = [{"role": "system", "content": "a"}, {"role": "user", "content": "u"}]
    shot = [
        {"role": "system", "content": "z"},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
    ]
    assert [m["content"] for m in with_shots(with_system(row, "b"), [shot])] == ["b", "x", "y", "u"]
    assert with_system(row, None) == row
