from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.scoring.model_card import LIMITS, read_evaluations, teacher_card

RUN = {
    "weights": "teacher.safetensors",
    "versions": {"torch": "2.13.0"},
    "fitted_on": {"mitdb": "101 106 108", "cinc2017": "A1 A2"},
    "configuration": {
        "data": [
            {"name": "mitdb", "folder": "mitdb", "validation": ["split:ds1-val"], "validation_share": 0.0},
            {"name": "cinc2017", "folder": "cinc2017", "validation": [], "validation_share": 0.2},
        ]
    },
}
DATA = [{"name": "MIT-BIH", "licence": "ODC-By 1.0", "use": "beats", "citation": "Moody 2001."}]
AGE = {
    "task": "age",
    "records": 44,
    "command": "ecgmoe-edge evaluate --teacher --task age --split ptbxl-fold8 --json",
    "age": {"mae_years": 11.5, "mean_age_mae_years": 16.62, "better_by_years": 5.12},
    "intervals": {"figures": {"mae_years": [10.0, 13.0], "mean_age_mae_years": None}},
}
_PEAKS = {"se": 99.9, "ppv": 99.8, "f1": 99.85}
BEATS = {
    "records": 22,
    "command": "ecgmoe-edge evaluate --teacher --split ds2 --json",
    "rpeaks": {"150ms": _PEAKS},
    "beats": {"S": {"f1": 31.4159}, "V": {"f1": None}},
    "S_without_232": {"f1": 41.0},
    "intervals": {"figures": {"S.f1": [20.0, 40.0]}},
}


def test_the_card_has_every_figure_with_its_command_and_all_sections() -> None:
    card = teacher_card(RUN, DATA, [AGE, BEATS])
    assert f"| age, mean absolute error, years | 11.50 (10.00 to 13.00) | 44 | `{AGE['command']}` |" in card
    assert "| predicting the mean age | 16.62 | 44 |" in card
    assert f"| S, F1 % | 31.42 (20.00 to 40.00) | 22 | `{BEATS['command']}` |" in card
    assert "| S without record 232, F1 % | 41.00 |" in card
    assert "| V, F1 % | not defined |" in card
    assert "- MIT-BIH (ODC-By 1.0): beats. Moody 2001." in card
    assert "- mitdb: fitted on 3 records; held out to choose the epoch: split:ds1-val" in card
    assert "- cinc2017: fitted on 2 records; held out to choose the epoch: 20 % of the patients" in card
    assert "Not a medical device" in card
    for part in ("## Figures", "## Training data", "## Split", "## Limits", *LIMITS):
        assert part in card


def test_figures_are_read_from_outputs_of_evaluate_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no"):
        read_evaluations(tmp_path)
    for name, content in (("b", BEATS), ("a", AGE)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert [one["records"] for one in read_evaluations(tmp_path)] == [44, 22]
    (tmp_path / "c.json").write_text('{"records": 3}')
    with pytest.raises(UsageError, match=r"c\.json is not an output"):
        read_evaluations(tmp_path)


def test_the_card_reports_a_fit_on_the_test_half() -> None:
    clean = teacher_card(RUN, DATA, [AGE, BEATS])
    assert "used neither to fit the model nor to choose the epoch" in clean
    assert "known while the decision rule" in clean
    for names in ("101 106 200", "101 201"):  # 201 is the same person as 202
        contaminated = teacher_card({**RUN, "fitted_on": {"mitdb": names}}, DATA, [AGE, BEATS])
        assert f"Fitted on {names.split()[-1]} of the test half" in contaminated
        assert "neither to fit" not in contaminated
    assert "neither to fit" in teacher_card(
        {**RUN, "fitted_on": {"mitdb": "101", "cinc2017": "100 200"}}, DATA, [AGE, BEATS]
    )
