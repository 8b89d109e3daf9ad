"""Any ONNX model: layouts, types, sizes, outputs, preprocessing, identity."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from simskip import FormatError, embedding

onnx = pytest.importorskip("onnx")
helper = onnx.helper
TYPES = {"float": onnx.TensorProto.FLOAT, "uint8": onnx.TensorProto.UINT8, "float16": onnx.TensorProto.FLOAT16}
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (5, 8, 10, 3), np.uint8)
COLOURS = PICTURES.mean((1, 2)) / 255  # what the average of all pixels gives


def value(name, shape, kind="float"):
    return helper.make_tensor_value_info(name, TYPES[kind], shape)


def save(path, nodes, inputs, outputs, weights=(), metadata=(), **options):
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path), **options)
    return path


def colour_model(path, shape=("n", 3, 8, 10), kind="float", **options):
    """The mean colour: (n, 3)."""
    axes = [2, 3] if shape[1] not in ("h", 8) else [1, 2]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TYPES["float"]),
        helper.make_node("ReduceMean", ["f"], ["y"], axes=axes, keepdims=0),
    ]
    return save(path, nodes, [value("x", shape, kind)], [value("y", [shape[0], 3])], **options)


def embedder_of(path, **options):
    return embedding.images(f"onnx:{path}", **{"mean": 0, "std": 1, "threads": 1, **options})


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (("n", 3, 8, 10), "float"), (("n", 8, 10, 3), "float"), (("n", 8, 10, 3), "uint8"), ((1, 3, 8, 10), "float"),
        ((2, 3, 8, 10), "float16"), (("n", "c", "h", "w"), "float"), (("n", "h", "w", 3), "float"),
    ],
)  # fmt: skip
def test_layouts_types_and_batches(tmp_path, shape, kind):
    embedder = embedder_of(colour_model(tmp_path / "m.onnx", shape, kind), size=(8, 10), batch_size=4)
    assert isinstance(embedder, embedding.Embedder)
    assert embedder.dim == 3
    found = embedder.embed(PICTURES) / (255 if kind == "uint8" else 1)
    np.testing.assert_allclose(found, COLOURS, rtol=2e-3 if kind == "float16" else 1e-5)


def test_one_channel_is_grey(tmp_path):
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [value("x", ["n", 1, 8, 10])], [value("y", ["n", 1, 1, 1])])
    np.testing.assert_allclose(embedder_of(path).embed(PICTURES)[:, 0], COLOURS @ [0.299, 0.587, 0.114], rtol=1e-5)


def test_preprocessing_in_order_of_importance(tmp_path):
    path = colour_model(tmp_path / "m.onnx")
    default = embedding.images(f"onnx:{path}")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    np.testing.assert_allclose(default.embed(PICTURES), (COLOURS - mean) / std, rtol=1e-4, atol=1e-4)
    assert default.engine.geometry.framing == "whole"

    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(
            {"do_resize": True, "size": {"height": 8, "width": 10}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        )
    )
    np.testing.assert_allclose(embedding.images(f"onnx:{path}").embed(PICTURES), COLOURS * 2 - 1, rtol=1e-4, atol=1e-4)

    path = colour_model(path, metadata={"mean": "0.25", "std": "0.5", "framing": "centre"}.items())
    found = embedding.images(f"onnx:{path}", framing="whole")
    np.testing.assert_allclose(found.embed(PICTURES), COLOURS * 2 - 0.5, rtol=1e-4, atol=1e-4)
    assert embedding.images(f"onnx:{path}").engine.geometry.framing == "centre"

    found = embedding.images(f"onnx:{path}", framing="whole", mean=0, std=(1, 0.5, 1), channels="bgr")
    np.testing.assert_allclose(found.embed(PICTURES), (COLOURS / [1, 0.5, 1])[:, ::-1], rtol=1e-4, atol=1e-4)


def test_the_name_makes_the_same_embedder(tmp_path, monkeypatch):
    colour_model(tmp_path / "m.onnx", ("n", 3, "h", "w"))
    monkeypatch.chdir(tmp_path)
    embedder = embedding.images("onnx:m.onnx", size=(8, 10), mean=0, std=[0.5, 1, 1], framing="centre", crop=0.75)
    assert embedder.name.startswith(f"onnx:{tmp_path}/m.onnx?")
    monkeypatch.chdir("/")
    again = embedding.load(embedder.name)
    assert again.fingerprint == embedder.fingerprint
    assert again.name == embedder.name
    assert embedding.load(tmp_path / "m.onnx").engine.geometry.size == (224, 224)
    assert repr(again) == f"ImageEmbedder('onnx:{tmp_path}/m.onnx', dim=3, framing='centre')"
    assert pickle.loads(pickle.dumps(embedder)).embed(PICTURES).tobytes() == embedder.embed(PICTURES).tobytes()


def linear_model(path, weight, **options):
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["a"]), helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]  # fmt: skip
    weights = [onnx.numpy_helper.from_array(weight, "w")]
    return save(path, nodes, [value("x", ["n", 3, 8, 10])], [value("y", ["n", weight.shape[1]])], weights, **options)


def test_the_fingerprint_is_of_the_content(tmp_path):
    weight = RNG.standard_normal((3, 600)).astype(np.float32)
    one, other = tmp_path / "one.onnx", tmp_path / "other.onnx"
    assert embedder_of(linear_model(one, weight)).fingerprint == embedder_of(linear_model(other, weight)).fingerprint
    before = embedder_of(one)
    assert embedder_of(one, size=(8, 10)).fingerprint == before.fingerprint
    assert embedder_of(one, interpolation="box").fingerprint != before.fingerprint
    assert embedder_of(linear_model(one, weight + 1)).fingerprint != before.fingerprint


def test_weights_in_another_file_count(tmp_path):
    weight = RNG.standard_normal((3, 600)).astype(np.float32)
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 100}
    path = linear_model(tmp_path / "m.onnx", weight, **options)
    assert (tmp_path / "weights.bin").stat().st_size >= weight.nbytes
    first = embedder_of(path)
    np.testing.assert_allclose(first.embed(PICTURES), COLOURS.astype(np.float32) @ weight, rtol=1e-4, atol=1e-4)
    (tmp_path / "weights.bin").unlink()
    linear_model(path, weight * 2, **options)
    assert embedder_of(path).fingerprint != first.fingerprint
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(FormatError, match=r"m\.onnx"):
        embedder_of(path)


def tokens_model(path):
    """Outputs: tokens (n, 4, 3), a map (n, 3, 4, 5), features (n, 3), and a scalar."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["map"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMean", ["x"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("Reshape", ["map", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
    ]
    weights = [onnx.numpy_helper.from_array(np.array([0, 3, 20]), "shape")]
    outputs = [
        value("tokens", ["n", 20, 3]), value("map", ["n", 3, 4, 5]), value("features", ["n", 3]), value("sum", []),
    ]  # fmt: skip
    return save(path, nodes, [value("x", ["n", 3, 8, 10])], outputs, weights)


def test_outputs(tmp_path):
    path = tokens_model(tmp_path / "m.onnx")
    for options in ({}, {"output": "map"}, {"output": "tokens", "pooling": "mean"}):
        np.testing.assert_allclose(embedder_of(path, **options).embed(PICTURES), COLOURS, rtol=1e-4)
    first = embedder_of(path, output="tokens", pooling="first")
    np.testing.assert_allclose(first.embed(PICTURES), PICTURES[:, :2, :2].mean((1, 2)) / 255, rtol=1e-4)
    with pytest.raises(ValueError, match="pooling must be 'mean' or 'first' for the output 'tokens'"):
        embedder_of(path, output="tokens")
    with pytest.raises(ValueError, match=r"output must be one of 'tokens', 'map', 'features', 'sum' of .*got 'top'"):
        embedder_of(path, output="top")
    with pytest.raises(ValueError, match="output must have a row for each of 1 pictures"):
        embedder_of(path, output="sum")


def test_an_output_with_a_number_for_a_name(tmp_path):
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["495"]), helper.make_node("Neg", ["495"], ["496"])]
    outputs = [value("495", ["n", 3, 1, 1]), value("496", ["n", 3, 1, 1])]
    path = save(tmp_path / "m.onnx", nodes, [value("x", ["n", 3, 8, 10])], outputs)
    embedder = embedder_of(path, output="496")
    np.testing.assert_allclose(embedder.embed(PICTURES), -COLOURS, rtol=1e-5)
    assert embedding.load(embedder.name).fingerprint == embedder.fingerprint


