"""What holds between the parts: stubs and modules, OpenMP runtimes, the GIL, Ctrl-C, imports, no crash on any input."""

import ast
import importlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import simskip
from simskip import _core

PACKAGE = Path(simskip.__file__).parent
HERE = Path(__file__).parent


def run(code: str, *, timeout: int = 120, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stderr}"
    return result.stdout


# Stubs


def described_by_stub(name: str) -> dict[str, tuple]:
    """name -> ("value",), ("class",), ("property",) or ("function", (argument, has a default), ...)."""
    found: dict[str, tuple] = {}

    def visit(body, prefix):
        for node in body:
            if isinstance(node, ast.AnnAssign):
                found[prefix + node.target.id] = ("property",) if prefix else ("value",)
            elif isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "TypedDict" for base in node.bases):
                continue  # describes a dictionary
            elif isinstance(node, ast.ClassDef):
                found[prefix + node.name] = ("class",)
                visit(node.body, prefix + node.name + ".")
            elif isinstance(node, ast.FunctionDef):
                if any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list):
                    found[prefix + node.name] = ("property",)
                else:
                    found[prefix + node.name] = ("function", *described_arguments(node.args))

    visit(ast.parse((PACKAGE / f"{name}.pyi").read_text()).body, "")
    return found


def described_arguments(arguments: ast.arguments) -> list[tuple[str, bool]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    described = [(a.arg, i >= required) for i, a in enumerate(positional)]
    described += [(a.arg, d is not None) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [a for a in described if a[0] != "self"]


def described_by_docstring(function) -> list[tuple[str, bool]]:
    """pybind11 writes the signature into the first line."""
    line = re.sub(r"<[^>]*>", "...", function.__doc__.split("\n")[0])
    return described_arguments(ast.parse(f"def {line}: ...").body[0].args)


def described_by_module(module) -> dict[str, tuple]:
    found: dict[str, tuple] = {}

    def visit(members, prefix):
        for name, value in members.items():
            special = {"__init__", "__len__", "__contains__", "__call__", "__getitem__", "__iter__"}
            if name.startswith("_") and not (prefix and name in special):
                continue
            if isinstance(value, type):
                found[prefix + name] = ("class",)
                visit(vars(value), prefix + name + ".")
            elif isinstance(value, property):
                found[prefix + name] = ("property",)
            elif callable(value) or isinstance(value, staticmethod):
                function = value.__func__ if isinstance(value, staticmethod) else value
                if (function.__doc__ or "").startswith("Initialize self"):
                    continue  # Python cannot make one
                found[prefix + name] = ("function", *described_by_docstring(function))
            else:
                found[prefix + name] = ("value",)

    visit(vars(module), "")
    return found


@pytest.mark.parametrize("name", ["_core", "_learn"])
def test_stub_is_the_module(name):
    if name == "_learn" and not (PACKAGE / "_learn.pyi").exists():
        pytest.skip("built without the trainer")
    try:
        module = importlib.import_module(f"simskip.{name}")
    except ImportError as error:
        if name == "_core":
            raise
        pytest.skip(f"built without the trainer: {error}")
    stub, found = described_by_stub(name), described_by_module(module)
    assert sorted(stub) == sorted(found)
    assert stub == found


# Imports


def test_public_names():
    expected = {
        "Codes", "pack", "unpack", "RandomHash", "PCAHash", "load_hasher", "HammingIndex", "VectorIndex",
        "SimilarityIndex", "cpu", "set_threads", "FormatError",
    }  # fmt: skip
    assert expected <= set(simskip.__all__)
    assert len(simskip.__all__) == len(set(simskip.__all__))
    for name in simskip.__all__:
        assert getattr(simskip, name) is not None
    assert re.fullmatch(r"\d+\.\d+.*", simskip.__version__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        simskip.nothing  # noqa: B018


def test_import_needs_numpy_only():
    heavy = ["torch", "pandas", "matplotlib", "sklearn", "scipy", "onnxruntime", "PIL", "tqdm", "typer", "pyarrow"]
    assert run(f"import sys, simskip; print([m for m in {heavy} if m in sys.modules])").strip() == "[]"


def test_import_is_fast():
    """At most 0.3 s over NumPy's import, of processor time, which a busy machine does not stretch."""
    code = "import time, numpy; t = time.process_time(); import simskip; print(time.process_time() - t)"
    assert min(float(run(code)) for _ in range(5)) < 0.3


# OpenMP

PARTS = {
    "simskip": """
import simskip
rng = np.random.default_rng(0)
index = simskip.HammingIndex(64)
index.add(simskip.pack(rng.normal(size=(20000, 64))))
assert index.search(index.codes(range(50)), 3, threads=2)[1][:, 0].tolist() == list(range(50))
""",
    "torch": """
import torch
a = torch.ones(300, 300)
assert (a @ a).sum().item() == 300.0**3
""",
    "faiss": """
import faiss
flat = faiss.IndexFlatL2(16)
points = np.random.default_rng(1).normal(size=(2000, 16)).astype(np.float32)
flat.add(points)
assert flat.search(points[:100], 1)[1][:, 0].tolist() == list(range(100))
""",
    "sklearn": """
from sklearn.cluster import KMeans
blobs = np.repeat(np.array([[0.0, 0.0], [9.0, 9.0]]), 500, axis=0)
assert len(set(KMeans(2, n_init=1, random_state=0).fit(blobs).labels_)) == 2
""",
}
LIBRARIES = "import re; print(sorted({line.split()[-1] for line in open('/proc/self/maps') if 'omp' in line}))"


@pytest.mark.parametrize("order", [("simskip", "torch"), ("torch", "simskip"), ("simskip",)])
def test_one_openmp_runtime_with_torch(order):
    if "torch" in order:
        pytest.importorskip("torch")
    code = "import numpy as np\n" + "".join(PARTS[name] for name in order) + LIBRARIES
    paths = ast.literal_eval(run(code))
    runtimes = [p for p in paths if re.search(r"/lib(gomp|omp|iomp5)[-.]", p)]
    assert len(runtimes) == 1, runtimes
    assert Path(runtimes[0]).name.startswith("libgomp")
    assert ".so.1" in runtimes[0]


ORDERS = list(itertools.permutations(PARTS))


@pytest.mark.parametrize(
    "order",
    [pytest.param(order, marks=[] if i in (0, 23) else pytest.mark.slow) for i, order in enumerate(ORDERS)],
    ids="-".join,
)
def test_all_work_in_any_import_order(order):
    for name in order:
        pytest.importorskip(name)
    again = "".join(PARTS[name] for name in reversed(order))
    code = "import numpy as np\n" + "".join(PARTS[name] for name in order) + again + "print('fine')"
    environment = {"KMP_DUPLICATE_LIB_OK": ""}
    assert run(code, **environment).strip().endswith("fine")


# The GIL


def native_calls(folder: Path):
    """Calls that take some milliseconds: on a busy machine another thread needs that to be woken."""
    rng = np.random.default_rng(0)
    codes = simskip.Codes(rng.integers(0, 256, (60_000, 16), dtype=np.uint8), 128)
    X = rng.normal(size=(20_000, 64)).astype(np.float32)
    index, vectors = simskip.HammingIndex(128), simskip.VectorIndex(64)
    index.add(codes)
    few = simskip.HammingIndex(128)
    few.add(codes[:5000])
    vectors.add(X)
    norms, path = _core.row_norms(X), os.fspath(folder / "a")
    index.save(path)
    candidates = np.tile(np.arange(2000), (20, 1))
    outputs = rng.normal(size=(5, 128)).astype(np.float32)
    products = np.ascontiguousarray(X[:200] @ X.T)

    def multi_index():
        fresh = simskip.HammingIndex(128)
        fresh.add(codes)
        return fresh

    def propose():
        top = _core.FloatTopK(X[:200], 5, "dot", float(norms.max()))
        top.add(products, None, 0, norms)

    return {
        "search": lambda: index.search(codes[:500], 5, threads=1),
        "range_search": lambda: index.range_search(codes[:500], 5, threads=1),
        "build": lambda: multi_index().build(threads=1),
        "knn_graph": lambda: few.knn_graph(1, threads=1),
        "duplicates": lambda: few.duplicates(0, threads=1),
        "asymmetric": lambda: index._native.search_asymmetric(outputs, 5),
        "add": lambda: simskip.HammingIndex(128).add(codes),
        "upsert": lambda: index.upsert(codes, np.arange(len(codes))),
        "codes": lambda: index._native.codes(),
        "save": lambda: index.save(path),
        "load": lambda: simskip.HammingIndex.load(path),
        "pack": lambda: _core.pack_float(X, 0.0),
        "unpack": lambda: _core.unpack(codes.data, 128),
        "row_norms": lambda: _core.row_norms(X),
        "propose": propose,
        "rerank": lambda: _core.rerank(X, None, norms, X[:20], candidates, 5, "l2"),
        "gaussian": lambda: _core.gaussian(0, 1000, 300),
        "principal_axes": lambda: _core.principal_axes(np.eye(150), 10),
        "write_sections": lambda: _core.write_sections(path + "2", "x", [("a", codes.data)]),
        "read_sections": lambda: _core.read_sections(path, "hamming"),
    }


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    return native_calls(tmp_path_factory.mktemp("gil"))


NAMES = [
    "search", "range_search", "build", "knn_graph", "duplicates", "asymmetric", "add", "upsert", "codes", "save",
    "load", "pack", "unpack", "row_norms", "propose", "rerank", "gaussian", "principal_axes", "write_sections",
    "read_sections",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_native_calls_release_the_gil(calls, name):
    """Without forced switches another thread runs during the call only if the call lets go of the lock."""
    assert sorted(calls) == sorted(NAMES)
    call, ran_meanwhile = calls[name], False
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        for _ in range(3000):
            ready, log = threading.Lock(), []
            ready.acquire()

            def other(ready=ready, log=log):
                ready.acquire()
                log.append("ran")

            thread = threading.Thread(target=other)
            thread.start()
            ready.release()
            seen = len(log)
            call()
            ran_meanwhile = seen == 0 and len(log) == 1
            thread.join()
            if ran_meanwhile:
                break
            time.sleep(0.001)  # both processors may be busy with something else
    finally:
        sys.setswitchinterval(before)
    assert ran_meanwhile


# Ctrl-C

SETUP = """
import sys, numpy as np, simskip
rng = np.random.default_rng(0)
codes = simskip.Codes(rng.integers(0, 256, (200_000, 8), dtype=np.uint8), 64)
index = simskip.HammingIndex(64, method="scan"); index.add(codes)
X = rng.normal(size=(100_000, 64)).astype(np.float32)
"""
LONG = {
    "search": (
        "many = simskip.Codes(rng.integers(0, 256, (2_000_000, 8), dtype=np.uint8), 64)",
        "index.search(many, 1)",
        "index.search(codes[:2], 1)",
    ),
    "range_search": (
        "many = simskip.Codes(rng.integers(0, 256, (2_000_000, 8), dtype=np.uint8), 64)",
        "index.range_search(many, 0)",
        "index.range_search(codes[:2], 0)",
    ),
    "multi-index": (
        "many = simskip.Codes(rng.integers(0, 256, (2_000_000, 8), dtype=np.uint8), 64);"
        "index = simskip.HammingIndex(64, method='multi-index'); index.add(codes)",
        "index.search(many, 1)",
        "index.search(codes[:2], 1)",
    ),
    "build": (
        "index = simskip.HammingIndex(4096, method='multi-index');"
        "index.add(simskip.Codes(rng.integers(0, 256, (200_000, 512), dtype=np.uint8), 4096))",
        "index.build()",
        "index.ids[-2:]",
    ),
    "knn_graph": ("index.add(codes)", "index.knn_graph(1)", "index.search(codes[:2], 1)"),
    "duplicates": (
        "index.add(simskip.Codes(rng.integers(0, 256, (1_000_000, 8), dtype=np.uint8), 64))",
        "index.duplicates(3)",
        "index.search(codes[:2], 1)",
    ),
    "asymmetric": (
        "many = rng.normal(size=(200_000, 64)).astype(np.float32)",
        "index._native.search_asymmetric(many, 1)",
        "index._native.search_asymmetric(many[:2], 1)",
    ),
    "vectors": (
        "exact = simskip.VectorIndex(64); exact.add(X); many = rng.normal(size=(400_000, 64)).astype(np.float32)",
        "exact.search(many, 1)",
        "exact.search(X[:2], 1)",
    ),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_stops_a_long_call(name, threads):
    prepare, call, check = LONG[name]
    code = f"""{SETUP}
{prepare}
simskip.set_threads({threads})
before = [a.tobytes() for a in {check}]
print("ready", flush=True)
try:
    {call}
    print("it was not long")
except KeyboardInterrupt:
    print("stopped", flush=True)
assert before == [a.tobytes() for a in {check}]
print("usable")
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            threading.Event().wait(0.3)  # well into the search
            process.send_signal(signal.SIGINT)
            # 0.2 s are promised; a loaded machine gets ten times that, a search left to its end takes longer still.
            watchdog = threading.Timer(2.0, process.kill)
            watchdog.start()
            answer = process.stdout.readline()
            watchdog.cancel()
            assert answer == "stopped\n", f"got {answer!r} {process.stderr.read()}"
            assert process.stdout.readline() == "usable\n", process.stderr.read()
        finally:
            process.kill()


# Any input


@pytest.mark.parametrize("seed", [0, 1])
def test_no_argument_crashes_the_core(seed, tmp_path):
    result = subprocess.run(
        [sys.executable, os.fspath(HERE / "fuzz_core.py"), str(seed), "6000"],
        cwd=tmp_path,  # some calls write files
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stderr[-3000:]}"
    outcomes = ast.literal_eval(result.stdout)
    assert outcomes["fine"] > 300, "too few calls got through for the rest to mean much"
    assert outcomes["ValueError"] > 300
