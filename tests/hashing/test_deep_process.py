"""What of training shows only in a process of its own: Ctrl-C, missing torch, one OpenMP runtime."""

from __future__ import annotations

import ast
import itertools
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import simskip
from simskip.hashing import native_trainer
from simskip.hashing.deep import DeepHash


def run(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_encode_where_torch_cannot_be_imported(tmp_path):
    X = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
    hasher = DeepHash(12, hidden=(16,), epochs=2, steps_per_epoch=10, threads=1).fit(X, progress=False)
    hasher.save(tmp_path / "hasher.safetensors")
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "codes.npy", hasher.encode(X).data)
    result = run(
        """
        import sys
        sys.modules["torch"] = None          # an import of torch raises ImportError now
        sys.modules["simskip._learn"] = None
        import numpy as np
        import simskip.hashing.deep
        from simskip.hashing import load_hasher
        folder = sys.argv[1]
        codes = load_hasher(folder + "/hasher.safetensors").encode(np.load(folder + "/X.npy"))
        assert np.array_equal(codes.data, np.load(folder + "/codes.npy"))
        assert not any("libtorch" in line for line in open("/proc/self/maps"))
        """,
        tmp_path,
    )
    assert result.returncode == 0, result.stderr


INTERRUPTED = """
    import os, signal, sys, threading, time
    import numpy as np
    from simskip.hashing.deep import DeepHash

    X = np.random.default_rng(0).normal(size=(2000, 32)).astype(np.float32)
    after = int(sys.argv[1])
    sent = []

    def interrupt():
        time.sleep(0.05)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    def hook(record):
        if record["epoch"] == after:
            threading.Thread(target=interrupt).start()

    hasher = DeepHash(16, hidden=(64,), epochs=100000, steps_per_epoch=int(sys.argv[2]), patience=0, threads=1,
                      batch_size=200)
    if after == 0:
        # Sent while the first epoch runs: 3 s are more than the preparation takes.
        threading.Timer(3.0, interrupt).start()
    try:
        hasher.fit(X, progress=False, callbacks=[hook])
    except KeyboardInterrupt:
        print("interrupted", time.perf_counter() - sent[0])
    else:
        print("fitted", time.perf_counter() - sent[0])
        assert hasher.history_[-1]["interrupted"]
        assert 1 <= hasher.best_epoch_ <= len(hasher.history_)
        assert len(hasher.encode(X)) == 2000
    hasher.set_params(epochs=1, steps_per_epoch=2)
    hasher.fit(X, progress=False)            # the object is usable
    assert len(hasher.history_) == 1
    """


@pytest.mark.parametrize(("after", "steps", "outcome"), [(2, 30, "fitted"), (0, 10_000_000, "interrupted")])
def test_ctrl_c_stops_and_keeps_what_was_learnt(after, steps, outcome):
    result = run(INTERRUPTED, after, steps)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] == outcome, result.stdout


def test_missing_torch_and_other_torch_say_what_to_install(monkeypatch):
    monkeypatch.setattr(native_trainer, "_loaded", None)

    def version_of(answer):
        def version(name):
            if answer is None:
                raise native_trainer.metadata.PackageNotFoundError(name)
            return answer

        return version

    monkeypatch.setattr(native_trainer.metadata, "version", version_of(None))
    with pytest.raises(ImportError, match=r'needs torch .*pip install "simskip\[train\]"'):
        native_trainer.load()
    monkeypatch.setattr(native_trainer.metadata, "version", version_of("1.0.0"))
    with pytest.raises(ImportError, match=r"torch 1\.0\.0 is installed.*simskip\[train\]"):
        native_trainer.load()
    monkeypatch.setattr(native_trainer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"SIMSKIP_LEARN=OFF.*simskip\[train\]"):
        native_trainer.load()


def test_the_trainer_reports_the_torch_it_was_built_with():
    from importlib.metadata import version

    assert native_trainer.load().torch_version() == version("torch").partition("+")[0]


@pytest.mark.parametrize("order", list(itertools.permutations(["simskip._core", "simskip._learn", "torch"])))
def test_one_openmp_runtime_in_any_import_order(order):
    result = run(
        """
        import importlib, sys
        for name in sys.argv[1:]:
            importlib.import_module(name)
        print(len({line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}))
        """,
        *order,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "1"


def test_torchs_own_settings_stay_as_they_were():
    result = run(
        """
        import numpy as np, torch
        from simskip.hashing.deep import DeepHash
        torch.set_num_threads(3)
        torch.manual_seed(7)
        expected = torch.rand(4)
        torch.manual_seed(7)
        X = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
        DeepHash(8, hidden=(8,), epochs=1, steps_per_epoch=5, threads=1).fit(X, progress=False)
        assert torch.get_num_threads() == 3
        assert torch.equal(torch.rand(4), expected)
        x = torch.ones(3, requires_grad=True)
        (x * 2).sum().backward()             # autograd works after training
        assert x.grad.tolist() == [2, 2, 2]
        """
    )
    assert result.returncode == 0, result.stderr


def test_signal_handlers_are_untouched():
    before = signal.getsignal(signal.SIGINT)
    X = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    DeepHash(8, hidden=(8,), epochs=1, steps_per_epoch=2, threads=1).fit(X, progress=False)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_gil_is_free_while_training():
    X = np.random.default_rng(0).normal(size=(2000, 32)).astype(np.float32)
    counted, done = [0], threading.Event()

    def count():
        while not done.is_set():
            counted[0] += 1

    between = []
    hasher = DeepHash(16, hidden=(64,), epochs=3, steps_per_epoch=40, batch_size=200, threads=1)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        hasher.fit(X, progress=False, callbacks=[lambda record: between.append(counted[0])])
    finally:
        done.set()
        thread.join()
    # Between two callbacks lies native training: the other thread must have run far more than a few switches.
    assert min(np.diff(between)) > 1000


def test_stub_and_module_have_the_same_names():
    trainer = native_trainer.load()
    stub = ast.parse(Path(simskip.__file__).with_name("_learn.pyi").read_text())
    described = {node.name: node for node in stub.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    for name in [
        name for name, node in described.items() if "TypedDict" in ast.dump(ast.List(getattr(node, "bases", [])))
    ]:
        del described[name]  # plain dicts; the stub names their keys
    assert set(described) == {name for name in dir(trainer) if not name.startswith("_")}
    for name, node in described.items():
        if isinstance(node, ast.ClassDef):
            members = {getattr(item, "name", None) or item.target.id for item in node.body} - {"__init__"}
            assert members == {item for item in dir(getattr(trainer, name)) if not item.startswith("_")}, name
        else:
            arguments = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
            signature = getattr(trainer, name).__doc__.splitlines()[0]
            assert re.findall(r"[(,] ?\*?,? ?(\w+):", signature) == arguments, name
