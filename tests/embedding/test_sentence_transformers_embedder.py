"""A tiny model with random weights, saved as Sentence-Transformers saves models.

Most of it is slow: importing the library takes six seconds.
"""

import pickle
import shutil
import sys

import numpy as np
import pytest

from simskip import FormatError, embedding
from simskip.embedding import sentence_transformers_embedder as module

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "train", "sleeps", "runs", "late"]
TEXTS = ["a cat sleeps", "a dog", "a train runs late", "cat", "dog dog dog", "late"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    library = pytest.importorskip("sentence_transformers")
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("model")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder / "bert")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    # Adds the mean of the tokens.
    prompts = {"query": "late ", "document": ""}
    model = library.SentenceTransformer(str(folder / "bert"), device="cpu", prompts=prompts, local_files_only=True)
    model.save(str(folder / "whole"), create_model_card=False)
    return folder / "whole"


@pytest.fixture(scope="module")
def tiny(folder):
    return embedding.text(f"sentence-transformers:{folder}", batch_size=2)


@pytest.mark.slow
def test_same_vectors_as_the_library(tiny, folder):
    model = sys.modules["sentence_transformers"].SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    vectors = tiny.embed(TEXTS)
    np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-6)
    assert vectors.dtype == np.float32
    assert isinstance(tiny, embedding.Embedder)
    assert (tiny.kind, tiny.dim) == ("text", 8)
    assert tiny.embed([]).shape == (0, 8)
    assert "dim=8" in repr(tiny)


@pytest.mark.slow
def test_unusable_texts_are_skipped(tiny):
    (part,) = tiny.embed_batches([" ", "cat", "\ud800"])
    assert part.rows.tolist() == [1]
    assert [(bad.row, bad.reason) for bad in part.skipped] == [(0, "no word in it"), (2, "not valid Unicode")]


@pytest.mark.slow
def test_prompts_are_part_of_name_and_fingerprint(tiny, folder):
    query = embedding.text(f"sentence-transformers:{folder}", prompt_name="query")
    np.testing.assert_allclose(query.embed(["cat"]), tiny.embed(["late cat"]), atol=1e-6)
    assert query.name == f"sentence-transformers:{folder.resolve()}?prompt_name=query"
    assert query.fingerprint != tiny.fingerprint
    again = embedding.load(query.name)
    assert (again.prompt_name, again.fingerprint) == ("query", query.fingerprint)
    with pytest.raises(ValueError, match=r"prompt_name must be one of the model's prompts \('query', .*got 'other'"):
        embedding.text(f"sentence-transformers:{folder}", prompt_name="other")


@pytest.mark.slow
def test_the_fingerprint_is_of_the_content(tiny, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("other")
    (copy / "onnx").mkdir()
    (copy / "onnx" / "config.json").write_text("{}")
    (copy / "pytorch_model.bin").write_bytes(b"the same weights, older format")
    again = pickle.loads(pickle.dumps(embedding.text(f"sentence-transformers:{copy}")))
    assert again.fingerprint == tiny.fingerprint
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert embedding.text(f"sentence-transformers:{copy}").fingerprint != tiny.fingerprint


@pytest.mark.slow
def test_nothing_is_downloaded(monkeypatch, tmp_path):
    pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    for name in ("nobody/nothing", "nothing", "not a name"):
        with pytest.raises(
            FileNotFoundError, match=f"'{name}' is neither a folder nor a model in Hugging Face's cache"
        ):
            embedding.text(f"sentence-transformers:{name}")


@pytest.mark.slow
def test_damaged_models(folder, tmp_path):
    with pytest.raises(FormatError, match="holds no model that Sentence-Transformers can load"):
        embedding.text(f"sentence-transformers:{tmp_path}")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FormatError, match="holds no model that Sentence-Transformers can load"):
        embedding.text(f"sentence-transformers:{copy}")


def test_missing_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r'sentence_transformers.*pip install "simskip\[sentence-transformers\]"'):
        embedding.text(f"sentence-transformers:{tmp_path}")


def test_what_a_model_is_made_of(tmp_path):
    def made(files):
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
        return module._files_fingerprint(tmp_path)

    first = made({"config.json": "{}", "1_Pooling/config.json": "{}", "pytorch_model.bin": "weights"})
    assert made({"README.md": "new", ".git/index.json": "new", "onnx/config.json": "new"}) == first
    assert made({"1_Pooling/config.json": "{ }"}) != first
    second = made({"model.safetensors": "weights"})
    assert made({"pytorch_model.bin": "older format"}) == second != first
    assert made({"model.safetensors": "other"}) != second


def test_a_folder_comes_first(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert module._folder("model").samefile(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="'models' is neither a folder nor a model in Hugging Face's cache"):
        module._folder("models")


def test_what_cannot_be_embedded():
    assert module._checked("cat") == "cat"
    assert module._checked("\n").reason == "no word in it"
    assert module._checked("\ud800").reason == "not valid Unicode"
