"""The base that this process holds: loading it once serves every job that comes here."""

from __future__ import annotations

import atexit
import contextlib
import gc

from aftertune.models.session import Backend, Session
from aftertune.models.subject import ModelRecord
from aftertune.records import digest
from aftertune.run.clock import START


class LoadedBase:
    """At most one base, open in one session."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._stack = contextlib.ExitStack()
        self._key = ""
        self._session: Session | None = None
        self._server = False
        atexit.register(self._stack.close)  # while the interpreter is whole; later its modules are half gone

    def session(self, backend: Backend, base: ModelRecord) -> Session:
        """Return the session of a base under a backend, loading it where another one is held. Raises ModelError."""
        key = digest(backend, base.identity, base.path)
        if self._session is None or key != self._key:
            with START.starting():
                self.unload()
                self._session = self._stack.enter_context(backend.open(base.path))
                self._key, self._server = key, backend.starts_server
        return self._session

    def end_server(self) -> None:
        """Let go of a base that a server of this process holds, which would keep a GPU until the process ends."""
        if self._server:
            self.unload()

    def unload(self) -> None:
        """Let go of the base; what hangs in reference cycles is collected, since a full GPU does not ask for it."""
        self._stack.close()
        held, self._session, self._key, self._server = self._session is not None, None, "", False
        if held:
            gc.collect()


LOADED = LoadedBase()
"""Of this process."""
