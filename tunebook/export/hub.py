"""Publishing on the Hub: which files are sent, what prevents it, the model card, and the upload.

Only safetensors, GGUF, tokenizer and config files are sent; a file of any other kind stops the upload. The
card's metadata has the Hub's format for evaluation results (huggingface_hub.ModelCardData).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.check import secrets
from tunebook.check.access import licence_findings
from tunebook.core.errors import InputError, MachineError, Problem
from tunebook.core.files import read_json
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import show
from tunebook.core.templates import template_environment
from tunebook.export import gguf, merge
from tunebook.metrics.schema import Metrics, ParityLine, read_metrics
from tunebook.models.registry import model_table
from tunebook.report import names, parity
from tunebook.report.advice import risks
from tunebook.runs.run import MERGED, Run

# Files that belong to a model and contain no code. README.md is the card, which is written here.
CONFIGS = re.compile(
    r"(config|generation_config|adapter_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens"
    r"|vocab|model\.safetensors\.index|preprocessor_config)\.json|chat_template\.jinja|merges\.txt|tokenizer\.model"
)
WEIGHTS = re.compile(r".*\.(safetensors|gguf)")
CARD = "README.md"
OWN = (CARD, "tunebook.json")  # present in a model folder, but not sent unchanged
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib")
REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
TASKS = {"classification": "text-classification", "qa": "question-answering"}


@dataclass(frozen=True)
class Upload:
    """What would be sent, by name in the repository: unchanged files, and texts written for the upload."""

    repo: str
    files: dict[str, Path]
    texts: dict[str, str]

    @property
    def card(self) -> str:
        return self.texts[CARD]

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of everything, the card last."""
        files = {name: path.stat().st_size for name, path in self.files.items()}
        return files | {name: len(text.encode()) for name, text in self.texts.items()}


def folder_of(run: Run, what: str) -> Path:
    """Return the folder named by WHAT=.

    Raises:
        InputError: the folder does not exist yet, or was not made from the run's current model.
    """
    folder, make = {
        "adapter": (run / "model", f"make recipe NAME={run.settings()['recipe']}"),
        "merged": (run / MERGED, "make merge RUN=..."),
        "gguf": (run / "export" / "gguf", "make export RUN=... TO=gguf"),
    }[what]
    if what == "merged" and not run.config().get("adapter"):
        return run / "model"
    if not folder.is_dir():
        raise InputError(
            f"WHAT: {show(folder)} does not exist yet. Create it: {make}", code="export.not_made"
        )
    other = [path for path in folder.glob("*.gguf") if not gguf.of_this_run(run, path)]
    if other or (what == "merged" and not merge.whole(run)):
        raise InputError(
            f"WHAT: {show(other[0] if other else folder)} is incomplete, or was not made from the run's "
            f"current model. Create it again: {make}",
            code="export.not_made",
        )
    return folder


def staged(folder: Path) -> dict[str, Path]:
    """Return the files of `folder` that are sent, by name.

    Raises:
        InputError: a file must not be sent: a pickle, rows, code, or anything unknown.
    """
    files, problems = {}, []
    for path in sorted(folder.iterdir()):
        name = path.name
        if name in OWN or (folder.name == "gguf" and path.suffix in (".json", ".partial", ".lock")):
            continue
        if path.suffix in PICKLES:
            text = "is a pickle, which can run code when loaded. Save safetensors instead."
            problems.append(Problem(text, show(path), code="export.pickle"))
        elif path.is_file() and (WEIGHTS.fullmatch(name) or CONFIGS.fullmatch(name)):
            files[name] = path
        else:
            text = "is not a model file; rows, logs and code are not published. Move the file elsewhere."
            problems.append(Problem(text, show(path), code="export.foreign_file"))
    if not problems and not any(WEIGHTS.fullmatch(name) for name in files):
        problems.append(Problem("contains no weights.", show(folder), code="export.no_weights"))
    for path in files.values():
        if path.suffix in (".json", ".jinja", ".txt"):
            found = [one for one in secrets.find(path.read_text(encoding="utf-8")) if one.kind == "API keys"]
            if found:
                text = f"contains what looks like a key: {secrets.masked(found[0].text)}."
                problems.append(Problem(text, show(path), code="export.secret"))
    if problems:
        raise InputError("\n".join(map(str, problems)), problems=problems)
    return files


