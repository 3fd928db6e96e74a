"""YAML that cannot be read is refused with its line."""

from __future__ import annotations

import pytest

from tunebook.core.errors import InputError
from tunebook.core.yaml_file import parse_yaml

BAD = {
    "nested": "a: 1\nb: " + "[" * 3000 + "]" * 3000 + "\nc: 2\n",
    "digits": "a: 1\nb: " + "7" * 4301 + "\nc: 2\n",
    "brackets": "a: 1\nb: [\nc: 2\n",
    "twice": "a: 1\nb: 1\nb: 2\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_read_has_its_line(kind: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(BAD[kind], "some.yaml")
    problem = caught.value.problems[0]
    assert (problem.file, problem.code) == ("some.yaml", "config.not_yaml")
    assert problem.line in (2, 3, 4) and len(problem.text) < 300
