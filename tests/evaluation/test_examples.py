import doctest
import importlib
import pkgutil
import sys

import pytest

import simskip.evaluation

MODULES = [f"simskip.evaluation.{module.name}" for module in pkgutil.iter_modules(simskip.evaluation.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    importlib.import_module(name)
    result = doctest.testmod(sys.modules[name])  # the package's attribute "evaluate" is the function
    assert result.failed == 0


def test_the_public_functions_have_examples():
    finder = doctest.DocTestFinder(recurse=False)
    public = [simskip.evaluate, *(getattr(simskip.metrics, name) for name in simskip.metrics.__all__)]
    for function in public:
        if function not in (simskip.metrics.coverage, simskip.metrics.computation_ratio, simskip.metrics.CodeHealth):
            assert any(test.examples for test in finder.find(function)), function
