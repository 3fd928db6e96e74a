"""Support chats of similar wording, as a help desk with canned answers has them: for tests of splits only.

Rows are made by rule from a few templates, since that is what they are to show; no recipe trains on them.

    python -m tests.support.similar_chats COUNT FILE     # JSONL with `customer` and `messages`
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

OPENINGS = [
    "Hi, my order {n} of the {thing} has not arrived at {place} yet, can you check where it is?",
    "Hello, I want to send back the {thing} from order {n} because the {part} is broken, how do I do that?",
    "Good morning, I was charged twice for order {n} at the {place} shop, please refund one of them.",
    "Hi there, can I still change the delivery address of order {n} from {place} to my office next to it?",
    "Hello, the {part} of my {thing} does not work any more, is it still under warranty (order {n})?",
    "Hi, I cannot log in to look at order {n} of the {thing}, the page for {place} says wrong password.",
    "Hello, please cancel order {n} of the {thing}, I found the same one in {place} for less money today.",
]
ANSWERS = [
    "Thank you for your message. I have looked at order {n} and passed it on to our team in {place}.",
    "I am sorry about the {thing}. You will get a label by mail; hand the parcel in at {place}.",
    "I have checked order {n}. The money is on its way and should be on your account in three days.",
]
FOLLOW_UPS = [
    "Thanks, how long will that take for the {thing}, since I need it before the weekend in {place}?",
    "All right, and do I have to pay anything for that, or is it covered for order {n} as well?",
]
THINGS = (
    "kettle toaster lamp chair blender heater radio printer monitor keyboard fan scale mixer vacuum".split()
)
PARTS = "switch cable lid hinge handle display battery filter".split()
PLACES = "Leith Porto Gdansk Turku Bergen Ghent Malaga Trieste Cork Aarhus Split Varna".split()


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` chats, two for each customer on average."""
    drawn = random.Random(seed)
    result = []
    for number in range(count):
        fill = {"n": drawn.randrange(10_000, 99_999), "thing": drawn.choice(THINGS)}
        fill |= {"part": drawn.choice(PARTS), "place": drawn.choice(PLACES)}
        texts = [
            drawn.choice(OPENINGS),
            drawn.choice(ANSWERS),
            drawn.choice(FOLLOW_UPS),
            drawn.choice(ANSWERS),
        ]
        turns = [
            {"role": "assistant" if index % 2 else "user", "content": text.format(**fill)}
            for index, text in enumerate(texts[: 2 if drawn.random() < 0.5 else 4])
        ]
        result.append({"id": f"c{number}", "customer": f"k{drawn.randrange(count // 2)}", "messages": turns})
    return result


if __name__ == "__main__":
    lines = [json.dumps(row) for row in rows(int(sys.argv[1]))]
    Path(sys.argv[2]).write_text("\n".join(lines) + "\n")
