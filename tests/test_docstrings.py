"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil
import sys

import pytest

import simskip

MODULES = ["simskip", *(module.name for module in pkgutil.walk_packages(simskip.__path__, "simskip."))]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def module_named(name):
    importlib.import_module(name)
    # Not what import_module returns: in simskip.evaluation the name "evaluate" is the function's.
    return sys.modules[name]


def examples_of(thing, name):
    return [example for test in FINDER.find(thing, name) for example in test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # some write files
    result = doctest.testmod(module_named(name), optionflags=doctest.REPORT_NDIFF)
    assert result.failed == 0, capsys.readouterr().out


def test_examples_are_found():
    counts = {name: len(examples_of(module_named(name), name)) for name in MODULES}
    assert sum(count > 0 for count in counts.values()) >= 15, counts


# Made by simskip or only raised by it; nobody writes Report(...).
NOT_MADE_BY_USERS = {"CollapseWarning", "CollectionError", "FormatError", "Hasher", "Report"}
PUBLIC_CLASSES = [name for name in simskip.__all__ if isinstance(getattr(simskip, name), type)]


@pytest.mark.parametrize("name", sorted({*PUBLIC_CLASSES} - NOT_MADE_BY_USERS))
def test_public_classes_have_an_example(name):
    assert examples_of(getattr(simskip, name), name)
