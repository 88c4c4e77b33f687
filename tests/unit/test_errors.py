"""Oracle: the table of exit codes in the documentation of the command line, written out here."""

from __future__ import annotations

import builtins
import inspect

import pytest

from cortexrnn import errors
from cortexrnn.errors import CortexError, CortexWarning

EXIT_CODES = {
    "CortexError": 1,
    "OptionError": 2,
    "DataError": 3,
    "TimeUnitError": 3,
    "NoTrialsError": 3,
    "UnsafeFileError": 3,
    "ReaderCrashed": 3,
    "ReaderTimeout": 3,
    "NumericalError": 4,
    "FileAccessError": 5,
    "MissingFileError": 5,
    "InterruptedRunError": 130,
}
BUILT_IN = {
    "OptionError": "ValueError",
    "DataError": "ValueError",
    "ReaderTimeout": "TimeoutError",
    "NumericalError": "ArithmeticError",
    "FileAccessError": "OSError",
    "MissingFileError": "FileNotFoundError",
    "InterruptedRunError": "KeyboardInterrupt",
}
CLASSES = {name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, CortexError)}


def test_every_error_class_is_in_the_table():
    assert set(CLASSES) == set(EXIT_CODES)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_every_error_has_its_exit_code(name):
    assert CLASSES[name]("x").exit_code == EXIT_CODES[name]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_error_is_also_the_fitting_built_in(name):
    with pytest.raises(getattr(builtins, BUILT_IN[name]), match="what was wrong"):
        raise CLASSES[name]("what was wrong")


def test_codes_are_distinct_so_that_a_program_can_tell_them_apart():
    codes = [kind.code for kind in CLASSES.values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_the_message_has_place_fault_and_hint_in_this_order(name):
    error = CLASSES[name]("the file is empty.", where="a.nwb", hint="Record something.")
    assert str(error) == "a.nwb: the file is empty. Record something."
    assert (error.what, error.where, error.hint) == ("the file is empty.", "a.nwb", "Record something.")


@pytest.mark.parametrize("name", EXIT_CODES)
def test_place_and_hint_may_be_left_out(name):
    assert str(CLASSES[name]("x=3 is odd.")) == "x=3 is odd."


def test_an_os_error_keeps_its_number_without_changing_its_message():
    error = errors.FileAccessError("no space.", where="a")
    error.errno = 28
    assert str(error) == "a: no space."


def test_warnings_can_be_silenced_as_one_family():
    assert issubclass(errors.DataWarning, CortexWarning)
    assert issubclass(errors.NumericalWarning, CortexWarning)
    assert issubclass(CortexWarning, UserWarning)


def test_signals_have_the_codes_of_the_shell():
    assert (errors.EXIT_INTERRUPTED, errors.EXIT_TERMINATED) == (128 + 2, 128 + 15)
