"""An Ollama Modelfile for a GGUF file: template, stop tokens, system turn and parameters as in the run.

Ollama renders Go templates, not the model's Jinja template. The Go template is built from the text around the
turns in a few rendered test conversations, and it is used only if it reproduces every test prompt of the run.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from typing_extensions import TypedDict

from tunebook.core.errors import InputError, TunebookError
from tunebook.core.files import write_text
from tunebook.core.paths import child_environment, show
from tunebook.core.process import run_command
from tunebook.evaluation.suite import Suite
from tunebook.models.shapes import USUAL_POSITIONS, positions
from tunebook.runs.rows import Messages, RenderedRow, read_rows
from tunebook.runs.run import Run

ROOM = 4096  # tokens
USAGE = "Serve the GGUF file with llama.cpp instead, which renders the model's own template."

# Conversations whose rendered text shows the text around the turns.
PROBES = {
    "system": [("system", "SYS1"), ("user", "USER1"), ("assistant", "ANSWER1"), ("user", "USER2")],
    "user": [("user", "USER1")],
}


@dataclass(frozen=True)
class Pieces:
    """The text of a chat template around the turns. Every user turn is followed by an answer: either one in
    the conversation, or the one to be generated, which some templates start differently."""

    start: str  # before the first turn if it is not a system turn
    before_system: str
    after_system: str
    before_user: str
    to_answer: str  # between a question and its answer
    to_next: str  # between the last question and the answer to be generated
    after_assistant: str

    def text(self, messages: Messages) -> str:
        """Return `messages` as rendered by the template, including the start of the assistant's turn."""
        around = {
            "system": (self.before_system, self.after_system),
            "user": (self.before_user, self.to_answer),
            "assistant": ("", self.after_assistant),
        }
        parts = [] if messages[0]["role"] == "system" else [self.start]
        for turn in messages:
            before, after = around[turn["role"]]
            parts += [before, turn["content"], after]
        if messages[-1]["role"] == "user":
            parts[-1] = self.to_next
        return "".join(parts)

    def go(self) -> str:
        """Return the Go template. There is no text between its actions, because every space would be
        output."""
        start, before_system, after_system, before_user, to_answer, to_next, after_assistant = (
            _literal(text) for text in asdict(self).values()
        )
        return (
            "{{ range $i, $_ := .Messages }}"
            f'{{{{ if and (eq $i 0) (ne .Role "system") }}}}{start}{{{{ end }}}}'
            f'{{{{ if eq .Role "system" }}}}{before_system}{{{{ .Content }}}}{after_system}'
            f'{{{{ else if eq .Role "user" }}}}{before_user}{{{{ .Content }}}}'
            f"{{{{ if eq (len (slice $.Messages $i)) 1 }}}}{to_next}{{{{ else }}}}{to_answer}{{{{ end }}}}"
            f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}{after_assistant}'
            "{{ end }}{{ end }}"
        )


def _literal(text: str) -> str:
    """Return `text` as a literal of a Go template, safe before any action."""
    quoted = "{{" in text or text.endswith("{")
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if quoted else text


def pieces(texts: dict[str, str]) -> Pieces:
    """Extract the text around turns from PROBES as rendered by the template, including the start of the
    assistant's turn.

    Raises:
        ValueError: a mark is missing or out of order, because the template changes or moves the turns.
    """
    before_system, rest = texts["system"].split("SYS1")
    to_user, rest = rest.split("USER1")
    to_answer, rest = rest.split("ANSWER1")
    again, to_next = rest.split("USER2")
    start, opened = texts["user"].split("USER1")
    if to_next != opened:
        raise ValueError("answers start in different ways")
    before_user = _common_end([to_user, again, start])
    return Pieces(
        start=start.removesuffix(before_user),
        before_system=before_system,
        after_system=to_user.removesuffix(before_user),
        before_user=before_user,
        to_answer=to_answer,
        to_next=to_next,
        after_assistant=again.removesuffix(before_user),
    )


