"""What the source never does, and how large its parts may be.

Oracle: the syntax tree of every module of the package.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import cortexrnn

PACKAGE = Path(cortexrnn.__file__).parent
# Scripts that travel with an installed package are commands: they print.
SCRIPTS = ("data", "models", "validation")
FILES = {
    path.relative_to(PACKAGE).as_posix(): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in SCRIPTS
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
FORBIDDEN_CALLS = {"print", "eval", "exec", "compile", "input", "breakpoint", "globals", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "yaml"}
MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 450, 90, 6
# Functions of more than six parameters and the reason; kernels are exempt, which take arrays and numbers, not specs.
LONG_SIGNATURES: dict[str, str] = {
    "dynamics/simulate.py:simulate": "one call is one experiment: what, how long, how often, driven by what, kept how",
    "evaluation/data_budget.py:data_budget": "the comparison's arguments and the sizes of the training sets",
    "training/loop.py:train": "one call is one training: which network, on what, from which seed, how, keeping what",
    "training/tasks/own.py:from_function": "a task in one call: its trials, their size and noise, their judge",
}


def functions(tree):
    """Give every function with its qualified name."""

    def walk(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    yield name, child
                yield from walk(child, f"{name}.")
            else:
                yield from walk(child, prefix)

    yield from walk(tree, "")


def is_kernel(function):
    """Tell whether Numba compiles a function."""
    return any(re.search("njit|vectorize|intrinsic", ast.unparse(decorator)) for decorator in function.decorator_list)


def parameters(function):
    """Give the names of all parameters but self and cls."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names = [argument.arg for argument in every] + [
        argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument
    ]
    return [name for name in names if name not in ("self", "cls")]


def calls(tree):
    """Give the text of what is called, and the call."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("name", TREES)
def test_nothing_prints_evaluates_or_unpickles(name):
    found = [f"{text}:{node.lineno}" for text, node in calls(TREES[name]) if text in FORBIDDEN_CALLS]
    for node in ast.walk(TREES[name]):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"{module}:{node.lineno}" for module in modules if module.partition(".")[0] in FORBIDDEN_MODULES]
    assert found == []


@pytest.mark.parametrize("name", TREES)
def test_no_shell_is_started_and_arrays_are_loaded_without_pickle(name):
    for text, node in calls(TREES[name]):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert given.get("shell", "False") == "False", node.lineno
        assert text not in ("os.system", "os.popen"), node.lineno
        assert given.get("allow_pickle", "False") == "False", node.lineno
        if text in ("np.load", "numpy.load", "np.lib.format.read_array", "np.lib.format.write_array"):
            assert given.get("allow_pickle") == "False", node.lineno


@pytest.mark.parametrize("name", TREES)
def test_no_except_is_bare_and_none_swallows_everything_silently(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, node.lineno
            caught = ast.unparse(node.type)
            is_broad = re.search(r"\b(Base)?Exception\b", caught) is not None
            assert not (is_broad and all(isinstance(line, ast.Pass) for line in node.body)), node.lineno


@pytest.mark.parametrize("name", TREES)
def test_there_is_no_assertion_and_no_global_statement(name):
    assert [node.lineno for node in ast.walk(TREES[name]) if isinstance(node, ast.Assert | ast.Global)] == []


@pytest.mark.parametrize("name", TREES)
def test_no_environment_variable_and_no_global_seed_changes_what_is_computed(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert "os.getenv" not in text
    assert "np.random.seed" not in text
    # The guarded child gets the environment of its parent, with one thread.
    assert "os.environ" not in text or name == "runs/guard.py"


@pytest.mark.parametrize("name", TREES)
def test_comments_promise_no_later_work_and_hold_no_dead_code(name):
    with io.StringIO(FILES[name].read_text(encoding="utf-8")) as source:
        tokens = list(tokenize.generate_tokens(source.readline))
    for token in tokens:
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("# ")
        assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text), token.start
        assert not re.match(r"\w+(\.\w+)* = \S+$|[\w.]+\(.*\)$|(def|class|if|for|while|with) .*:$|return \w+$", text)


@pytest.mark.parametrize("name", TREES)
def test_source_is_ascii(name):
    assert FILES[name].read_bytes().isascii()


@pytest.mark.parametrize("name", TREES)
def test_modules_are_short(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", TREES)
def test_functions_are_short(name):
    long = {inner: node.end_lineno - node.lineno + 1 for inner, node in functions(TREES[name])}
    assert {inner: n_lines for inner, n_lines in long.items() if n_lines > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("name", TREES)
def test_functions_take_few_parameters(name):
    found = {
        f"{name}:{inner}": len(parameters(node))
        for inner, node in functions(TREES[name])
        if len(parameters(node)) > MAX_PARAMETERS and not is_kernel(node)
    }
    assert {inner for inner in found if inner not in LONG_SIGNATURES} == set()


@pytest.mark.parametrize("name", TREES)
def test_kernels_are_cached_release_the_lock_and_keep_nan(name):
    for inner, node in functions(TREES[name]):
        for decorator in node.decorator_list:
            text = ast.unparse(decorator)
            if "njit" in text:
                assert "parallel" not in text, inner
                assert "fastmath=True" not in text, inner
                assert "nnan" not in text, inner
                assert "ninf" not in text, inner


def test_no_module_is_a_heap_of_helpers():
    assert [name for name in FILES if Path(name).stem in ("utils", "util", "common", "misc", "helpers")] == []
