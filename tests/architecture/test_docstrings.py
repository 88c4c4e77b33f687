"""Everything public is documented, and what is documented is what is there.

Oracle: the signature, by inspect; the sections, by numpydoc's own parser.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import pytest
from numpydoc.docscrape import FunctionDoc

import cortexrnn

DATA_PACKAGES = ("cortexrnn.data", "cortexrnn.models", "cortexrnn.validation")
MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(cortexrnn.__path__, "cortexrnn.")
    if not found.name.startswith(DATA_PACKAGES)
]


def own(module):
    """Give the public functions and classes that a module defines, by qualified name."""
    for name, thing in vars(module).items():
        # A compiled kernel keeps the function it was made from.
        thing = getattr(thing, "py_func", getattr(thing, "callback", thing))
        is_ours = getattr(thing, "__module__", None) == module.__name__
        if name.startswith("_") or not is_ours or not (inspect.isfunction(thing) or inspect.isclass(thing)):
            continue
        yield f"{module.__name__}.{name}", thing
        if inspect.isclass(thing):
            for part, member in vars(thing).items():
                member = getattr(member, "fget", getattr(member, "__func__", member))
                if not part.startswith("_") and inspect.isfunction(member):
                    yield f"{module.__name__}.{name}.{part}", member


PUBLIC = dict(item for module in MODULES for item in own(module))
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}
WITH_PARAMETERS = [name for name, thing in FUNCTIONS.items() if FunctionDoc(thing)["Parameters"]]
# They take nothing, or nothing that could be wrong in itself.
WITHOUT_ERRORS = ("doctor", "circuit_names", "describe")
EXPORTED = {name: getattr(cortexrnn, name) for name in cortexrnn.__all__}


def documented(doc, section):
    """Give the names of a section; one line may hold several, separated by commas."""
    return [name.strip().lstrip("*") for entry in doc[section] for name in entry.name.split(",")]


def in_signature(function):
    """Give the names of all parameters but self."""
    names = list(inspect.signature(function).parameters)
    return [name for name in names if name not in ("self", "cls")]


def test_there_is_something_to_look_at():
    assert len(PUBLIC) > 100
    assert len(WITH_PARAMETERS) > 30


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_has_a_docstring(name):
    assert (PUBLIC[name].__doc__ or "").strip()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_module_says_what_it_is_for(module):
    assert (module.__doc__ or "").strip()


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_documented_parameters_are_those_of_the_signature(name):
    assert documented(FunctionDoc(FUNCTIONS[name]), "Parameters") == in_signature(FUNCTIONS[name])


@pytest.mark.parametrize("name", [name for name, thing in EXPORTED.items() if inspect.isfunction(thing)])
def test_exported_functions_document_parameters_returns_and_errors(name):
    doc = FunctionDoc(EXPORTED[name])
    assert documented(doc, "Parameters") == in_signature(EXPORTED[name])
    assert bool(doc["Returns"]) == (inspect.signature(EXPORTED[name]).return_annotation != "None")
    assert doc["Raises"] or name in WITHOUT_ERRORS


@pytest.mark.parametrize("name", [name for name, thing in EXPORTED.items() if inspect.isclass(thing)])
def test_exported_classes_document_their_fields(name):
    kind = EXPORTED[name]
    doc = FunctionDoc(kind)
    described = documented(doc, "Attributes") + documented(doc, "Parameters")
    # What a base class declares it also describes, once for all its children.
    inherited = {name for base in kind.__mro__[1:] for name in vars(base).get("__annotations__", {})}
    is_record = dataclasses.is_dataclass(kind)
    fields = [field.name for field in dataclasses.fields(kind) if field.name not in inherited] if is_record else []
    assert sorted(set(described) & set(fields)) == sorted(fields)


@pytest.mark.parametrize("name", [name for name, thing in EXPORTED.items() if inspect.isclass(thing)])
def test_public_methods_of_exported_classes_document_what_they_take(name):
    for part, member in vars(EXPORTED[name]).items():
        function = getattr(member, "__func__", member)
        is_inherited = any(part in vars(base) for base in EXPORTED[name].__mro__[1:])
        if part.startswith("_") or is_inherited or not inspect.isfunction(function) or len(in_signature(function)) < 2:
            continue
        assert documented(FunctionDoc(function), "Parameters") == in_signature(function), part
