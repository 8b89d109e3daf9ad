"""Folders of images: what is listed, in which order, and what is refused."""

import pytest
from PIL import Image

from simskip import datasets


def test_image_folder(tmp_path):
    for name in (
        "b/2.png", "b/1.JPG", "a/deep/x.png", "a/y.jpeg", ".hidden/z.png", "b/.hidden.png", "b/.git/h.png",
        "b/notes.txt", "empty/readme.md", "loose.png",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(path, format="PNG") if path.suffix != ".txt" else path.write_text("")
    folder = datasets.image_folder(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in folder.paths] == [
        "a/deep/x.png",
        "a/y.jpeg",
        "b/1.JPG",
        "b/2.png",
    ]
    assert folder.labels.tolist() == [0, 0, 1, 1]
    assert folder.label_names == ("a", "b")
    assert repr(folder) == "ImageFolder(4 files, 2 classes)"


def test_image_folder_errors(tmp_path):
    with pytest.raises(ValueError, match=r"path must be a folder of folders of images.*nowhere"):
        datasets.image_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="path must hold sub-folders with images, got none"):
        datasets.image_folder(tmp_path)
    Image.new("L", (2, 2)).save(tmp_path / "loose.png")
    with pytest.raises(ValueError, match="1 images lie in the folder itself and have no class"):
        datasets.image_folder(tmp_path)