def _common_end(texts: list[str]) -> str:
    shortest = min(texts, key=len)
    for start in range(len(shortest) + 1):
        if all(text.endswith(shortest[start:]) for text in texts):
            return shortest[start:]
    return ""


def write(run: Run, weights: Path, file: Path) -> Path:
    """Write export/ollama/Modelfile for the GGUF `file`, which was made from the full weights in `weights`.

    Raises:
        InputError: no Go template reproduces the model's template.
    """
    rows = read_rows(run / "data" / "test.jsonl")
    rendered = _rendered(weights, [row["messages"][:-1] for row in rows], run)
    refused = f"RUN: {show(run.folder)}: the chat template cannot be converted for Ollama"
    if any(row.get("tools") for row in rows):
        raise InputError(f"{refused}, because rows have tools. {USAGE}", code="export.no_ollama_template")
    try:
        parts = pieces(rendered["probes"])
        wrong = sum(
            parts.text(row["messages"][:-1]) != text
            for row, text in zip(rows, rendered["prompts"], strict=True)
        )
    except (ValueError, KeyError) as error:
        raise InputError(f"{refused} ({error}). {USAGE}", code="export.no_ollama_template") from None
    if wrong:
        raise InputError(
            f"{refused}: {wrong} of {len(rows)} test prompts would differ. {USAGE}",
            code="export.no_ollama_template",
        )
    target = run / "export" / "ollama" / "Modelfile"
    target.parent.mkdir(parents=True, exist_ok=True)
    suite = Suite.model_validate(run.settings()["suite"])
    lines = [
        f"# {run.settings()['recipe']}, run {run.folder.name}. ollama create NAME -f Modelfile",
        f"FROM {Path('..') / 'gguf' / file.name}",
        f"TEMPLATE {_quoted(parts.go())}",
    ]
    if system := usual_system(run):
        lines.append(f"SYSTEM {_quoted(system)}")
    lines += [
        f"PARAMETER stop {json.dumps(rendered['end'], ensure_ascii=False)}",
        f"PARAMETER num_ctx {context_size(run)}",
        f"PARAMETER num_predict {suite.max_new_tokens}",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
    ]
    write_text(target, "\n".join(lines) + "\n")
    return target


def usual_system(run: Run) -> str:
    """Return the most common system prompt of the train rows, "" if most have none."""
    counts = Counter(_system(row) for row in read_rows(run / "data" / "train.jsonl"))
    return counts.most_common(1)[0][0] if counts else ""


def _system(row: RenderedRow) -> str:
    first = row["messages"][0]
    return first["content"] if first["role"] == "system" else ""


def _quoted(text: str) -> str:
    if '"""' in text:
        raise InputError(
            f"a Modelfile cannot contain three quotes in a row. {USAGE}", code="export.no_ollama_template"
        )
    return f'"""{text}"""'


def context_size(run: Run) -> int:
    """Return the tokens of prompt and answer that Ollama makes room for; it cuts longer prompts without a
    word. Room for more than the run was trained on, as far as the base goes."""
    config = run.config()
    return min(positions(config) or USUAL_POSITIONS, max(int(config["sequence_len"]), ROOM))


class Rendered(TypedDict):
    """The result of render_prompts: the texts of PROBES and of the prompts, and the end-of-turn token."""

    probes: dict[str, str]
    prompts: list[str]
    end: str


def _rendered(weights: Path, prompts: list[Messages], run: Run) -> Rendered:
    """Return the probes and `prompts` as rendered by the Jinja template in `weights`, in a separate process
    because transformers is slow to import, and the end-of-turn token."""
    given = json.dumps({"prompts": prompts, "options": run.config().get("chat_template_kwargs") or {}})
    ended = run_command(
        [sys.executable, "-m", "tunebook.export.render_prompts", str(weights)],
        input=given,
        capture_output=True,
        text=True,
        env=child_environment(),
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [""])[-1]
        raise TunebookError(f"The chat template could not be rendered: {last}", code="export.not_rendered")
    found: Rendered = json.loads(ended.stdout)
    return found
