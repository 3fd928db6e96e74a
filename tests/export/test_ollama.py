"""The Modelfile's Go template, taken from what a Jinja template renders."""

from __future__ import annotations

import pytest
from jinja2 import Environment

from tunebook.export.ollama import Pieces, pieces

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
]


def render(template: str, turns: list[tuple[str, str]]) -> str:
    return Environment(keep_trailing_newline=True).from_string(template).render(messages=messages(turns))


def messages(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def taken(template: str) -> Pieces:
    talk = [("system", "SYS1"), ("user", "USER1"), ("assistant", "ANSWER1"), ("user", "USER2")]
    return pieces({"system": render(template, talk), "user": render(template, [("user", "USER1")])})


@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM, LLAMA], ids=["chatml", "default", "llama"])
@pytest.mark.parametrize("talk", TALKS)
def test_pieces_render_what_the_template_renders(template: str, talk: list[tuple[str, str]]) -> None:
    assert taken(template).text(messages(talk)) == render(template, talk)


def test_a_template_that_repeats_the_system_turn_is_refused() -> None:
    with pytest.raises(ValueError):
        taken(MISTRAL)


def test_go_template_quotes_braces() -> None:
    one = Pieces("", "a {{ b", "", "<u>", "<a>", "</a>")
    assert '{{ "a {{ b" }}' in one.go()
    assert "<u>{{ .Content }}<a>" in one.go()
