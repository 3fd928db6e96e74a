"""Modules that are imported when they are first used.

Each worker of pytest-xdist collects every test file, and torch with all that stands on it takes ten seconds
to import. A test file that needs it names it by `lazy`, or takes its tokenizer or model from `tiny`, and
conftest.py gives those files to one worker:

    torch = lazy("torch")
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


class _Lazy(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_", "pytest")):  # what pytest looks for while it collects
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f'name the module: monkeypatch.setattr("{self.__name__}.{name}", ...)')


def lazy(name: str) -> Any:
    """Return a stand-in for module `name`, whose attributes are those of the real one."""
    return _Lazy(name)
