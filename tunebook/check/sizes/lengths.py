"""Row lengths compared with the limits of a run: what makes Axolotl stop, what it drops, and prompts that
exceed the base model's positions.

In: lengths counted by the child process (tunebook/data/tokenize.py). Out: findings with numbers and the
options to type.
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

# A length estimated with another tokenizer is an error if it exceeds the limit by this factor, or if the row
# has more than this many bytes per allowed token: tokenizers with large vocabularies rarely reach five bytes
# per token on plain text.
SLACK, MOST_BYTES = 1.25, 5
CUT = "`window: 300` under `source:` in dataset.yaml shortens the passages (docs/fork.md). "
PACKED_ALONE = ("sdpa", "eager")  # attention for which Axolotl packs each row of a micro batch separately


@dataclass(frozen=True)
class Measured:
    """A row and its length in tokens; `surely` is a lower bound if `size` is an estimate. Its last answer
    begins at token `start`."""

    seen: Seen
    size: int
    start: int
    surely: int


def measured(rows: list[Seen], sizes: list[list[int]], estimate: bool) -> list[Measured]:
    """Return the rows with the sizes counted by the child, in the same order."""
    result = []
    for seen, (size, start) in zip(rows, sizes, strict=True):
        surely = size
        if estimate:
            letters = sum(len(text.encode()) for text in texts(seen.row))
            surely = min(round(size / SLACK), letters // MOST_BYTES)
        result.append(Measured(seen, size, start, surely))
    return result


def by_bytes(row: RenderedRow) -> list[int]:
    """Return an estimate, without a tokenizer, of the tokens of a row and of the position of its last
    answer."""
    counts = [len(text.encode()) // BYTES_A_TOKEN + TURN for text in texts(row)]
    return [ROW + sum(counts), ROW + sum(counts[:-1])]


def most_generated(recipe: Recipe, task: str) -> int:
    """Return the maximum number of tokens generated for an answer in the real tier's evaluation."""
    suite = merge(read_yaml(ROOT / "evals" / "suites" / f"{task}.yaml")[0], recipe.eval)
    most = suite.get("max_new_tokens", 0)
    return int(most["real"] if isinstance(most, dict) else most)


class Lengths:
    """Judges the row lengths of a run. `rows` has a sample of the `total` train rows."""

    def __init__(
        self,
        resolved: Resolved,
        rows: list[Measured],
        total: int,
        found: Findings,
        estimate: bool = False,
        passages: bool = False,
    ) -> None:
        """`passages`: rows are questions about passages, which can be shortened."""
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
        """Report the rows one by one. Axolotl treats dev rows like train rows."""
        for row in self.splits["train"] + (self.splits["dev"] if self.strategy == "raise" else []):
            limit = self.limit if row.seen.split == "train" else self.dev_limit
            if row.size <= limit:
                continue
            how = f"{self.about}{row.size} tokens, but sequence_len is {limit}"
            stops: Grade = "error" if row.surely > limit else "warning"
            over = "rows over sequence_len"
            if self.strategy == "raise":
                text = f"{how}; training stops at this row (raise)."
                self._row(row, stops, over, text, code="tokens.over_sequence_len")
            elif self.strategy == "truncate" and row.start >= limit - 1:
                text = f"{how}; the answer begins at token {row.start}, so all of it is cut off (truncate)."
                self._row(row, stops, "rows that lose their whole answer", text, code="tokens.answer_lost")
            elif self.strategy == "truncate":
                text = f"{how}; the end of the answer is cut off (truncate)."
                self._row(row, "warning", "rows whose answer is cut", text, code="tokens.answer_cut")
            else:
                text = f"{how}; Axolotl drops the row (drop)."
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
        """Return the options for rows that are too long, ready to type."""
        longest = self._longest()
        ways = [f"--set (SET=): sequence_len={up(longest)} keeps all rows (longest: {self.about}{longest})"]
        if leaves_out:
            ways.append(f"excess_length_strategy=drop drops {self._counted('train', self.limit)}")
        if self.passages:
            ways.append(CUT)
        return "; ".join(ways).removesuffix(". ") + "."

    def _stops(self) -> None:
        """Report that Axolotl stops at the first train or dev row that is too long."""
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
        """Report that hardly any rows are left to train on, or none for evaluation during training."""
        rows = self.splits["train"]
        if not rows:
            return
        drops = self.strategy == "drop"
        fit = sum(row.size <= self.limit or not drops for row in rows)
        may_fit = sum(row.surely <= self.limit or not drops for row in rows)
        kept = round(fit * self.total / len(rows))
        if kept < FEWEST_ROWS:
            few = f"there are only {self.total} train rows"
            if drops and fit < len(rows):
                few = f"only {kept} of {self.total} train rows have {self.about}at most {self.limit} tokens "
                few += "(sequence_len), and longer rows are dropped"
            self._say(
                "error" if may_fit < FEWEST_ROWS else "warning",
                "sequence_len" if drops and fit < len(rows) else "datasets",
                f"{few}; fewer than {FEWEST_ROWS} have no measurable effect.",
                self._ways(leaves_out=False) if fit < len(rows) else "Add rows.",
                code="rows.too_few_to_train",
            )
        dev = self.splits["dev"]
        if drops and dev and all(row.surely > self.dev_limit for row in dev):
            self._say(
                "error",
                "sequence_len",
                f"each of the {len(dev)} dev rows has more than {self.dev_limit} tokens and is dropped, so "
                "there is no loss on dev.",
                self._ways(leaves_out=False),
                code="rows.no_dev_left",
            )

    def _packs(self) -> None:
        """Report that Axolotl rejects a packed split that does not fill one micro batch."""
        config = self.resolved.config
        if not config.get("sample_packing") or config.get("attn_implementation") not in PACKED_ALONE:
            return
        batch = int(config.get("micro_batch_size") or 1)
        for split in ("dev", "train"):
            if split == "dev" and config.get("eval_sample_packing") is False:
                continue
            slack = SLACK if self.estimate else 1  # more tokens mean more sequences: in doubt, no error
            fit = [row.size for row in self.splits[split] if row.surely <= self.limit]
            bins = packed([min(self.limit, round(size * slack)) for size in fit], self.limit)
            if self.splits[split] and bins < batch and not (split == "train" and self.total > bins):
                key = "eval_sample_packing" if split == "dev" else "sample_packing"
                self._say(
                    "error",
                    key,
                    f"the {len(self.splits[split])} {split} rows pack into {bins} sequences, fewer than the "
                    f"{batch} of a micro batch, so Axolotl stops or trains on nothing.",
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
                    + "Remove these rows, or use a base model with more positions (MODEL=).",
                    file=row.seen.place,
                    line=row.seen.line,
                    code="rows.over_positions",
                )
            )


def up(tokens: int) -> int:
    """Return the sequence length for rows of `tokens`: the next multiple of STEP."""
    return -(-tokens // STEP) * STEP


def packed(sizes: list[int], capacity: int) -> int:
    """Return the number of sequences into which rows are packed: longest first, each into the first sequence
    with room for it."""
    room: list[int] = []
    for size in sorted((size for size in sizes if size <= capacity), reverse=True):
        place = next((n for n, free in enumerate(room) if free >= size), None)
        if place is None:
            room.append(capacity - size)
        else:
            room[place] -= size
    return len(room)
