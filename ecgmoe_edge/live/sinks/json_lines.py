"""Events as JSON lines: to a stream that is open, such as stdout, or to a file."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import TracebackType
from typing import TextIO

from ecgmoe_edge.durable_files import flush_to_disk
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.live.sinks.sink import Sink
from ecgmoe_edge.streaming.events import Event, to_json

# A reader such as a pager may leave its pipe full for hours, and still gets every event: a day at 140 beats per minute.
# An event that waits takes about 1 kB.
PIPE_CAPACITY = 200_000


def json_line(event: Event) -> str:
    """The event as one line of strict JSON. Raises ValueError for a number that JSON does not have (NaN)."""
    return json.dumps(to_json(event), allow_nan=False, separators=(",", ":")) + "\n"


class JsonLinesSink(Sink):
    """One JSON object a line, strictly JSON (no NaN), flushed at once so that a pipe's reader is never behind.

    The stream belongs to the caller, and stays open. The end of a session waits until all is written.
    """

    capacity = PIPE_CAPACITY
    wait_s = None
    reader_may_leave = True

    def __init__(self, stream: TextIO, name: str = "stdout") -> None:
        self.name = name
        self._stream = stream

    def write(self, event: Event) -> None:
        """Write one event as one line."""
        self._stream.write(json_line(event))
        self._stream.flush()

    def close(self) -> None:
        """Flush."""
        self._stream.flush()


class JsonLinesFile(Sink):
    """The same into a new file.

    It grows as `PATH.part`, a whole line an event, and gets its name when the stream has ended: what has the name is
    complete. What a crash or a full disk leaves is the `.part`. Entering it raises UsageError where `path` exists, and
    OSError where it cannot be made.
    """

    capacity = PIPE_CAPACITY
    wait_s = 60.0  # a disk that takes longer for what waits is gone

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._file: TextIO | None = None
        self._complete = False

    def __enter__(self) -> JsonLinesFile:
        for path in (self._path, self._part):
            if path.exists():
                raise UsageError(f"{path} exists already, and events are not written over it: name another file.")
        self._file = self._part.open("x", encoding="utf-8")
        return self

    def write(self, event: Event) -> None:
        """Write one event as one line."""
        assert self._file is not None, "a sink is entered before it is written to"  # noqa: S101
        self._file.write(json_line(event))
        self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._complete = error is None
        self.close()

    def close(self) -> None:
        """Flush to the disk, and give the file its name unless a write has failed."""
        if self._file is None:
            return
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        if self._complete:
            if self._path.exists():  # somebody else's, made since this began
                raise FileExistsError(errno.EEXIST, f"made by others meanwhile; the events are in {self._part}")
            self._part.rename(self._path)
            flush_to_disk(self._path.parent)  # the name too
