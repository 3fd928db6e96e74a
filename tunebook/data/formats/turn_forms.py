"""The forms in which conversations are written, converted to one: a list of turns with roles.

In: the content of a row's field. Out: its turns, each with its place, and the assumptions made about them.

| form                                              | written by                     |
|---------------------------------------------------|--------------------------------|
| a list of turns with a role and a text            | OpenAI, ShareGPT, Gemini, ...  |
| the same in an object, under `messages`           | OpenAI's preference pairs      |
| a list of texts, or of [question, answer] pairs   | UltraChat, LIMA, DailyDialog   |
| a list of [speaker, text] pairs                   | ABCD                           |
| objects of a question and an answer               | BELLE, MOSS, XTuner            |
| objects of one turn, `{user: ...}`                | various                        |
| turns without a speaker, with `metadata`          | MultiWOZ                       |
| a tree of replies                                 | OpenAssistant                  |
| paragraphs `Human: ... Assistant: ...`            | hh-rlhf, guanaco               |
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from tunebook.core.errors import RowFault
from tunebook.core.files import from_json as json_value
from tunebook.data.formats.meaning.meanings import WEIGHTS
from tunebook.data.formats.thoughts import FIELDS
from tunebook.data.formats.values import ROLE_KEYS, is_empty, plain_name, python_value, typed
from tunebook.data.tool_calls import ANSWERER, CALLER

ROLES = {
    "system": "system developer sistema systeme syst\u00e8me \u7cfb\u7edf \u7cfb\u7d71",
    "user": (
        "user human prompter customer person instruction input question client end-user end_user enduser "
        "visitor requester caller buyer patient nutzer benutzer kunde "
        "utilisateur usuario usu\u00e1rio utente "
        "\u043f\u043e\u043b\u044c\u0437\u043e\u0432\u0430\u0442\u0435\u043b\u044c "
        "\u7528\u6237 \u7528\u6236 \u4eba\u7c7b \u30e6\u30fc\u30b6\u30fc \uc0ac\uc6a9\uc790"
    ),
    "assistant": (
        "assistant gpt bot model ai chatbot chatgpt bing bard claude agent response output answer support "
        "representative doctor seller assistent "
        "asistente assistente \u0430\u0441\u0441\u0438\u0441\u0442\u0435\u043d\u0442 "
        "\u52a9\u624b \u52a9\u7406 \u30a2\u30b7\u30b9\u30bf\u30f3\u30c8 "
        "\uc5b4\uc2dc\uc2a4\ud134\ud2b8"
    ),
}
ROLE_OF = {word: role for role, words in ROLES.items() for word in words.split()}
ROLE_OF |= dict.fromkeys(CALLER, "assistant") | dict.fromkeys(ANSWERER, "tool")
TEXT_KEYS = ("content", "value", "text", "utterance", "message", "parts")
INSIDE = ("messages", "conversations", "conversation", "turns")  # keys under which an object has its turns
# The keys of an object that is a question and its answer.
ASKED = ("human", "user", "input", "question", "instruction", "prompt")
ANSWERED = ("assistant", "gpt", "bot", "output", "answer", "response")
ALTERNATING = "the turns name no speaker, so they are read as user and assistant alternately, the user first"
SPEAKERS = "the speaker SYSTEM is read as the assistant, because the user is the only other speaker"
BEST_PATH = "from each tree of replies, the best-ranked path that ends with the assistant is used"


class Turns(NamedTuple):
    """Turns with their places (`messages[2]`), and the assumption made about them, "" if none."""

    placed: list[tuple[str, Any]]
    assumed: str = ""


def turns_of(value: Any, field: str) -> Turns | None:
    """Return the turns in the content of `field`, or None if it contains none. Turns are not validated."""
    if isinstance(value, dict):
        inside = next((key for key in INSIDE if isinstance(value.get(key), list)), None)
        if inside:
            return turns_of(value[inside], f"{field}.{inside}")
        return Turns(_best_path(value, field), BEST_PATH) if "replies" in value and "text" in value else None
    if isinstance(value, str):
        turns = transcript(value)
        return Turns([(field, turn) for turn in turns]) if len(turns) > 1 else None
    if not isinstance(value, list) or not value:
        return None
    here = [(f"{field}[{index}]", item) for index, item in enumerate(value)]
    if len(value) > 1 and all(isinstance(item, str) for item in value):
        return Turns(_in_turn(here), ALTERNATING)
    if all(isinstance(item, list) and list(map(type, item)) == [str, str] for item in value):
        if _are_speakers([item[0] for item in value]):
            return Turns([(at, {"role": name, "content": text}) for at, (name, text) in here])
        flat = [(f"{at}[{half}]", text) for at, item in here for half, text in enumerate(item)]
        return Turns(_in_turn(flat))
    if not all(isinstance(item, dict) for item in value):
        return Turns(here)
    value = [_with_plain_role(item) for item in value]
    here = [(at, item) for (at, _), item in zip(here, value, strict=True)]
    if any(key in item for key in ROLE_KEYS for item in value):
        spoken = _system_speaks(value)
        return Turns([(at, spoken(item)) for at, item in here], SPEAKERS) if spoken else Turns(here)
    if all("metadata" in item and isinstance(item.get("text"), str) for item in value):
        return Turns(_in_turn([(at, item["text"]) for at, item in here]), ALTERNATING)
    halves = [_halves(at, item) for at, item in here]
    return Turns([turn for pair in halves for turn in pair or []]) if all(halves) else Turns(here)


def _with_plain_role(item: dict[str, Any]) -> dict[str, Any]:
    """Return a turn with its role in place of an object that contains it: `author: {role: ...}` (ChatGPT)."""
    key = next((key for key in ROLE_KEYS if key in item), None)
    inside = item[key] if key else None
    return {**item, str(key): inside["role"]} if isinstance(inside, dict) and "role" in inside else item


def _are_speakers(names: list[str]) -> bool:
    """Return whether the first elements of pairs are speakers (ABCD) rather than questions: all are known
    roles, or short and repeated."""
    if all(name.strip().lower() in ROLE_OF for name in names):
        return True
    return len(names) > 2 and len(set(names)) < len(names) and all(len(name.split()) < 3 for name in names)


def _in_turn(placed: list[tuple[str, str]]) -> list[tuple[str, Any]]:
    roles = ("user", "assistant")
    return [(at, {"role": roles[n % 2], "content": text}) for n, (at, text) in enumerate(placed)]


def _system_speaks(turns: list[dict[str, Any]]) -> Any:
    """Return the assumption that SYSTEM is the speaker who answers the user (SGD, MultiWOZ 2.2), if the user
    and SYSTEM are the only speakers and SYSTEM speaks after the user; otherwise None."""
    key = next(key for key in ROLE_KEYS if any(key in turn for turn in turns))
    names = [str(turn.get(key)).strip().lower() for turn in turns]
    if {ROLE_OF.get(name) for name in names} != {"user", "system"} or "system" not in names[1:]:
        return None
    return lambda turn: {**turn, key: "assistant"} if str(turn.get(key)).lower() == "system" else turn


def _halves(at: str, item: dict[str, Any]) -> list[tuple[str, Any]] | None:
    """Return the turns of an object that is a question and its answer, or a single turn with its role as
    key."""
    texts = {key: value for key, value in item.items() if isinstance(value, str)}
    asked = [key for key in ASKED if key in texts]
    answered = [key for key in ANSWERED if key in texts]
    if len(asked) != 1 or len(answered) != 1:
        named = [key for key in texts if ROLE_OF.get(key.lower())]
        if len(named) != 1 or len(item) != 1:
            return None
        return [(f"{at}.{named[0]}", {"role": named[0], "content": texts[named[0]]})]
    roles = {"system": "system", asked[0]: "user", answered[0]: "assistant"}
    rest = {key: value for key, value in item.items() if key not in roles}
    made = [
        (f"{at}.{key}", {"role": role, "content": texts[key]})
        for key, role in roles.items()
        if texts.get(key, "").strip() or key != "system" and key in texts
    ]
    made[-1][1].update(rest)  # the object's other fields, such as a weight
    return made


def _best_path(root: dict[str, Any], field: str) -> list[tuple[str, Any]]:
    """Return the path of the lowest-ranked replies (Koepf et al. 2023, arXiv 2304.07327: rank 0 is the best),
    without deleted or rejected replies, up to its last assistant turn."""
    path = [(field, root)]
    while True:
        at, turn = path[-1]
        replies = [
            (f"{at}.replies[{index}]", reply)
            for index, reply in enumerate(turn.get("replies") or [])
            if isinstance(reply, dict)
            and not reply.get("deleted")
            and reply.get("review_result") is not False
        ]
        if not replies:
            break
        path.append(min(replies, key=_rank))
    while len(path) > 1 and ROLE_OF.get(str(path[-1][1].get("role"))) != "assistant":
        path.pop()
    return [(at, {"role": turn.get("role"), "content": turn.get("text")}) for at, turn in path]


def _rank(placed: tuple[str, dict[str, Any]]) -> float:
    rank = placed[1].get("rank")
    return float("inf") if rank is None else rank


def transcript(value: str) -> list[dict[str, str]]:
    """Split `Human: ... Assistant: ...` paragraphs into turns; Anthropic's hh-rlhf separates them by empty
    lines, guanaco by `###`."""
    start = r"\s*### ?" if value.lstrip().startswith("###") else r"(?:^|\n\n)"
    pieces = re.split(start + r"(Human|Assistant): ?", value)
    if pieces[0].strip():
        return []
    return [
        {"role": "user" if role == "Human" else "assistant", "content": content}
        for role, content in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def from_json(value: Any, at: str) -> Any:
    """Return the list or object in a JSON text, as in tables, or in Python's notation (pandas' `to_csv`);
    return any other value unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json_value(value)
        except json.JSONDecodeError as error:
            if (read := python_value(value)) is not None:
                return read
            message = f"starts like JSON but is not valid JSON ({error.msg} at character {error.pos})."
            raise RowFault(at, message, "rows.field_not_json") from None
        except ValueError as error:
            raise RowFault(at, f"{error}.", "rows.field_not_json") from None
    return value


