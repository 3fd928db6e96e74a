"""`tunebook chat`: talk to a run's fine-tuned model and to its base model in the terminal.

Decoding is greedy, as in the evaluation. Without a terminal, input and output are plain lines.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Annotated, Any

import typer
from typing_extensions import TypedDict

from tunebook.commands.options import RunName
from tunebook.core.errors import GOOD, InputError, Problem, TunebookError
from tunebook.core.files import from_json
from tunebook.core.markdown import visible
from tunebook.core.paths import child_environment, show
from tunebook.core.process import running
from tunebook.export.merge import refuse_changed_base
from tunebook.runs.model_files import find_with_model
from tunebook.runs.rows import Messages
from tunebook.runs.run import Run

HELP = """/base, /tuned, /both   who answers
/system TEXT           another system turn (nothing: none), and a new conversation
/reset                 a new conversation
/save good, /save bad  append the conversation to chats/good.jsonl or chats/bad.jsonl of the run
/quit                  end (also Ctrl-D). Ctrl-C stops an answer.
A line that ends with \\ goes on in the next one."""
TITLES = {"tuned": "fine-tuned", "base": "base"}


class Event(TypedDict, total=False):
    """A line from the child process: it is ready, a piece of an answer, its end, or an error."""

    ready: bool
    text: str
    stopped: bool
    error: str


class Models:
    """The child process that generates answers."""

    def __init__(self, run: Run) -> None:
        environment = child_environment()
        if Path(run.placement()["base_model"]).is_dir():
            environment.setdefault("HF_HUB_OFFLINE", "1")
        words = [sys.executable, "-m", "tunebook.commands.after.chat_worker", str(run.folder)]
        self.open = contextlib.ExitStack()
        self.child, _ = self.open.enter_context(
            running(words, environment, run.log, stdin=PIPE, stdout=PIPE, encoding="utf-8")
        )
        self.run = run
        self._line()

    def _line(self) -> Event:
        assert self.child.stdout
        line = self.child.stdout.readline()
        if not line:
            raise TunebookError(
                f"the model could not answer. Log: {show(self.run.log)}", code="chat.no_answer"
            )
        found: Event = json.loads(line)
        return found

    def answer(self, model: str, messages: Messages) -> Iterator[str]:
        """Yield the pieces of an answer; Ctrl-C stops it, and the pieces so far are kept."""
        assert self.child.stdin
        self.child.stdin.write(json.dumps({"model": model, "messages": messages}) + "\n")
        self.child.stdin.flush()
        before = signal.signal(signal.SIGINT, lambda *_: self.child.send_signal(signal.SIGUSR1))
        try:
            while "text" in (event := self._line()):
                yield event["text"]
        finally:
            signal.signal(signal.SIGINT, before)
        if "error" in event:
            raise InputError(event["error"], code="chat.cannot_answer")

    def close(self) -> None:
        self.open.close()


class Chat:
    """A conversation; `models.answer` yields the answer of a model to the messages so far."""

    def __init__(self, models: Any, folder: Path, system: str, out: Any) -> None:
        """`folder` is where conversations are saved; `system` is the system turn of the training rows."""
        self.models, self.folder, self.out = models, folder, out
        self.who = ["tuned"]
        self.start(system)

    def start(self, system: str) -> None:
        """Begin a new conversation."""
        self.system = system
        self.messages: Messages = [{"role": "system", "content": system}] if system else []

    def say(self, text: str) -> None:
        """Answer the user's text. With both models, the conversation continues with the fine-tuned model's
        answer."""
        self.messages.append({"role": "user", "content": text})
        answers = {}
        try:
            for model in self.who:
                if len(self.who) > 1:
                    self.out(f"[{TITLES[model]}] ")
                pieces = []
                for piece in self.models.answer(model, self.messages):
                    pieces.append(piece)
                    self.out(visible(piece))
                self.out("\n")
                answers[model] = "".join(pieces).strip()
        except InputError as error:
            self.messages.pop()
            self.out(f"{visible(str(error))} Type /reset for a new conversation.\n")
            return
        self.messages.append({"role": "assistant", "content": answers.get("tuned", answers[self.who[-1]])})

    def command(self, line: str) -> bool:
        """Execute a line that starts with a slash; return False if it ends the chat."""
        word, _, rest = line.partition(" ")
        if word in ("/quit", "/exit"):
            return False
        if word in ("/base", "/tuned", "/both"):
            self.who = ["base", "tuned"] if word == "/both" else [word[1:]]
            self.out(f"{' and '.join(TITLES[model] for model in self.who)} will answer\n")
        elif word == "/system":
            self.start(rest.strip())
            self.out("a new conversation\n")
        elif word == "/reset":
            self.start(self.system)
            self.out("a new conversation\n")
        elif word == "/save" and rest.strip() in ("good", "bad"):
            self.out(self.save(rest.strip()))
        else:
            known = "" if word == "/help" else f"no such command: {visible(line)}\n"
            self.out(f"{known}{HELP}\n")
        return True

    def save(self, kind: str) -> str:
        """Append the conversation to a file that `fork` can read; return the message for the user."""
        if not any(turn["role"] == "assistant" for turn in self.messages):
            return "nothing to save yet\n"
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{kind}.jsonl"
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"messages": self.messages}, ensure_ascii=False) + "\n")
        return f"saved in {show(path)}, which `make fork` can read as DATA=\n"


def lines_of(source: Any, prompt: str) -> Iterator[str]:
    """Yield the user's input: lines, joined if one ends with a backslash. Ctrl-C at the prompt discards the
    line and does not end the program."""
    parts: list[str] = []
    while True:
        try:
            line = input(prompt if not parts else "... ") if source is None else source.readline()
        except KeyboardInterrupt:
            parts = []
            print()
            continue
        except EOFError:
            return
        if source is not None and not line:
            return
        line = line.rstrip("\n")
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield "\n".join(parts)
            parts = []


def system_of(run: Run) -> str:
    """Return the system turn of the run's first training row, "" for none.

    Raises:
        InputError: the training rows are missing or damaged.
    """
    path = run / "data" / "train.jsonl"
    try:
        with path.open("rb") as file:
            first = from_json(file.readline())["messages"][0]
        return str(first["content"]) if first["role"] == "system" else ""
    except (OSError, ValueError, LookupError, TypeError):
        text = "missing or damaged. Restore it from a copy of the run folder, or run the recipe again."
        raise InputError(Problem(text, show(path), 1, code="run.damaged_file")) from None


Prompt = tuple[int, Messages]


def prompts_of(path: Path) -> Iterator[Prompt]:
    """Yield the number and the messages of each line of a file: JSON with `messages` or `prompt`, or plain
    text.

    Raises:
        InputError: a line is neither.
    """
    if not path.is_file():
        raise InputError(f"PROMPTS: {path}: no such file.", code="chat.no_prompts")
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if not line.strip():
                    continue
                if path.suffix not in (".jsonl", ".json"):
                    yield number, [{"role": "user", "content": line}]
                    continue
                value = from_json(line)
                found = value.get("messages") or [{"role": "user", "content": value["prompt"]}]
                if not all(isinstance(turn["content"], str) and turn["role"] for turn in found):
                    raise TypeError
                yield number, found
            except (ValueError, TypeError, KeyError, AttributeError):
                text = 'is not {"prompt": text} or {"messages": [...]} in UTF-8.'
                raise InputError(Problem(text, show(path), number, code="chat.bad_prompt")) from None


def batch(models: Models, prompts: list[Prompt], system: str, out: Path, source: Path) -> None:
    """Answer `prompts`, the lines of `source`, into `out`: JSON lines with `messages`, completely or not at
    all.

    Raises:
        InputError: the model cannot answer a prompt; the message names the line.
    """
    partial = out.with_name(out.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for number, messages in prompts:
                if system and messages[0]["role"] != "system":
                    messages = [{"role": "system", "content": system}, *messages]
                try:
                    text = "".join(models.answer("tuned", messages)).strip()
                except InputError as error:
                    raise InputError(Problem(str(error), show(source), number, code=error.code)) from None
                line = {"messages": [*messages, {"role": "assistant", "content": text}]}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)


def chat_command(
    run: RunName,
    prompts: Annotated[Path | None, typer.Option(help="answer the lines of this file instead")] = None,
    out: Annotated[Path | None, typer.Option(help="with PROMPTS=: a new .jsonl file for the answers")] = None,
) -> int:
    """Chat with a run's fine-tuned model and its base model.

    /help lists the commands.
    """
    found = find_with_model(run, "train")
    if bool(prompts) != bool(out):
        raise InputError(
            "--prompts and --out (PROMPTS= OUT=) must be used together.", code="option.prompts_and_out"
        )
    if out and out.exists():
        raise InputError(f"OUT: {out} already exists. Choose another name.", code="chat.out_exists")
    refuse_changed_base(found)
    asked = list(prompts_of(prompts)) if prompts else []
    system, terminal = system_of(found), sys.stdin.isatty()
    if terminal and not prompts:
        import readline  # noqa: F401 (the arrow keys of input())

        print(f"{show(found.folder)}, loading; /help lists the commands")
    models = Models(found)
    try:
        if out:
            assert prompts
            batch(models, asked, system, out, prompts)
            print(f"{len(asked)} prompts answered in {show(out)}")
            return GOOD
        chat = Chat(models, found / "chats", system, lambda text: print(text, end="", flush=True))
        for line in lines_of(None if terminal else sys.stdin, "> "):
            if not line.strip():
                continue
            if line.startswith("/"):
                if not chat.command(line.strip()):
                    break
            else:
                chat.say(line)
    finally:
        models.close()
    return GOOD
