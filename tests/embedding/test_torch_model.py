"""PyTorch modules: the same vectors from ONNX Runtime and from PyTorch, TorchScript files, outputs, threads."""

import json
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from simskip import FormatError, embedding
from simskip.embedding import torch_model
from simskip.embedding.preprocessing import Preprocessing, plain_settings

torch = pytest.importorskip("torch")
nn = torch.nn
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
PLAIN = Preprocessing.of(plain_settings({"mean": 0, "std": 1, "size": 16}))


class Network(nn.Module):
    """Some convolutions; its output as ``kind`` says."""

    def __init__(self, kind="vectors"):
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 12, 3, groups=4), nn.GELU()
        )

    def forward(self, x):
        maps = self.layers(x)
        vectors = maps.mean((2, 3))
        return {
            "vectors": vectors,
            "maps": maps,
            "tokens": maps.flatten(2).transpose(1, 2),
            "tuple": (vectors, maps),
            "dict": {"logits": vectors[:, :2], "features": vectors},
            "nothing": maps[None],
        }[self.kind]


def expected(module=None):
    with torch.inference_mode():
        x = torch.from_numpy(PICTURES.astype(np.float32) / 255).permute(0, 3, 1, 2)
        return (module or Network().eval())(x).numpy()


def embedder_of(module, cache_dir, identity="test", **options):
    return torch_model.torch_embedder(
        lambda: module.eval(),
        name="test",
        identity=identity,
        preprocessing=PLAIN,
        cache_dir=cache_dir,
        threads=2,
        **options,
    )


@pytest.fixture(scope="module", params=["traced", "scripted"])
def script(request, tmp_path_factory):
    """A TorchScript file with its preprocessing inside."""
    path = tmp_path_factory.mktemp("script") / "network.pt"
    with torch_model.quiet():
        if request.param == "traced":
            traced = torch.jit.trace(Network().eval(), torch.zeros(2, 3, 16, 16))
        else:
            traced = torch.jit.script(nn.Sequential(*Network().layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval())
        torch.jit.save(traced, str(path), _extra_files={"config.json": json.dumps({"mean": 0, "std": 1, "size": 16})})
    return path


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_both_engines_give_the_modules_vectors(tmp_path, engine):
    embedder = embedder_of(Network(), tmp_path, engine=engine)
    assert isinstance(embedder, embedding.Embedder)
    assert type(embedder.engine).__name__ == {"auto": "OnnxEngine", "torch": "TorchEngine"}[engine]
    assert embedder.dim == 12
    np.testing.assert_allclose(embedder.embed(PICTURES), expected(), rtol=1e-4, atol=1e-5)


def test_both_engines_have_one_fingerprint(tmp_path):
    fingerprints = {embedder_of(Network(), tmp_path, engine=engine).fingerprint for engine in torch_model.ENGINES}
    assert len(fingerprints) == 1
    assert embedder_of(Network(), tmp_path, identity="other").fingerprint not in fingerprints


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("maps", {}), ("tokens", {"pooling": "mean"}), ("tuple", {}), ("tuple", {"output": 1}),
        ("dict", {"output": "features"}),
    ],
)  # fmt: skip
def test_outputs(tmp_path, kind, options):
    found = embedder_of(Network(kind), tmp_path, **options).embed(PICTURES)
    np.testing.assert_allclose(found, expected(), rtol=1e-4, atol=1e-5)


def test_the_first_token(tmp_path):
    found = embedder_of(Network("tokens"), tmp_path, pooling="first").embed(PICTURES)
    np.testing.assert_allclose(found, expected(Network("tokens").eval())[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vectors", {"output": 1}, "output must be left out where the model puts out one tensor, got 1"),
        ("tuple", {"output": 2}, "output must be one of 0, 1, got 2"),
        ("dict", {"output": "top"}, "output must be one of 'logits', 'features', got 'top'"),
        ("tokens", {}, r"pooling must be 'mean' or 'first' for an output of shape \(3, 36, 12\)"),
        ("nothing", {}, r"output must have shape \(n, d\).*got \(1, 3, 12, 6, 6\)"),
        ("vectors", {"engine": "jax"}, "engine must be one of 'auto', 'onnx', 'torch', got 'jax'"),
        ("vectors", {"pooling": "max"}, "pooling must be one of 'mean', 'first', got 'max'"),
    ],
)
def test_bad_outputs_and_options(tmp_path, kind, options, message):
    with pytest.raises(ValueError, match=message):
        embedder_of(Network(kind), tmp_path, **options)


class Unexportable(Network):
    def forward(self, x):
        if torch.onnx.is_in_onnx_export():
            raise NotImplementedError("no such operator")
        return super().forward(x)


class OneBatchSize(Network):
    """The tracer takes ``len`` for a constant."""

    def forward(self, x):
        return super().forward(x).reshape(len(x), 12)


