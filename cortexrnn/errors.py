"""Every error and warning that the package raises on purpose, and the exit code of each.

An error says what was wrong, where, and how to fix it. Each class also inherits from the fitting
built-in, so that ``except ValueError`` keeps working for callers who know nothing of this package.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_NUMERICS = 4
EXIT_IO = 5
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class CortexError(Exception):
    """Base of all errors of the package.

    Parameters
    ----------
    what : str
        What was wrong and what was expected, with the offending value.
    where : str, optional
        File, table, key, unit or trial in which it was found.
    hint : str, optional
        What the user can do about it.
    """

    code = "error"
    exit_code = EXIT_CHECK_FAILED

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None):
        self.what = what
        self.where = where
        self.hint = hint
        parts = [f"{where}: {what}" if where else what]
        if hint:
            parts.append(hint)
        super().__init__(" ".join(parts))

    def __str__(self) -> str:
        """Give the whole message, also where a built-in parent formats its own."""
        return str(self.args[0])


class OptionError(CortexError, ValueError):
    """An argument or option that cannot be used as given."""

    code = "option"
    exit_code = EXIT_USAGE


class DataError(CortexError, ValueError):
    """Data that cannot be read or used: malformed, inconsistent, or empty."""

    code = "data"
    exit_code = EXIT_DATA


class TimeUnitError(DataError):
    """Times whose unit is unknown or contradicts the data."""

    code = "time-unit"


class NoTrialsError(DataError):
    """A selection or window that leaves no trial."""

    code = "no-trials"


class UnsafeFileError(DataError):
    """A file that would run code or reach outside itself when opened."""

    code = "unsafe-file"


class ReaderCrashed(DataError):
    """The guarded child process that read a file died."""

    code = "reader-crashed"


class ReaderTimeout(DataError, TimeoutError):
    """The guarded child process that read a file ran past its time limit."""

    code = "reader-timeout"


class NumericalError(CortexError, ArithmeticError):
    """A computation that left the finite numbers or could not be solved."""

    code = "numerics"
    exit_code = EXIT_NUMERICS


class FileAccessError(CortexError, OSError):
    """A file or folder that cannot be read or written."""

    code = "io"
    exit_code = EXIT_IO


class MissingFileError(FileAccessError, FileNotFoundError):
    """A file that is not there."""

    code = "missing-file"


class InterruptedRunError(CortexError, KeyboardInterrupt):
    """A run that was stopped by the user after saving what was finished."""

    code = "interrupted"
    exit_code = EXIT_INTERRUPTED


class CortexWarning(UserWarning):
    """Base of all warnings of the package."""


class DataWarning(CortexWarning):
    """Something in the data that deserves a look and does not stop the work."""


class NumericalWarning(CortexWarning):
    """A fit that did not converge or had to be regularised."""
