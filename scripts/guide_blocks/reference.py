"""Tools, and the reference generated from code."""

from __future__ import annotations

import re
import textwrap

from scripts.guide_blocks.registry import RESULTS, Sources, block
from tunebook.commands.exercise.exercises import EXERCISES
from tunebook.core.environment import PREFIX, Environment
from tunebook.core.markdown import markdown_table, with_placeholders
from tunebook.core.paths import ROOT
from tunebook.report.format import cell, number
from tunebook.report.markdown_blocks import block as marked

STACK = (
    *("axolotl", "transformers", "datasets", "peft", "trl", "accelerate", "bitsandbytes", "deepspeed"),
    *("torch", "lm-eval"),
)


@block("tools/index", "versions")
def versions(sources: Sources) -> str:
    """The versions of the stack on both lanes."""
    path = ROOT / "requirements.lock"
    sources.read[path] = "make lock"
    text, rows = path.read_text(encoding="utf-8"), []
    for name in STACK:
        found = re.findall(rf"^{name}==(\S+)(?: ; (.*?))? \\$", text, re.MULTILINE)
        old = [version for version, marker in found if ">= '3.12'" not in marker]
        new = [version for version, marker in found if "< '3.12'" not in marker]
        rows.append({"package": name, "Python 3.11": old[0], "Python 3.12, 3.13": new[0]})
    return markdown_table(rows)


@block("reference", "environment")
def environment(sources: Sources) -> str:
    """Every variable that Tunebook reads."""
    sources.read[ROOT / "tunebook" / "core" / "environment.py"] = "tunebook env"
    return markdown_table(
        [
            {
                "variable": f"`{PREFIX}{name.upper()}`",
                "what it is for": with_placeholders(field.description or ""),
            }
            for name, field in Environment.model_fields.items()
        ]
    )


@block("ten-minutes", "fork")
def fork_output(sources: Sources) -> str:
    return _from_readme(sources, "fork")


@block("ten-minutes", "report")
def report_output(sources: Sources) -> str:
    return _from_readme(sources, "output")


def _from_readme(sources: Sources, name: str) -> str:
    """Return real output that README.md shows."""
    path = ROOT / "README.md"
    sources.read[path] = ""
    text = textwrap.dedent(marked(path.read_text(encoding="utf-8"), name)).strip()
    return f"```text\n{text}\n```"


@block("tools/plain-transformers-and-peft", "script")
def plain_script(sources: Sources) -> str:
    path = ROOT / "scripts" / "plain_peft.py"
    sources.read[path] = ""
    return f"```python\n{path.read_text(encoding='utf-8').strip()}\n```"


@block("tools/plain-transformers-and-peft", "score")
def plain_score(sources: Sources) -> str:
    """The accuracy of the script and of the recipe on the same test rows, once it was measured."""
    if not (RESULTS / "plain_peft.json").is_file():
        sources.read[ROOT / "benchmarks" / "plain_peft.py"] = ""
        return "No run of it is published yet, so there is no score here; the script prints its own."
    found = sources.benchmark("plain_peft")
    script, recipe = found["plain"]["accuracy"], {**found["recipe"], "value": found["recipe"]["accuracy"]}
    title = f"accuracy on {found['rows']} test rows"
    return markdown_table(
        [
            {"trained by": "this script", title: number("accuracy", script)},
            {"trained by": "the recipe", title: cell("accuracy", recipe)},
        ]
    )


@block("closing/summary-and-when-to-fine-tune", "advice")
def advice(sources: Sources) -> str:
    """The output of `tunebook advise`. It is recorded, because the command trains an SVM."""
    path = ROOT / "docs" / "guide" / "recorded" / "advice.txt"
    sources.read[path] = ""
    return f"```text\n{path.read_text(encoding='utf-8').strip()}\n```"


@block("closing/what-to-try-on-your-own", "exercises")
def exercises(sources: Sources) -> str:
    """The exercises, as the command has them."""
    sources.read[ROOT / "tunebook" / "commands" / "exercise" / "exercises.py"] = ""
    return markdown_table(
        [
            {"N": str(at), "exercise": f"**{one.title}.** {one.task}", "command": f"`{one.command}`"}
            for at, one in enumerate(EXERCISES, start=1)
        ]
    )


@block("reference", "exits")
def exits(sources: Sources) -> str:
    """The exit codes, as docs/ARCHITECTURE.md has them."""
    path = ROOT / "docs" / "ARCHITECTURE.md"
    sources.read[path] = ""
    found = re.search(r"## Exit codes\n\n(\|.*?)\n\n", path.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]