class Different(Network):
    def forward(self, x):
        return super().forward(x) * (2 if torch.onnx.is_in_onnx_export() else 1)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Unexportable(), "no such operator"),
        (Different(), "its results differ from PyTorch's"),
        (OneBatchSize(), "the ONNX graph cannot be run"),
    ],
)
def test_what_has_no_faithful_graph_is_run_by_torch(tmp_path, module, reason):
    embedder = embedder_of(module, tmp_path)
    assert type(embedder.engine).__name__ == "TorchEngine"
    np.testing.assert_allclose(embedder.embed(PICTURES), expected(), rtol=1e-4, atol=1e-5)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=rf"engine must be 'torch' for test, which has no ONNX form: {reason}"):
        embedder_of(module, tmp_path, engine="onnx")


class Attention(nn.Module):
    """A transformer's layer, which PyTorch fuses in evaluation mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.layer = nn.TransformerEncoderLayer(12, 2, 16, batch_first=True)

    def forward(self, x):
        return self.layer(self.patches(x).flatten(2).transpose(1, 2))


def test_transformers_are_exported(tmp_path):
    embedder = embedder_of(Attention(), tmp_path, pooling="mean")
    assert type(embedder.engine).__name__ == "OnnxEngine"
    np.testing.assert_allclose(embedder.embed(PICTURES), expected(Attention().eval()).mean(1), rtol=1e-3, atol=1e-5)
    assert torch.backends.mha.get_fastpath_enabled()


class Singular(nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x.flatten(2))


def test_an_operator_without_a_counterpart_says_nothing(tmp_path, capfd):
    embedder = embedder_of(Singular(), tmp_path)
    assert type(embedder.engine).__name__ == "TorchEngine"
    np.testing.assert_allclose(embedder.embed(PICTURES), expected(Singular()), rtol=1e-4)
    assert capfd.readouterr() == ("", "")


def test_threads_of_others_keep_their_number(tmp_path):
    """Each of the embedder's threads uses one of PyTorch's; nobody else notices."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    seen = []
    try:

        class Looking(Network):
            def forward(self, x):
                seen.append((threading.current_thread().name.startswith("simskip"), torch.get_num_threads()))
                return super().forward(x)

        embedder_of(Looking(), tmp_path, engine="torch", batch_size=1).embed(PICTURES)
        assert {number for ours, number in seen if ours} == {1}
        assert torch.get_num_threads() == 3
        other = threading.Thread(target=lambda: seen.append(("new", torch.get_num_threads())))
        other.start()
        other.join()
        assert seen[-1] == ("new", 3)
    finally:
        torch.set_num_threads(before)


def test_torchscript(script, tmp_path):
    embedder = embedding.images(f"torchscript:{script}", cache_dir=tmp_path)
    assert type(embedder.engine).__name__ == "OnnxEngine"
    np.testing.assert_allclose(embedder.embed(PICTURES), expected(), rtol=1e-4, atol=1e-5)
    assert embedder.name == f"torchscript:{script}"
    assert embedding.load(script, cache_dir=tmp_path).fingerprint == embedder.fingerprint
    other = embedding.images(f"torchscript:{script}", cache_dir=tmp_path, size=24, framing="centre")
    assert other.fingerprint != embedder.fingerprint
    assert embedding.load(other.name, cache_dir=tmp_path).fingerprint == other.fingerprint
    assert other.engine.geometry.size == (24, 24)


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_torchscript_pickles_and_reads_files(script, tmp_path, engine):
    embedder = embedding.images(f"torchscript:{script}", cache_dir=tmp_path, engine=engine)
    again = pickle.loads(pickle.dumps(embedder))
    assert (again.name, again.fingerprint) == (embedder.name, embedder.fingerprint)
    Image.fromarray(PICTURES[1]).save(tmp_path / "a.png")
    files = again.embed_files([tmp_path / "a.png", tmp_path / "none.png"], progress=False)
    np.testing.assert_allclose(files.vectors, expected()[1:2], rtol=1e-4, atol=1e-5)
    assert len(files.skipped) == 1


def test_an_exported_torchscript_needs_no_torch(script, tmp_path):
    embedding.images(f"torchscript:{script}", cache_dir=tmp_path)
    program = (
        "import sys, numpy, simskip.embedding\n"
        f"e = simskip.embedding.images('torchscript:{script}', cache_dir={str(tmp_path)!r})\n"
        "assert e.embed(numpy.zeros((1, 8, 8), numpy.uint8)).shape == (1, 12)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_bad_torchscript_files(script, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no TorchScript model at .*none\.pt"):
        embedding.images(f"torchscript:{tmp_path}/none.pt")
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(FormatError, match=r"text\.pt is no readable TorchScript archive"):
        embedding.images(f"torchscript:{tmp_path}/text.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "state.pt")
    with pytest.raises(FormatError, match=r"state\.pt is no TorchScript that PyTorch can load"):
        embedding.images(f"torchscript:{tmp_path}/state.pt", cache_dir=tmp_path)
    content = script.read_bytes()
    (tmp_path / "list.pt").write_bytes(content.replace(b'{"mean": 0, "std": 1, "size": 16}', b"[" + b" " * 31 + b"]"))
    with pytest.raises(FormatError, match=r"list\.pt"):
        embedding.images(f"torchscript:{tmp_path}/list.pt", cache_dir=tmp_path)
