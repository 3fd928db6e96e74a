"""Let Axolotl check a config and its rows, in a separate process, because its import takes half a minute.

    python -m tunebook.check.axolotl_child JOB.json     # writes answer.json into the job's `scratch` folder

Validation pretends to run on a given machine: it shows that Axolotl accepts the config, not that a GPU can
run it. A job has `config` and optionally `machine` (validate for it), `rows` (a JSONL file whose lengths are
counted; "-": its name follows on standard input), `rows_config` (a different config for that), `mask` (how
many rows Axolotl masks), `show` (how many rows are returned token by token), `labels` (texts to tokenize).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tunebook.check.promises.chat_template import look
from tunebook.core.files import AxolotlConfig
from tunebook.core.process import begin_worker
from tunebook.data import stretches, tokenize, tool_calls
from tunebook.data.prompt import PromptEncoder
from tunebook.hardware.capabilities import ADA, AMPERE
from tunebook.runs.rows import read_rows

LATER = "-"


def capabilities(machine: dict[str, Any]) -> dict[str, Any]:
    """Return the capabilities that Axolotl would detect on `machine`."""
    ampere = machine["compute_capability"] >= AMPERE
    return {
        "bf16": ampere,
        "fp8": machine["compute_capability"] >= ADA,
        "tf32": ampere,
        "n_gpu": machine["gpus"],
        "n_node": 1,
        "compute_capability": f"sm_{machine['compute_capability'] * 10:.0f}",
    }


def validate(config: AxolotlConfig, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the config as completed by Axolotl on `machine`.

    Raises:
        ValueError: Axolotl rejects the config (pydantic's ValidationError is a ValueError).
    """
    from axolotl.utils.config import prepare_plugins, validate_config
    from axolotl.utils.dict import DictDefault

    cfg = DictDefault(config)
    prepare_plugins(cfg)
    validated = validate_config(
        cfg, capabilities=capabilities(machine), env_capabilities={"torch_version": "2.13.0"}
    )
    return validated.to_dict()


def look_at_rows(job: dict[str, Any]) -> dict[str, Any] | None:
    """Return lengths, masks and token-by-token views of the job's rows, or None if no rows are named."""

    config = job.get("rows_config", job["config"])
    encoder = PromptEncoder.of(tokenize.load_tokenizer(config), config)
    tokenizer = encoder.tokenizer
    mask = tokenize.AxolotlMask(config) if job.get("mask") or job.get("show") else None
    # All slow work that does not need the rows is done before waiting for them.
    file = sys.stdin.readline().strip() if job["rows"] == LATER else job["rows"]
    if not file:
        return None
    rows = read_rows(Path(file))
    rows = [rows[index] for index in tokenize.spread(len(rows), tokenize.MOST)]
    sizes, refused, lost = tokenize.lengths(encoder, rows)
    answer: dict[str, Any] = {"lengths": sizes, "refused": refused, "lost": lost}
    names = {key: value for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    if isinstance(tokenizer.chat_template, str):
        answer["traits"] = look(tokenizer.chat_template, names, config, tokenizer.eos_token)
    answer["special"] = tokenize.special_in_text(tokenizer, rows)
    answer["marks"] = sorted(tokenize.marks(tokenizer))
    answer |= {"eos": tokenizer.eos_token, "bos": tokenizer.bos_token, "bos_id": tokenizer.bos_token_id}
    answer["labels"] = {
        label: tokenizer(label, add_special_tokens=False)["input_ids"] for label in job.get("labels", [])
    }
    limit = config.get("sequence_len")
    if mask and job.get("mask"):
        answer["masked"], learned_as = [], (encoder.learned_form, encoder.thinking is not None)
        chosen, answer["kinds"], answer["kinds_left"] = stretches.of_every_kind(rows, job["mask"])
        for index in chosen:
            if index in refused:
                continue
            ids, labels = mask.row(rows[index])
            held = tokenize.contract(encoder, rows[index])
            answer["masked"].append({"row": index, "ids": ids, "labels": labels, "contract": held})
            wrong = stretches.faults(
                mask.tokenizer, rows[index], ids, labels, bool(config.get("rl")), *learned_as
            )
            answer["masked"][-1]["stretches"] = wrong
            text = tokenizer.decode(ids)
            system = rows[index]["messages"][0]
            kept = system["role"] != "system" or system["content"] in text
            answer["masked"][-1]["system_kept"] = kept
            answer["masked"][-1]["tools_kept"] = tool_calls.kept(rows[index], text)
    if mask and job.get("show"):
        picked = tokenize.pick(sizes, tokenize.suspicious(rows, sizes, limit), job["show"])
        picked = {index: why for index, why in picked.items() if index not in refused}
        answer["shown"] = []
        for index, why in picked.items():
            ids, labels = mask.row(rows[index])
            tokens = tokenize.pieces(mask.tokenizer, ids, labels)
            answer["shown"].append({"id": rows[index]["id"], "why": why, "tokens": tokens})
        if config.get("sample_packing") and limit:
            answer["packed"] = tokenize.packed([len(row["tokens"]) for row in answer["shown"]], limit)
    return answer


def main() -> int:
    begin_worker()
    job = json.loads(Path(sys.argv[1]).read_text())
    answer: dict[str, Any] = {"refused": None, "effective": None, "rows": None, "rows_failed": None}
    if job.get("machine"):
        try:
            answer["effective"] = validate(job["config"], job["machine"])
        except (ValueError, ImportError) as error:  # a plugin may need a package that is not installed
            answer["refused"] = str(error)
    if job.get("rows"):
        try:
            answer["rows"] = look_at_rows(job)
        except (ValueError, OSError, TypeError) as error:
            answer["rows_failed"] = f"{type(error).__name__}: {error}"
    (Path(job["scratch"]) / "answer.json").write_text(json.dumps(answer, default=str))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
