"""`profiles`: lists the boards for which a model can be exported."""

from __future__ import annotations

from typing import Annotated

import typer

from ecgmoe_edge.cli.options import JsonOption
from ecgmoe_edge.cli.output import result, result_json

EXAMPLES = (
    "ecgmoe-edge profiles",
    "ecgmoe-edge profiles jetson --json",
    "ecgmoe-edge profiles ./my-board.toml",
)


def profiles(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of a profile, or your own TOML file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the device profiles, or show one in full."""
    import msgspec

    from ecgmoe_edge.device_profiles import list_profiles, load_profile

    if name is not None:
        result_json(msgspec.to_builtins(load_profile(name)))
        return
    found = [load_profile(each) for each in list_profiles()]
    if as_json:
        result_json([msgspec.to_builtins(each) for each in found])
        return
    width = max(len(each.name) for each in found)
    for each in found:
        result(
            f"{each.name:<{width}}  {each.runtime.format} {each.precision.precision}, "
            f"width {each.model.width}, tasks {' '.join(each.model.tasks)}  {each.title}"
        )