def test_files_of_images(tmp_path):
    embedder = embedder_of(colour_model(tmp_path / "m.onnx"))
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    files = embedder.embed_files([tmp_path / "a.png", tmp_path / "b.png"], progress=False)
    np.testing.assert_allclose(files.vectors, COLOURS[:1], rtol=1e-5)
    assert len(files.skipped) == 1


def test_pictures_without_finite_vectors(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Log", ["m"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, [value("x", ["n", 3, 8, 10])], [value("y", ["n", 3])])
    embedder = embedder_of(path)
    black = np.zeros((8, 10, 3), np.uint8)
    with pytest.raises(ValueError, match="bad image at position 5: the model gave numbers that are not finite"):
        embedder.embed([*PICTURES, black])
    for name, image in (("a", PICTURES[0]), ("b", black), ("c", PICTURES[2])):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    files = embedder.embed_files([tmp_path / f"{name}.png" for name in "axbc"], progress=False)
    assert files.rows.tolist() == [0, 3]
    np.testing.assert_allclose(files.vectors, np.log(COLOURS[[0, 2]]), rtol=1e-4)
    assert [each.path.name for each in files.skipped] == ["x.png", "b.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 9}, r"size must be \(8, 10\), as .*m\.onnx fixes it, got \(9, 9\)"),
        ({"layout": "nhwc"}, "layout must be one that gives 1 or 3 channels, got 'nhwc'"),
        ({"layout": "chw"}, "layout must be one of 'nchw', 'nhwc', got 'chw'"),
        ({"pooling": "max"}, "pooling must be one of 'mean', 'first', got 'max'"),
        ({"std": 0}, "std must be above 0"),
        ({"threads": 0}, "threads must be an integer >= 1"),
    ],
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        embedder_of(colour_model(tmp_path / "m.onnx"), **options)


def test_models_that_cannot_be_used(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no ONNX model at .*none\.onnx"):
        embedder_of(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(FormatError, match=r"text\.onnx is no model that ONNX Runtime can load"):
        embedder_of(tmp_path / "text.onnx")
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    words = save(tmp_path / "words.onnx", nodes, [value("x", ["n", 7])], [value("y", ["n", 7])])
    with pytest.raises(ValueError, match=r"must have one input of rank 4.*got 'x' tensor\(float\) \['n', 7\]"):
        embedder_of(words)
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    weights = [onnx.numpy_helper.from_array(np.array([0, 7]), "shape")]
    broken = save(tmp_path / "broken.onnx", nodes, [value("x", ["n", 3, "h", "w"])], [value("y", ["n", 7])], weights)
    with pytest.raises(FormatError, match=r"broken\.onnx cannot be run"):
        embedder_of(broken, size=5)
