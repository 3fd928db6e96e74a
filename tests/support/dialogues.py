"""Task dialogues that end with the same goodbye, as such dialogues do: for tests of what is scored."""

from __future__ import annotations

from typing import Any

TOPICS = [
    ("a table for two", "Bombay Garden seats two at 19.30; it is 4 km from Low Quay."),
    ("the savings balance", "There are 8,214.50 crowns in your savings account."),
    ("a bus to Leith", "Line 22 leaves Crake Bridge at 17.05 and takes forty minutes."),
    ("a new lamp", "The brass lamp from Turku is in stock, with two years of warranty."),
    ("the kettle", "Its lid is recalled; bring it to any shop and we exchange it."),
    ("rain tomorrow", "Expect drizzle from the west until noon, then wind."),
]
GOODBYES = [
    *("Have a great day.", "have a great day!", "You're welcome. Have a great day."),
    *("You're welcome! Have a great day", "Have a great day, Anna.", "Have a great day!"),
]


def talk(name: str, *turns: str | dict[str, Any], group: str | None = None) -> dict[str, Any]:
    """Return a rendered row whose turns alternate between user and assistant."""
    messages = [
        {"role": "assistant" if place % 2 else "user"}
        | ({"content": turn} if isinstance(turn, str) else turn)
        for place, turn in enumerate(turns)
    ]
    gold = {"answer": messages[-1]["content"], "member": name}
    return {"id": name, "group": group or name, "source": "own", "messages": messages, "gold": gold}


def dialogues(greeting: bool = False) -> list[dict[str, Any]]:
    """Return six dialogues of an answer and a goodbye, with `greeting` after one."""
    hello = ["Hi.", "Hello! How can I help you?"] * greeting
    return [
        talk(f"t{n}", *hello, f"I ask about {topic}.", answer, "Thanks, bye.", GOODBYES[n])
        for n, (topic, answer) in enumerate(TOPICS)
    ]
