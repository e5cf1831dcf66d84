from __future__ import annotations

import pytest
from installed_command import Cli

COMMANDS = [
    "demo",
    "train",
    "distill",
    "adapt",
    "export",
    "evaluate",
    "stream",
    "replay",
    "profile",
    "profiles",
    "doctor",
    "ports",
    "inspect",
]


def test_the_command_lists_every_command_and_its_own_version(cli: Cli) -> None:
    shown = cli("--help")
    assert shown.code == 0
    assert [name for name in COMMANDS if f"  {name} " not in shown.out] == []
    assert cli.installed("--version").out.strip() == "0.1.0"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples_and_offers_json(cli: Cli, command: str) -> None:
    shown = cli(command, "--help")
    assert shown.code == 0
    assert f"Examples:\n    ecgmoe-edge {command}" in shown.out
    assert "--json" in shown.out


def test_an_unknown_command_or_option_is_a_usage_error(cli: Cli) -> None:
    assert cli("strem").code == 2
    assert cli("stream").code == 2  # no port
    assert cli("stream", "--port", "x", "--mains", "55").code == 2
    assert cli("replay", "calibration", "--drop", "2").code == 2
    assert cli("replay", "calibration", "--stall", "ten").code == 2
    assert cli("evaluate", "--split", "ds2", "--records", "100").code == 2
