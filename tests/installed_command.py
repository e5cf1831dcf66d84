"""Runs the command line, as a function in this process or as the installed command.

Both ways give the same results, because the installed command only calls `ecgmoe_edge.cli.main`. Most tests call it in
this process, where numpy, torch and the runtimes are loaded once. Tests about processes, pipes and signals use the
installed command, and so do commands that run in parallel to the test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from ecgmoe_edge.cli import main

COMMAND = Path(sys.executable).with_name("ecgmoe-edge")
SHIPPED_SAMPLES = 108_000  # length of the shipped recording


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
    """A running command; its output goes to files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def events(self) -> list[dict[str, Any]]:
        """The events in the complete lines so far."""
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, enough: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """Wait until the events are `enough`, and return them."""
        deadline = time.monotonic() + timeout_s
        while not enough(events := self.events()):
            assert time.monotonic() < deadline, f"timeout; stderr: {self.err.read_text()}; last: {events[-3:]}"
            assert self.process.poll() is None or enough(self.events()), self.err.read_text()
            time.sleep(0.05)
        return events

    def finish(self, timeout_s: float = 60.0) -> Finished:
        code = self.process.wait(timeout_s)
        return Finished(code, self.out.read_text(), self.err.read_text())


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Cli:
    """Runs commands in a folder."""

    folder: Path
    running: list[Running] = field(default_factory=list)

    def __call__(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 120.0
    ) -> Finished:
        """Run a command in this process, with its own arguments, folder, environment and output."""
        words = [str(COMMAND), *map(str, arguments)]
        before = Path.cwd()
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as out,
            tempfile.TemporaryFile("w+", encoding="utf-8") as err,
            mock.patch.dict(os.environ, env or {}),
            mock.patch.multiple(sys, argv=words, stdout=out, stderr=err),
            at_most(timeout_s),
        ):
            os.chdir(self.folder)
            try:
                main()
                code: object = 0
            except SystemExit as end:
                code = end.code or 0
            finally:
                os.chdir(before)
            out.seek(0)
            err.seek(0)
            assert isinstance(code, int)
            return Finished(code, out.read(), err.read())

    def installed(self, *arguments: str | Path, timeout_s: float = 120.0) -> Finished:
        """Run the installed command in a process."""
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path) -> Running:
        """Start the installed command, which runs in parallel to the test."""
        number = len(self.running)
        out, err = self.folder / f"out-{number}", self.folder / f"err-{number}"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen([COMMAND, *arguments], cwd=self.folder, stdout=out_file, stderr=err_file)
        self.running.append(Running(process, out, err))
        return self.running[-1]


def wait_for_port(cli: Cli, name: str) -> Path:
    """Wait for the port of a virtual Holter that was started in the folder of the test."""
    deadline = time.monotonic() + 60
    while not (port := cli.folder / name).exists():
        assert time.monotonic() < deadline, "the virtual Holter made no port"
        time.sleep(0.02)
    return port
