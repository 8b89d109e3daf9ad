"""timm and torchvision: their real code where it imports, else stand-ins that offer what is used of them."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from simskip import FormatError, embedding
from simskip.embedding import model_zoo

torch = pytest.importorskip("torch")
nn = torch.nn
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
CONFIG = {
    "input_size": (3, 32, 32), "interpolation": "bicubic", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25),
    "crop_pct": 1.0, "crop_mode": "squash",
}  # fmt: skip


def classifier():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(body, nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 4)))


def features(mean=0.5, std=0.25):
    x = (torch.from_numpy(PICTURES.astype(np.float32) / 255).permute(0, 3, 1, 2) - mean) / std
    with torch.inference_mode():
        return classifier()[0](x).numpy()


class Weights:
    """A weights entry of torchvision; downloads fail."""

    def transforms(self):
        return SimpleNamespace(
            crop_size=[32], resize_size=[32], mean=[0.5] * 3, std=[0.25] * 3,
            interpolation=SimpleNamespace(value="bilinear"),
        )  # fmt: skip

    def get_state_dict(self, progress, check_hash):
        raise OSError("no network\nand more")


@pytest.fixture
def zoo(monkeypatch):
    """Stand-ins for both libraries with one model, "small"."""

    def create_model(name, pretrained, num_classes):
        if pretrained:
            raise RuntimeError("no hub")
        model = classifier()
        model[1] = nn.Identity()
        model.pretrained_cfg = {"classifier": "1.1"}
        return model

    timm = SimpleNamespace(
        is_model=lambda name: name == "small", list_models=lambda pattern: ["small"], create_model=create_model,
        data=SimpleNamespace(resolve_model_data_config=lambda model: CONFIG),
    )  # fmt: skip
    models = SimpleNamespace(
        list_models=lambda module, include="": ["small"], get_model=lambda name, weights: classifier(),
        get_model_weights=lambda name: SimpleNamespace(DEFAULT=Weights()),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))


@pytest.fixture(params=["pth", "safetensors"])
def weights(request, tmp_path):
    path = tmp_path / f"weights.{request.param}"
    state = classifier().state_dict()
    if request.param == "pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(state, path)
    return path


@pytest.mark.parametrize("family", ["timm", "torchvision"])
def test_features_in_front_of_the_classifier(zoo, weights, family, tmp_path):
    embedder = embedding.images(f"{family}:small", weights=weights, cache_dir=tmp_path, framing="whole")
    assert embedder.dim == 6
    np.testing.assert_allclose(embedder.embed(PICTURES), features(), rtol=1e-4, atol=1e-5)
    again = embedding.load(embedder.name, cache_dir=tmp_path, engine="torch")
    assert again.fingerprint == embedder.fingerprint
    np.testing.assert_allclose(again.embed(PICTURES), features(), rtol=1e-4, atol=1e-5)
    plain = embedding.images(f"{family}:small", weights=weights, cache_dir=tmp_path, framing="whole", mean=0, std=1)
    np.testing.assert_allclose(plain.embed(PICTURES), features(0, 1), rtol=1e-4, atol=1e-5)
    assert plain.fingerprint != embedder.fingerprint


@pytest.mark.parametrize(("family", "reason"), [("timm", "no hub"), ("torchvision", "no network")])
def test_weights_that_cannot_be_had(zoo, family, reason):
    with pytest.raises(OSError, match=rf"^the weights of {family}:small could not be had \({reason}\).*weights=PATH$"):
        embedding.images(f"{family}:small")


@pytest.mark.parametrize("family", ["timm", "torchvision"])
def test_unknown_models(zoo, family):
    with pytest.raises(ValueError, match=r"name must be a .*, got 'smal'; similar: 'small'"):
        embedding.images(f"{family}:smal")


@pytest.mark.parametrize("family", ["timm", "torchvision"])
def test_weights_of_another_model(zoo, family, tmp_path):
    state = classifier().state_dict()
    path = tmp_path / "other.pth"
    for change, message in (
        (lambda s: s.pop("0.0.bias"), "lacks '0.0.bias'"),
        (lambda s: s.update(more=torch.zeros(1), most=torch.zeros(1)), "has, unknown to the model, 'more' and 1 more"),
        (lambda s: s.update({"0.0.bias": torch.zeros(7)}), "has in another shape '0.0.bias'"),
    ):
        other = dict(state)
        change(other)
        torch.save(other, path)
        with pytest.raises(ValueError, match=f"weights must be of {family}:small, but .*other.pth {message}"):
            embedding.images(f"{family}:small", weights=path)


def test_files_that_hold_no_weights(zoo, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no weights at .*none\.pth"):
        embedding.images("timm:small", weights=tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(FormatError, match=rf"{name} holds no readable weights"):
            embedding.images("timm:small", weights=tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FormatError, match=r"list\.pth must hold a dict of tensors"):
        embedding.images("timm:small", weights=tmp_path / "list.pth")


def test_the_last_linear_layer_is_taken_off():
    model = model_zoo.without_classifier(classifier(), "small")
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 6)
    with pytest.raises(ValueError, match="name must be a model that ends in a linear layer, got 'conv'"):
        model_zoo.without_classifier(nn.Sequential(nn.Conv2d(3, 4, 1)), "conv")


@pytest.mark.parametrize(
    ("family", "missing"), [("timm", "timm"), ("timm", "torchvision"), ("torchvision", "torchvision")]
)
def test_libraries_that_cannot_be_imported(zoo, monkeypatch, family, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=rf"{family}:resnet18 needs {missing}, and {missing} could not be imported \("
    ):
        embedding.images(f"{family}:resnet18")


def test_a_torchvision_for_another_torch(zoo, monkeypatch, tmp_path):
    """It fails with RuntimeError: operator torchvision::nms does not exist."""
    (tmp_path / "torchvision.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"torchvision could not be imported \(operator torchvision::nms does not"):
        embedding.images("torchvision:resnet18")


@pytest.fixture(scope="module")
def real():
    """Both libraries, where they import."""
    try:
        return {name: importlib.import_module(name) for name in ("torchvision", "timm")}
    except Exception as error:  # RuntimeError beside a PyTorch that torchvision was not built for
        pytest.skip(f"timm and torchvision do not import here: {error}")


@pytest.mark.parametrize("family", ["timm", "torchvision"])
def test_real_resnets(real, family, tmp_path):
    torch.manual_seed(0)
    if family == "timm":
        model = real["timm"].create_model("resnet18", pretrained=False)
    else:
        model = real["torchvision"].models.resnet18(weights=None)
    torch.save(model.state_dict(), tmp_path / "resnet18.pth")
    embedder = embedding.images(f"{family}:resnet18", weights=tmp_path / "resnet18.pth", cache_dir=tmp_path, size=64)
    assert embedder.dim == 512
    by_torch = embedding.load(embedder.name, cache_dir=tmp_path, engine="torch")
    assert type(embedder.engine).__name__ == "OnnxEngine"
    np.testing.assert_allclose(by_torch.embed(PICTURES), embedder.embed(PICTURES), rtol=1e-3, atol=1e-4)
    assert by_torch.fingerprint == embedder.fingerprint
