"""Every example in a docstring runs and gives what it shows."""

import doctest
import importlib
import pkgutil

import pytest

import cortexrnn

_DATA_PACKAGES = ("cortexrnn.data", "cortexrnn.models", "cortexrnn.validation")
MODULES = [
    module.name
    for module in pkgutil.walk_packages(cortexrnn.__path__, "cortexrnn.")
    if not module.name.startswith(_DATA_PACKAGES)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples_at_all():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 2
