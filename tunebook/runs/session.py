"""What carries a run across machines: sessions, their cost and time limit, SIGTERM, the store.

`sessions.json` of a run has one entry for each start: when, where, how many seconds (as last recorded), and
how it ended. Only the parent process writes it.

Environment variables, set by generated jobs (docs/rented-gpus.md): TUNEBOOK_NOTICE, seconds between SIGTERM
and the shutdown of the machine; TUNEBOOK_MAX_HOURS, limit for all sessions together; TUNEBOOK_QUIET, seconds
without progress or output after which a child counts as hung; TUNEBOOK_DOLLARS_PER_HOUR, price of the whole
machine.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from tunebook.core.environment import environment
from tunebook.core.errors import MachineError, StoppedError, TunebookError
from tunebook.core.files import read_json, write_json
from tunebook.runs.records import SessionEntry
from tunebook.runs.run import Run
from tunebook.runs.store import Store

EVERY = 60.0  # seconds between saved states, so that progress can be followed from another machine


class Session:
    """A context manager around the work on `run`; the caller holds the run's lock."""

    def __init__(self, run: Run, url: str | None, note: Callable[[str], None]) -> None:
        self.run, self.note = run, note
        self.store = Store(url, run) if url else None
        self.begun: float | None = None
        self.saver: _Saver | None = None
        self.before: Any = None
        here = environment()
        self.notice, self.quiet = here.notice, here.quiet

    def __enter__(self) -> Session:
        self.before = signal.signal(signal.SIGTERM, _stop)
        try:
            state = self.store.fetch(self.note) if self.store else None
        except BaseException:
            signal.signal(signal.SIGTERM, self.before)
            raise
        if state:
            step = f", checkpoint of step {state['step']}" if state["step"] is not None else ""
            self.run.forget("tokenise")  # the tokenised rows stay on the machine that made them
            self.note(f"store: fetched state {state['number']} of {state['time']}{step}")
        return self

    def begin(self) -> None:
        """Record the start of a session and save a first state, so that a store without write access is
        noticed before any training.

        Raises:
            MachineError: the time limit (TUNEBOOK_MAX_HOURS) is reached.
        """
        sessions = self.run.sessions()
        for earlier in sessions:
            earlier.setdefault("end", "killed")
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry: SessionEntry = {"started": started, "host": socket.gethostname(), "seconds": 0.0}
        rate = environment().dollars_per_hour
        if rate is not None:
            entry["dollars_per_hour"] = rate
        write_json(self.run / "sessions.json", [*sessions, entry])
        self.begun = time.monotonic()
        if self.spent():
            raise MachineError(self.limit_message(), code="run.time_limit")
        if self.store:
            self.store.save()
            self.saver = _Saver(self.store, self)

    def saved(self) -> None:
        """Note that a checkpoint was written; it is then uploaded in the background."""
        if self.saver:
            self.saver.wake.set()

    def spent(self) -> bool:
        """Return whether all sessions together have reached TUNEBOOK_MAX_HOURS."""
        most = environment().max_hours
        if most is None or self.begun is None:
            return False
        earlier = sum(entry["seconds"] for entry in self.run.sessions()[:-1])
        return earlier + time.monotonic() - self.begun >= most * 3600

    def limit_message(self) -> str:
        most = environment().max_hours
        return (
            f"Time limit reached (TUNEBOOK_MAX_HOURS={most:.2f}). The saved state is kept; "
            "rerun with a higher limit (`--max-cost` of `tunebook launch`, MAX_COST=) to resume."
        )

    def beat(self, end: str | None = None) -> None:
        """Record how long this session has lasted and, with `end`, how it ended."""
        if self.begun is not None:
            sessions = self.run.sessions()
            sessions[-1]["seconds"] = round(time.monotonic() - self.begun, 1)
            if end:
                sessions[-1]["end"] = end
            write_json(self.run / "sessions.json", sessions)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        stopped = isinstance(error, StoppedError)
        try:
            if self.begun is not None:
                # a second signal must not interrupt saving the last state
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                if self.saver:
                    self.saver.close()
                self.beat("stopped" if stopped else "failed" if error else "finished")
                self._last_state(stopped)
            elif self.store and error is None and self.run.done("report") and not self.store.has_everything:
                self.store.save()  # the state that could not be saved when the run ended
        finally:
            signal.signal(signal.SIGTERM, self.before)

    def _last_state(self, stopped: bool) -> None:
        if not self.store:
            return
        try:
            number = self.store.save()
            if stopped:
                self.note(f"store: saved as state {number}")
        except MachineError as problem:
            kept = read_json(self.run / "store.json", {})
            self.note(f"the store only has state {kept.get('number')} (step {kept.get('step')}): {problem}")
            if not stopped:
                raise


class _Saver(threading.Thread):
    """Saves states in the background: after each checkpoint, and every minute."""

    def __init__(self, store: Store, session: Session) -> None:
        super().__init__(daemon=True)
        self.store, self.session = store, session
        self.wake, self.closing = threading.Event(), False
        self.start()

    def run(self) -> None:
        while not self.closing:
            self.wake.wait(EVERY)
            self.wake.clear()
            if self.closing:
                return
            try:
                self.session.beat()
                self.store.save()
            except (TunebookError, OSError) as error:
                self.session.note(f"{error} The run continues; the next state will be saved again.")

    def close(self) -> None:
        """Wait until the current state is saved."""
        self.closing = True
        self.wake.set()
        self.join()


def _stop(*_: Any) -> None:
    raise StoppedError(
        "Stopped. Rerun the same command to resume from the last saved state.", code="run.stopped"
    )
