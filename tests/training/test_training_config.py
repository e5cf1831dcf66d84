from __future__ import annotations

from pathlib import Path

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.records.splits import DS1_FIT, DS1_VAL, DS2, SVDB_VAL
from ecgmoe_edge.training.config import SHIPPED, load_config
from ecgmoe_edge.training.sources import divide


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "train.toml"
    path.write_text(text)
    return path


def test_the_shipped_configuration_loads_with_a_stable_digest() -> None:
    config = load_config()
    assert config.digest() == load_config().digest()
    assert {data.name for data in config.data} >= {"mitdb", "svdb", "cinc2017"}


def test_the_shipped_model_is_not_fitted_on_ds2_or_201_or_validation_records(data_dir: Path) -> None:
    for data in load_config().data:
        if not (data_dir / data.folder).is_dir():
            pytest.skip(f"needs {data.folder}")
        division = divide(data, data_dir)
        fit = {source.path.name for source in division.fit}
        held = {source.path.name for source in division.validation}
        assert not fit & held
        if data.folder == "mitdb":
            assert not (fit | held) & {*DS2, "201"}
        if data.name == "svdb":
            assert held == set(SVDB_VAL)


def test_each_shipped_configuration_is_loaded_by_its_name() -> None:
    assert {name: load_config(name).digest() for name in SHIPPED}["default"] == load_config().digest()
    assert {data.folder for data in load_config("ds1-only").data} == {"mitdb"}


def test_the_ds1_only_model_is_fitted_only_on_ds1(data_dir: Path) -> None:
    if not (data_dir / "mitdb").is_dir():
        pytest.skip("needs mitdb")
    (data,) = load_config("ds1-only").data
    division = divide(data, data_dir)
    assert {source.path.name for source in division.fit} == set(DS1_FIT)
    assert {source.path.name for source in division.validation} == set(DS1_VAL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data"),
        ("data = []", "no data set"),
        ('[[data]]\nname = "a"\nfolder = "a"\nlead_name = "II"', "lead_name"),
        ('[[data]]\nname = "a"\nfolder = "a"\n[fit]\nepochs = "many"', "epochs"),
        ('[[data]]\nname = "a"\nfolder = "a"\n[teacher]\ndepth = 3', "depth"),
        ('[[data]]\nname = "a"\nfolder = "a"\n[[data]]\nname = "a"\nfolder = "b"', "share a name"),
        ('[[data]]\nname = "a"\nfolder = "a"\nvalidation = ["x"]\nvalidation_share = 0.2', "not both"),
        ('[[data]]\nname = "a"\nfolder = "a"\nvalidation_share = 1.5', "less than 1"),
        ('[[data]]\nname = "a"\nfolder = "a"\ninvert_share = 2', "between 0 and 1"),
        ('[[data]]\nname = "a"\nfolder = "a"\nleads = []', "at least one lead"),
        ('[[data]]\nname = "a"\nfolder = "a"\nrates = [50]', "100 and 1000 Hz"),
        ('[[data]]\nname = "a"\nfolder = "a"\n[fit]\nepochs = 0', r">= 1 - at `\$\.fit\.epochs`"),
        ("[[data", "not valid"),
    ],
)
def test_an_invalid_configuration_is_refused_with_the_reason(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(_written(tmp_path, text))


def test_a_missing_file_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "absent.toml")
