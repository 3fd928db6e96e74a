"""Whether to fine-tune: six questions about the rows, of which the first "no" decides. Pure rules.

In: what was counted in the rows, and how a model that was prompted with some of them did. Out: Advice.
docs/guide/closing/summary-and-when-to-fine-tune.md explains the questions; the bounds are rules of thumb and
stand here by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from tunebook.evaluation.contenders import ENDPOINT
from tunebook.metrics.scoring import UNBOUNDED

FEWEST_TRAIN = 100  # rows; below, put the best of them into the prompt
FEWEST_OF_A_LABEL = 8
MOST_SHOWN = {"chat": 0.1}  # bits per byte; for the other tasks a share:
MOST_SHOWN_SHARE = 0.15
MOST_COPIES = 0.5  # of the train rows that have a near-duplicate
LEAST_IN_PASSAGE = 0.2  # of the answers that occur in their prompt
SVM_DOES = 0.9  # of test, the lower end of its interval: nothing is left that is worth a GPU
PROMPT_DOES = 0.7  # of a few dev rows, the lower end of its interval: of 24 in as many groups, all but one
RIGHT = ("accuracy", "f1")  # the metrics that say how much is right; free text has none

Word = Literal["more data", "prompt", "retrieve", "SVM", "head", "LoRA", "LoRA, then pairs"]
RECIPES = {"classification": "classify-head", "qa": "qa-lora", "chat": "chat-lora", "preference": "chat-dpo"}


class Tried(NamedTuple):
    """A prompt in words, and its score with the 95 % interval."""

    prompt: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Prompted:
    """How a model that nobody fine-tuned did on `rows` dev rows, with the best prompt first.

    `who` is endpoint or trial base; `metric` is the key, `label` its name for people; `seconds` is the median
    for one answer; `failed` counts answers that an endpoint did not give.
    """

    model: str
    who: str
    metric: str
    label: str
    rows: int
    failed: int
    tried: list[Tried]
    seconds: float
    dollars_per_thousand: float | None


@dataclass(frozen=True)
class Facts:
    """What was counted. Shares are 0 to 1; None means that it does not apply or was not measured.

    `can_show` is the smallest difference that the test split shows; `svm` the accuracy of a linear SVM on
    test with the lower end of its interval; `frequent` the share of the most frequent label; `in_passage` the
    answers that occur in their prompt; `words` of the median train row; `prompted` is how a model did,
    or why none was prompted.
    """

    task: str
    train: int
    test: int
    test_groups: int
    can_show: float | None
    near: float
    words: int
    labels: dict[str, int]
    svm: tuple[float, float] | None = None
    frequent: float | None = None
    in_passage: float | None = None
    prompted: Prompted | str = "not wanted"


class Answer(NamedTuple):
    """One question, what was found, and whether it is a yes; None where rows alone cannot tell."""

    question: str
    found: str
    yes: bool | None


class Advice(NamedTuple):
    """What to do first, why, the recipe to fork if it is a fine-tune, and the questions prompted."""

    word: Word
    why: str
    recipe: str | None
    answers: list[Answer]


def advise(facts: Facts) -> Advice:
    """Return what to try first."""
    answers: list[Answer] = []
    for question in QUESTIONS:
        answer, refusal = question(facts)
        answers.append(answer)
        if answer.yes is False:
            word, why = refusal
            return Advice(word, why, None, answers)
    recipe = RECIPES[facts.task]
    if facts.task == "classification":
        return Advice("head", "labels only, and nothing is written: a score for each label", recipe, answers)
    if facts.task == "preference":
        return Advice("LoRA, then pairs", "form first, from chosen answers; then the pairs", recipe, answers)
    return Advice("LoRA", "close to full fine-tuning, at a fraction of the memory", recipe, answers)


Refusal = tuple[Word, str]


def _enough_to_test(facts: Facts) -> tuple[Answer, Refusal]:
    unit = "bits per byte" if facts.task == "chat" else "points"
    found = f"test has {facts.test} rows in {facts.test_groups} groups"
    if facts.can_show is not None:
        shown = f"{facts.can_show:.2f}" if facts.task == "chat" else f"{facts.can_show * 100:.0f}"
        found += f", which show a difference of {shown} {unit} or more"
    least = MOST_SHOWN.get(facts.task, MOST_SHOWN_SHARE)
    yes = facts.can_show is not None and facts.can_show <= least
    why = "the test rows could not show whether a fine-tune is better; collect those first"
    return Answer("Can the test rows show a difference?", found, yes), ("more data", why)


def _enough_to_train(facts: Facts) -> tuple[Answer, Refusal]:
    rare = [label for label, count in facts.labels.items() if count < FEWEST_OF_A_LABEL]
    found = f"train has {facts.train} rows"
    question = "Are there enough rows to train on?"
    if facts.train < FEWEST_TRAIN:
        why = "use the best of these rows as few-shot examples, and collect more rows"
        return Answer(question, f"{found}, fewer than {FEWEST_TRAIN}", False), ("prompt", why)
    if facts.labels:
        found += f", {len(facts.labels)} labels, the rarest with {min(facts.labels.values())}"
    why = f"rows of {', '.join(map(repr, rare[:5]))}: fewer than {FEWEST_OF_A_LABEL} each"
    return Answer(question, found, not rare), ("more data", why)


def _different(facts: Facts) -> tuple[Answer, Refusal]:
    found = f"{facts.near * 100:.0f} % of the train rows have a near-duplicate"
    found += f"; the median has {facts.words} words"
    why = "most rows say the same; new kinds of rows teach more than further copies"
    return Answer("Do the rows differ?", found, facts.near <= MOST_COPIES), ("more data", why)


def _in_the_prompt(facts: Facts) -> tuple[Answer, Refusal]:
    question = "Does the prompt hold what the answer needs?"
    if facts.in_passage is None:
        return Answer(question, "rows cannot tell: prices, stock or names that change belong there", None), (
            "retrieve",
            "",
        )
    found = f"{facts.in_passage * 100:.0f} % of the answers occur in their prompt"
    why = "the answers are knowledge: search for the passage, and put it into the prompt"
    return Answer(question, found, facts.in_passage >= LEAST_IN_PASSAGE), ("retrieve", why)


def _more_than_an_svm(facts: Facts) -> tuple[Answer, Refusal]:
    question = "Does a free classifier fall short?"
    if facts.svm is None:
        return Answer(question, "no labels: does not apply", None), ("SVM", "")
    value, low = facts.svm
    found = f"a linear SVM on these rows: {value * 100:.1f} % right on test, at least {low * 100:.1f} %"
    if facts.frequent is not None:
        found += f"; always the most frequent label: {facts.frequent * 100:.1f} %"
    why = "it trains in seconds, needs no GPU, and leaves little to gain"
    return Answer(question, found, low < SVM_DOES), ("SVM", why)


def _more_than_a_prompt(facts: Facts) -> tuple[Answer, Refusal]:
    question, prompted = "Is the best prompt not good enough?", facts.prompted
    if isinstance(prompted, str):
        found = f"no model was prompted: {prompted}; a run compares with the prompts of its base"
        return Answer(question, found, None), ("prompt", "")
    best = prompted.tried[0]
    found = f"{prompted.who} {prompted.model}: {prompted.label} {_number(prompted, best)} on {prompted.rows} "
    found += f"dev rows with its best of {len(prompted.tried)} prompts ({best.prompt}), "
    found += f"{prompted.seconds:.2g} s an answer"
    if prompted.dollars_per_thousand is not None:
        found += f", ${prompted.dollars_per_thousand:.2g} for a thousand"
    if prompted.failed:
        found += f"; {prompted.failed} answers failed"
    if others := prompted.tried[1:]:
        found += f". Others: {'; '.join(f'{one.prompt} {_number(prompted, one)}' for one in others)}"
    if prompted.metric not in RIGHT:
        found += ". No such score says what is good enough: read some answers"
        return Answer(question, found, None), ("prompt", "")
    does = best.low is not None and best.low >= PROMPT_DOES
    yes = False if does else None if prompted.who != ENDPOINT else True
    if yes is None:
        found += ". A larger base may do better"
    why = f"the prompt of {prompted.model} already does it; measure it on all test rows before any training"
    return Answer(question, found, yes), ("prompt", why)


def _number(prompted: Prompted, one: Tried) -> str:
    scale, unit, digits = (1, "", 3) if prompted.metric in UNBOUNDED else (100, " %", 0)
    text = f"{one.value * scale:.{digits}f}{unit}"
    if one.low is None or one.high is None:
        return text
    return f"{text} ({one.low * scale:.{digits}f} to {one.high * scale:.{digits}f}{unit})"


QUESTIONS = (
    _enough_to_test,
    _enough_to_train,
    _different,
    _in_the_prompt,
    _more_than_an_svm,
    _more_than_a_prompt,
)
