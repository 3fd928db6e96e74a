"""Names for people: contenders, metrics, tasks and gates in words, numbers with unit and direction.

The keys in metrics.json and in file names are unchanged; these names are only for display.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from tunebook.evaluation.contenders import ENDPOINT, TUNED_RANKED
from tunebook.metrics.scoring import HIGHER_IS_BETTER, UNBOUNDED

TUNED, SVM = "tuned", "svm"


class Metric(NamedTuple):
    """A metric for people: its label, and a sentence about it for the glossary."""

    label: str
    meaning: str


METRICS = {
    "accuracy": Metric("accuracy", "Share of the examples that got the right label."),
    "balanced_accuracy": Metric(
        "balanced accuracy",
        "Accuracy averaged over the labels, so that a rare label counts as much as a common one.",
    ),
    "macro_f1": Metric(
        "macro F1",
        "F1 averaged over the labels; F1 is high only if a label is found (recall) and rarely assigned by "
        "mistake (precision).",
    ),
    "invalid_rate": Metric("invalid answers", "Share of the generated answers that name none of the labels."),
    "ece_10": Metric(
        "calibration error, 10 bins",
        "Expected calibration error (ECE): how far the confidence is from the share of right answers, "
        "averaged over 10 levels of confidence.",
    ),
    "ece_15": Metric("calibration error, 15 bins", "Expected calibration error (ECE) over 15 levels."),
    "f1": Metric(
        "F1 (shared words)",
        "How far the words of the answer and of the reference answer overlap, per example.",
    ),
    "em": Metric("exact match", "Share of the answers that equal the reference answer, punctuation aside."),
    "has_answer_f1": Metric("F1, answerable", "F1 over the questions whose answer is in their passage."),
    "has_answer_em": Metric(
        "exact match, answerable", "Exact match over the questions whose answer is in their passage."
    ),
    "no_answer_em": Metric(
        "refused, unanswerable", "Share of the questions without an answer that the model refuses to answer."
    ),
    "preference": Metric(
        "chosen answer likelier",
        "Share of the pairs whose chosen answer is more likely than the rejected one.",
    ),
    "preference_per_byte": Metric(
        "chosen answer likelier, per byte", "The same with the length of both answers taken into account."
    ),
    "reward_accuracy": Metric(
        "moved to the chosen answer",
        "Share of the pairs where training moved the model towards the chosen answer, seen from the base.",
    ),
    "reward": Metric(
        "reward (nats)",
        "How far training moved the model towards the chosen answers, compared with the base.",
    ),
    "loss": Metric(
        "bits per byte of the reference answer",
        "How surprised the model is by the reference answer: the bits it needs for each byte of it. It "
        "rewards the right form and wording; it does not check facts.",
    ),
    "byte_perplexity": Metric(
        "byte perplexity", "The same as bits per byte on another scale (2 to its power)."
    ),
    "chrf": Metric(
        "chrF", "How many short runs of letters the generated answer shares with the reference answer."
    ),
    "rouge_l": Metric(
        "ROUGE-L", "The longest series of words that answer and reference have in common, in order."
    ),
    "rules": Metric("style rules met", "Share of the data set's style rules that an answer meets."),
    "calls": Metric("tool calls right", "Share of the tool calls with the right name and arguments."),
    "stop_rate": Metric(
        "stop rate", "Share of the answers that end by themselves, before the limit on their length."
    ),
    "unfinished_rate": Metric(
        "unfinished reasoning",
        "Share of the answers that end inside the reasoning, before the answer itself; they count as wrong.",
    ),
    "length_ratio": Metric("length ratio", "Length of the answer divided by the length of the reference."),
}

TASKS = {
    "general": "general texts",
    "choices": "multiple choice",
    "completions": "completing sentences",
    "arithmetic": "arithmetic",
    "instructions": "following instructions",
    "instructions_thinking": "following instructions, after reasoning",
    "arc_easy_200": "ARC easy (school science)",
    "arc_easy": "ARC easy (school science)",
    "hellaswag_200": "HellaSwag (everyday scenes)",
    "hellaswag": "HellaSwag (everyday scenes)",
    "wikitext": "Wikipedia texts",
    "mmlu": "MMLU (exam questions)",
    "gsm8k": "GSM8K (word problems)",
    "ifeval": "IFEval (following instructions)",
}

TERMS = {  # terms of the report that are not metrics
    "base": "The model before fine-tuning.",
    "prompt": "The text that a model is given. The plain prompt is the one that training used.",
    "examples in the prompt": "Few-shot prompting: training examples with answers come before the question.",
    "instructions": "A written description of the task in the prompt (the data set's baseline_prompt).",
    "labels ranked": "The model does not write its answer; the most likely of the given labels is taken.",
    "best prompt of the base": "The prompt with which the base model scored best on dev: the one to beat.",
    "linear SVM": "A classical text classifier that trains in a second on any computer and costs nothing.",
    "dev, test": "Held-out examples. Choices are made on dev; test is used only for the numbers here.",
    "group": "Examples that belong together, such as those of one customer. They are never split, and "
    "intervals and p are computed over groups.",
    "95 % interval": "Where the true value probably lies; it gets narrower with more test examples.",
    "p": (
        "How often chance alone would produce a difference this large. A difference with p below 0.05 "
        "counts as shown."
    ),
    "corrected p": "p adjusted for making many comparisons at once (Holm's method).",
    "detectable difference": "The smallest difference that this many test examples can show. A smaller one "
    "needs more examples.",
    "gate": "A limit set in advance. A run that misses one fails (exit code 3).",
    "margin": "The largest loss of ability that is accepted; the whole interval must be within it.",
    "points": "Percentage points: from 40 % to 50 % is 10 points.",
    "trained tokens": "The tokens of answers that the model was trained on; a token is about four letters.",
    "nats per trained token": "The training loss: how surprised the model is by an answer token. "
    "Lower is better.",
    "optimizer step": "One update of the weights.",
    "adapter": "The small set of weights that was trained; merged means folded into the base.",
    "trial tier": "A small model on this machine, to test the pipeline and data before you pay for a GPU.",
    "seed": "The number that fixes every random choice, so that a run can be repeated.",
}


def prompting(name: str, shots: int | None = None) -> str:
    """Return how the base model is prompted in contender `name` (base_generate_k_prompt).

    Args:
        shots: the number of examples in a few-shot prompt, or None if it is not known.
    """
    parts = []
    if "_k" in name:
        parts.append("examples" if shots is None else count(shots, "example"))
    if name.endswith("_prompt"):
        parts.append("instructions")
    text = " + ".join(parts) or "plain prompt"
    return text + (", labels ranked" if "_rank_" in name else "")


def contender(name: str, baseline: str | None = None, shots: int | None = None) -> str:
    """Return the name of a contender for people; other models keep their names."""
    fixed = {
        TUNED: "fine-tuned",
        TUNED_RANKED.name: "fine-tuned, labels ranked",
        SVM: "linear SVM (free)",
        ENDPOINT: "endpoint",
    }
    if name in fixed:
        return fixed[name]
    if name == baseline:
        return f"best prompt of the base: {prompting(name, shots)}"
    if name == "base_generate_0":
        return "plain prompt of the base"
    if name.startswith(("base_generate_", "base_rank_")):
        return f"base: {prompting(name, shots)}"
    return name


def metric(name: str) -> str:
    """Return the label of a metric for people."""
    return METRICS[name].label if name in METRICS else name.replace("_", " ")


def direction(name: str) -> str:
    """Return `higher is better`, `lower is better` or `neither is better`."""
    up = HIGHER_IS_BETTER.get(name)
    return "neither is better" if up is None else f"{'higher' if up else 'lower'} is better"


def task(name: str) -> str:
    """Return the name of a retention task for people."""
    return TASKS.get(name, name.replace("_", " "))


def gate(name: str) -> str:
    """Return the name of a gate for people."""
    for prefix, words in (("retention_", "loss of ability: "), ("style_", "other prompt style: ")):
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return words + (task(rest) if prefix == "retention_" else rest.replace("_", " "))
    return metric(name)


def trained_on(measured: Mapping[str, Any], noun: str = "example") -> str:
    """Return the number of examples trained on, and out of how many if not all."""
    rows, given = measured["train_rows"], measured.get("given_rows")
    if given is None or rows >= given:
        return count(rows, noun)
    return f"{rows} of {count(given, noun)} (the others were too long, or training ended before them)"


def count(number: int, noun: str) -> str:
    """Return `1 group`, `2 groups`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def p_value(p: float) -> str:
    """Return `p = 0.0123`, and `p < 0.0001` below that."""
    return f"p {p_number(p)}" if p < 0.0001 else f"p = {p_number(p)}"


def p_number(p: float | None) -> str:
    """Return `0.0123`, `< 0.0001`, or "" for None."""
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def amount(name: str, value: float) -> str:
    """Return the size of a difference in metric `name`, with its unit and without its sign."""
    units = {"loss": " bits per byte", "reward": " nats"}
    if name in UNBOUNDED:
        return f"{abs(value):.3f}{units.get(name, '')}"
    return f"{abs(value) * 100:.1f} points"


def signed(name: str, value: float | None) -> str:
    """Return a difference in metric `name` with its sign: points for shares."""
    if value is None:
        return ""
    return f"{value:+.3f}" if name in UNBOUNDED else f"{value * 100:+.1f}"


def task_number(kind: str, value: float) -> str:
    """Return the score of a retention task: bits per byte for text, otherwise a share."""
    return f"{value:.3f} bits per byte" if kind == "text" else f"{value * 100:.1f} %"


def task_drop(kind: str, value: float | None, sign: Literal["", "+"] = "") -> str:
    """Return a drop on a retention task: a relative rise in percent for text, otherwise points."""
    if value is None:
        return ""
    return f"{value * 100:{sign}.1f}" + (" %" if kind == "text" else " points")
