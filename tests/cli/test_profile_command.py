"""What `profile` says besides its figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from installed_command import Cli

from ecgmoe_edge.runtime import shipped_bundle


def test_an_execution_provider_that_is_not_here_is_said(cli: Cli, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shipped_bundle(), tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["model"]["providers"] = ["NopeProvider", "CPUExecutionProvider"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    for command in (("profile", "--seconds", "5"), ("demo", "--speed", "0", "--json")):
        done = cli(*command, "--bundle", bundle)
        assert done.code == 0, done.err
        assert "NopeProvider, which is not here: the model runs on CPUExecutionProvider." in done.err
    assert cli("profile", "--seconds", "5").err == ""
