"""The installed command, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("ecgmoe-edge")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Running:
    """A command that is still going, its output in files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def events(self) -> list[dict[str, Any]]:
        """The whole lines so far."""
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, enough: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """The events as soon as they are `enough`."""
        deadline = time.monotonic() + timeout_s
        while not enough(events := self.events()):
            assert time.monotonic() < deadline, f"waited in vain; stderr: {self.err.read_text()}; last: {events[-3:]}"
            assert self.process.poll() is None or enough(self.events()), self.err.read_text()
            time.sleep(0.05)
        return events

    def finish(self, timeout_s: float = 60.0) -> Finished:
        code = self.process.wait(timeout_s)
        return Finished(code, self.out.read_text(), self.err.read_text())


@dataclass
class Cli:
    """Runs the installed command in a folder of its own."""

    folder: Path
    running: list[Running] = field(default_factory=list)

    def __call__(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 120.0
    ) -> Finished:
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path) -> Running:
        number = len(self.running)
        out, err = self.folder / f"out-{number}", self.folder / f"err-{number}"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen([COMMAND, *arguments], cwd=self.folder, stdout=out_file, stderr=err_file)
        self.running.append(Running(process, out, err))
        return self.running[-1]
