"""Questions on long passages in the layout of SQuAD 1.1, for tests and benchmarks only.

By default 1,400 questions over 98 passages of 30,000 characters, the shape of question sets over whole
articles. The sentences are our own; facts are invented, and each answer stands once in its passage.

    python -m tests.support.long_passages FILE [QUESTIONS PASSAGES CHARACTERS]
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

QUESTIONS, PASSAGES, CHARACTERS = 1400, 98, 30_000
PARAGRAPH = 900  # characters, about

FIRST = (
    "Ada Bram Cleo Dov Edda Finn Greta Hamid Ines Jonas Kaya Lev Mara Nils Orla Pavel Quinn Runa Sami Tilde"
)
LAST = (
    "Abelin Brandt Castell Dunmore Eskola Farrow Grieg Halloran Ivers Jansky Kettle Lindqvist Moreau Nyberg"
)
STEMS = "Ald Bren Cor Dun Elm Far Gris Hol Ing Kel Lor Mar Nor Os Pel Rav Sel Tor Ul Ves Wyn Yar Zan".split()
ENDS = "bury dale feld gard ham holm ley mouth ness port sund ton vik wick worth".split()
THINGS = (
    "bell clock crane boiler archive bridge well furnace pump tower loom press cellar gate ledger roof stair "
    "turbine chapel kiln anchor organ scale vault mast signal sluice oven stable quay"
).split()
MATERIALS = (
    "oak copper slate granite brass linen cork walnut tin limestone ash lead beech marble iron".split()
)
FACTS = [  # a sentence, its question and which of its parts is the answer
    (
        "The {thing} of {place} was rebuilt by {person} in {year}.",
        "Who rebuilt the {thing} of {place}?",
        "person",
    ),
    (
        "It was in {year} that the {thing} at {place} first came into daily use under {person}.",
        "In which year did the {thing} at {place} come into daily use?",
        "year",
    ),
    (
        "For the {thing} in {place} the committee paid {number} crowns, more than {person} had asked for.",
        "How many crowns did the committee pay for the {thing} in {place}?",
        "number",
    ),
    (
        "{person} insisted that the {thing} of {place} be lined with {material}, whatever the cost.",
        "What was the {thing} of {place} lined with?",
        "material",
    ),
    (
        "A second {thing} was carried from {place} to {other} after the flood of {year}.",
        "Where was the second {thing} of {place} carried after the flood?",
        "other",
    ),
]
OPENINGS = (
    "As a rule|In most winters|Whatever the season|By all accounts|Now and then|On market days|"
    "After the harvest|For many years|Before the railway came|In the older letters|"
    "According to the minutes|At low water|When trade was slow|Without much notice|"
    "During the long strike|Once the frost had gone"
).split("|")
SUBJECTS = (
    "the overseer|a travelling joiner|the harbour clerk|two of the apprentices|the parish council|"
    "an old carter|the night shift|the widow of the founder|a surveyor from the coast|"
    "the smaller traders|every second tenant|the school inspector|a committee of nine|"
    "the last of the bargemen|the new bookkeeper|one careful neighbour"
).split("|")
VERBS = (
    "kept a record of|argued about|paid little heed to|walked the length of|set aside a corner for|"
    "made drawings of|complained of|took a lasting pride in|counted|quietly repaired|"
    "borrowed money against|looked after|sold off|wrote at length about|measured|put a low price on"
).split("|")
OBJECTS = (
    "the drainage ditches|the spare timber|a row of lime trees|the coal allowance|"
    "the wages of the younger hands|the footpath along the weir|the winter stores|the tallow and rope|"
    "the broken windows|the account books|the horses and their feed|the noise from the yard|"
    "the stone from the upper quarry|the tolls at the crossing|the weather and its damage|"
    "the letters that came by boat"
).split("|")
TAILS = (
    "though nobody asked for it|and the matter rested there|which pleased very few|"
    "before anything was decided|as the custom of the valley was|until the money ran out|"
    "to the surprise of the visitors|and thought no more of it|so that the work could go on|"
    "while the others waited outside|with some help from the mill|for want of a better plan|"
    "because the roads were bad|and said so in public|as far as can be told|without a word of thanks"
).split("|")


def articles(
    questions: int = QUESTIONS, passages: int = PASSAGES, characters: int = CHARACTERS, seed: int = 0
) -> list[dict[str, Any]]:
    """Return the articles of a SQuAD file: one passage of about `characters` each, and `questions` questions
    spread over them as evenly as they go."""
    drawn = random.Random(seed)
    names = [stem + end for stem in STEMS for end in ENDS]
    drawn.shuffle(names)
    made = []
    for number in range(passages):
        count = questions // passages + (number < questions % passages)
        facts = _facts(drawn, count, names[number % len(names)])
        context, answers = _passage(drawn, facts, characters)
        asked = [
            {
                "id": f"p{number}-q{place}",
                "question": question,
                "answers": [{"text": answer, "answer_start": start}],
            }
            for place, ((_, question, answer), start) in enumerate(zip(facts, answers, strict=True))
        ]
        title = f"{names[number % len(names)]} {number}"
        made.append({"title": title, "paragraphs": [{"context": context, "qas": asked}]})
    return made


def _facts(drawn: random.Random, count: int, place: str) -> list[tuple[str, str, str]]:
    """Return `count` facts about `place` as sentence, question and answer; no answer comes twice."""
    people = [f"{first} {last}" for first in FIRST.split() for last in LAST.split()]
    values = {
        "person": iter(drawn.sample(people, len(people))),
        "year": iter(drawn.sample(range(1702, 1950), 200)),
        "number": iter(drawn.sample(range(1100, 9900), 500)),
        "other": iter(drawn.sample([f"{stem}{end} Bay" for stem in STEMS for end in ENDS], 200)),
    }
    things = [(thing, fact) for thing in THINGS for fact in FACTS]
    facts = []
    for thing, (sentence, question, answer) in drawn.sample(things, count):
        fill = {name: str(next(some)) for name, some in values.items()}
        fill |= {
            "thing": thing,
            "place": place,
            "material": f"{drawn.choice(MATERIALS)} from {fill['other']}",
        }
        facts.append((sentence.format(**fill), question.format(**fill), fill[answer]))
    return facts


def _passage(
    drawn: random.Random, facts: list[tuple[str, str, str]], characters: int
) -> tuple[str, list[int]]:
    """Return a text of about `characters` with the facts at drawn places, and where their answers start."""
    sentences: list[tuple[str, int | None]] = [(fact, number) for number, (fact, *_) in enumerate(facts)]
    size = sum(len(fact) + 1 for fact, _ in sentences)
    while size < characters:
        parts = [drawn.choice(some) for some in (OPENINGS, SUBJECTS, VERBS, OBJECTS, TAILS)]
        sentence = "{}, {} {} {}, {}.".format(*parts)
        sentences.append((sentence, None))
        size += len(sentence) + 1
    drawn.shuffle(sentences)
    text, paragraph, starts = "", 0, [0] * len(facts)
    for sentence, fact in sentences:
        if text:
            text += "\n\n" if paragraph > PARAGRAPH else " "
            paragraph = 0 if paragraph > PARAGRAPH else paragraph
        if fact is not None:
            starts[fact] = len(text) + sentence.index(facts[fact][2])
        text += sentence
        paragraph += len(sentence)
    return text, starts


def write(path: Path, **shape: int) -> Path:
    """Write a SQuAD file of `articles(**shape)` and return its path."""
    path.write_text(json.dumps({"version": "1.1", "data": articles(**shape)}))
    return path


if __name__ == "__main__":
    shape = dict(zip(("questions", "passages", "characters"), map(int, sys.argv[2:]), strict=False))
    write(Path(sys.argv[1]), **shape)
