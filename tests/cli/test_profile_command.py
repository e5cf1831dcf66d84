"""Messages and exit codes of `profile`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from installed_command import Cli

from ecgmoe_edge.runtime import shipped_bundle


def test_a_missing_execution_provider_is_reported(cli: Cli, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shipped_bundle(), tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["model"]["providers"] = ["NopeProvider", "CPUExecutionProvider"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    for command in (("profile", "--seconds", "5"), ("demo", "--speed", "0", "--json")):
        done = cli(*command, "--bundle", bundle)
        assert done.code == 0, done.err
        assert "NopeProvider, which is not available here: the model runs on CPUExecutionProvider." in done.err
    assert cli("profile", "--seconds", "5").err == ""
    as_json = cli("profile", "--seconds", "5", "--bundle", bundle, "--json")
    assert as_json.err.count("NopeProvider, which is not available here") == 1
    assert json.loads(as_json.out)["providers_missing"] == ["NopeProvider"]


def profile_file(folder: Path, inference_ms: float) -> Path:
    """The profile generic-cpu with another limit, and generous ones besides."""
    import ecgmoe_edge.device_profiles as profiles

    text = (Path(profiles.__file__).parent / "generic-cpu.toml").read_text()
    text = text.replace("inference_ms_p95 = 5.0", f"inference_ms_p95 = {inference_ms}")
    text = text.replace("real_time_factor = 100.0", "real_time_factor = 1.0").replace("262144", "4000000")
    text = text.replace("label_delay_ms_p95 = 600.0", "label_delay_ms_p95 = 5000.0")
    path = folder / f"limit-{inference_ms:g}.toml"
    path.write_text(text)
    return path


def test_an_exceeded_budget_has_exit_code_1_only_if_it_is_enforced(cli: Cli, tmp_path: Path) -> None:
    tight, wide = profile_file(tmp_path, 1e-6), profile_file(tmp_path, 1e6)
    shown = cli("profile", "--seconds", "5", "--profile", tight, "--json")
    assert shown.code == 0, shown.err
    assert [each["verdict"] for each in json.loads(shown.out)["budget"]] == ["over", "within", "within", "within"]
    failed = cli("profile", "--seconds", "5", "--profile", tight, "--budget")
    assert failed.code == 1
    assert "the budget of the profile generic-cpu is exceeded: inference p95" in failed.err
    assert "over" in failed.out
    kept = cli("profile", "--seconds", "5", "--profile", wide, "--budget")
    assert kept.code == 0, kept.err
    assert cli("profile", "--profile", "toaster").code == 3
