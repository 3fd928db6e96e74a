"""`tunebook data`: render the rows that a recipe's `datasets:` entry reads, and show what the model sees."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from jinja2 import Environment, PackageLoader, select_autoescape
from rich.text import Text

from tunebook.check.axolotl import ask_axolotl
from tunebook.check.tokens import stand_in, tokenizer_place
from tunebook.commands.options import Name, takes
from tunebook.commands.options import console as command_console
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import pick_tier, resolve
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, MachineError, TunebookError
from tunebook.core.files import AxolotlConfig, Row, digest
from tunebook.core.paths import show
from tunebook.data import cache
from tunebook.data.dataset import Dataset, load_dataset_or_stand_in
from tunebook.data.files.split_names import SPLITS
from tunebook.data.tokenize import MASK_KEYS
from tunebook.models import trial_model

NEW_LINE = "\u21b5"
LEARNED, SPECIAL = "black on green", "bold magenta"


def render_rows(name: str, options: Options, shown: int, console: Console) -> int:
    """Render every split of the dataset of recipe `name`, and show `shown` rows token by token.

    Raises:
        InputError, MachineError: a row is invalid, or the data cannot be read; nothing is written in this
            case.
    """
    recipe = load_recipe(name)
    tier = pick_tier(options)
    resolved = resolve(recipe, replace(options, tier=tier), for_this_machine=False)
    dataset = load_dataset_or_stand_in(recipe.dataset, tier == "trial")
    entry = cache.rendered(dataset, resolved.config)
    folder = dataset.folder / "rows"
    folder.mkdir(exist_ok=True)
    for split in SPLITS:
        shutil.copyfile(entry.path(split), folder / f"{split}.partial")
        os.replace(folder / f"{split}.partial", folder / f"{split}.jsonl")
    counts = cache.counts(entry)
    summary = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
    other = "" if options.tier else f" ({'no ' if tier == 'trial' else ''}GPU here; TIER= chooses)"
    console.stage("data", f"{summary} rows in {show(folder)}, tier {tier}{other}; {entry.summary}")
    if shown:
        page = show_rows(resolved.config, dataset, entry, shown, console)
        console.stage("shown", show(page))
    return GOOD


def show_rows(
    config: AxolotlConfig, dataset: Dataset, entry: cache.Entry, shown: int, console: Console
) -> Path:
    """Print `shown` train rows as the model sees them and write them as a page; return its path.

    Raises:
        MachineError: neither the recipe's own tokenizer nor the trial model's is on this machine.
        TunebookError: the rows cannot be tokenized.
    """
    place = tokenizer_place(config)
    estimate = place == "nowhere"
    if estimate and not (trial_model.folder() / "tunebook.json").is_file():
        raise MachineError(
            f"--show (SHOW=): neither the tokenizer of {config['base_model']!r} nor the trial model's "
            "is on this machine. Go online, or run a recipe on the trial tier once.",
            code="hub.no_tokenizer",
        )
    seen_by = stand_in(config) if estimate else config
    asked = {key: value for key, value in seen_by.items() if key in MASK_KEYS}
    asked["sample_packing"] = bool(config.get("sample_packing"))
    kept = entry.folder / f"shown-{shown}-{digest(asked)[:10]}.json"
    if kept.is_file():
        answer = json.loads(kept.read_text())
    else:
        console.note("tokenizing rows with Axolotl's own mask (about a minute the first time)")
        job = {"config": asked, "rows": str(entry.path("train")), "show": shown}
        answer = ask_axolotl(job, offline=place != "hub")
        if answer["rows_failed"]:
            raise TunebookError(
                f"--show (SHOW=): the rows cannot be tokenized: {answer['rows_failed']}",
                code="rows.not_tokenized",
            )
        kept.write_text(json.dumps(answer))
    rows = answer["rows"]["shown"]
    base = str(config["base_model"])
    by = f"the tokenizer of {Path(base).name if Path(base).is_dir() else base}"
    if estimate:
        by = f"the trial model's tokenizer and template (that of {base} is not on this machine)"
    legend = Text("learned", style=LEARNED).append(" special", style=SPECIAL)
    console.rich.print(f"          tokenized by {by};", legend)
    for row in rows:
        console.rich.print(f"\n[bold]{row['id']}[/bold] {facts(row)}")
        console.rich.print(coloured(row["tokens"]))
    bins = answer["rows"].get("packed", [])
    for number, places in enumerate(bins, 1):
        ids = " | ".join(rows[place]["id"] for place in places)
        length = sum(len(rows[place]["tokens"]) for place in places)
        console.note(f"packed sequence {number}: {ids}, {length} of {config.get('sequence_len')} tokens")
    page = dataset.folder / "rows" / "shown.html"
    page.write_text(as_html(dataset, by, rows, bins, config.get("sequence_len")), encoding="utf-8")
    return page


def facts(row: Row) -> str:
    """Return why a row is shown, how long it is and how many tokens are trained on."""
    learned = sum(token["learned"] for token in row["tokens"])
    return f"({row['why']}; {len(row['tokens'])} tokens, {learned} learned)"


def visible(token: dict[str, Any]) -> str:
    """Return a token's text with line breaks made visible; a token that is only part of a character has no
    text."""
    return "\ufffd" if "\ufffd" in token["text"] else token["text"].replace("\n", f"{NEW_LINE}\n")


def coloured(tokens: list[dict[str, Any]]) -> Text:
    """Return tokens for the terminal: trained ones on green, every second one dimmed to separate them,
    special ones in magenta."""
    text = Text()
    for number, token in enumerate(tokens):
        style = LEARNED if token["learned"] else "dim" if number % 2 else ""
        text.append(visible(token), style=f"{style} {SPECIAL}" if token["special"] else style)
    return text


def as_html(dataset: Dataset, by: str, rows: list[Row], bins: list[list[int]], length: int | None) -> str:
    """Return the self-contained page, with all text of rows escaped."""
    environment = Environment(
        loader=PackageLoader("tunebook.commands", "templates"),
        autoescape=select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"visible": visible, "facts": facts}
    return environment.get_template("data.html.jinja").render(
        dataset=dataset.name, by=by, rows=rows, bins=bins, length=length
    )


@takes("set", "model", "tier")
def data_command(
    name: Name,
    options: Options,
    shown: Annotated[int, typer.Option("--show", min=0, help="show this many rows, token by token")] = 0,
) -> int:
    """Render a recipe's dataset and show what the model sees.

    The rows go to datasets/<name>/rows/.
    """
    return render_rows(name, options, shown, command_console())
