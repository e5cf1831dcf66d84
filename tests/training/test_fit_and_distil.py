from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.macs import count_macs
from ecgmoe_edge.model.shared_layers import Route
from ecgmoe_edge.model.student import Student, StudentConfig, load_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import TeacherConfig
from ecgmoe_edge.model.teacher_file import load_teacher
from ecgmoe_edge.model.weights_file import read_metadata
from ecgmoe_edge.tasks import BEAT_ANSWERS, RHYTHM_CLASSES, task_named, tasks_named
from ecgmoe_edge.training.augment import Augmenter, Batch, clean_batch, read_noise
from ecgmoe_edge.training.bank_loss import bank_loss
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.config import DataSet, Fit, TrainingConfig
from ecgmoe_edge.training.distil import distillation_losses
from ecgmoe_edge.training.examples import NOT_AF, Examples
from ecgmoe_edge.training.fit import beat_loss, fit_teacher, labels_loss, labels_losses, task_loss, trained_tasks
from ecgmoe_edge.training.limits import Clock, OutOfTime, choose_device
from ecgmoe_edge.training.loop import Stage, one_cycle, run_stage
from ecgmoe_edge.training.run import distill, quantize, train

UNEQUAL = (0.0, 0.25, 1.0)  # sizes of morphology experts


class Killed(Exception):  # noqa: N818
    """Simulates the end of the process."""


def _teacher(config: TrainingConfig) -> EcgMoe:
    torch.manual_seed(config.seed)
    return EcgMoe(config.teacher)


class _DiesInEpoch(Augmenter):
    """Makes batches until a given one, then raises `Killed`."""

    def __init__(self, config: TrainingConfig, batches: int) -> None:
        super().__init__(config.augment)
        self.left = batches

    def batch(self, examples: Examples, index: np.ndarray, rng: np.random.Generator) -> Batch:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().batch(examples, index, rng)