def licence_of(run: Run, given: str | None) -> str:
    """Return the licence of the model: LICENCE=, or that of the base model if nothing speaks against it.

    Raises:
        InputError: base model or data have no known licence, or one that forbids or restricts publishing.
    """
    model = read_metrics(run / "metrics.json")["model"]
    base, data = model_table().get(model, {}).get("licence"), run.settings()["dataset"]["licence"]
    if given:
        return given.lower()
    if base is None:
        raise InputError(
            f"the licence of {model} is unknown. Look it up, and set the licence under which the fine-tuned "
            "model may be published, for example LICENCE=apache-2.0",
            code="export.licence_needed",
        )
    found = licence_findings(base, data, show(run / "settings.json"))
    against = "\n".join(f"- {one.text}" for one in found if one.grade in ("error", "warning"))
    if against:
        raise InputError(
            f"the licences do not permit publishing:\n{against}\nIf you may publish the model nevertheless, "
            "set its licence: LICENCE=...",
            code="export.licence_conflict",
        )
    return str(base).lower()


def card(run: Run, what: str, repo: str, licence: str) -> str:
    """Return the model card: the run's own card, limits, parity, how to use the model, and the Hub's
    metadata."""
    from huggingface_hub import EvalResult, ModelCardData

    measured, settings = read_metrics(run / "metrics.json"), run.settings()
    dataset = settings["dataset"]
    lines = [line for line in measured.get("exports", []) if belongs(line, what)]
    text = (run / "model_card.md").read_text(encoding="utf-8")
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).strip()
    # The command line and the code that loads the run contain names of private folders.
    body = re.sub(r"\nMade by `.*", "", body).strip()
    body = re.sub(r", as here(; in another one.*?\.)\n\n```python\n.*?```", r"\1", body, flags=re.DOTALL)
    turns = [{"role": "system", "content": dataset["system"]}] if dataset.get("system") else []
    config = read_json(folder_of(run, what) / "config.json", {})
    values = {
        "body": body,
        "m": measured,
        "risks": risks(measured, False, ""),
        "lines": lines,
        "parity": markdown_table(parity.rows(lines)) if lines else "",
        "what": what,
        "repo": repo,
        "dtype": config.get("dtype") or ("bfloat16" if run.config().get("bf16") else "float32"),
        "messages": json.dumps([*turns, {"role": "user", "content": "..."}], ensure_ascii=False),
        "most": settings["suite"]["max_new_tokens"],
        "names": names,
    }
    environment = template_environment(Path(__file__).parent / "templates", escape=False)
    written = environment.get_template("hub_card.md.jinja").render(values)
    hub = (dataset.get("source") or {}).get("hub")
    data = ModelCardData(
        base_model=None if is_local(measured["model"]) else measured["model"],
        library_name={"adapter": "peft", "merged": "transformers", "gguf": "gguf"}[what],
        license=licence,
        pipeline_tag="text-generation",
        tags=["axolotl", "tunebook", measured["recipe"]],
        datasets=[hub] if hub else None,
        model_name=repo.partition("/")[2],
        eval_results=results(measured, dataset["task"], hub, EvalResult),
    )
    base = measured["model"]
    return f"---\n{data.to_yaml()}\n---\n\n{written}".replace(base, public_name(base))


def is_local(model: str) -> bool:
    """Whether a base model is a folder on this machine."""
    return Path(model).is_absolute() or Path(model).is_dir()


def public_name(model: str) -> str:
    """Return the name of a base model: on the Hub, or of its folder alone."""
    return Path(model).name if is_local(model) else model


