"""The reader of PyTorch's old file format, against PyTorch's own writer."""

import os
import pickle

import numpy as np
import pytest

from simskip import FormatError
from simskip.embedding.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def checkpoint(torch, tmp_path):
    tensors = {
        "plain": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "transposed": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4).permute(2, 0, 1),
        "part": torch.arange(10, dtype=torch.float32)[4:7],
        "scalar": torch.tensor(7, dtype=torch.int64),
        "empty": torch.zeros((0, 3)),
    }
    path = tmp_path / "weights.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    return path, {name: tensor.numpy() for name, tensor in tensors.items()}


def test_reads_what_torch_wrote(checkpoint):
    path, expected = checkpoint
    found = read_checkpoint(path)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_every_cut_is_an_error(checkpoint, tmp_path):
    path, _ = checkpoint
    whole = path.read_bytes()
    cut = tmp_path / "cut.pth"
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"cut\.pth is not a readable checkpoint"):
            read_checkpoint(cut)


def test_other_formats_are_refused(torch, tmp_path):
    path = tmp_path / "new.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(FormatError, match=r"new\.pth"):
        read_checkpoint(path)


def test_code_in_the_file_does_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "attack.pth"
    path.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(FormatError, match="mkdir"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()
