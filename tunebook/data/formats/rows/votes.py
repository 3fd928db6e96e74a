"""Two answers and a vote, brought to a pair: Stanford Human Preferences, Chatbot Arena and PKU-SafeRLHF.

In: a row. Out: `prompt`, `chosen` and `rejected` instead of the answers and the vote; any other row
unchanged.
"""

from __future__ import annotations

from typing import Any

from tunebook.core.errors import RowFault
from tunebook.core.files import from_json

Row = dict[str, Any]
SHP = ("history", "human_ref_A", "human_ref_B", "labels")
SHP_SCORES = ("score_A", "score_B")
SHP_RATIO = "score_ratio"  # of the two
CONVERSATIONS = ("conversation_a", "conversation_b")
RESPONSES = ("response_a", "response_b")
NUMBERED = ("response_0", "response_1")
WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")
NO_PAIR = "neither answer won, so there is no pair."


def has_vote(row: Row) -> bool:
    """Return whether a row has one of the formats that this module reads."""
    if all(name in row for name in SHP):
        return True
    answers = all(name in row for name in CONVERSATIONS) or all(
        name in row for name in ("prompt", *RESPONSES)
    )
    return answers and ("winner" in row or all(name in row for name in WINNERS))


def decided(row: Any, better: str | None = None) -> Any:
    """Return a row with a vote as a pair; any other row unchanged.

    Args:
        better: the column with the number of the better one of `response_0` and `response_1`. PKU-SafeRLHF
            has two, of the more helpful one and of the safer one: a person says which.

    Raises:
        RowFault: the vote is a tie or unknown, or contradicts the scores of the row.
    """
    if isinstance(row, dict) and better and all(name in row for name in NUMBERED):
        return _numbered(row, better)
    if not isinstance(row, dict) or not has_vote(row):
        return row
    if "human_ref_A" in row:
        return _shp(row)
    names = CONVERSATIONS if CONVERSATIONS[0] in row else RESPONSES
    first = _first_won(row)
    chosen, rejected = names if first else names[::-1]
    made = {key: value for key, value in row.items() if key not in (*names, *WINNERS, "winner", "prompt")}
    if "prompt" in row:
        made["prompt"] = _texts(row["prompt"], "prompt")
    return {**made, "chosen": _texts(row[chosen], chosen), "rejected": _texts(row[rejected], rejected)}


def _shp(row: Row) -> Row:
    """Stanford Human Preferences (Ethayarajh et al. 2022): `labels` is 1 if A is better and has the higher
    score."""
    if str(row["labels"]) not in ("0", "1"):
        raise RowFault("labels", f"expected 0 or 1 (got {row['labels']!r}).", "rows.no_vote")
    first = str(row["labels"]) == "1"
    scores = [row.get(name) for name in SHP_SCORES]
    if all(isinstance(score, (int, float)) for score in scores) and scores[0] != scores[1]:
        if (scores[0] > scores[1]) is not first:  # type: ignore[operator]
            message = (
                f"says that {'A' if first else 'B'} is better, but the scores say {scores}. Correct one of "
                "the two."
            )
            raise RowFault("labels", message, "rows.scores_disagree")
    answers = [row["human_ref_A"], row["human_ref_B"]]
    made = {key: value for key, value in row.items() if key not in (*SHP, *SHP_SCORES, SHP_RATIO)}
    chosen, rejected = answers if first else answers[::-1]
    return {**made, "prompt": row["history"], "chosen": chosen, "rejected": rejected}


def _numbered(row: Row, better: str) -> Row:
    if str(row.get(better)) not in ("0", "1"):
        message = f"expected 0 or 1, the number of the better response (got {row.get(better)!r})."
        raise RowFault(better, message, "rows.no_vote")
    chosen, rejected = NUMBERED if str(row[better]) == "0" else NUMBERED[::-1]
    made = {key: value for key, value in row.items() if key not in NUMBERED}
    return {**made, "chosen": row[chosen], "rejected": row[rejected]}


def _first_won(row: Row) -> bool:
    if "winner" not in row:
        votes = [str(row[name]).strip().lower() in ("1", "1.0", "true") for name in WINNERS]
        if sum(votes) != 1 or votes[2]:
            test = f"{WINNERS[2]}|int == 0"
            raise RowFault(WINNERS[2], f'{NO_PAIR} Keep only the other rows: WHERE="{test}".', "rows.no_vote")
        return votes[0]
    winner = str(row["winner"]).strip().lower()
    if winner not in ("model_a", "model_b", "a", "b"):
        kept = "winner in ('model_a', 'model_b')"
        message = f'{NO_PAIR} Keep only the other rows: --where "{kept}" (WHERE="{kept}").'
        raise RowFault("winner", message, "rows.no_vote")
    return winner.endswith("a")


def _texts(value: Any, at: str) -> Any:
    """Return a text given as a JSON list of one text; a list of several texts, which are turns, is an
    error."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = from_json(value)
        except ValueError:
            return value
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return value
    if len(value) != 1:
        message = f"contains {len(value)} turns, and the two answers differ after the first. Drop the row."
        raise RowFault(at, message, "rows.several_inside")
    return value[0]