def public_texts(run: Run, files: dict[str, Path]) -> dict[str, str]:
    """Return the text of each JSON file that names a local base model folder, with the folder replaced by the
    model's name on the Hub.

    Raises:
        InputError: the adapter's base model is not on the Hub.
    """
    model, base = read_metrics(run / "metrics.json")["model"], str(run.config()["base_model"])
    if "adapter_config.json" in files and is_local(model):
        raise InputError(
            f"WHAT: the base of this adapter is {show(Path(model))}, which nobody else has. Publish full "
            "weights: WHAT=merged",
            code="export.base_not_public",
        )
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items() if path.suffix == ".json"}
    here = json.dumps(base)
    return {
        name: text.replace(here, json.dumps(public_name(model)))
        for name, text in texts.items()
        if here in text and base != model
    }


def belongs(line: ParityLine, what: str) -> bool:
    """Return whether a measured file is among those that WHAT= names."""
    return line["artefact"] == what or line["artefact"].startswith(f"{what}-")


def results(measured: Metrics, task: str, hub: str | None, kind: Any) -> list[Any]:
    """Return the primary metric of the fine-tuned model in the Hub's format."""
    value = measured["contenders"]["tuned"][measured["primary"]]
    interval = "" if value["low"] is None else f" (95 % interval {value['low']:.4f} to {value['high']:.4f})"
    return [
        kind(
            task_type=TASKS.get(task, "text-generation"),
            dataset_type=hub or measured["dataset"],
            dataset_name=measured["dataset"],
            dataset_split=measured["split"],
            metric_type=measured["primary"],
            metric_name=f"{names.metric(measured['primary'])}{interval}",
            metric_value=value["value"],
        )
    ]


def prepare(run: Run, what: str, repo: str, licence: str | None) -> Upload:
    """Return the upload without sending it.

    Raises:
        InputError: an invalid name, a file that must not be sent, or licences that do not permit publishing.
    """
    if not REPO.fullmatch(repo):
        raise InputError(f"REPO: expected owner/name (got {repo!r}).", code="export.bad_repo")
    files = staged(folder_of(run, what))
    texts = public_texts(run, files)
    for name in texts:
        del files[name]
    return Upload(repo, files, {**texts, CARD: card(run, what, repo, licence_of(run, licence))})


def send(upload: Upload, private: bool) -> str:
    """Create the repository if it is missing and send everything in one commit; return its address.

    The Hub keeps the files of an interrupted upload, by hash, so the same call sends only the rest. Nothing
    is visible before the commit.

    Raises:
        InputError: there is no token, or it may not write to the repository.
        MachineError: the Hub cannot be reached, or rejects the upload.
    """
    from httpx import HTTPError
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    operations = [CommitOperationAdd(name, str(path)) for name, path in upload.files.items()]
    operations += [CommitOperationAdd(name, text.encode()) for name, text in upload.texts.items()]
    try:
        api.create_repo(upload.repo, private=private, exist_ok=True)
        found = api.create_commit(
            upload.repo, operations, commit_message="Model, card and evaluation, by Tunebook"
        )
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise InputError(
                f"REPO: the Hub answered {status} for {upload.repo}. HF_TOKEN must be allowed to write.",
                code="hub.no_right_to_write",
            ) from None
        text = (
            "somebody else wrote to it at the same time. Run the command again."
            if status in (409, 412)
            else "Run the command again."
        )
        raise MachineError(
            f"REPO: the Hub answered {status} for {upload.repo}: {text} Files already uploaded are kept.",
            code="hub.upload_failed",
        ) from None
    except (OSError, RuntimeError, HTTPError) as error:
        raise MachineError(
            f"REPO: the upload to {upload.repo} was interrupted ({type(error).__name__}). Run the command "
            "again; files already uploaded are kept.",
            code="hub.upload_failed",
        ) from None
    return str(found.commit_url)
