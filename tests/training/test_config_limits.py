"""A training configuration: values out of range, incomplete tables, and relative paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.training.config import QatFit, TrainingConfig, load_config

_DATA = '[[data]]\nname = "a"\nfolder = "a"\n'
_BACKBONE = '[[teacher.backbones]]\nkind = "dlinear"\n'


def _loaded(folder: Path, text: str) -> TrainingConfig:
    path = folder / "train.toml"
    path.write_text(_DATA + text)
    return load_config(path)


def test_the_shipped_configurations_are_the_ones_that_made_the_shipped_weights() -> None:
    assert load_config().digest() == "ad43390e4ed56791"
    assert load_config("ds1-only").digest() == "c7f97dca92dc3f9d"
    assert load_config("fine-tune").digest() == "20e0878426d50ada"


def test_an_incomplete_table_keeps_the_defaults_of_its_own_stage(tmp_path: Path) -> None:
    distil = _loaded(tmp_path, "[distil.qat_stage]\nepochs = 6\n[distil.float_stage]\nbatch = 64").distil
    assert distil.qat_stage == QatFit(epochs=6)
    assert (distil.qat_stage.learning_rate, distil.qat_stage.soft_epochs) == (3e-5, 0)
    assert (distil.qat_stage.validate_from, distil.qat_stage.validate_every) == (0.0, 1)
    extension = _loaded(tmp_path, "[distil.extension_stage]\nbatch = 64").distil.extension_stage
    assert (extension.epochs, extension.learning_rate, extension.soft_epochs, extension.batch) == (5, 2e-3, 0, 64)
    assert (extension.validate_from, extension.validate_every) == (0.0, 1)
    assert (distil.float_stage.epochs, distil.float_stage.learning_rate) == (16, 2e-3)


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ("fit", "epochs = 0"),
        ("fit", "batch = 1"),
        ("fit", "learning_rate = -1"),
        ("fit", "learning_rate = nan"),
        ("fit", "weight_decay = -0.1"),
        ("fit", "warm_up = 1.5"),
        ("fit", "clip = 0"),
        ("fit", "soft_epochs = -1"),
        ("fit", "balance = -1"),
        ("fit", "validate_from = 5"),
        ("fit", "validate_every = 0"),
        ("fit", "patience = -1"),
        ("distil.float_stage", "learning_rate = 0"),
        ("distil.qat_stage", "learning_rate = -1"),
        ("distil.extension_stage", "epochs = 0"),
        ("distil", "extension_cost = -0.1"),
        ("distil", "temperature = 0"),
        ("distil", "kl = -0.7"),
        ("distil", "cross_entropy = -0.3"),
        ("draw", "normal = -40"),
        ("draw", "artefact = -1"),
        ("draw", "rhythm = -1"),
        ("draw", "repeat = -2"),
        ("augment", "jitter_ms = -3"),
        ("augment", "stretch = 5"),
        ("augment", "gain = -1"),
        ("augment", "feature_noise = -1"),
        ("augment", "noise_share = 2"),
        ("augment", "noise_least = -1"),
        ("augment", "flip_share = -0.1"),
        ("augment", "memory_share = 1.1"),
        ("losses", "beat = -1"),
        ("teacher", "d = 0"),
        ("teacher", "heads = 0"),
        ("teacher", "stem = 0"),
        ("teacher", "rhythm_width = 0"),
        ("teacher", "rhythm_experts = 0"),
        ("teacher", "top_k = 0"),
        ("teacher", "anneal_steps = 0"),
        ("teacher", "lora_rank = -1"),
        ("teacher", "lora_alpha = 0"),
        ("teacher", "dropout = 2"),
        ("teacher", "dropout = -0.1"),
        ("teacher", "leads = 13"),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_key(table: str, value: str, tmp_path: Path) -> None:
    key = value.partition(" ")[0]
    where = re.escape(f"`$.{table}.{key}`")
    with pytest.raises(UsageError, match=rf"Expected `(int|float)` [<>]=? [\d.]+ - at {where}"):
        _loaded(tmp_path, f"[{table}]\n{value}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beats_per_record = -3", r"\$\.data\[0\]\.beats_per_record"),
        ("most_records = -3", r"\$\.data\[0\]\.most_records"),
        ("first_s = -1", r"\$\.data\[0\]\.first_s"),
        ("leads = [-1]", "counted from 0"),
        ('[noise]\nfolder = "n"\nrecords = []', r"length >= 1 - at `\$\.noise\.records`"),
        ("[augment]\nnoise_least = 0.3", "noise_least is larger than noise_most"),
        ("[draw]\nnormal = 0\ns = 0\nv = 0\nf = 0\nartefact = 0\nrhythm = 0\nother = 0", "no examples"),
        ("[distil]\nkl = 0\ncross_entropy = 0", "kl and cross_entropy"),
        ('[teacher]\ntasks = ["beat", "beat"]', "only once"),
        ("[teacher]\ntasks = []", "at least one task"),
        ('[teacher]\ntasks = ["beat", "mood"]', "mood"),
        (f"{_BACKBONE}length = 0", "length"),
        (f"{_BACKBONE}length = 64\nwidth = 0", "width"),
        (f"{_BACKBONE}length = 64\nrate_hz = 0", "rate_hz"),
        (f"{_BACKBONE}length = 64\nleads = 0", "leads"),
    ],
)
def test_an_invalid_value_is_refused_with_a_reason(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        _loaded(tmp_path, text)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(f"seed = {seed}\n{_DATA}")
    with pytest.raises(UsageError, match="seed"):
        load_config(path)


def test_relative_paths_of_weights_start_at_the_folder_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    text = "".join(
        f'{_BACKBONE}length = 64\nweights = "{weights}"\n' for weights in ("w.safetensors", "~/w.safetensors", "/w")
    )
    config = _loaded(tmp_path / "mine", text + f"{_BACKBONE}length = 64\n")
    expected = [str(tmp_path / "mine" / "w.safetensors"), "~/w.safetensors", "/w", None]
    assert [spec.weights for spec in config.teacher.backbones] == expected
    for folder in (tmp_path, tmp_path / "mine"):
        monkeypatch.chdir(folder)
        there = "train.toml" if folder.name == "mine" else "mine/train.toml"
        assert load_config(there).digest() == config.digest()
