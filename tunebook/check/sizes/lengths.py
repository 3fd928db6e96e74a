"""Lengths of rows against what a run can take: what Axolotl stops at, what it leaves out, and prompts that
the base model is too short for.

In: the lengths that the child counted (tunebook/data/tokenize.py). Out: findings with numbers and what to
type.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunebook.check.config import adder
from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import Seen
from tunebook.config.overrides import merge
from tunebook.config.recipe import Recipe
from tunebook.config.resolved import Resolved
from tunebook.core.paths import ROOT
from tunebook.core.yaml_file import read_yaml
from tunebook.data.lengths import BYTES_A_TOKEN, FEWEST_ROWS, ROW, STEP, TURN
from tunebook.data.tool_calls import texts
from tunebook.models.shapes import Positions
from tunebook.runs.rows import RenderedRow

# An estimate by another tokenizer is sure enough to be an error where it is this much too long, and where
# there are more bytes than so many a token: tokenizers of large vocabularies seldom reach five on plain text.
SLACK, MOST_BYTES = 1.25, 5
CUT = "`window: 300` under `source:` in dataset.yaml cuts the passages (docs/fork.md). "
PACKED_ALONE = ("sdpa", "eager")  # attention that packs each row of a micro batch by itself (Axolotl)


@dataclass(frozen=True)
class Measured:
    """A row and its tokens; `surely` is what it has at least where `size` is an estimate. Its last answer
    begins at token `start`."""

    seen: Seen
    size: int
    start: int
    surely: int


def measured(rows: list[Seen], sizes: list[list[int]], estimate: bool) -> list[Measured]:
    """Return the rows with their sizes, as the child counted them, in the same order."""
    result = []
    for seen, (size, start) in zip(rows, sizes, strict=True):
        surely = size
        if estimate:
            letters = sum(len(text.encode()) for text in texts(seen.row))
            surely = min(round(size / SLACK), letters // MOST_BYTES)
        result.append(Measured(seen, size, start, surely))
    return result


def by_bytes(row: RenderedRow) -> list[int]:
    """Return about how many tokens a row has and where its last answer begins, without a tokenizer."""
    counts = [len(text.encode()) // BYTES_A_TOKEN + TURN for text in texts(row)]
    return [ROW + sum(counts), ROW + sum(counts[:-1])]


def most_generated(recipe: Recipe, task: str) -> int:
    """Return the most tokens that an answer gets in the evaluation of the real tier."""
    suite = merge(read_yaml(ROOT / "evals" / "suites" / f"{task}.yaml")[0], recipe.eval)
    most = suite.get("max_new_tokens", 0)
    return int(most["real"] if isinstance(most, dict) else most)


class Lengths:
    """Judges the lengths of one run's rows. `rows` has a sample of the `total` train rows."""

    def __init__(
        self,
        resolved: Resolved,
        rows: list[Measured],
        total: int,
        found: Findings,
        estimate: bool = False,
        passages: bool = False,
    ) -> None:
        """`passages`: rows are questions on passages, which can be cut."""
        self.resolved, self.found, self.estimate, self.passages = resolved, found, estimate, passages
        self.splits = {
            split: [row for row in rows if row.seen.split == split] for split in ("train", "dev", "test")
        }
        self.total = total
        config = resolved.config
        self.limit = int(config.get("sequence_len") or 512)
        self.dev_limit = int(config.get("eval_sequence_len") or self.limit)
        self.strategy = str(config.get("excess_length_strategy") or "drop").lower()
        self.about = "about " if estimate else ""

    def judge(self, positions: Positions | None, new_tokens: int) -> None:
        """Add what is found. `positions` are those of the base model, `new_tokens` the most generated."""
        self._rows_over()
        if self.strategy == "raise":
            self._stops()
        self._too_few()
        self._packs()
        if positions:
            self._over_positions(positions, new_tokens)

    def _say(self, grade: Grade, key: str, text: str, do: str, *, code: str) -> None:
        placed: list[Finding] = []
        adder(self.resolved, placed, "lengths")(grade, key, text, do, code=code)
        self.found.extend(placed)

    def _rows_over(self) -> None:
        """Name the rows, one by one. Axolotl treats those of dev as it treats those of train."""
        for row in self.splits["train"] + (self.splits["dev"] if self.strategy == "raise" else []):
            limit = self.limit if row.seen.split == "train" else self.dev_limit
            if row.size <= limit:
                continue
            how = f"{self.about}{row.size} tokens, sequence_len is {limit}"
            stops: Grade = "error" if row.surely > limit else "warning"
            over = "rows over sequence_len"
            if self.strategy == "raise":
                text = f"{how}: training stops there (raise)."
                self._row(row, stops, over, text, code="tokens.over_sequence_len")
            elif self.strategy == "truncate" and row.start >= limit - 1:
                text = f"{how}: the answer begins at token {row.start}, so all of it is cut off."
                self._row(row, stops, "rows that lose their whole answer", text, code="tokens.answer_lost")
            elif self.strategy == "truncate":
                text = f"{how}: the end is never learned."
                self._row(row, "warning", "rows whose answer is cut", text, code="tokens.answer_cut")
            else:
                text = f"{how}: Axolotl leaves the row out (drop)."
                self._row(row, "warning", over, text, code="tokens.over_sequence_len")

    def _row(self, row: Measured, grade: Grade, kind: str, text: str, *, code: str) -> None:
        self.found.add(Finding(grade, kind, text, file=row.seen.place, line=row.seen.line, code=code))

    def _counted(self, split: str, limit: int) -> str:
        rows = self.splits[split]
        over = sum(row.size > limit for row in rows)
        if split == "train" and self.total > len(rows):
            return f"{over} of {len(rows)} sampled {split} rows ({over / len(rows):.0%})"
        return f"{over} of {len(rows)} {split} rows"

    def _longest(self) -> int:
        return max((row.size for split in ("train", "dev") for row in self.splits[split]), default=0)

    def _ways(self, leaves_out: bool) -> str:
        """Return the options that deal with rows that are too long, ready to type."""
        longest = self._longest()
        ways = [f"--set (SET=): sequence_len={up(longest)} takes them all (longest: {self.about}{longest})"]
        if leaves_out:
            ways.append(f"excess_length_strategy=drop leaves out {self._counted('train', self.limit)}")
        if self.passages:
            ways.append(CUT)
        return "; ".join(ways).removesuffix(". ") + "."

    def _stops(self) -> None:
        """Axolotl raises at the first row of train or dev that is too long."""
        limits = {"train": self.limit, "dev": self.dev_limit}
        over = {s: [r for r in self.splits[s] if r.size > limit] for s, limit in limits.items()}
        if not any(over.values()):
            return
        sure = any(row.surely > limits[split] for split, rows in over.items() for row in rows)
        counted = " and ".join(self._counted(split, limits[split]) for split in limits if over[split])
        self._say(
            "error" if sure else "warning",
            "excess_length_strategy",
            f"{counted} have {self.about}more than {self.limit} tokens (sequence_len), and `raise` ends the "
            "training at the first of them.",
            self._ways(leaves_out=True),
            code="tokens.training_stops",
        )

    def _too_few(self) -> None:
        """Hardly any row is left to train on, or none to look at during training."""
        rows = self.splits["train"]
        if not rows:
            return
        drops = self.strategy == "drop"
        fit = sum(row.size <= self.limit or not drops for row in rows)
        may_fit = sum(row.surely <= self.limit or not drops for row in rows)
        kept = round(fit * self.total / len(rows))
        if kept < FEWEST_ROWS:
            why = " are there"
            if drops and fit < len(rows):
                why = f" have {self.about}at most {self.limit} tokens (sequence_len); longer ones are dropped"
            self._say(
                "error" if may_fit < FEWEST_ROWS else "warning",
                "sequence_len" if drops and fit < len(rows) else "datasets",
                f"only {kept} of {self.total} train rows{why}; fewer than {FEWEST_ROWS} train nothing that "
                "could be measured.",
                self._ways(leaves_out=False) if fit < len(rows) else "Add rows.",
                code="rows.too_few_to_train",
            )
        dev = self.splits["dev"]
        if drops and dev and all(row.surely > self.dev_limit for row in dev):
            self._say(
                "error",
                "sequence_len",
                f"each of the {len(dev)} dev rows has more than {self.dev_limit} tokens and is dropped, so "
                "that nothing is left for the loss on dev.",
                self._ways(leaves_out=False),
                code="rows.no_dev_left",
            )

    def _packs(self) -> None:
        """Axolotl refuses a packed dev split that does not fill one micro batch."""
        config = self.resolved.config
        if not config.get("sample_packing") or config.get("attn_implementation") not in PACKED_ALONE:
            return
        batch = int(config.get("micro_batch_size") or 1)
        for split in ("dev", "train"):
            if split == "dev" and config.get("eval_sample_packing") is False:
                continue
            slack = SLACK if self.estimate else 1  # the more tokens, the more sequences: no error if in doubt
            fit = [row.size for row in self.splits[split] if row.surely <= self.limit]
            bins = packed([min(self.limit, round(size * slack)) for size in fit], self.limit)
            if self.splits[split] and bins < batch and not (split == "train" and self.total > bins):
                key = "eval_sample_packing" if split == "dev" else "sample_packing"
                self._say(
                    "error",
                    key,
                    f"the {len(self.splits[split])} {split} rows pack into {bins} sequences, fewer than the "
                    f"{batch} of a micro batch: Axolotl stops, or trains on nothing.",
                    f"--set (SET=): {key}=false.",
                    code="training.packs_too_few",
                )

    def _over_positions(self, positions: Positions, new_tokens: int) -> None:
        """Prompts that the base model was not made for."""
        needs = {
            "train": [(row, row.size) for row in self.splits["train"] if row.surely <= self.limit],
            **{
                split: [(row, max(row.size, row.start + new_tokens)) for row in self.splits[split]]
                for split in ("dev", "test")
            },
        }
        for split, rows in needs.items():
            over = [(row, need) for row, need in rows if need > positions.most]
            if not over:
                continue
            sure = any(row.surely > positions.most for row, _ in over)
            row, need = max(over, key=lambda pair: pair[1])
            what = "row" if split == "train" else f"prompt with its answer (up to {new_tokens} tokens)"
            self.found.add(
                Finding(
                    "error" if sure or not self.estimate else "warning",
                    "rows over the base model's positions",
                    f"{len(over)} of {len(rows)} {split} rows need more than the {positions.most} positions "
                    f"of {self.resolved.config['base_model']} ({positions.source}); this {what} needs "
                    f"{self.about}{need}.",
                    CUT * self.passages
                    + "Leave these rows out, or take a base model with more positions (MODEL=).",
                    file=row.seen.place,
                    line=row.seen.line,
                    code="rows.over_positions",
                )
            )


def up(tokens: int) -> int:
    """Return the sequence length for rows of `tokens`: the next multiple of STEP."""
    return -(-tokens // STEP) * STEP


def packed(sizes: list[int], capacity: int) -> int:
    """Return into how many sequences rows are packed, longest first into the first that has room."""
    room: list[int] = []
    for size in sorted((size for size in sizes if size <= capacity), reverse=True):
        place = next((n for n, free in enumerate(room) if free >= size), None)
        if place is None:
            room.append(capacity - size)
        else:
            room[place] -= size
    return len(room)
