from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace as changed
from torch import Tensor

from ecgmoe_edge.contract import INPUTS, SHAPES
from ecgmoe_edge.errors import ModelError, UsageError
from ecgmoe_edge.model.macs import count_macs
from ecgmoe_edge.model.student import Student, StudentConfig, load_student, save_student
from ecgmoe_edge.training import run
from ecgmoe_edge.training.augment import Augmenter, clean_batch
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.config import ExtensionFit, TrainingConfig
from ecgmoe_edge.training.distil import distil
from ecgmoe_edge.training.examples import Examples
from ecgmoe_edge.training.extension import (
    Extension,
    extension_loss,
    fit_extension,
    parameters_of_task,
    router_loss,
)
from ecgmoe_edge.training.limits import Clock, OutOfTime
from ecgmoe_edge.training.run_folder import load_examples
from ecgmoe_edge.training.teachers import teaching_outputs

ROUTER = ("trunk.route_morphology.weight", "trunk.route_morphology.bias")


def made_beats(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    beat, features, rr_sequence = (torch.randn(n, *SHAPES[name], generator=g) for name in INPUTS)
    return beat, features, rr_sequence


def made_student(width: str = "nano", seed: int = 0, **changes: object) -> Student:
    torch.manual_seed(seed)
    return Student(StudentConfig.named(width, **{"tasks": ("beat", "rhythm"), **changes})).eval()


def made_extension(student: Student) -> Extension:
    """Return an extension in evaluation mode whose light expert answers about half of the beats."""
    torch.manual_seed(1)
    extension = Extension(student).eval()
    assert extension.light_route is not None
    with torch.no_grad():
        extension.light_route.weight.normal_(0, 2.0)
        extension.light_route.bias.sub_(extension(*made_beats(200)).margin.median())
    return extension


@pytest.fixture
def student() -> Student:
    return made_student(morphology_widths=(1.0, 1.0, 1.0))


@pytest.fixture
def config(tiny_config: TrainingConfig) -> TrainingConfig:
    stage = ExtensionFit(epochs=2, batch=32)
    return changed(tiny_config, distil=changed(tiny_config.distil, extension_stage=stage))


def test_a_beat_of_a_full_expert_gets_the_same_answer_bit_for_bit_and_another_that_of_the_light_expert(
    student: Student,
) -> None:
    extension = made_extension(student)
    merged, beats, routes = extension.merged(), made_beats(80), set()
    for i in range(80):  # one at a time, as on the device
        one = beats[0][i : i + 1], beats[1][i : i + 1], beats[2][i : i + 1]
        before, after = student(*one), merged(*one)
        light, _, margin = extension(*one)
        chosen = int(after["route_morphology"].argmax())
        routes.add(chosen)
        if margin[0] >= 0:
            assert chosen == 0
            torch.testing.assert_close(after["beat"], light["beat"])
        else:
            assert chosen == 1 + int(before["route_morphology"].argmax())
            assert torch.equal(after["beat"], before["beat"])
            assert torch.equal(after["rhythm"], before["rhythm"])  # not fitted yet
    assert len(routes) > 2


@pytest.mark.parametrize("width", ["nano", "small"])
def test_the_parameters_of_the_rhythm_task_are_those_that_no_other_task_uses(width: str) -> None:
    student = made_student(width)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if ".up." in name and name.endswith(("beat", "rhythm")):
                parameter.normal_()  # begins at zero, where the other LoRA matrix has no gradient
    student.train()
    used = {}
    for task in student.tasks:
        student.zero_grad()
        torch.autograd.backward(student(*made_beats(60), route="soft")[task].square().sum())
        used[task] = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert used["rhythm"] - used["beat"] == set(parameters_of_task(student, "rhythm"))
    assert used["beat"] - used["rhythm"] == set(parameters_of_task(student, "beat"))


def test_a_fit_changes_the_light_expert_its_route_and_the_rhythm_task_only(
    student: Student, sets: ExampleSets, config: TrainingConfig, tmp_path: Path
) -> None:
    extension = Extension(student)
    light = {name: value.clone() for name, value in extension.student.morphology[0].state_dict().items()}
    fit_extension(extension, sets, config, Augmenter(config.augment), tmp_path, name="extended", begun_from="a student")
    merged, rhythm = extension.merged(), parameters_of_task(student, "rhythm")
    before, after = student.state_dict(), merged.state_dict()
    for name, value in before.items():
        if name in ROUTER:
            assert torch.equal(after[name][1:], value)
        elif name in rhythm:
            assert not torch.equal(after[name], value), name
        elif not name.startswith("morphology."):
            assert torch.equal(after[name], value), name
    for old, new in zip(student.morphology, list(merged.morphology)[1:], strict=True):
        assert all(torch.equal(value, new.state_dict()[name]) for name, value in old.state_dict().items())
    assert not any(torch.equal(value, merged.morphology[0].state_dict()[name]) for name, value in light.items())
    rows = list(csv.DictReader((tmp_path / "extended.metrics.csv").open()))
    assert all(row["score"] for row in rows)
    assert {"train.light.beat", "train.light.rhythm", "train.rhythm", "train.route", "train.full"} <= set(rows[0])


def test_the_score_of_an_epoch_counts_the_cost_of_the_full_experts(
    student: Student, sets: ExampleSets, config: TrainingConfig, tmp_path: Path
) -> None:
    scores = {}
    for name, cost in (("free", 0.0), ("dear", 0.5)):
        extension = made_extension(student).requires_grad_(False)
        assert extension.light_route is not None
        extension.light_route.weight.requires_grad_(True)
        own = changed(config.distil, extension_cost=cost, extension_stage=ExtensionFit(epochs=1, learning_rate=1e-12))
        settings = changed(config, distil=own)
        result = fit_extension(
            extension, sets, settings, Augmenter(config.augment), tmp_path / name, name="x", begun_from=""
        )
        scores[name] = result.best_score
        (light,) = (value for key, value in result.rows[0].items() if key.endswith(".morphology.expert0"))
    assert 0.0 < light < 1.0
    assert scores["free"] - scores["dear"] == pytest.approx(50.0 * (1.0 - light), abs=1e-3)


def trained_extension(student: Student, cost: float, steps: int) -> Extension:
    torch.manual_seed(0)
    extension = Extension(student)
    optimizer = torch.optim.Adam([p for p in extension.parameters() if p.requires_grad], 1e-2)
    labels = {"beat": torch.zeros(64, dtype=torch.long), "rhythm": torch.full((64,), -1)}
    for step in range(steps):
        loss, _ = extension_loss(extension(*made_beats(64, step)), labels, {"beat": 1.0, "rhythm": 0.5}, cost)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return extension.eval()


def test_a_beat_goes_to_the_light_expert_if_its_answer_differs_by_less_than_the_cost(student: Student) -> None:
    beats = made_beats(300, seed=1000)
    light_share = {}
    for cost in (0.0, 10.0):
        light_share[cost] = float((trained_extension(student, cost, 60)(*beats).margin >= 0).float().mean())
    assert light_share[0.0] < 0.05
    assert light_share[10.0] > 0.95


def test_the_light_expert_learns_the_answers_of_the_full_ones(student: Student) -> None:
    beats, target = made_beats(300, seed=1000), made_student(seed=0, morphology_widths=(1.0, 1.0, 1.0))
    full = target(*beats)["beat"].log_softmax(1)
    differences = [
        (extension(*beats).light["beat"].log_softmax(1) - full).abs().mean().item()
        for extension in (Extension(student).eval(), trained_extension(student, 0.1, 100))
    ]
    assert differences[1] < 0.6 * differences[0]


def test_the_loss_of_the_router_turns_at_the_cost_and_leaves_out_artefacts() -> None:
    margin = torch.zeros(3, requires_grad=True)
    divergence = torch.tensor([0.05, 0.2, 0.2], requires_grad=True)
    torch.autograd.backward(router_loss(divergence, margin, torch.tensor([True, True, False]), 0.1))
    assert margin.grad is not None
    assert torch.equal((-margin.grad).sign(), torch.tensor([1.0, -1.0, 0.0]))
    assert divergence.grad is None
    assert router_loss(divergence, margin, torch.tensor([False] * 3), 0.1) == 0.0


@pytest.mark.parametrize(("width", "tasks"), [("nano", ("beat",)), ("small", ("beat", "rhythm"))])
def test_a_student_of_every_width_is_extended_and_reported_with_its_multiplications(
    width: str, tasks: tuple[str, ...], patients: Path, run_folder: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    save_student(tmp_path / "mine.safetensors", made_student(width, tasks=tasks))
    path = run.extend(config, patients, tmp_path, student=tmp_path / "mine.safetensors", cache=run_folder / "examples")
    assert path == tmp_path / f"student-{width}-extended.safetensors"
    extended = load_student(path)
    assert extended.tasks == tasks
    assert extended.config.morphology_widths == (0.0, *StudentConfig.named(width).morphology_widths)
    report = json.loads(path.with_suffix(".json").read_text())
    assert report["begun_from"] == "mine.safetensors"
    ward = report["validation"]["ward"]
    macs = count_macs(extended.config)
    assert min(macs.experts["morphology"]) < 0.1 * max(macs.experts["morphology"])
    shares = zip(ward["experts"]["morphology"], macs.experts["morphology"], strict=True)
    rest = macs.trunk + macs.tail + macs.experts["rhythm"][0]
    assert ward["mean_macs"] == pytest.approx(rest + sum(share * each for share, each in shares), rel=1e-3)
    assert ward["dense_twin_macs"] == count_macs(load_student(tmp_path / "mine.safetensors").config.dense_twin()).most
    finished = {name: value.clone() for name, value in extended.state_dict().items()}
    run.extend(config, patients, tmp_path, student=tmp_path / "mine.safetensors", cache=run_folder / "examples")
    assert all(torch.equal(value, finished[name]) for name, value in load_student(path).state_dict().items())


class _EndsAfter(Clock):
    """A clock that reaches its limit at the n-th check."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def check(self, needed_s: float = 0.0) -> None:
        self.left -= 1
        if self.left < 0:
            raise OutOfTime


def test_an_interrupted_extension_resumes_to_the_same_weights_bit_for_bit(
    student: Student, sets: ExampleSets, config: TrainingConfig, tmp_path: Path
) -> None:
    def fit(out: Path, clock: Clock) -> Extension:
        torch.manual_seed(config.seed)
        extension = Extension(student)
        options = {"name": "extended", "begun_from": "a student"}
        fit_extension(extension, sets, config, Augmenter(config.augment), out, clock=clock, **options)  # type: ignore[arg-type]
        return extension

    whole = fit(tmp_path / "whole", Clock()).merged().state_dict()
    for looks in (3, 7):  # in the first epoch; in the second
        with pytest.raises(OutOfTime):
            fit(tmp_path / "cut", _EndsAfter(looks))
    assert (tmp_path / "cut" / "extended.checkpoint.safetensors").is_file()
    resumed = fit(tmp_path / "cut", Clock())
    assert all(torch.equal(value, resumed.merged().state_dict()[name]) for name, value in whole.items())


def test_a_student_that_cannot_be_extended_is_refused(student: Student) -> None:
    with pytest.raises(ModelError, match="has a light morphology expert already"):
        Extension(Extension(student).merged())
    with pytest.raises(ModelError, match="does not classify beats"):
        Extension(made_student(tasks=("rhythm",)))


def test_a_fit_begins_with_the_given_weights(
    patients: Path, run_folder: Path, tiny_config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = made_student(tasks=("beat",))
    save_student(tmp_path / "begun.safetensors", given)
    first: list[dict[str, Tensor]] = []

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(student: Student, *_: object, begun_from: str, **__: object) -> None:
        first.append({name: value.clone() for name, value in student.state_dict().items()})
        assert begun_from
        raise Stopped

    monkeypatch.setattr(run, "distil", stop)
    distill = _distiller(tiny_config, patients, run_folder, tmp_path)
    with pytest.raises(Stopped):
        distill(start=tmp_path / "begun.safetensors", width="nano")
    assert all(torch.equal(value, first[0][name]) for name, value in given.state_dict().items())


def _distiller(config: TrainingConfig, patients: Path, run_folder: Path, out: Path) -> Callable[..., Path]:
    def distill(**options: object) -> Path:
        teacher, cache = run_folder / "teacher.safetensors", run_folder / "examples"
        return run.distill(config, patients, out, **{"teacher": teacher, "cache": cache, **options})  # type: ignore[arg-type]

    return distill


def test_a_start_that_does_not_fit_the_wanted_student_is_refused(
    patients: Path, run_folder: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    distill = _distiller(tiny_config, patients, run_folder, tmp_path)
    begun = tmp_path / "student-nano.safetensors"
    save_student(begun, made_student(tasks=("beat",), morphology_widths=(0.5, 1.0)))
    with pytest.raises(UsageError, match=r"would replace .* another folder with -o"):
        distill(start=begun, width="nano")
    begun = begun.rename(tmp_path / "begun.safetensors")
    with pytest.raises(UsageError, match=r"has morphology_widths \(0.5, 1.0\) instead of \(1.0, 1.0\), so a fit"):
        distill(start=begun, width="nano")
    with pytest.raises(UsageError, match="width nano instead of small; waveform 8 instead of 64"):
        distill(start=begun, width="small")
    with pytest.raises(ModelError, match="contains 'ecgmoe-edge teacher"):
        distill(start=run_folder / "teacher.safetensors", width="nano")


def test_a_student_that_teaches_gets_the_inputs_of_a_student(student: Student, examples: Examples) -> None:
    batch = clean_batch(examples, np.arange(20, dtype=np.int64))
    assert batch.long_beat.shape != batch.beat.shape
    taught = teaching_outputs(student, batch, ("beat",))
    assert taught.keys() == {"beat"}
    assert torch.equal(taught["beat"], student(*batch.student_inputs())["beat"])


@pytest.mark.parametrize(("keep_routes", "costs"), [(True, False), (False, True)])
def test_the_cost_of_the_experts_is_not_in_the_loss_if_the_routes_are_kept(
    keep_routes: bool, costs: bool, student: Student, sets: ExampleSets, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    extended = made_extension(student).merged()
    twin = Student(extended.config)
    twin.load_state_dict(extended.state_dict())
    config = changed(tiny_config, distil=changed(tiny_config.distil, cost_weight=5.0))
    result = distil(
        twin,
        extended,
        sets,
        config,
        Augmenter(tiny_config.augment),
        tmp_path,
        settings=changed(tiny_config.distil.qat_stage, epochs=1),
        keep_routes=keep_routes,
    )
    assert ("train.cost" in result.rows[0]) is costs


def test_a_task_that_the_teaching_student_lacks_is_refused(
    patients: Path, run_folder: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    save_student(tmp_path / "beats.safetensors", made_student(tasks=("beat",)))
    distill = _distiller(tiny_config, patients, run_folder, tmp_path)
    with pytest.raises(UsageError, match=r"beats.safetensors was not trained for rhythm"):
        distill(teacher=tmp_path / "beats.safetensors", width="small", tasks=("beat", "rhythm"))


@pytest.mark.slow
def test_an_extended_student_keeps_its_routes_in_quantization_aware_training(
    patients: Path, run_folder: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    cache = run_folder / "examples"
    save_student(tmp_path / "extended.safetensors", made_extension(made_student()).merged())
    extended = tmp_path / "extended.safetensors"
    path = run.quantize(config, patients, tmp_path, student=extended, teacher=extended, cache=cache)
    rows = list(csv.DictReader((tmp_path / "extended-qat.metrics.csv").open()))
    assert "train.cost" not in rows[0]
    report = json.loads(path.with_suffix(".json").read_text())["validation"]["ward"]
    with torch.no_grad():
        (held,) = load_examples(config, patients, tmp_path, cache, 1, None, False, False, None).validation.values()
        batch = clean_batch(held, np.arange(len(held), dtype=np.int64))
        route = load_student(extended)(*batch.student_inputs())["route_morphology"].argmax(1)
    assert report["experts"]["morphology"][0] == pytest.approx(float((route == 0).float().mean()), abs=0.1)


def test_without_a_light_expert_only_the_rhythm_task_is_fitted(tmp_path: Path) -> None:
    student = Student(StudentConfig.named("small", waveform=8, dim=16)).eval()
    extension = Extension(student, light_expert=False)
    fitted = {name for name, parameter in extension.student.named_parameters() if parameter.requires_grad}
    assert fitted == set(parameters_of_task(student, "rhythm"))
    assert extension.merged().config == student.config
    batch = [torch.randn(5, *SHAPES[name]) for name in INPUTS]
    outputs = extension(*batch)
    assert not outputs.light
    assert outputs.margin is None
    labels = {"beat": torch.tensor([0, 1, 2, 3, 4]), "rhythm": torch.tensor([0, 1, 2, 3, -1])}
    loss, parts = extension_loss(outputs, labels, {"rhythm": 1.0, "beat": 1.0}, 0.1)
    assert set(parts) == {"rhythm"}
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in extension.student.parameters() if parameter.requires_grad)
    torch.testing.assert_close(extension.merged()(*batch)["beat"], student(*batch)["beat"], rtol=0, atol=0)


def test_nothing_is_left_to_fit_in_a_student_without_rhythm_task_and_light_expert() -> None:
    with pytest.raises(ModelError, match="nothing to fit"):
        Extension(Student(StudentConfig.named("nano", tasks=("beat",))), light_expert=False)
