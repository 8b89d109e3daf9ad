"""Files that simskip once wrote load today, hold what they held, and would be written the same."""

import os
import shutil

import numpy as np
import pytest
from recipes import FOLDER, HASHER, RECIPES, golden_codes, golden_vectors

import simskip

BY_NAME = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
HASHERS = sorted(HASHER.parent.glob("*.safetensors"))


def everything(index):
    """All that one can ask an index."""
    asked = [index.ids.tolist(), len(index), repr(index)]
    if isinstance(index, simskip.HammingIndex):
        queries = golden_codes("queries", 4, index.n_bits)
        asked += [index.codes().to("hex"), index.n_bits, index.method]
    else:
        queries = golden_vectors("queries", 4, index.dim)
        asked += [index.vectors().tobytes(), index.metric, index.dtype]
    if isinstance(index, simskip.SimilarityIndex):
        asked += [index.codes.to("hex"), index.hasher.to_bytes()]
    if len(index):
        asked += [part.tobytes() for part in index.search(queries, 9)]
    return asked


@BY_NAME
@pytest.mark.parametrize("mmap", [False, True])
def test_loads_and_holds_what_it_held(recipe, mmap):
    loaded, made = recipe.load(recipe.path, mmap=mmap), recipe.make()
    assert everything(loaded) == everything(made)


@BY_NAME
def test_the_next_free_id_is_remembered(recipe, tmp_path):
    shutil.copy(recipe.path, tmp_path / "copy")
    added = []
    for index in (recipe.load(tmp_path / "copy"), recipe.make()):
        if isinstance(index, simskip.HammingIndex):
            index.add(golden_codes("more", 2, index.n_bits))
        else:
            index.add(golden_vectors("more", 2, index.dim))
        added.append(index.ids.tolist())
    assert added[0] == added[1]
    if "removed" in recipe.name:
        assert added[0][-2:] == [20, 21]


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.written], ids=lambda recipe: recipe.name)
def test_would_be_written_the_same_today(recipe, tmp_path):
    """Or the format has drifted: a change of it is a new version, which leaves these files readable."""
    golden = recipe.path.read_bytes()
    recipe.load(recipe.path).save(tmp_path / "loaded")
    recipe.make().save(tmp_path / "made")
    assert (tmp_path / "loaded").read_bytes() == golden
    assert (tmp_path / "made").read_bytes() == golden


@BY_NAME
def test_every_flipped_byte_is_detected(recipe, tmp_path):
    golden = recipe.path.read_bytes()
    path = tmp_path / "flipped"
    shutil.copy(recipe.path, path)
    with open(path, "r+b", buffering=0) as file:
        for at, byte in enumerate(golden):
            os.pwrite(file.fileno(), bytes([byte ^ 1 << at % 8]), at)
            with pytest.raises(simskip.FormatError, match="flipped: "):
                recipe.load(path)
            os.pwrite(file.fileno(), bytes([byte]), at)
    recipe.load(path)


@pytest.mark.parametrize("path", HASHERS, ids=lambda path: path.name)
def test_hashers_would_be_written_the_same_today(path, tmp_path):
    simskip.load_hasher(path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_every_file_has_a_recipe_and_is_small():
    names = {path.name for path in FOLDER.iterdir() if path.suffix == ".simskip"}
    assert names == {recipe.name for recipe in RECIPES}
    assert all(recipe.path.stat().st_size < 6000 for recipe in RECIPES)


def test_the_searches_are_those_of_numpy():
    """The other tests compare simskip with itself."""
    recipe = next(recipe for recipe in RECIPES if recipe.name == "hamming-70x64-explicit-v1.simskip")
    index = recipe.load(recipe.path)
    queries, codes = golden_codes("queries", 4, 64), golden_codes(recipe.name, 70, 64)
    distances = np.bitwise_count(queries.data[:, None] ^ codes.data[None]).sum(axis=2)
    np.testing.assert_array_equal(index.search(queries, 9)[0], np.sort(distances, axis=1)[:, :9])
