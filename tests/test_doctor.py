"""What the installation offers."""

import pytest

from simskip import cpu, doctor


def test_facts():
    diagnosis = doctor.diagnose()
    assert diagnosis.facts["instruction set"].startswith(cpu.isa)
    assert diagnosis.facts["threads"].startswith(str(cpu.threads()))
    assert {"simskip", "python", "numpy", "torch", "trainer", "OpenMP runtimes"} <= set(diagnosis.facts)
    assert diagnosis.facts["SQLite"].endswith("(with JSON)")
    assert "CPUExecutionProvider" in diagnosis.facts["ONNX Runtime"]


def test_extras_of_this_installation():
    extras = {extra.name: extra for extra in doctor.diagnose().extras}
    assert {"images", "train", "report", "cli", "all"} <= set(extras)
    assert "typer" in dict(extras["cli"].installed)


@pytest.mark.parametrize(
    ("requirement", "complete"),
    [
        ("numpy>=2.0; extra == 'some'", True),
        ("no-such-package>=1; extra == 'some'", False),
        ("numpy==0.1; extra == 'some'", False),
        ('NumPy ; extra == "some"', True),
        ('simskip[train,cli]; extra == "some"', True),
    ],
)
def test_an_extra_is_complete_or_names_what_is_missing(requirement, complete):
    (extra,) = doctor._extras(["numpy>=2.0", requirement])
    assert extra.name == "some"
    assert bool(extra.missing) != complete
    if not complete:
        assert extra.missing == (requirement.partition(";")[0],)


MAPS = """\
7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0
7f01-7f02 r--p 00001000 08:01 1 /usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0
7f03-7f04 r-xp 00000000 08:01 2 /site-packages/faiss_cpu.libs/libgomp-24e2ab19.so.1.0.0
7f05-7f06 r-xp 00000000 08:01 3 /opt/lib/libiomp5.so
7f07-7f08 r-xp 00000000 08:01 4 /usr/lib/libc.so.6
7f09-7f0a r-xp 00000000 08:01 5 /usr/lib/libompanion.txt
"""


def test_openmp_runtimes_are_listed_once():
    assert doctor.openmp_runtimes(MAPS) == [
        "/opt/lib/libiomp5.so",
        "/site-packages/faiss_cpu.libs/libgomp-24e2ab19.so.1.0.0",
        "/usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0",
    ]
    assert doctor.openmp_runtimes("") == []


def test_two_runtimes_are_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "openmp_runtimes", lambda: ["/a/libgomp.so.1", "/b/libiomp5.so"])
    (problem,) = doctor.diagnose().problems
    assert "two OpenMP runtimes" in problem
    assert "/b/libiomp5.so" in problem
