"""Writes events as JSON lines, to an open stream such as stdout or to a file."""

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

# A reader such as a pager may block its pipe for hours and must still receive every event: this is a day at 140 beats
# per minute. A waiting event takes about 1 kB.
PIPE_CAPACITY = 200_000


def json_line(event: Event) -> str:
    """The event as one line of strict JSON.

    Raises:
        ValueError: the event contains a number that JSON does not have (NaN).
    """
    return json.dumps(to_json(event), allow_nan=False, separators=(",", ":")) + "\n"


class JsonLinesSink(Sink):
    """Writes one JSON object per line to an open stream.

    Each line is flushed at once, so that a pipe's reader is current. The caller keeps the stream open. At its end, a
    session waits until all events are written.
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
    """Writes one JSON object per line to a new file.

    During the stream the file is called `PATH.part`; after the end event it is renamed, so a file called `PATH` is
    complete. After a crash or on a full disk the `.part` remains. Entering the sink raises UsageError if the file
    exists, and OSError if it cannot be created.
    """

    capacity = PIPE_CAPACITY
    wait_s = 60.0  # a disk that needs longer for the queued events has failed

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._file: TextIO | None = None
        self._complete = False

    def __enter__(self) -> JsonLinesFile:
        for path in (self._path, self._part):
            if path.exists():
                raise UsageError(f"{path} already exists and is not overwritten: choose another file.")
        self._file = self._part.open("x", encoding="utf-8")
        return self

    def write(self, event: Event) -> None:
        """Write one event as one line."""
        assert self._file is not None, "a sink must be entered before an event is written"  # noqa: S101
        self._file.write(json_line(event))
        self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._complete = error is None
        self.close()

    def close(self) -> None:
        """Flush to the disk, and rename the file unless a write has failed."""
        if self._file is None:
            return
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        if self._complete:
            if self._path.exists():  # created by another program during the stream
                raise FileExistsError(errno.EEXIST, f"another program has created it; the events are in {self._part}")
            self._part.rename(self._path)
            flush_to_disk(self._path.parent)  # the name too
