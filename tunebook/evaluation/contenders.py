"""The contenders that are compared: the base model with several prompting strategies, the fine-tuned model,
other models."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from tunebook.data.dataset import Dataset
from tunebook.data.formats.turns import trained
from tunebook.data.prompt import Messages, Pass, PromptEncoder, with_shots, with_system
from tunebook.evaluation.engines.ranking import label_choices
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.suite import Suite
from tunebook.runs.rows import RenderedRow


@dataclass(frozen=True)
class Prompting:
    """A prompting strategy: generate an answer or rank the labels by likelihood; zero-shot or few-shot; with
    the dataset's own system prompt or its `baseline_prompt`."""

    method: Literal["generate", "rank"] = "generate"
    few_shot: bool = False
    baseline_prompt: bool = False

    def name(self, model: str = "base") -> str:
        """Return the name of `model` with this prompting, as used in files and reports."""
        shots, prompt = "k" if self.few_shot else "0", "_prompt" if self.baseline_prompt else ""
        return f"{model}_{self.method}_{shots}{prompt}"


PLAIN = Prompting()
LONGEST = 20  # number of longest prompts by letters, assumed to include the longest in tokens
ENDPOINT = "endpoint"


@dataclass(frozen=True)
class Contender:
    """A model with a prompting strategy. `name` is its name in files and reports; `model` is the name of the
    model for the engines: base, tuned, unmerged or a checkpoint."""

    name: str
    model: str
    prompting: Prompting = PLAIN


TUNED = Contender("tuned", "tuned")
# A classifier that cannot give an invalid answer, with a confidence for each label.
TUNED_RANKED = Contender("tuned_rank_0", "tuned", Prompting("rank"))


def untuned(prompting: Prompting, name: str = "base") -> Contender:
    """Return the contender for a base model, called `name`, with `prompting`."""
    return Contender(prompting.name(name), "base", prompting)


def promptings(dataset: Dataset) -> list[Prompting]:
    """Return every prompting strategy among which the baseline is chosen."""
    methods: tuple[Literal["generate", "rank"], ...] = (
        ("generate", "rank") if dataset.labels else ("generate",)
    )
    return [
        Prompting(method, few_shot, baseline_prompt)
        for method in methods
        for few_shot in (False, True)
        for baseline_prompt in ((False, True) if dataset.baseline_prompt else (False,))
    ]


def choose_examples(rows: list[RenderedRow], dataset: Dataset, count: int, seed: int) -> list[Messages]:
    """Draw `count` few-shot examples from `rows` of train; for classification, with as many different labels
    as possible."""
    pool = sorted(rows, key=lambda row: row["id"])
    random.Random(seed).shuffle(pool)
    if dataset.labels:
        # The first row of each label, then the second row of each, and so on.
        seen: Counter[str] = Counter()
        turn = []
        for row in pool:
            turn.append(seen[row["gold"]["answer"]])
            seen[row["gold"]["answer"]] += 1
        pool = [row for _, row in sorted(zip(turn, pool, strict=True), key=lambda pair: pair[0])]
    return [row["messages"] for row in pool[:count]]


def that_fit(
    examples: list[Messages], rows: list[RenderedRow], encoder: PromptEncoder, room: int | None
) -> list[Messages]:
    """Return as many of the first few-shot examples as fit into `room` tokens together with the longest
    prompt of `rows`; all of them if `room` is None."""
    if room is None or not examples:
        return examples
    letters = sorted(rows, key=lambda row: sum(len(turn["content"]) for turn in row["messages"]))
    longest = [len(encoder.context(row["messages"][:-1], row.get("tools"))) for row in letters[-LONGEST:]]
    left = room - max(longest, default=0)
    result = []
    for example in examples:
        left -= len(encoder.tokenizer(encoder.text(example), add_special_tokens=False)["input_ids"])
        if left < 0:
            break
        result.append(example)
    return result


class JobMaker:
    """Creates the jobs of one dataset for one chat template."""

    def __init__(
        self, dataset: Dataset, suite: Suite, encoder: PromptEncoder, examples: list[Messages]
    ) -> None:
        """`examples` are the few-shot examples."""
        self.dataset, self.suite, self.encoder, self.examples = dataset, suite, encoder, examples

    def messages(self, row: RenderedRow, prompting: Prompting) -> Messages:
        """Return the row's messages with `prompting`."""
        system = self.dataset.baseline_prompt if prompting.baseline_prompt else None
        messages = with_system(row["messages"], system)
        return with_shots(messages, self.examples) if prompting.few_shot else messages

    def answer(self, contender: Contender, split: str, rows: list[RenderedRow]) -> Job:
        """Return the job that generates an answer, or ranks the labels, for each row."""
        messages = [self.messages(row, contender.prompting) for row in rows]
        generates = contender.prompting.method == "generate"
        # A label that is ranked follows the prompt at once.
        prompt = self.encoder.context if generates else self.encoder.direct
        contexts = [prompt(turns[:-1], row.get("tools")) for turns, row in zip(messages, rows, strict=True)]
        ids = [row["id"] for row in rows]
        if generates:
            return Job(contender.name, split, "generate", ids, contexts, max_new=self.suite.max_new_tokens)
        choices = label_choices(self.dataset, self.encoder, messages[0][:-1])
        return Job(contender.name, split, "rank", ids, contexts, choices=choices)

    def classify(self, contender: Contender, split: str, rows: list[RenderedRow]) -> Job:
        """Return the job that scores all labels of each row with a classification head."""
        contexts = [self.encoder.context(row["messages"][:-1]) for row in rows]
        return Job(contender.name, split, "classify", [row["id"] for row in rows], contexts)

    def score(self, contender: Contender, split: str, rows: list[RenderedRow]) -> Job:
        """Return the job that scores the reference answer of each row, or all its trained turns
        (`evaluate_turns`); a row that takes several passes has as many entries. Preference pairs are scored
        with their end-of-turn token, as in training, so that an answer that stops too early gets a worse
        score."""
        prompting = contender.prompting
        if self.suite.evaluate_turns == "all":
            return self._score_turns(contender, split, rows)
        encoded = [self.encoder.encode(self.messages(row, prompting), row.get("tools")) for row in rows]
        end = self.dataset.task == "preference"
        contexts = [item.context for item in encoded]
        answers = [[*item.answer, *([item.end] * end)] for item in encoded]
        return Job(contender.name, split, "score", [row["id"] for row in rows], contexts, answers)

    def _score_turns(self, contender: Contender, split: str, rows: list[RenderedRow]) -> Job:
        ids, passes = list[str](), list[Pass]()
        for row in rows:
            messages = self.messages(row, contender.prompting)
            # Prompting changes only the system turn and what precedes a conversation, so the conversation's
            # turns keep their distance from the end.
            shift = len(messages) - len(row["messages"])
            places = [place + shift for place in trained(row["messages"])]
            found = self.encoder.passes(messages, places, row.get("tools"))
            ids += [row["id"]] * len(found)
            passes += found
        contexts, answers = [one.context for one in passes], [one.rest for one in passes]
        return Job(
            contender.name, split, "score", ids, contexts, answers, spans=[one.spans for one in passes]
        )
