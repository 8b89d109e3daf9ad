"""The instruction set in use, and the number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

import simskip


def run(code: str, isa: str | None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("SIMSKIP_ISA", None)
    if isa is not None:
        environment["SIMSKIP_ISA"] = isa
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_best_one_is_used_and_baseline_is_always_there():
    assert simskip.cpu.available[-1] == "baseline"
    result = run("import simskip; print(simskip.cpu.isa)", None)
    assert result.stdout.strip() == simskip.cpu.available[0], result.stderr


@pytest.mark.parametrize("isa", simskip.cpu.available)
def test_environment_forces_one(isa):
    result = run("import simskip; print(simskip.cpu.isa)", isa)
    assert result.stdout.strip() == isa, result.stderr


# A big add starts threads, over whose edge no exception may go.
@pytest.mark.parametrize(
    "call",
    ["simskip.cpu.isa", "simskip.VectorIndex(64).add(np.ones((5000, 64), np.float32))"],
)
def test_unknown_name_is_a_clear_error_not_an_abort(call):
    code = f"import numpy as np, simskip\ntry:\n    {call}\nexcept ValueError as e:\n    print(e)"
    result = run(code, "avx1024")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("SIMSKIP_ISA=avx1024 cannot be used")
    assert "baseline" in result.stdout


def test_force():
    before = simskip.cpu.isa
    try:
        for isa in simskip.cpu.available:
            simskip.cpu.force(isa)
            assert simskip.cpu.isa == isa
    finally:
        simskip.cpu.force(before)
    with pytest.raises(ValueError, match="no kernel named 'mmx'"):
        simskip.cpu.force("mmx")
    with pytest.raises(AttributeError, match="has no attribute 'cores'"):
        simskip.cpu.cores  # noqa: B018


def test_set_threads():
    initial = simskip.cpu.threads()
    try:
        simskip.set_threads(3)
        assert simskip.cpu.threads() == 3
        simskip.set_threads(np.int64(2))
        assert simskip.cpu.threads() == 2
    finally:
        simskip.set_threads(None)
    assert simskip.cpu.threads() == initial


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True, 1025])
def test_set_threads_refuses(n):
    with pytest.raises(ValueError, match="n must be an integer from 1 to 1024"):
        simskip.set_threads(n)
