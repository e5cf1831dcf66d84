"""The commands by name, each with the examples that its --help ends with."""

from __future__ import annotations

from typing import Annotated

import typer

from ecgmoe_edge import __version__
from ecgmoe_edge.cli import (
    demo,
    distill,
    evaluate,
    export,
    inspect,
    ports,
    profile,
    profiles,
    replay,
    stream,
    train,
)
from ecgmoe_edge.cli.output import result


def _examples(*lines: str) -> str:
    # \b keeps the lines apart: help text is otherwise wrapped into one paragraph.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    name="ecgmoe-edge",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        result(__version__)
        raise typer.Exit


@app.callback(epilog=_examples("ecgmoe-edge demo", "ecgmoe-edge export --profile jetson"))
def ecgmoe_edge(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """From a full-precision ECG mixture-of-experts model to a beat-by-beat monitor on a device.

    Research software, not a medical device. Results go to stdout, words to stderr. Exit codes: 0 done,
    1 a gate failed, 2 usage, 3 bad input or device.
    """


for _command in (demo, train, distill, export, evaluate, stream, replay, profile, profiles, ports, inspect):
    _name = _command.__name__.rpartition(".")[2]
    _kind = getattr(_command, "COMMAND", None)
    app.command(_name, cls=_kind, epilog=_examples(*_command.EXAMPLES))(getattr(_command, _name))
