"""What `make check` makes of lengths: rows that stop the training, are left out, or exceed the base model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.small_data import seen
from tunebook.check.findings import Findings
from tunebook.check.sizes.lengths import Lengths, by_bytes, measured, most_generated, packed, up
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import resolve
from tunebook.models import shapes
from tunebook.models.shapes import Positions

Sizes = list[list[int]]
OWN = "max_position_embeddings of its config.json on this machine"


def judged(
    train: Sizes,
    dev: Sizes | None = None,
    test: Sizes | None = None,
    set: str = "",
    estimate: bool = False,
    total: int | None = None,
    positions: int | None = None,
    text: str = "x",
) -> Findings:
    given = {"train": train, "dev": dev or [], "test": test or []}
    rows = [seen(split, line, text) for split, some in given.items() for line in range(1, len(some) + 1)]
    resolved = resolve(load_recipe("qa-lora"), Options("real", set=set), for_this_machine=False)
    found = Findings()
    sizes = [size for some in given.values() for size in some]
    measure = measured(rows, sizes, estimate)
    Lengths(resolved, measure, total or len(train), found, estimate, True).judge(
        Positions(positions, "its config.json") if positions else None, 32
    )
    return found


def codes(found: Findings) -> list[tuple[str, str]]:
    return [(one.grade, one.code) for kind in found.kinds.values() for one in kind.shown]


FILL: Sizes = [[6, 4]] * 40


@pytest.mark.parametrize(
    ("strategy", "size", "start", "expected"),
    [
        ("raise", 10, 4, []),
        ("raise", 11, 4, [("error", "tokens.over_sequence_len"), ("error", "tokens.training_stops")]),
        ("drop", 11, 4, [("warning", "tokens.over_sequence_len")]),
        ("null", 11, 4, [("warning", "tokens.over_sequence_len")]),
        ("truncate", 11, 4, [("warning", "tokens.answer_cut")]),
        ("truncate", 14, 12, [("error", "tokens.answer_lost")]),
    ],
)
def test_a_row_that_is_too_long(
    strategy: str, size: int, start: int, expected: list[tuple[str, str]]
) -> None:
    found = judged([*FILL, [size, start]], set=f"sequence_len=10 excess_length_strategy={strategy}")
    assert codes(found) == expected
    if expected:
        finding = next(iter(found.kinds.values())).shown[0]
        assert finding.line == 41 and f"{size} tokens, but sequence_len is 10" in finding.text


def test_what_stops_the_training_is_said_with_numbers_and_what_to_type() -> None:
    train = [[500, 490]] * 651 + [[9000 + n, 8990] for n in range(365)]
    found = judged(train, [[700, 690], [9500, 9490]], set="sequence_len=8192 excess_length_strategy=raise")
    (finding,) = found.kinds[("error", "lengths")].shown
    assert finding.key == "excess_length_strategy"
    assert "365 of 1016 train rows and 1 of 2 dev rows" in finding.text
    assert "sequence_len=9536" in finding.do and "excess_length_strategy=drop" in finding.do
    assert "window: 300" in finding.do


def test_dev_rows_alone_stop_the_training_too() -> None:
    found = judged(FILL, [[11, 4]], set="sequence_len=10 excess_length_strategy=raise")
    assert ("error", "tokens.training_stops") in codes(found)
    longer = "sequence_len=10 excess_length_strategy=raise eval_sequence_len=16"
    assert codes(judged(FILL, [[11, 4]], set=longer)) == []


@pytest.mark.parametrize(
    ("letters", "size", "grade"),
    [(9000, 1900, "error"), (9000, 1100, "warning"), (3000, 1900, "warning")],
)
def test_an_estimate_is_an_error_where_it_is_sure(letters: int, size: int, grade: str) -> None:
    found = judged(
        [*FILL, [size, 4]],
        set="sequence_len=1024 excess_length_strategy=raise",
        estimate=True,
        text="x" * letters,
    )
    assert (grade, "tokens.training_stops") in codes(found)
    assert f"about {size} tokens" in found.kinds[(grade, "rows over sequence_len")].shown[0].text  # type: ignore[index]


@pytest.mark.parametrize(
    ("train", "total", "expected"),
    [
        ([[6, 4]] * 29, None, [("error", "rows.too_few_to_train")]),
        ([[6, 4]] * 30, None, []),
        ([[6, 4]] * 29 + [[11, 4]] * 2, None, [("error", "rows.too_few_to_train")]),
        ([[6, 4]] * 2 + [[11, 4]], 3000, []),  # a sample: 2,000 rows are left
    ],
)
def test_under_30_rows_is_an_error(train: Sizes, total: int | None, expected: list[tuple[str, str]]) -> None:
    found = judged(train, total=total, set="sequence_len=10 excess_length_strategy=drop")
    rest = [one for one in codes(found) if one[1] != "tokens.over_sequence_len"]
    assert rest == expected if total is None else ("error", "rows.too_few_to_train") not in rest


def test_a_dev_split_that_is_dropped_whole_is_an_error() -> None:
    found = judged(FILL, [[11, 4]] * 5, set="sequence_len=10 excess_length_strategy=drop")
    assert codes(found) == [("error", "rows.no_dev_left")]


def test_a_packed_dev_split_that_fills_no_micro_batch_is_an_error() -> None:
    packs = "sequence_len=1024 sample_packing=true micro_batch_size=4 group_by_length=false"
    found = judged([[500, 4]] * 400, [[100, 50]] * 12, set=packs)
    assert codes(found) == [("error", "training.packs_too_few")]
    (finding,) = found.kinds[("error", "lengths")].shown
    assert "12 dev rows pack into 2 sequences" in finding.text
    assert codes(judged([[500, 4]] * 400, [[100, 50]] * 12, set=packs + " eval_sample_packing=false")) == []
    flash = packs + " attn_implementation=flash_attention_2"
    assert codes(judged([[500, 4]] * 400, [[100, 50]] * 12, set=flash)) == []


def test_rows_of_which_an_estimate_may_be_too_long_pack_as_well() -> None:
    packs = "sequence_len=1024 sample_packing=true micro_batch_size=4 group_by_length=false"
    found = judged([[1000, 4]] * 40, [[1000, 4]] * 40, set=packs, estimate=True)
    assert "training.packs_too_few" not in [code for _, code in codes(found)]


def test_prompts_beyond_the_positions_of_the_base_are_an_error() -> None:
    found = judged(FILL, FILL, [[6, 4]] * 9 + [[8180, 8170]], positions=8192)
    (finding,) = found.kinds[("error", "rows over the base model's positions")].shown
    assert (finding.code, finding.line) == ("rows.over_positions", 10)
    assert "(its config.json)" in finding.text
    assert "1 of 10 test rows" in finding.text and "needs 8202" in finding.text
    assert codes(judged(FILL, FILL, [[8180, 8170]], positions=None)) == []
    trained = judged([*FILL, [9000, 8990]], set="sequence_len=9216", positions=8192)
    assert codes(trained) == [("error", "rows.over_positions")]


def test_positions_come_from_the_table_a_config_or_an_override(tmp_path: Path) -> None:
    most, source = shapes.positions_by_source({"base_model": "Qwen/Qwen3-1.7B"}) or (0, "")
    assert most == 40960 and "shapes.yaml, from https://huggingface.co/Qwen/Qwen3-1.7B/" in source
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    assert shapes.positions_by_source({"base_model": str(tmp_path)}) == (4096, OWN)
    scaling = {"original_max_position_embeddings": 4096, "factor": 4.0}
    longer_by_itself = {"max_position_embeddings": 4096, "rope_scaling": scaling}
    (tmp_path / "config.json").write_text(json.dumps(longer_by_itself, indent=1))
    os.utime(tmp_path / "config.json", (1, 1))  # its contents are kept by its time
    assert shapes.positions_by_source({"base_model": str(tmp_path)}) == (16384, OWN)
    longer = {"overrides_of_model_config": {"max_position_embeddings": 65536}}
    assert shapes.positions_by_source({"base_model": str(tmp_path), **longer}) == (
        65536,
        "overrides_of_model_config",
    )
    assert shapes.positions_by_source({"base_model": "nobody/knows"}) is None
    assert shapes.positions({"base_model": "nobody/knows"}) is None
    assert shapes.positions({"base_model": str(tmp_path), **longer}) == 65536


def test_a_config_of_the_base_on_this_machine_goes_before_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 2048}')
    monkeypatch.setattr(
        "tunebook.models.base_files.cached",
        lambda _, name, __: tmp_path / name if name == "config.json" else None,
    )
    assert shapes.positions_by_source({"base_model": "Qwen/Qwen3-1.7B"}) == (2048, OWN)


def test_every_row_of_the_tables_names_its_source() -> None:
    assert [name for name, shape in shapes._tables().items() if not shape.source] == []


@pytest.mark.network
@pytest.mark.parametrize("base", [name for name in shapes._tables() if name not in shapes.others()])
def test_the_table_says_what_the_config_on_the_hub_says(base: str) -> None:
    config = json.loads(shapes.fetch(base).read_text())
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    row = shapes.find(base)
    got = (row.positions, row.layers, row.hidden, row.heads, row.kv_heads, row.head_dim, row.vocab)
    keys = "max_position_embeddings num_hidden_layers hidden_size num_attention_heads num_key_value_heads"
    assert got == tuple(config[key] for key in (*keys.split(), "head_dim", "vocab_size"))


def test_the_small_parts() -> None:
    assert (up(1), up(64), up(65)) == (64, 64, 128)
    assert packed([6, 5, 5, 4, 99], 10) == 2
    assert by_bytes(seen("train", 1, "x" * 300, "y" * 30).row) == [144, 129]
    assert most_generated(load_recipe("qa-lora"), "qa") == 32
