"""CrossModalHash: that pairs find each other, and that it behaves."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import simskip
from simskip import CrossModalHash
from simskip.hashing import PairedHash, load_hasher, native_trainer
from simskip.hashing.canonical import canonical_axes, canonical_start
from simskip.hashing.held_out_pairs import HeldOutPairs, row_numbers, split_pairs

pytestmark = pytest.mark.filterwarnings("default::simskip.CollapseWarning")

SMALL = {"hidden": (64,), "epochs": 3, "steps_per_epoch": 20, "batch_size": 128, "learning_rate": 1e-2, "threads": 1}


@pytest.fixture(scope="module")
def pairs():
    """(1500, 24) and (1500, 16): two curved views of the same six numbers."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(1500, 6))
    first = np.tanh(meaning @ rng.normal(size=(6, 24))) + 0.1 * rng.normal(size=(1500, 24))
    second = np.abs(meaning @ rng.normal(size=(6, 16))) + 0.1 * rng.normal(size=(1500, 16))
    return first.astype(np.float32), second.astype(np.float32)


@pytest.fixture(scope="module")
def fitted(pairs):
    A, B = pairs
    return CrossModalHash(24, **SMALL).fit_pairs(A[:1200], B[:1200], progress=False)


def figures(model, A, B, **options):
    found = model.evaluate_pairs(A, B, **options)
    return np.array([[float(score) for score in found[side].values()] for side in ("forward", "backward")])


def test_each_side_finds_the_other_among_unseen_pairs(pairs):
    A, B = pairs
    model = CrossModalHash(32, hidden=(128,), epochs=4, steps_per_epoch=50, batch_size=256, threads=1)
    model.fit_pairs(A[:1200], B[:1200], progress=False)
    start = CrossModalHash(32, hidden=(), epochs=1, steps_per_epoch=1, learning_rate=1e-9, threads=1)
    start.fit_pairs(A[:1200], B[:1200], progress=False)
    learned, linear = figures(model, A[1200:], B[1200:]), figures(start, A[1200:], B[1200:])
    assert (learned[:, 1] > 0.5).all()  # recall@10; chance is 0.033
    assert (learned > 1.3 * linear).all()
    asymmetric = figures(model, A[1200:], B[1200:], scoring="asymmetric")
    assert (asymmetric[:, 3] > learned[:, 3]).all()


def test_shuffled_pairs_give_chance(pairs):
    A, B = pairs
    shuffled = B[np.random.default_rng(1).permutation(1200)]
    model = CrossModalHash(32, **SMALL).fit_pairs(A[:1200], shuffled, progress=False)
    found = figures(model, A[1200:], B[1200:])
    # 300 queries: a standard error of .01 at 10 / 300, and of .016 at 25 / 300.
    np.testing.assert_allclose(found[:, 1], 10 / 300, atol=0.045)
    np.testing.assert_allclose(found[:, 2], 25 / 300, atol=0.07)
    assert max(record["recall@10"] for record in model.history_) < 10 / 120 + 0.12


def test_sides_are_ordinary_hashers_of_one_code_space(pairs, fitted, tmp_path):
    A, B = pairs
    first, second = fitted.first_, fitted.second_
    assert isinstance(first, PairedHash)
    assert fitted.encode_images(A) == first.encode(A)
    assert fitted.encode_texts(B) == second.encode(B)
    assert (first.dim_, second.dim_, first.n_bits) == (24, 16, 24)
    assert first.fingerprint != second.fingerprint
    assert first.code_space == second.code_space == fitted.fingerprint
    assert fitted.health_["first"] == first.health_ == simskip.metrics.code_health(first.encode(A[:1200]))
    index = simskip.HammingIndex(24)
    index.add(first.encode(A[1200:]))
    found = index.search(second.encode(B[1200:]), k=10)[1]
    share = (found == np.arange(300)[:, None]).any(axis=1).mean()
    assert share == pytest.approx(float(fitted.evaluate_pairs(A[1200:], B[1200:])["backward"]["recall@10"]), abs=0.08)
    for hasher, X in ((first, A), (second, B)):
        hasher.save(tmp_path / "side.safetensors")
        loaded = load_hasher(tmp_path / "side.safetensors")
        assert loaded.encode(X) == hasher.encode(X)
        assert loaded.code_space == fitted.fingerprint
        assert loaded.health_ == hasher.health_
    similarity = simskip.SimilarityIndex(first)
    similarity.add(A)
    assert similarity.search(A[:3], k=1, rerank=5)[1][:, 0].tolist() == [0, 1, 2]
    report = simskip.evaluate({"first": first}, database=A[:1200], queries=A[1200:], k=5)
    assert report.table is not None


