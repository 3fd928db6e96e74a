"""The command line `tunebook`, its exit codes and how it shows errors (docs/ARCHITECTURE.md).

`VERBS` says where each command is defined. Its module is imported only when the command is called, so that
`--help` and mistyped commands respond at once.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import locale
import os
import sys
import traceback
from typing import Annotated, Any, NamedTuple

import click
import typer
from rich.console import Console as Rich
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.utils import get_params_from_function

from tunebook.commands import options
from tunebook.core.errors import BAD_INPUT, INTERRUPTED, UNEXPECTED, InputError, TunebookError
from tunebook.core.markdown import visible
from tunebook.core.process import collect_rarely
from tunebook.core.secrets import mask_known
from tunebook.core.system_errors import of_system


class Verb(NamedTuple):
    """A command: its section of the help, its module below tunebook.commands, its one-line help."""

    section: str
    module: str
    help: str


VERBS = {
    "recipe": Verb("Run", "recipe", "Check, train, evaluate and report one recipe; resumes a stopped run."),
    "sweep": Verb("Run", "sweep", "Run a recipe over values of its keys; the best is chosen on dev."),
    "verify": Verb("Run", "verify", "Run a recipe again and compare it with its published metrics."),
    "bench": Verb("Run", "bench", "Measure training speed and memory on this machine."),
    "recipes": Verb("Look", "recipe", "List the recipes with their last published results."),
    "check": Verb("Look", "check", "Find what is wrong with a real run, from any machine."),
    "plan": Verb("Look", "check", "Show memory, hours and dollars of a real run on each GPU."),
    "exercise": Verb(
        "Look", "exercise.command", "Show the ten exercises of the guide, and check their results."
    ),
    "advise": Verb(
        "Data", "advise.command", "Look at your rows and recommend what to try first, with the evidence."
    ),
    "data": Verb("Data", "data", "Render a recipe's dataset and show what the model sees."),
    "fork": Verb("Data", "fork.command", "Make a recipe for your own data, and check it."),
    "evaluate": Verb("After training", "evaluate", "Evaluate a run again, or a model fine-tuned elsewhere."),
    "compare": Verb(
        "After training", "evaluate", "Compare the fine-tuned models of runs on the same test rows."
    ),
    "chat": Verb("After training", "after.chat", "Chat with a run's fine-tuned model and its base model."),
    "merge": Verb(
        "After training",
        "after.export",
        "Merge a run's adapter into its base model, and measure the result.",
    ),
    "export": Verb(
        "After training",
        "after.export",
        "Export a run's model (vLLM, llama.cpp, Ollama, OpenLLM) and measure it.",
    ),
    "serve": Verb(
        "After training", "after.serve", "Serve a run's model through an OpenAI-compatible endpoint."
    ),
    "publish": Verb("After training", "after.publish", "Publish a run's model on the Hugging Face Hub."),
    "predict": Verb("After training", "predict", "Answer the rows of a file with a run's fine-tuned model."),
    "review": Verb("After training", "review", "Compare pairs of answers blind, in the browser."),
    "launch": Verb("Rented GPUs", "launch", "Start a recipe's real run on rented GPUs, with a price limit."),
    "fetch": Verb("Rented GPUs", "fetch", "Fetch a run's report, metrics, model and logs from its store."),
    "results": Verb("Maintain", "evaluate", "Publish a run's metrics in its recipe's folder and README."),
    "env": Verb("Maintain", "env", "List the TUNEBOOK_* variables and their values."),
}


class LazyGroup(TyperGroup):
    """The verbs of `VERBS`, each imported only when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # click suggests close ones
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._without_imports().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        return self._without_imports().shell_complete(ctx, incomplete)

    def _without_imports(self) -> TyperGroup:
        """Return this group with commands that have only their one-line help."""
        commands: dict[str, Any] = {
            name: TyperCommand(name, help=verb.help, rich_help_panel=verb.section)
            for name, verb in VERBS.items()
        }
        return TyperGroup(
            name=self.name, commands=commands, params=self.params, help=self.help, epilog=self.epilog
        )


