"""Jinja that somebody else may have written: it fails as a template, and takes neither long nor much memory.

In: a template or an expression. Out: what it renders to, or a TemplateError. The sandbox of Jinja keeps it
from reading attributes of Python; it does not keep it from `9 ** 9 ** 9`, from a loop in a loop in a loop, or
from a text of ten gigabytes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from jinja2 import Environment, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from tunebook.core.errors import TunebookError

P = ParamSpec("P")
T = TypeVar("T")
SECONDS = 10.0  # of this process's processor time, for one text
MEMORY = 1 << 30  # bytes that one text may add
FRESH = 0.05  # seconds
LARGEST = 10_000_000  # letters or items of a product
BITS = 100_000  # of a number
PAGE = os.sysconf("SC_PAGE_SIZE")
SHORT = (  # what a template may consist of so that its text is as short as the row and itself
    *(nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem),
    *(nodes.If, nodes.CondExpr, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
)


class _Bounded:
    """A mixin: products and powers are bounded before they are computed, since neither a signal nor a limit
    of memory ends the arithmetic of a large number soon."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > BITS:
                raise TemplateError(f"a number of more than {BITS} bits")
            return left**right
        for one, other in ((left, right), (right, left)):
            if isinstance(one, int) and isinstance(other, int):
                if one.bit_length() + other.bit_length() > BITS:
                    raise TemplateError(f"a number of more than {BITS} bits")
            elif isinstance(one, int) and hasattr(other, "__len__") and one * len(other) > LARGEST:
                raise TemplateError(f"a product of more than {LARGEST:,} letters or items")
        return left * right


class Sandbox(_Bounded, SandboxedEnvironment):
    """The environment of the templates of dataset.yaml."""


class ImmutableSandbox(_Bounded, ImmutableSandboxedEnvironment):
    """The environment of chat templates, as in transformers."""


def bounded(function: Callable[P, T], *words: P.args, **named: P.kwargs) -> T:
    """Call a function that compiles or renders a template.

    Raises:
        TemplateError: it fails, as a template or in any other way; it takes more than SECONDS of processor
            time (in the main thread), or more than MEMORY more bytes (on Linux).
    """

    def limited() -> T:
        try:
            with _in_time(), _in_memory():
                return function(*words, **named)
        except MemoryError:
            _size.forget()  # of the process; it may have grown since
            with _in_time(), _in_memory():
                return function(*words, **named)

    return unbounded(limited)


def unbounded(function: Callable[P, T], *words: P.args, **named: P.kwargs) -> T:
    """Call a function that renders a template for which `is_short` is true.

    Raises:
        TemplateError: it fails, as a template or in any other way.
    """
    try:
        return function(*words, **named)
    except (TemplateError, TunebookError):
        raise
    except MemoryError:
        raise TemplateError(f"it needs more than {MEMORY >> 30} GiB of memory") from None
    except RecursionError:
        raise TemplateError("RecursionError: it is nested, or calls itself, too deeply") from None
    except (TypeError, ValueError) as error:
        raise TemplateError(str(error)) from None
    except Exception as error:  # a template is a program: it can fail as any other
        raise TemplateError(f"{type(error).__name__}: {error}") from None


@functools.lru_cache(maxsize=64)  # a fork renders the same few templates in several places
def compiled(environment: Environment, text: str) -> Callable[..., str]:
    """Return the function that renders a template, with limits unless `is_short`.

    Raises:
        TemplateError: it is not a template.
    """
    template = bounded(environment.from_string, text)
    return functools.partial(unbounded if is_short(environment, text) else bounded, template.render)


def is_short(environment: Environment, text: str) -> bool:
    """Return whether a template only writes fields and chooses between them. Without loops, calls, filters
    and arithmetic it cannot take long, and to set the limits takes longer than to render it.

    Raises:
        TemplateError: it is not a template.
    """
    return all(isinstance(node, SHORT) for node in environment.parse(text).find_all(nodes.Node))


class _Size:
    """The size of this process, read again after FRESH seconds: a template is rendered for every row."""

    def __init__(self) -> None:
        self.read, self.bytes = -FRESH, 0

    def now(self) -> int:
        if (now := time.monotonic()) - self.read >= FRESH:
            with open("/proc/self/statm", "rb", buffering=0) as file:
                self.bytes = int(file.read(64).split()[0]) * PAGE
            self.read = now
        return self.bytes

    def forget(self) -> None:
        self.read = -FRESH


_size = _Size()


@contextlib.contextmanager
def _in_time() -> Any:
    # The timer counts processor time: a busy machine fails no template.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    _set_ring()
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


@functools.cache
def _set_ring() -> None:
    """Install the handler once: to do so takes twice as long as all else here, and rows are many."""

    def ring(number: int, frame: object) -> None:
        raise TemplateError(f"it takes more than {SECONDS:g} seconds")

    signal.signal(signal.SIGVTALRM, ring)


@contextlib.contextmanager
def _in_memory() -> Any:
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _size.now() + MEMORY
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
