from __future__ import annotations

import hashlib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ecgmoe_edge.contract import SHAPES_WITH_CONTEXT
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.backbones import Backbone, resample
from ecgmoe_edge.model.pretrained_backbone import PretrainedBackbone
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import ENTRY_POINTS, BackboneSpec, TeacherConfig
from ecgmoe_edge.model.teacher_file import load_teacher, save_teacher


class Foundation(nn.Module):
    """Somebody's network: twelve leads of 500 Hz to tokens; batch statistics and dropout would show a train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(12, 6, 50, 50), nn.BatchNorm1d(6), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(b, 12, n) to (b, tokens, 6)."""
        y: Tensor = self.net(x).transpose(1, 2)
        return y


def foundation() -> nn.Module:
    return Foundation()


def no_module() -> str:
    return "weights"


def needs_depth(depth: int) -> nn.Module:
    raise NotImplementedError(depth)


def looks_up() -> nn.Module:
    raise KeyError("encoder")


def reads_a_file() -> nn.Module:
    raise FileNotFoundError(2, "No such file or directory", "their.yaml")


class OfOneLength(Foundation):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 5000, "10 s only"
        return super().forward(x)


def of_one_length() -> nn.Module:
    return OfOneLength()


def without_a_word() -> nn.Module:
    raise RuntimeError