def _same(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def _log_of(folder: Path) -> list[dict[str, str]]:
    """Read the metrics log without the times."""
    with (folder / "teacher.metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_training_writes_weights_metrics_log_and_report(run_folder: Path, tiny_config: TrainingConfig) -> None:
    about = json.loads((run_folder / "teacher.json").read_text())
    assert about["fitted_on"] == {"ward": "p0 p1 p2"}
    assert about["validated_on"] == {"ward": "p3"}
    assert about["configuration"]["seed"] == tiny_config.seed
    assert set(about["validation"]["ward"]["decided"]) == {"N", "S", "V", "F", "?"}
    rows = list(csv.DictReader((run_folder / "teacher.metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["train.beat"]) < float(rows[0]["train.beat"])
    assert load_teacher(run_folder / "teacher.safetensors").config == tiny_config.teacher
    assert not list(run_folder.glob("*.partial"))


@pytest.mark.parametrize("batches", [2, 7])
def test_a_killed_and_resumed_fit_gives_the_same_weights_bit_for_bit(
    batches: int, sets: ExampleSets, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    whole = _teacher(tiny_config)
    first = fit_teacher(whole, sets, tiny_config, Augmenter(tiny_config.augment), tmp_path / "whole")
    with pytest.raises(Killed):
        fit_teacher(_teacher(tiny_config), sets, tiny_config, _DiesInEpoch(tiny_config, batches), tmp_path / "cut")
    resumed = EcgMoe(tiny_config.teacher)  # as in a new process: the weights come only from the checkpoint
    if batches == 2:
        resumed = _teacher(tiny_config)  # it was killed in the first epoch, so there is no checkpoint
    second = fit_teacher(resumed, sets, tiny_config, Augmenter(tiny_config.augment), tmp_path / "cut")
    assert _same(whole.state_dict(), resumed.state_dict())
    assert _log_of(tmp_path / "whole") == _log_of(tmp_path / "cut")
    assert len(_log_of(tmp_path / "cut")) == len(second.rows) == len(first.rows)


class _EndsAfter(Clock):
    """A clock that reaches its limit at the n-th check."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def check(self, needed_s: float = 0.0) -> None:
        self.left -= 1
        if self.left < 0:
            raise OutOfTime


def test_a_fit_that_runs_out_of_time_resumes_to_the_same_weights_bit_for_bit(
    run_folder: Path, sets: ExampleSets, tiny_config: TrainingConfig, patients: Path, tmp_path: Path
) -> None:
    assert tiny_config.noise is not None
    augmenter = Augmenter(tiny_config.augment, read_noise(tiny_config.noise, patients))
    for looks in (5, 7, 1000):  # stops in the first epoch; in the second or third; never
        model = _teacher(tiny_config)
        if looks < 1000:
            with pytest.raises(OutOfTime):
                fit_teacher(model, sets, tiny_config, augmenter, tmp_path, clock=_EndsAfter(looks))
        else:
            fit_teacher(model, sets, tiny_config, augmenter, tmp_path, clock=_EndsAfter(looks))
    assert _same(model.state_dict(), load_teacher(run_folder / "teacher.safetensors").state_dict())


def test_a_clock_stops_if_the_remaining_time_is_not_enough() -> None:
    Clock(1.0).check(50.0)
    Clock().check(1e9)
    with pytest.raises(OutOfTime):
        Clock(1.0).check(70.0)


def test_a_fit_without_improvement_stops_after_its_patience(tmp_path: Path) -> None:
    scores = iter([50.0, 60.0, 55.0, 60.0, 59.0, 70.0])
    model = torch.nn.Linear(2, 1)
    result = run_stage(
        Stage(
            name="line",
            model=model,
            settings=Fit(epochs=6, batch=2, validate_from=0.0, validate_every=1, patience=3),
            loss_of=lambda batch, epoch: (model(torch.ones(1, 2)).sum(), {}),
            batches_of=lambda rng: (1, iter([None])),  # type: ignore[list-item]
            validate=lambda: (next(scores), {}),
            out_dir=tmp_path,
            digest="line",
        )
    )
    assert (result.best_epoch, result.epochs) == (2, 5)


def test_learning_curves_are_written_as_a_png_file(run_folder: Path) -> None:
    assert (run_folder / "teacher.curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("route", ["soft", "hard"])
def test_a_training_step_makes_no_tensor_on_another_device(
    route: Route, examples: Examples, tiny_config: TrainingConfig
) -> None:
    """Torch's meta device simulates a GPU: it refuses tensors of the CPU, and its values cannot be read."""
    batch = clean_batch(examples, np.arange(8, dtype=np.int64))
    teacher, student = (
        EcgMoe(TeacherConfig(rr_prior=False)).to("meta"),
        Student(StudentConfig.named("small", morphology_widths=UNEQUAL)).to("meta"),
    )
    labels = {name: label.to("meta") for name, label in batch.labels.items()}
    taught = teacher(*(value.to("meta") for value in batch.teacher_inputs()), route=route)
    loss = torch.stack([task_loss(task, taught[task.name], labels[task.name]) for task in teacher.tasks]).sum()
    beat, features, rr_sequence = (value.to("meta") for value in batch.student_inputs())
    learnt = student.each_expert(beat, features, rr_sequence, route=route)
    on_meta = replace(batch, labels=labels)
    parts = [distillation_losses(one, taught, on_meta, tiny_config.distil, ("beat", "rhythm")) for one in learnt]
    losses = torch.stack([one["beat"] + one["rhythm"] for one in parts], 1)
    of_bank = bank_loss(losses, learnt[0]["route_morphology"], (0.0, 0.1, 1.0), 0.05)
    (loss + of_bank).backward()  # type: ignore[no-untyped-call]
    assert of_bank.device.type == "meta"


def test_a_missing_gpu_is_reported() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert choose_device("auto").type == "cpu"
    with pytest.raises(UsageError, match="--device cpu"):
        choose_device("cuda")


def test_only_tasks_with_labels_are_trained(run_folder: Path, examples: Examples, tiny_config: TrainingConfig) -> None:
    assert trained_tasks(examples) == ("beat", "rhythm", "rr", "age", "sex")
    with_draws = examples.with_labels(potassium=np.zeros(len(examples), np.int8))
    assert "potassium" in trained_tasks(with_draws)
    about = json.loads((run_folder / "teacher.json").read_text())
    assert about["trained_tasks"] == ["beat", "rhythm", "rr", "age", "sex"]
    assert read_metadata(run_folder / "teacher.safetensors")["trained_tasks"] == "beat,rhythm,rr,age,sex"


def test_a_student_cannot_learn_a_task_that_its_teacher_was_not_trained_for(
    patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    without_rhythm = msgspec.structs.replace(tiny_config, data=(DataSet("ward", "ward", validation=("p3",)),))
    teacher = train(without_rhythm, patients, tmp_path)
    student = distill(without_rhythm, patients, tmp_path, teacher=teacher, width="small")
    assert load_student(student).tasks == ("beat",)
    with pytest.raises(UsageError, match="was not trained for rhythm"):
        distill(without_rhythm, patients, tmp_path, teacher=teacher, width="small", tasks=("beat", "rhythm"))


def test_a_run_without_beat_and_rhythm_labels_is_scored_by_its_other_tasks(
    patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    data = DataSet("ward", "ward", validation=("p3",), without_beat_labels=("p0", "p1", "p2", "p3"))
    teacher = msgspec.structs.replace(tiny_config.teacher, tasks=("rr", "age", "sex"))
    train(msgspec.structs.replace(tiny_config, data=(data,), teacher=teacher), patients, tmp_path)
    about = json.loads((tmp_path / "teacher.json").read_text())
    assert about["trained_tasks"] == ["rr", "age", "sex"]
    assert about["validation"]["ward"]["others"].keys() == {"rr", "age", "sex"}
    scores = [float(row["score"]) for row in csv.DictReader((tmp_path / "teacher.metrics.csv").open())]
    assert len(set(scores)) == len(scores)
    assert about["fit"]["best_epoch"] == 1 + int(np.argmax(scores))


def test_a_finished_fit_is_only_loaded(run_folder: Path, sets: ExampleSets, tiny_config: TrainingConfig) -> None:
    model = EcgMoe(tiny_config.teacher)
    fit_teacher(model, sets, tiny_config, _DiesInEpoch(tiny_config, 0), run_folder)
    assert _same(model.state_dict(), load_teacher(run_folder / "teacher.safetensors").state_dict())


def test_two_seeds_give_two_models(
    run_folder: Path, sets: ExampleSets, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    other = msgspec.structs.replace(tiny_config, seed=2)
    model = _teacher(other)
    fit_teacher(model, sets, other, Augmenter(other.augment), tmp_path)
    assert not _same(model.state_dict(), load_teacher(run_folder / "teacher.safetensors").state_dict())


def test_a_finished_distillation_is_only_loaded(run_folder: Path, patients: Path, tiny_config: TrainingConfig) -> None:
    teacher = run_folder / "teacher.safetensors"
    path = distill(tiny_config, patients, run_folder, teacher=teacher, width="nano")
    weights = load_student(path).state_dict()
    assert distill(tiny_config, patients, run_folder, teacher=teacher, width="nano") == path
    assert _same(load_student(path).state_dict(), weights)
    assert json.loads(path.with_suffix(".json").read_text())["validation"]["ward"]["beats"]["N"]["support"] > 50


def test_the_report_of_a_student_has_its_multiplications_and_the_experts_of_each_class(
    run_folder: Path, patients: Path, tiny_config: TrainingConfig
) -> None:
    path = distill(
        tiny_config,
        patients,
        run_folder / "unequal",
        teacher=run_folder / "teacher.safetensors",
        width="nano",
        morphology_widths=UNEQUAL,
        cache=run_folder / "examples",
    )
    ward = json.loads(path.with_suffix(".json").read_text())["validation"]["ward"]
    config = load_student(path).config
    macs, twin = count_macs(config), count_macs(config.dense_twin())
    assert ward["dense_twin_macs"] == twin.most
    shares = zip(ward["experts"]["morphology"], macs.experts["morphology"], strict=True)
    expected = macs.trunk + macs.tail + macs.experts["rhythm"][0] + sum(share * each for share, each in shares)
    assert ward["mean_macs"] == pytest.approx(expected, rel=1e-3)
    of_class = ward["experts_of_class"]["morphology"]
    assert set(of_class) >= {"N", "V"}
    assert all(sum(shares) == pytest.approx(1.0, abs=1e-3) and len(shares) == 3 for shares in of_class.values())
    rows = list(csv.DictReader(path.with_suffix(".metrics.csv").open()))
    assert float(rows[-1]["ward.mean_macs"]) > 0


def test_a_student_equal_to_its_teacher_has_no_divergence(examples: Examples, tiny_config: TrainingConfig) -> None:
    batch = clean_batch(examples, np.arange(30, dtype=np.int64))
    logits = {"beat": torch.randn(30, 5), "rhythm": torch.randn(30, 4)}
    settings = msgspec.structs.replace(tiny_config.distil, kl=1.0, cross_entropy=0.0, temperature=2.0)
    same = distillation_losses(logits, logits, batch, settings, ("beat", "rhythm"))
    other = distillation_losses({**logits, "beat": -logits["beat"]}, logits, batch, settings, ("beat", "rhythm"))
    assert same["beat"].abs().max() < 1e-6
    assert other["beat"].mean() > 0.1


def test_the_mean_loss_of_the_examples_is_the_loss_of_the_batch(examples: Examples) -> None:
    batch = clean_batch(examples, np.arange(40, dtype=np.int64))
    labels = {name: label.clone() for name, label in batch.labels.items()}
    labels["beat"][::3] = -1
    labels["age"][::2] = float("nan")
    for task in tasks_named(("beat", "rhythm", "age")):
        output = torch.randn(40, task.n_outputs)
        losses = labels_losses(task, output, labels)
        assert losses.shape == (40,)
        torch.testing.assert_close(losses.mean(), labels_loss(task, output, labels))
    assert not losses[::2].any()


def test_unknown_labels_give_neither_loss_nor_gradient() -> None:
    output = torch.randn(4, 5, requires_grad=True)
    loss = task_loss(task_named("beat"), output, torch.full((4,), -1))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert output.grad is not None
    assert not output.grad.any()
    known = task_loss(task_named("age"), torch.zeros(3, 1), torch.tensor([60.0, float("nan"), float("nan")]))
    assert known.item() == 0.0  # the output 0 of the head means 60 years


def test_the_learning_rate_rises_to_its_maximum_and_ends_near_zero() -> None:
    rates = [one_cycle(step, 1000, 2e-3, 0.15) for step in range(1000)]
    assert rates.index(max(rates)) == 150
    assert max(rates) == pytest.approx(2e-3)
    assert rates[0] == pytest.approx(2e-3 / 25)
    assert rates[-1] < 1e-6


def test_a_run_without_validation_records_is_refused(
    patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    data = msgspec.structs.replace(tiny_config.data[0], validation=())
    with pytest.raises(UsageError, match="validation"):
        train(msgspec.structs.replace(tiny_config, data=(data,)), patients, tmp_path)


@pytest.mark.slow
def test_a_distilled_student_continues_with_quantization_aware_training(
    run_folder: Path, patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    from ecgmoe_edge.compress.qat import load_qat

    teacher = run_folder / "teacher.safetensors"
    student = distill(tiny_config, patients, tmp_path, teacher=teacher, width="nano", cache=run_folder / "examples")
    path = quantize(tiny_config, patients, tmp_path, student=student, teacher=teacher, cache=run_folder / "examples")
    assert path.name == "student-nano-qat.safetensors"
    assert load_qat(path).state_dict().keys()
    rows = list(csv.DictReader((tmp_path / "student-nano-qat.metrics.csv").open()))
    assert len(rows) == tiny_config.distil.qat_stage.epochs


@pytest.mark.slow
def test_both_stages_of_a_student_resume_to_the_same_weights_bit_for_bit(
    run_folder: Path, patients: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    teacher, cache = run_folder / "teacher.safetensors", run_folder / "examples"
    written = {}
    for name, looks in (("whole", None), ("cut", 5)):
        out = tmp_path / name
        clocks: list[Clock] = [] if looks is None else [_EndsAfter(looks), _EndsAfter(looks)]
        student = out / "student-nano.safetensors"
        for stage in ("float", "qat"):
            for clock in (*clocks, Clock()):
                with suppress(OutOfTime):
                    if stage == "float":
                        distill(tiny_config, patients, out, teacher=teacher, width="nano", cache=cache, clock=clock)
                    else:
                        quantize(tiny_config, patients, out, student=student, teacher=teacher, cache=cache, clock=clock)
        written[name] = [load_file(student), load_file(out / "student-nano-qat.safetensors")]
    for one, two in zip(written["whole"], written["cut"], strict=True):
        assert _same(one, two)


def test_the_rhythm_limits_the_possible_classes_of_unlabelled_beats() -> None:
    n, s, v, _, artefact = 6.0 * torch.eye(5)[:, None]

    def loss(logits: torch.Tensor, beat: int, rhythm: int) -> float:
        return float(beat_loss(logits, {"beat": torch.tensor([beat]), "rhythm": torch.tensor([rhythm])}))

    normal, fibrillation, other = (RHYTHM_CLASSES.index(name) for name in ("N", "AF", "other"))
    possible = {normal: (n, artefact), fibrillation: (n, v, artefact)}
    impossible = {normal: (s, v), fibrillation: (s,)}
    for rhythm in (normal, fibrillation):
        assert max(loss(one, -1, rhythm) for one in possible[rhythm]) < 0.02
        assert min(loss(one, -1, rhythm) for one in impossible[rhythm]) > 4.5
    assert loss(s, -1, other) == loss(s, -1, -1) == 0.0
    assert loss(s, BEAT_ANSWERS.index("S"), fibrillation) < 0.02  # the beat annotation has priority over the rhythm
    assert loss(artefact, BEAT_ANSWERS.index("?"), normal) < 0.02 < 5.0 < loss(n, BEAT_ANSWERS.index("?"), normal)


def test_the_loss_of_labelled_beats_is_cross_entropy() -> None:
    logits, beat = torch.randn(8, 5), torch.tensor([0, 1, 2, 3, 4, -1, 1, -1])
    labels = {"beat": beat, "rhythm": torch.full((8,), -1)}
    torch.testing.assert_close(beat_loss(logits, labels), task_loss(task_named("beat"), logits, beat))


def test_the_label_not_af_teaches_only_that_it_is_not_af() -> None:
    logits = torch.tensor([[0.3, 1.2, -0.4, 0.1]]).repeat(2, 1).requires_grad_()
    rhythm = torch.tensor([NOT_AF, -1])
    loss = task_loss(task_named("rhythm"), logits, rhythm)
    assert loss.item() == pytest.approx(-math.log(1.0 - logits[0].softmax(0)[1].item()), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 1] > 0
    others = logits.detach()[0, [0, 2, 3]].softmax(0)  # the other classes keep their ratios
    np.testing.assert_allclose(-gradient[0, [0, 2, 3]] / gradient[0, 1], others, rtol=1e-4)
    assert (gradient[1] == 0).all()
    beats = torch.zeros((2, len(BEAT_ANSWERS)), requires_grad=True)
    assert beat_loss(beats, {"beat": torch.tensor([-1, -1]), "rhythm": rhythm}).item() == 0.0
