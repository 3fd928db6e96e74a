"""Labels by rank, with their probabilities."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tunebook.evaluation.engines.protocol import Engine
from tunebook.evaluation.engines.ranking import rank_labels

LABELS = ["acorn", "beech", "cedar"]


class Fixed(Engine):
    """Gives every context the same scores."""

    def rank_choices(self, contexts: Any, choices: Any, prefix: Any) -> list[list[float]]:
        return [[-3.0, -1.0, -2.0] for _ in contexts]

    def classify(self, contexts: Any) -> list[list[float]]:
        return [[math.log(share) for share in (0.5, 0.2, 0.3)] for _ in contexts]


def test_probabilities_are_among_the_labels() -> None:
    one, two = rank_labels(Fixed(), False, [[1, 2], [1, 3]], LABELS, [[4], [5], [6]])
    assert one == two and (one.label, one.second) == ("beech", "cedar")
    assert one.probability == pytest.approx(1 / (1 + math.exp(-1) + math.exp(-2)))
    assert one.second_probability == pytest.approx(one.probability * math.exp(-1))


def test_a_head_scores_the_labels_itself() -> None:
    found = rank_labels(Fixed(), True, [[1]], LABELS, [])[0]
    assert (found.label, found.second) == ("acorn", "cedar")
    assert found.probability == pytest.approx(0.5)


def test_scores_of_very_unlikely_labels_do_not_vanish() -> None:
    class Low(Fixed):
        def rank_choices(self, contexts: Any, choices: Any, prefix: Any) -> list[list[float]]:
            return [[-4000.0, -4001.0, -5000.0]]

    assert rank_labels(Low(), False, [[1]], LABELS, [[4], [5], [6]])[0].probability == pytest.approx(
        0.731, abs=1e-3
    )