@pytest.fixture
def spec(tmp_path: Path) -> BackboneSpec:
    torch.manual_seed(5)
    made = Foundation()
    path = tmp_path / "foundation.safetensors"
    save_file(made.state_dict(), path)
    return BackboneSpec(
        "pretrained",
        length=2500,
        rate_hz=500.0,
        leads=12,
        place=(1,),
        factory=f"{__name__}:foundation",
        weights=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def pretrained(model: nn.Module) -> PretrainedBackbone:
    """The one pretrained backbone of a model."""
    (found,) = (part for part in model.modules() if isinstance(part, PretrainedBackbone))
    return found


def inputs() -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(1)
    return tuple(torch.randn(6, *shape, generator=g) for shape in SHAPES_WITH_CONTEXT.values())


def test_features_are_those_of_the_file_with_the_lead_in_its_place(spec: BackboneSpec) -> None:
    backbone = Backbone(spec, 16, 1).train()
    theirs = Foundation().eval()
    theirs.load_state_dict(load_file(str(spec.weights)))
    context = inputs()[3]
    given = torch.zeros(6, 12, 2500)
    given[:, 1:2] = resample(context, 2500, 500.0)
    with torch.no_grad():
        expected = backbone.norm(pretrained(backbone).project(theirs(given).mean(1)))
    assert torch.allclose(backbone(context), expected, atol=1e-6)


def test_only_the_projection_is_trained_and_saved(spec: BackboneSpec, tmp_path: Path) -> None:
    config = TeacherConfig(backbones=(spec, BackboneSpec("dlinear", 80)), d=16)
    torch.manual_seed(0)
    model = EcgMoe(config).train()
    own = [name for name, _ in model.named_parameters() if name.startswith("backbones.0.net")]
    assert own == ["backbones.0.net.project.weight", "backbones.0.net.project.bias"]
    before = {name: value.clone() for name, value in pretrained(model).network.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, weight_decay=0.1)
    projected = pretrained(model).project.weight.detach().clone()
    model(*inputs())["rhythm"].square().sum().backward()
    optimizer.step()
    assert not torch.equal(pretrained(model).project.weight, projected)
    after = pretrained(model).network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    save_teacher(tmp_path / "t.safetensors", model.eval())
    saved = {name for name in load_file(tmp_path / "t.safetensors") if name.startswith("backbones.0.")}
    assert saved == {f"backbones.0.{part}.{kind}" for part in ("net.project", "norm") for kind in ("weight", "bias")}
    assert torch.equal(
        load_teacher(tmp_path / "t.safetensors", trust_code=True)(*inputs())["rhythm"], model(*inputs())["rhythm"]
    )


def test_a_teacher_finds_weights_that_moved_beside_it_and_says_which_are_gone(
    spec: BackboneSpec, tmp_path: Path
) -> None:
    model = EcgMoe(TeacherConfig(backbones=(spec,), d=16))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    save_teacher(folder / "t.safetensors", model)
    moved = Path(str(spec.weights)).rename(folder / "foundation.safetensors")
    load_teacher(folder / "t.safetensors", trust_code=True)
    moved.unlink()
    with pytest.raises(ModelError, match=r"foundation\.safetensors cannot be read"):
        load_teacher(folder / "t.safetensors", trust_code=True)


def test_a_pretrained_backbone_moves_with_the_model(spec: BackboneSpec) -> None:
    model = EcgMoe(TeacherConfig(backbones=(spec,), d=16)).double()
    assert next(pretrained(model).network.parameters()).dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factory": None}, "factory"),
        ({"weights": None}, "weights"),
        ({"weights": "/nowhere/model.safetensors"}, "cannot be read"),
        ({"factory": "no_such_module_at_all:make"}, "cannot be imported"),
        ({"factory": f"{__name__}:nothing"}, "cannot be imported"),
        ({"factory": f"{__name__}:no_module"}, "not a torch module"),
        ({"factory": f"{__name__}:pytest"}, "is not a function"),
        ({"factory": "unheard-of"}, "entry points"),
        ({"sha256": "00"}, "sha256"),
        ({"place": (12,)}, "place"),
        ({"place": (1, 2)}, "place"),
        ({"leads": 3}, "does not accept"),
        ({"length": 20}, "does not accept"),
        ({"factory": f"{__name__}:needs_depth"}, r"needs_depth' failed \(TypeError: .*depth.*without arguments"),
        ({"factory": f"{__name__}:looks_up"}, r"looks_up' failed \(KeyError: 'encoder'\)"),
        ({"factory": f"{__name__}:reads_a_file"}, r"failed \(FileNotFoundError: .*their\.yaml"),
        ({"factory": f"{__name__}:without_a_word"}, r"failed \(RuntimeError\)"),
        ({"factory": f"{__name__}:of_one_length"}, r"not accept \(batch, 12, 2500\).*AssertionError: 10 s only.*Set"),
        ({"factory": ".relative:make"}, "cannot be imported"),
    ],
)
def test_each_fault_of_a_specification_is_named(spec: BackboneSpec, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Backbone(msgspec.structs.replace(spec, **change), 16, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:", "SyntaxError: .*line 1"),
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_thing", "no_such_thing"),
    ],
)
def test_a_module_that_fails_when_imported_is_named_with_its_error(
    text: str, message: str, spec: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"broken_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=rf"{module}:make' cannot be imported .*{message}"):
        Backbone(msgspec.structs.replace(spec, factory=f"{module}:make"), 16, 1)


def test_an_entry_point_that_fails_when_loaded_is_named_with_its_error(
    spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = EntryPoint("theirs", "no_such_module_at_all:make", ENTRY_POINTS)
    monkeypatch.setattr("ecgmoe_edge.model.pretrained_backbone.entry_points", lambda group: [offered])
    with pytest.raises(ModelError, match=r"'theirs' cannot be imported .*no_such_module_at_all"):
        Backbone(msgspec.structs.replace(spec, factory="theirs"), 16, 1)


def test_weights_that_are_not_there_are_said_with_the_whole_path_that_was_tried(
    spec: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelError, match=rf"{tmp_path}/absent\.safetensors cannot be read.*in the folder of the teacher"
    ):
        Backbone(msgspec.structs.replace(spec, weights="absent.safetensors"), 16, 1)


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "bytes"])
def test_a_weights_file_that_does_not_fit_is_refused_by_tensor(spec: BackboneSpec, damage: str) -> None:
    path = Path(str(spec.weights))
    tensors = load_file(path)
    if damage == "missing":
        del tensors["net.0.weight"]
    elif damage == "unknown":
        tensors["net.0.colour"] = torch.zeros(1)
    elif damage == "shape":
        tensors["net.0.weight"] = torch.zeros(6, 12, 40)
    save_file(tensors, path)
    if damage == "bytes":
        path.write_bytes(b"not a model")
    message = {"unknown": "net.0.colour is not in the network", "bytes": "cannot be read"}.get(
        damage, r"net\.0\.weight"
    )
    with pytest.raises(ModelError, match=message):
        Backbone(msgspec.structs.replace(spec, sha256=None), 16, 1)


def test_a_context_is_resampled_to_the_rate_and_its_newest_part_kept() -> None:
    ramp = torch.linspace(0.0, 1.0, 1280)[None, None]
    assert resample(ramp, 640).shape == (1, 1, 640)
    newest = resample(ramp, 2500, 500.0)[0, 0]  # 5 of the 10 s
    assert newest[0].item() == pytest.approx(0.5, abs=0.01)
    assert newest[-1].item() == pytest.approx(1.0, abs=0.01)
    padded = resample(ramp, 6000, 500.0)[0, 0]  # 12 s: two of them are not there
    assert not padded[:1000].any()
    assert padded[-1].item() == pytest.approx(1.0, abs=0.01)
