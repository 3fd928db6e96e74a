"""The Modelfile's Go template, taken from what a Jinja template renders."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from jinja2 import Environment

from tunebook.core.paths import ROOT
from tunebook.export.ollama import PROBES, Pieces, pieces
from tunebook.models.registry import model_table

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + CHATML
)
LLAMA = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>"
    "{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n"
)
MISTRAL = (
    "{% set s = namespace(t='') %}{% for m in messages %}{% if m.role == 'system' %}{% set s.t = m.content %}"
    "{% elif m.role == 'user' %}[INST] {{ s.t }} {{ m.content }} [/INST]"
    "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
)
TALKS = [
    [("user", "Hello.")],
    [("system", "Short."), ("user", "Hello.")],
    [("user", "a"), ("assistant", "b"), ("user", "c")],
    [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c {{ d }}")],
    [("system", "Two\nlines {{ .System }}"), ("user", "<b>&amp;"), ("assistant", '"x"'), ("user", " é ")],
    [("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5")],
]


def render(template: str, turns: list[tuple[str, str]]) -> str:
    return Environment(keep_trailing_newline=True).from_string(template).render(messages=messages(turns))


def messages(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def taken(template: str) -> Pieces:
    return pieces({name: render(template, turns) for name, turns in PROBES.items()})


@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM, LLAMA], ids=["chatml", "default", "llama"])
@pytest.mark.parametrize("talk", TALKS)
def test_pieces_render_what_the_template_renders(template: str, talk: list[tuple[str, str]]) -> None:
    assert taken(template).text(messages(talk)) == render(template, talk)


def test_a_template_that_repeats_the_system_turn_is_refused() -> None:
    with pytest.raises(ValueError):
        taken(MISTRAL)


PROGRAM = """
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type Message struct{ Role, Content string }
type Case struct {
	Template string
	Talks    [][]Message
}

// As Ollama does before it renders (template.collate): turns of one role become one, and all system turns
// together are .System.
func collate(turns []Message) (string, []*Message) {
	var system []string
	var out []*Message
	for i := range turns {
		if turns[i].Role == "system" {
			system = append(system, turns[i].Content)
		}
		if n := len(out); n > 0 && out[n-1].Role == turns[i].Role {
			out[n-1].Content += "\\n\\n" + turns[i].Content
		} else {
			out = append(out, &turns[i])
		}
	}
	return strings.Join(system, "\\n\\n"), out
}

func main() {
	var cases []Case
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	all := [][]string{}
	for _, one := range cases {
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(one.Template))
		texts := []string{}
		for _, talk := range one.Talks {
			var text strings.Builder
			system, messages := collate(talk)
			values := map[string]any{"System": system, "Messages": messages, "Response": ""}
			if err := parsed.Execute(&text, values); err != nil {
				panic(err)
			}
			texts = append(texts, text.String())
		}
		all = append(all, texts)
	}
	json.NewEncoder(os.Stdout).Encode(all)
}
"""
# A piece may end in a brace, or hold what Go would read as an action.
BRACES = (
    "{% for m in messages %}{{ m.role ~ ' {{ a }}: {' ~ m.content ~ '}} \"q\" \\\\ é\n' }}{% endfor %}"
    "{{ 'assistant {{ a }}: {' }}"
)


def templates() -> dict[str, tuple[str, dict[str, object]]]:
    """Every chat template that is written here, and what the model table passes to it."""
    found: dict[str, tuple[str, dict[str, object]]] = {
        "chatml": (CHATML, {}),
        "default": (DEFAULT_SYSTEM, {}),
        "llama": (LLAMA, {}),
        "braces": (BRACES, {}),
    }
    for facts in model_table().values():
        family = facts["family"]
        text = (ROOT / f"tests/fixtures/families/{family}.jinja").read_text()
        found[family] = (text, facts["axolotl"].get("chat_template_kwargs") or {})
    return found


@pytest.mark.skipif(not shutil.which("go"), reason="needs Go: apt install golang-go")
def test_go_renders_what_each_model_of_the_table_renders(tmp_path: Path) -> None:
    """The real text/template of Go, with the messages as Ollama passes them."""
    from transformers.utils.chat_template_utils import render_jinja_template

    def rendered(name: str, turns: list[tuple[str, str]]) -> str:
        template, options = templates()[name]
        texts, _ = render_jinja_template(
            [messages(turns)], chat_template=template, add_generation_prompt=True, eos_token="<E>", **options
        )
        return str(texts[0])

    cases, wanted = [], []
    for name in templates():
        parts = pieces({kind: rendered(name, turns) for kind, turns in PROBES.items()})
        talks = [[{"Role": role, "Content": text} for role, text in talk] for talk in TALKS]
        cases.append({"Template": parts.go(), "Talks": talks})
        wanted.append([rendered(name, talk) for talk in TALKS])
        assert [parts.text(messages(talk)) for talk in TALKS] == wanted[-1], name
    program = tmp_path / "render.go"
    program.write_text(PROGRAM)
    made = subprocess.run(
        ["go", "run", str(program)], input=json.dumps(cases), capture_output=True, text=True, cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    for name, texts, expected in zip(templates(), json.loads(made.stdout), wanted, strict=True):
        assert texts == expected, name