class OnceCommand(TyperCommand):
    """A command that refuses an option given twice, of which click takes the last without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for one in given:
            same_flag = getattr(one, "is_flag", False) and not one.secondary_opts
            if given.count(one) > 1 and not one.multiple and not same_flag:
                joined = f', or write both in one: {one.opts[0]} "... ..."' if one.name == "set" else ""
                raise InputError(
                    f"{one.opts[0]} is given twice. Give it once{joined}.", code="option.repeated"
                )
        return super().parse_args(ctx, args)


def load(verb: str) -> Any:
    """Return the click command of `verb`: the function VERB_command of its module."""
    module = importlib.import_module(f"tunebook.commands.{VERBS[verb].module}")
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    function = getattr(module, f"{verb}_command")
    single.command(verb, cls=OnceCommand)(function)
    command = typer.main.get_command(single)
    described = get_params_from_function(function)
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):  # typer 0.25 loses their help with click 8.5
            parameter.help = described[str(parameter.name)].default.help
    # Functions return the exit code; --quiet may follow the verb or precede it.
    command.params.append(
        TyperOption(
            param_decls=["--quiet", "-q"], is_flag=True, hidden=True, expose_value=False, callback=_quiet
        )
    )
    return command


def _quiet(context: Any, parameter: Any, value: bool) -> None:
    if value:
        context.meta["quiet"] = True


def _version(value: bool) -> None:
    if value:
        print(f"tunebook {importlib.metadata.version('tunebook')}")
        raise typer.Exit()


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, suggest_commands=False)


@app.callback(epilog="Exit codes: docs/ARCHITECTURE.md. The same verbs as make targets: `make`.")
def entry(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="print errors and JSON only")] = False,
) -> None:
    """Fine-tune language models with Axolotl and find out whether they beat prompting the same base model."""
    if quiet:
        context.meta["quiet"] = True


def run(words: list[str]) -> int:
    """Run one command line and return its exit code; a user's mistake is reported as one clear message."""
    try:
        made = options.split_words(words)
        if made:
            verb, given = made
            words = [verb, *options.from_make(verb, load(verb), given)] if verb in VERBS else [verb]
        return app(words, prog_name="tunebook", standalone_mode=False) or 0
    except TunebookError as error:
        return _say(error)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted. Rerun the same command to resume from the last saved state", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if os.environ.get("DEBUG") != "1" and (refused := of_system(error)):
            return _say(refused)
        return _unexpected(error)
    except Exception as error:
        return _unexpected(error)


def _say(error: TunebookError) -> int:
    """Print an error meant for the user, and return its exit code."""
    if os.environ.get("DEBUG") == "1":
        traceback.print_exc()
    print(visible(mask_known(str(error))), file=sys.stderr)
    if error.codes:
        codes = " ".join(f"[{code}]" for code in error.codes)
        # Without a terminal, or with NO_COLOR, rich writes plain text.
        Rich(stderr=True, highlight=False, soft_wrap=True).print(
            f"{codes} see docs/errors.md", style="dim", markup=False
        )
    return error.exit_code


def main() -> None:
    if locale.getencoding().lower() not in ("utf-8", "utf8") and not sys.flags.utf8_mode:
        # Our files are UTF-8, whatever the shell's locale.
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "tunebook.commands.cli", *sys.argv[1:]])
    collect_rarely()
    sys.exit(run(sys.argv[1:]))


def _unexpected(error: Exception) -> int:
    # typer's own usage errors (click's ClickException, vendored or not) can display themselves.
    show = getattr(error, "show", None)
    if callable(show):
        show()
        return BAD_INPUT
    if os.environ.get("DEBUG") == "1":
        traceback.print_exc()
    said = mask_known(f"unexpected: {type(error).__name__}: {error}. Set DEBUG=1 for a traceback.")
    print(visible(said), file=sys.stderr)
    return UNEXPECTED


if __name__ == "__main__":
    main()