def test_an_index_of_one_side_answers_the_other(pairs, fitted, tmp_path):
    A, B = pairs
    index = simskip.SimilarityIndex(fitted.first_)
    index.add(A[1200:])
    index.save(tmp_path / "index")
    for each in (index, simskip.SimilarityIndex.load(tmp_path / "index")):
        found = each.search(B[1200:], k=10, hasher=fitted.second_)[1]
        codes = simskip.HammingIndex(24)
        codes.add(fitted.encode_images(A[1200:]))
        assert np.array_equal(found, codes.search(fitted.encode_texts(B[1200:]), k=10)[1])
        closer = each.search(B[1200:], k=10, scoring="asymmetric", hasher=fitted.second_)[1]
        shares = [(ids == np.arange(300)[:, None]).any(axis=1).mean() for ids in (found, closer)]
        assert 0.3 < shares[0] < shares[1]  # chance is 0.033
    own = index.search(A[:5], k=3)[1]
    assert np.array_equal(index.search(A[:5], k=3, hasher=fitted.first_)[1], own)
    for arguments, message in (
        ({"hasher": simskip.PCAHash(24).fit(B)}, "code space of the index's hasher"),
        ({"hasher": PairedHash(24)}, "not fitted"),
        ({"hasher": "second"}, "code space"),
        ({"hasher": fitted.second_, "rerank": 10}, "rerank must not be given beside hasher"),
        ({"hasher": fitted.second_, "recall": 0.9}, "recall must not be given beside hasher"),
        ({"hasher": fitted.first_}, "24 columns"),
        ({}, "24 columns"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(B[:5], k=3, **arguments)


def test_same_seed_same_bits(pairs, fitted):
    A, B = pairs
    again = CrossModalHash(24, **SMALL).fit_pairs(A[:1200], B[:1200], progress=False)
    other = CrossModalHash(24, random_state=1, **SMALL).fit_pairs(A[:1200], B[:1200], progress=False)
    assert again.fingerprint == fitted.fingerprint
    assert again.to_bytes() == fitted.to_bytes()
    assert other.fingerprint != fitted.fingerprint


def test_a_side_of_another_training_has_another_code_space(pairs, fitted):
    """Equal first networks do not make codes comparable: the second ones differ."""
    A, B = pairs
    one, two = (CrossModalHash(24, validation_fraction=0, **SMALL) for _ in range(2))
    one.fit_pairs(A, B, progress=False)
    two.fit_pairs(A, B * 2 + 1, progress=False)
    assert one.first_.code_space != two.first_.code_space


@pytest.mark.parametrize("metric", ["l2", "dot", ("cosine", "l2")])
@pytest.mark.parametrize("residual", [False, True])
def test_save_load_and_pickle(pairs, tmp_path, monkeypatch, metric, residual):
    A, B = pairs
    monkeypatch.setattr("simskip.hashing.cross_modal._WIDTH", 20)
    options = {"objective_options": {"soft": 0.2}, "activation": "gelu", "batch_norm": not residual}
    parameters = {**SMALL, "epochs": 1, "hidden": (8,), "metric": metric, "residual": residual, **options}
    model = CrossModalHash(12, **parameters).fit_pairs(A, B, progress=False)
    assert model.first_.network_.n_inputs == 20
    model.save(tmp_path / "model.safetensors")
    for other in (CrossModalHash.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.first_.project(A), model.first_.project(A))
        np.testing.assert_array_equal(other.second_.project(B), model.second_.project(B))
        assert other.fingerprint == model.fingerprint == other.second_.code_space
        assert other.best_epoch_ == model.best_epoch_
        assert len(other.history_) == len(model.history_)
        assert {**other.get_params(), "threads": 1} == {**model.get_params(), "threads": 1}
    fresh = pickle.loads(pickle.dumps(CrossModalHash(12, dropout=0.3)))
    assert repr(fresh) == "CrossModalHash(12, dropout=0.3) (not fitted)"


def test_damaged_and_other_files_are_refused(pairs, fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    for place in (20, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(simskip.FormatError, match=r"model\.safetensors"):
            CrossModalHash.load(path)
    path.write_bytes(content[:-100])
    with pytest.raises(simskip.FormatError):
        CrossModalHash.load(path)
    path.write_bytes(content)
    with pytest.raises(simskip.FormatError, match="simskip-cross-modal"):
        load_hasher(path)
    fitted.first_.save(path)
    with pytest.raises(simskip.FormatError, match="not a CrossModalHash"):
        CrossModalHash.load(path)


def test_networks_that_do_not_belong_together_are_refused(pairs, fitted, monkeypatch):
    from simskip.hashing import cross_modal_file, weights

    tensors, metadata = weights.from_bytes(fitted.to_bytes())
    exchanged = {**metadata, "first": metadata["second"], "second": metadata["first"]}
    for changed in (
        (tensors, exchanged),
        (tensors, {**metadata, "best_epoch": "none"}),
        (tensors, {**metadata, "parameters": metadata["parameters"].replace('"n_bits": 24', '"n_bits": 32')}),
        ({k: v for k, v in tensors.items() if k != "second.layers.0.bias"}, metadata),
        (tensors, {**metadata, "format_version": "2"}),
    ):
        with pytest.raises(simskip.FormatError):
            cross_modal_file.from_bytes(CrossModalHash, weights.to_bytes(*changed))


def test_encode_where_torch_cannot_be_imported(pairs, fitted, tmp_path):
    A, B = pairs
    fitted.save(tmp_path / "model.safetensors")
    np.savez(tmp_path / "data.npz", A=A, B=B, first=fitted.encode_images(A).data, second=fitted.encode_texts(B).data)
    code = """
        import sys
        sys.modules["torch"] = None          # an import of torch raises ImportError now
        sys.modules["simskip._learn"] = None
        import numpy as np
        from simskip import CrossModalHash
        model, data = CrossModalHash.load(sys.argv[1] + "/model.safetensors"), np.load(sys.argv[1] + "/data.npz")
        assert np.array_equal(model.encode_images(data["A"]).data, data["first"])
        assert np.array_equal(model.encode_texts(data["B"]).data, data["second"])
        assert float(model.evaluate_pairs(data["A"], data["B"])["forward"]["mrr"]) > 0.03
        assert not any("libtorch" in line for line in open("/proc/self/maps"))
        """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), os.fspath(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_soft_targets_take_their_temperature_from_the_data(pairs, monkeypatch, metric):
    A, B = pairs
    given = []
    train = native_trainer.load().train

    def spy(settings, *arguments, **more):
        given.append(dict(settings.objective_options))
        return train(settings, *arguments, **more)

    monkeypatch.setattr(native_trainer.load(), "train", spy)
    for options in ({"soft": 0.3}, {"soft": 0.3, "tau_first": 0.5}, {}):
        model = CrossModalHash(24, objective_options=options, metric=metric, **SMALL)
        model.fit_pairs(A[:1200], B[:1200], progress=False)
        assert figures(model, A[1200:], B[1200:])[:, 1].min() > 0.3
    assert 0.001 < given[0]["tau_first"] < 0.2
    assert 0.001 < given[0]["tau_second"] < 0.2
    assert given[1] == {**given[0], "tau_first": 0.5}
    assert given[2] == {}


@pytest.mark.parametrize("n", [2, 3, 9, 30])
def test_few_pairs_and_batches_larger_than_the_data(n):
    rng = np.random.default_rng(n)
    A, B = rng.normal(size=(n, 5)), rng.normal(size=(n, 90))
    model = CrossModalHash(8, hidden=(4,), epochs=2, steps_per_epoch=3, threads=1).fit_pairs(A, B, progress=False)
    assert np.isfinite(model.second_.project(B)).all()
    assert len(model.history_) == 2


def test_more_bits_than_dimensions_and_constant_columns(pairs):
    A, B = (X.copy() for X in pairs)
    A[:, 3], B[:, 1:] = 7.0, 0.0
    model = CrossModalHash(40, **SMALL).fit_pairs(A, B, progress=False)
    assert model.encode_texts(B).n_bits == 40
    assert np.isfinite(model.first_.project(A)).all()


def test_ten_names_for_all_photographs(pairs):
    """Many rows share their other side: each photograph finds its name, each name one of its photographs."""
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 10, 1000)
    A = rng.normal(size=(10, 24))[kind] + 0.7 * rng.normal(size=(1000, 24))
    B = rng.normal(size=(10, 12))[kind]
    model = CrossModalHash(16, **SMALL).fit_pairs(A[:800], B[:800], progress=False)
    found = model.evaluate_pairs(A[800:], B[800:], k=(1,))
    assert found["forward"]["recall@1"] > 0.9  # chance: 0.1
    assert found["backward"]["recall@1"] > 0.9


def test_captions_of_one_photograph_stay_together_when_pairs_are_held_out():
    first, second = np.repeat(np.arange(200), 5), np.arange(1000)
    held_out, rows = split_pairs(first, second, 0.1, seed=0)
    assert np.array_equal(np.sort(np.concatenate([held_out, rows])), np.arange(1000))
    assert len(held_out) == 100
    assert not set(first[held_out]) & set(first[rows])
    # One name for all connects everything: single rows are held out.
    assert len(split_pairs(np.zeros(1000, int), second, 0.1, seed=0)[0]) == 100
    # A chain of shared sides is one group, however long.
    chain = np.arange(1000) // 2, (np.arange(1000) + 1) // 2
    assert len(split_pairs(*chain, 0.1, seed=0)[0]) == 100
    assert len(split_pairs(second, second, 0.0, seed=0)[0]) == 0
    assert [len(part) for part in split_pairs(np.arange(3), np.arange(3), 0.9, seed=0)] == [1, 2]


def test_row_numbers_are_equal_for_equal_rows():
    X = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32)
    X[100:200] = X[:100]
    X[0, 0], X[100, 0] = 0.0, -0.0
    numbers = row_numbers(X)
    assert np.array_equal(numbers[100:200], numbers[:100])
    assert len(set(numbers)) == 400
    bits = ((np.arange(4096)[:, None] >> np.arange(12)) & 1).astype(np.float32)
    assert len(set(row_numbers(bits))) == 4096


def test_held_out_figure_counts_ties_and_equal_sides():
    rows = np.arange(200, dtype=np.int32)
    judge = HeldOutPairs(rows, np.arange(200), np.arange(200))
    assert judge.name == "recall@10"
    same = np.ones((400, 8), np.float32)
    assert judge(same)["recall@10"] == pytest.approx(10 / 200)
    right = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    assert judge(np.concatenate([right, right])) == {
        "recall@10": 1.0, "recall@10 forward": 1.0, "recall@10 backward": 1.0
    }  # fmt: skip
    halves = HeldOutPairs(rows, np.arange(200) % 2, np.arange(200))
    assert halves(same)["recall@10"] > 0.999
    assert HeldOutPairs(rows[:30], rows, rows).name == "recall@3"


def test_canonical_axes_are_uncorrelated_and_correlate_across(pairs):
    A, B = pairs
    axes = canonical_axes(A, B, 8, 1e-9)
    left, right = axes.components(A, 0, 0), axes.components(B, 1, 0)
    np.testing.assert_allclose(np.cov(left.T), np.eye(8), atol=0.01)
    np.testing.assert_allclose(left.T @ right / len(A), np.diag(axes.correlations), atol=0.01)
    assert (np.diff(axes.correlations) <= 0).all()
    with pytest.raises(ValueError, match="correlation"):
        canonical_axes(A, np.ones_like(B), 8, 0.1)


def test_training_starts_from_cca_itq(pairs):
    A, B = pairs
    unit = [X / np.linalg.norm(X, axis=1, keepdims=True) for X in pairs]
    (first, second), _ = canonical_start(*unit, 16, 0)
    model = CrossModalHash(16, epochs=1, steps_per_epoch=1, learning_rate=1e-12, validation_fraction=0, threads=1)
    model.fit_pairs(A, B, progress=False)
    np.testing.assert_allclose(model.first_.project(A), np.tanh(unit[0] @ first[0].T + first[1]), atol=1e-3)
    np.testing.assert_allclose(model.second_.project(B), np.tanh(unit[1] @ second[0].T + second[1]), atol=1e-3)


def test_history_callbacks_and_early_stopping(pairs):
    A, B = pairs
    seen = []
    model = CrossModalHash(16, **{**SMALL, "epochs": 50, "patience": 2, "learning_rate": 0.05})
    model.fit_pairs(A, B, progress=False, callbacks=[seen.append])
    assert seen == model.history_
    assert len(seen) == model.best_epoch_ + 2 < 50
    record = seen[model.best_epoch_ - 1]
    assert record["recall@10"] == max(r["recall@10"] for r in seen)
    assert record["recall@10"] == pytest.approx((record["recall@10 forward"] + record["recall@10 backward"]) / 2)
    for name in ("epoch", "step", "learning_rate", "loss", "contrast", "balance", "scale", "collapsed", "seconds"):
        assert name in record
    assert record["first"]["codes"] > 1
    stopped = CrossModalHash(16, **{**SMALL, "epochs": 9})
    stopped.fit_pairs(A, B, progress=False, callbacks=[lambda record: record["epoch"] == 2])
    assert len(stopped.history_) == 2


def test_an_error_in_a_callback_comes_through_and_leaves_the_model_as_it_was(pairs):
    A, B = pairs
    model = CrossModalHash(16, **SMALL).fit_pairs(A, B, progress=False)
    before = model.fingerprint

    def hook(record):
        raise RuntimeError("from the callback")

    with pytest.raises(RuntimeError, match="from the callback"):
        model.fit_pairs(A[:300], B[:300], progress=False, callbacks=[hook])
    assert model.fingerprint == before


def test_progress_bar(pairs, capsys):
    pytest.importorskip("tqdm")
    A, B = pairs
    CrossModalHash(16, **SMALL).fit_pairs(A, B)
    shown = capsys.readouterr().err
    for part in ("3/3", "loss", "recall@10"):
        assert part in shown


def test_the_numpy_forward_pass_is_the_trainers(pairs, monkeypatch):
    A, B = pairs
    seen = []
    judge = HeldOutPairs.__call__
    monkeypatch.setattr(
        HeldOutPairs, "__call__", lambda self, outputs: seen.append((self, outputs)) or judge(self, outputs)
    )
    model = CrossModalHash(16, **{**SMALL, "batch_norm": True, "dropout": 0.2}).fit_pairs(A, B, progress=False)
    held_out, outputs = seen[model.best_epoch_ - 1]
    rows = held_out.evaluation_rows
    np.testing.assert_allclose(model.first_.project(A[rows]), outputs[: len(rows)], atol=2e-5)
    np.testing.assert_allclose(model.second_.project(B[rows]), outputs[len(rows) :], atol=2e-5)


def test_parameters_like_an_estimator(fitted):
    assert CrossModalHash().get_params()["n_bits"] == 64
    assert "fitted to 24 and 16 dimensions" in repr(fitted)
    other = pickle.loads(pickle.dumps(fitted)).set_params(dropout=0.2)
    assert not hasattr(other, "first_")
    with pytest.raises(ValueError, match="the parameter"):
        other.set_params(depth=3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_bits": 0}, "n_bits"),
        ({"hidden": 512}, "hidden"),
        ({"activation": "sine"}, "activation"),
        ({"dropout": 1.0}, "dropout"),
        ({"batch_norm": 1}, "batch_norm"),
        ({"residual": None}, "residual"),
        ({"output": "sigmoid"}, "output"),
        ({"epochs": 0}, "epochs"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"optimizer": "lbfgs"}, "optimizer"),
        ({"schedule": "step"}, "schedule"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"input_noise": "much"}, "input_noise"),
        ({"objective_options": {"alpha": 1.0}}, "option of pairs"),
        ({"objective_options": {"soft": -1.0}}, "soft"),
        ({"objective_options": {"soft": 2.0}}, "soft"),
        ({"metric": "hamming"}, "metric"),
        ({"metric": ("l2",)}, "a pair"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"patience": -1}, "patience"),
        ({"random_state": -1}, "random_state"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_parameters(pairs, parameters, message):
    model = CrossModalHash(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit_pairs(*pairs, progress=False)
    assert not hasattr(model, "first_")


@pytest.mark.parametrize(
    ("A", "B", "message"),
    [
        (np.ones((5, 3)), np.eye(5), "A must hold different rows"),
        (np.eye(5), np.ones((5, 2)), "B must hold different rows"),
        (np.eye(5), np.eye(4), r"B must have 5 rows.*got 4"),
        (np.eye(1), np.eye(1), "A must have at least 2 rows"),
        (np.full((3, 3), np.nan), np.eye(3), "A must be finite"),
        (np.eye(3), np.full((3, 3), np.inf), "B must be finite"),
        (np.eye(3), np.ones(3), r"B must have shape \(n, d\)"),
        (np.array([["a", "b"]]), np.eye(2), "A must be a matrix of numbers"),
    ],
)
def test_bad_data(A, B, message):
    with pytest.raises(ValueError, match=message):
        CrossModalHash(8).fit_pairs(A, B, progress=False)


def test_use_before_or_against_the_rules(pairs, fitted, tmp_path):
    A, B = pairs
    for call in (
        lambda model: model.encode_images(A),
        lambda model: model.encode_texts(B),
        lambda model: model.evaluate_pairs(A, B),
        lambda model: model.save(tmp_path / "model"),
        lambda model: model.fingerprint,
    ):
        with pytest.raises(ValueError, match="not fitted yet: call fit_pairs"):
            call(CrossModalHash(8))
    with pytest.raises(ValueError, match=r"CrossModalHash\.fit_pairs"):
        PairedHash(8).fit(A)
    with pytest.raises(ValueError, match="wrong dim"):
        fitted.encode_images(B)
    with pytest.raises(ValueError, match="scoring"):
        fitted.evaluate_pairs(A, B, scoring="rerank")
    with pytest.raises(ValueError, match="B must have 1500 rows"):
        fitted.evaluate_pairs(A, B[:7])


def test_collapse_is_said(pairs):
    A, B = pairs
    line = np.where(A[:, :1] > 0, A, 0)  # one column, so one of two directions
    line[:, 1:] = 0
    with pytest.warns(simskip.CollapseWarning, match="first side"):
        CrossModalHash(8, **{**SMALL, "epochs": 1}).fit_pairs(line, B, progress=False)


def test_missing_torch_says_what_to_install(pairs, monkeypatch):
    monkeypatch.setattr(native_trainer, "_loaded", None)

    def missing(name):
        raise native_trainer.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(native_trainer.metadata, "version", missing)
    with pytest.raises(ImportError, match=r"simskip\[train\]"):
        CrossModalHash(8).fit_pairs(*pairs, progress=False)
