"""The command-line application: all commands, each with examples at the end of its --help."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ecgmoe_edge import __version__
from ecgmoe_edge.cli import (
    adapt,
    demo,
    distill,
    doctor,
    evaluate,
    export,
    inspect,
    overlaps,
    ports,
    profile,
    profiles,
    replay,
    stream,
    train,
)
from ecgmoe_edge.cli.options import FiniteNumbers
from ecgmoe_edge.cli.output import result, say

_READER_CLOSED = 141  # exit code if the reader of stdout closed it: 128 + SIGPIPE


@contextmanager
def _quiet_without_reader() -> Iterator[None]:
    """Exit without a message if the reader of the output closed it, as `| head` does."""
    try:
        yield
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # buffered output would raise the error again at exit
            os.dup2(null, stream.fileno())
        raise typer.Exit(_READER_CLOSED) from None


class _Commands(TyperGroup):
    """The group of all commands; Typer alone would exit with 1 if the reader of the output closed it."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the arguments; --help and --version print here."""
        with _quiet_without_reader():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _quiet_without_reader():
            return super().invoke(ctx)


def _examples(*lines: str) -> str:
    # \b keeps the line breaks; otherwise the help text is wrapped into one paragraph.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    name="ecgmoe-edge",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ecgmoe_edge.streaming.engines import engine_line

        result(__version__)
        say(engine_line())
        raise typer.Exit


@app.callback(epilog=_examples("ecgmoe-edge demo", "ecgmoe-edge export --profile jetson"))
def ecgmoe_edge(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """From a full-precision ECG mixture-of-experts model to a beat-by-beat monitor on a device.

    Research software, not a medical device. Results go to stdout, messages to stderr. Exit codes: 0 success,
    1 a gate failed, 2 usage, 3 bad input or device, 130 interrupted, 141 the reader of the output closed it.

    The streaming stages run in C if this installation has the C engine; ECGMOE_ENGINE=numpy or ECGMOE_ENGINE=c chooses.
    Both engines give the same events.
    """


_COMMANDS = (
    demo, train, distill, adapt, export, evaluate, stream, replay, profile, profiles, doctor, ports, inspect, overlaps,
)  # fmt: skip
for _command in _COMMANDS:
    _name = _command.__name__.rpartition(".")[2]
    _kind = getattr(_command, "COMMAND", FiniteNumbers)
    app.command(_name, cls=_kind, epilog=_examples(*_command.EXAMPLES))(getattr(_command, _name))