def turns_in(value: Any, known: Collection[str] = ROLE_OF) -> Any:
    """Return the turn or turns in a JSON text; return any other value unchanged, including text that only
    looks like turns: an answer may be JSON (`{"from": "Bergen"}`), and a prompt may start with a bracket."""
    if not isinstance(value, str):
        return value
    try:
        read = from_json(value, "")
    except RowFault:
        return value
    turns = read if isinstance(read, list) else [read]
    return read if turns and all(_is_turn(turn, known) for turn in turns) else value


def _is_turn(value: Any, known: Collection[str]) -> bool:
    if not isinstance(value, dict) or not any(key in value for key in (*TEXT_KEYS, "tool_calls")):
        return False
    names = [value[key] for key in ROLE_KEYS if key in value]
    return (
        bool(names) and isinstance(names[0], str) and {names[0], names[0].strip().lower()} & {*known} != set()
    )


def rename_roles(row: Any, roles: dict[str, str]) -> Any:
    """Return `row` with the roles of its turns renamed, as `source.roles` of dataset.yaml says."""
    if isinstance(row, dict):
        return {
            key: roles.get(str(value), value)
            if isinstance(value, (str, int)) and key in ROLE_KEYS
            else rename_roles(turns_in(value, {*ROLE_OF, *roles}), roles)
            for key, value in row.items()
        }
    return [rename_roles(item, roles) for item in row] if isinstance(row, list) else row


def unknown_speakers(turns: list[Any]) -> str:
    """Return ROLES= for the speakers without a known role; of two who alternate, the first is the user."""
    names = [
        str(turn[key]).strip() for turn in turns if isinstance(turn, dict) for key in ROLE_KEYS if key in turn
    ]
    known = {ROLE_OF.get(name.lower()) for name in names}
    roles = [role for role in ("user", "assistant") if role not in known] or ["user"]
    unknown = [name for name in dict.fromkeys(names) if name.lower() not in ROLE_OF]
    return " ".join(f"{typed(name)}={roles[n % len(roles)]}" for n, name in enumerate(unknown[:2]))


def unread_fields(value: Any, field: str) -> Iterator[str]:
    """Yield the names of the fields in a conversation's turns that are not read: ids, names, times."""
    try:
        found = turns_of(from_json(value, field), field)
    except RowFault:
        return
    for _, turn in found.placed if found else []:
        if isinstance(turn, dict):
            read = {*ROLE_KEYS, *TEXT_KEYS, *WEIGHTS, "tool_calls", "function_call"}
            read |= {key for key in turn if plain_name(str(key)) in FIELDS}  # read, or refused
            yield from (key for key, item in turn.items() if key not in read and not is_empty(item))
