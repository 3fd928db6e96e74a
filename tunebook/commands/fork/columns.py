"""What columns are called, the layouts they make, and which of them look like labels or like text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tunebook.core import words
from tunebook.core.errors import InputError, Problem
from tunebook.data.formats.meaning.meaning_of import said_of
from tunebook.data.formats.meaning.meanings import CHOSEN, REJECTED
from tunebook.data.formats.rows.row import Columns, Row
from tunebook.data.formats.values import plain_name, typed

MOST_LABELS, LONGEST_LABEL = 500, 60
# Usual column names of each field, the most likely first. `context` and `input` are part of the prompt.
NAMES = {
    "text": "text body message utterance sentence content comment review tweet post request email query",
    "label": "label category class intent topic sentiment target tag label_text label_name",
    "question": "question query",
    "context": "context passage paragraph document article story contexts passages paragraphs support",
    "answers": "answers answer answers_spans correct_answer answer_key",
    "messages": (
        "messages conversations conversation dialogue dialog turns chat contents utterances data log text"
    ),
    "prompt": "prompt instruction question input query problem inputs input_text source_text question_stem",
    "input": "input context",
    "completion": (
        "completion output response answer reply solution targets target target_text output_text ideal "
        "expected_output generated_solution correct_answer answer_key"
    ),
    "system": "system system_prompt",
    "chosen": CHOSEN,
    "rejected": REJECTED,
    "better": "",  # which one of response_0 and response_1; only a person says so
}
# Columns that number rows or people.
NUMBERED = re.compile(r"(\w+_)?(id|ids|uuid|hash|idx|index)")
# Columns of labels that may hold several, after the names above.
LABEL_LISTS = frozenset("labels categories tags topics intents classes annotation annotations accept".split())
TASK_OF = {
    "labels": "classification",
    "qa": "qa",
    "squad": "qa",
    "chat": "chat",
    "pairs": "chat",
    "preference": "chat",
    "oasst_best_paths": "chat",
}
LAYOUT_FIELDS = {  # required, optional
    "labels": (("text", "label"), ()),
    "preference": (("chosen", "rejected"), ("prompt", "input", "better")),
    "qa": (("question", "context", "answers"), ()),
    "pairs": (("prompt", "completion"), ("input", "system")),
    "chat": (("messages",), ("system",)),
}
GROUPS = frozenset(
    """group group_id customer customer_id client client_id user user_id member member_id account account_id
    patient patient_id author author_id conversation conversation_id dialogue_id dialog_id thread thread_id
    session session_id ticket ticket_id case case_id tree tree_id message_tree_id title article article_id
    document document_id doc_id passage passage_id""".split()
)


@dataclass(frozen=True)
class Reading:
    """How the rows are read: `columns` as in dataset.yaml, `why` as reasons for the person."""

    layout: str
    task: str
    columns: Columns
    why: list[str] = field(default_factory=list)


def call(reading: Reading) -> str:
    """Return the value of FIELDS= for a reading."""
    return " ".join(f"{name}={typed(column)}" for name, column in reading.columns.items())


def label_column(rows: list[Row], scalars: list[str], place: str, taken: set[str]) -> str | None:
    """Return the column with few, repeating values, as labels are; if several match, choose by name.

    Raises:
        InputError: several columns could be the label.
    """
    able = [name for name in scalars if name not in taken and repeats(rows, name)]
    able = [name for name in able if not NUMBERED.fullmatch(plain_name(name))] or able
    able = [name for name in able if not said_of(name, [one for one in able if one != name])]
    usual = NAMES["label"].split()
    named = [name for name in able if plain_name(name) in usual]
    named = named or [name for name in able if plain_name(name) in LABEL_LISTS]
    candidates = named or [name for name in able if plain_name(name) not in GROUPS]
    if len(candidates) > 1:
        refuse_indicators(rows, candidates, place)
        pairs = {tuple(row.get(name) for name in candidates) for row in rows}
        texts = [name for name in candidates if all(isinstance(row.get(name), str) for row in rows)]
        same = all(len({row.get(name) for row in rows}) == len(pairs) for name in candidates)
        if same and len(texts) == 1:  # a number and its name
            return texts[0]
        text = f"more than one column of {place} could be the label. Choose: "
        text += " or ".join(_with_text(rows, scalars, name) for name in candidates) + "."
        raise InputError(Problem(text, key="--fields (FIELDS=)", code="fork.ambiguous_columns"))
    if not candidates:  # one label, or hardly a row of each: said with numbers once all rows are read
        by_name = [name for name in scalars if plain_name(name) in usual]
        by_name = by_name or [name for name in scalars if plain_name(name) in LABEL_LISTS]
        candidates = by_name if len(by_name) == 1 and by_name[0] not in taken else []
    return candidates[0] if candidates else None


def _with_text(rows: list[Row], scalars: list[str], label: str) -> str:
    """Return FIELDS= for a label, with the columns of texts if several could be the text."""
    texts = [name for name in scalars if name != label and wordy(rows, name)]
    named = [name for name in texts if plain_name(name) in NAMES["text"].split()]
    if len(named or texts) < 2:
        return f'FIELDS="label={typed(label)}"'
    return f'FIELDS="text={typed("+".join(named or texts))} label={typed(label)}"'


def refuse_indicators(rows: list[Row], columns: list[str], place: str) -> None:
    """Raise for several columns of 0 and 1, each of which says whether a row has one label.

    Raises:
        InputError: the message shows how to learn one of them, or a single column.
    """
    values = [[str(row.get(name)).lower() for name in columns] for row in rows]
    if not all(value in ("0", "1", "0.0", "1.0", "true", "false") for some in values for value in some):
        return
    on = [[name for name, value in zip(columns, some, strict=True) if value[0] in "1t"] for some in values]
    several = sum(len(some) > 1 for some in on)
    if several:
        does = f"{several} of {len(rows)} sampled rows have more than one"
    else:
        does = "no row has more than one: write one column with the name of the label"
    text = (
        f"the columns {', '.join(columns)} of {place} each say yes (1) or no (0) to one label, and {does}. "
        f"Only one label per row can be learned. To learn one as yes or no: "
        f'FIELDS="label={typed(columns[0])}".'
    )
    raise InputError(Problem(text, key="--fields (FIELDS=)", code="labels.several_columns"))


def repeats(rows: list[Row], name: str) -> bool:
    """Return whether a column has few short values that repeat, as labels do."""
    values = [row.get(name) for row in rows if row.get(name) not in (None, "")]
    distinct = set(values)
    short = all(len(str(value)) <= LONGEST_LABEL for value in distinct)
    return 1 < len(distinct) <= min(MOST_LABELS, len(values) / 2) and short


def wordy(rows: list[Row], name: str) -> bool:
    """Return whether a column contains text: two words or more on average, and no times or numbers."""
    values = [str(row[name]) for row in rows if row.get(name)]
    if all(re.fullmatch(r"[\d\s.,:/+TZ-]+", value) for value in values):
        return False
    return bool(values) and sum(map(words.count, values)) / len(values) >= 2
