"""Where the command line begins and ends: the group of all commands, signals, and exit codes by kind of failure."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import click

from cortexrnn.cli.circuits import analyse, simulate, train
from cortexrnn.cli.published import validate
from cortexrnn.cli.recordings import compare, doctor, report
from cortexrnn.errors import (
    EXIT_DATA,
    EXIT_IO,
    EXIT_TERMINATED,
    CortexError,
    CortexWarning,
    FileAccessError,
    InterruptedRunError,
)
from cortexrnn.runs.files import explain


class _Terminated(BaseException):
    """SIGTERM arrived."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="cortexrnn")
def cli() -> None:
    """Ask whether spike history matters in a recording; simulate, train and take apart circuits of rate units.

    Example: cortexrnn compare session.nwb --align stim_on --window -0.2 1.0
    """


for _command in (compare, report, doctor, simulate, train, analyse, validate):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run the command line; the exit code tells the kind of failure."""
    warnings.showwarning = _show_warning
    # The default, 5 ms, is longer than most kernels: a thread that comes back from one would wait for its turn.
    sys.setswitchinterval(2e-4)
    sys.unraisablehook = _raise_again
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(prog_name="cortexrnn", standalone_mode=False)
    except CortexError as error:
        _leave(error)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as abort:
        # Click turns every KeyboardInterrupt into Abort, also ours that knows how far the run came.
        _leave_stopped(abort.__cause__)
    except _Terminated as stop:
        _leave_stopped(stop)
    except SystemError as error:
        # Compiled code in which a signal fell says SystemError, caused by the stop.
        stop = _stop_within(error)
        if stop is None:
            raise
        _leave_stopped(stop)
    except MemoryError:
        click.echo("cortexrnn: out of memory. Use fewer --units, fewer --workers or a larger --bin.", err=True)
        sys.exit(EXIT_DATA)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _leave(
            FileAccessError(
                "the compiled kernels cannot be kept: no folder for them may be written to.",
                hint="Set the environment variable NUMBA_CACHE_DIR to a folder that may be written to.",
            )
        )
    except OSError as error:
        # The results are on the disk; only what was to be shown could not be.
        click.echo(f"cortexrnn: {explain(error, Path(error.filename or 'standard output'))}", err=True)
        _exit_at_once(EXIT_IO)
    _let_signals_kill()
    sys.exit(0)


def _show_warning(message: Warning, category: type[Warning], *_: Any) -> None:
    """Show our own warnings as one line; those of other packages are not the user's business."""
    if issubclass(category, CortexWarning):
        click.echo(f"warning: {message}", err=True)


def _terminate(*_: Any) -> None:
    """Turn SIGTERM into an exception in the main thread."""
    raise _Terminated


def _raise_again(dropped: Any) -> None:
    """Raise a stop again that fell into a callback of the interpreter, where every exception is dropped."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt | _Terminated):
        sys.__unraisablehook__(dropped)
        return

    def stop(*_: Any) -> NoReturn:
        """Stop in what is hopefully no callback."""
        raise dropped.exc_type

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def _stop_within(error: BaseException) -> BaseException | None:
    """Return the stop that caused an error, however far back; None where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt | _Terminated):
        cause = cause.__cause__ or cause.__context__
    return cause


def _let_signals_kill() -> None:
    """Let a further signal end the process at once and without a word: there is nothing left to save."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _leave(error: CortexError) -> NoReturn:
    """Show an error as one line and leave with its exit code."""
    _let_signals_kill()
    click.echo(f"cortexrnn: {error}", err=True)
    if isinstance(error, InterruptedRunError):
        _exit_at_once(error.exit_code)
    sys.exit(error.exit_code)


def _leave_stopped(stop: BaseException | None) -> NoReturn:
    """Leave as a signal demands, with what our own stop knows of how far the run came."""
    if isinstance(stop, _Terminated):
        click.echo("cortexrnn: terminated; the same command goes on from what is finished.", err=True)
        _exit_at_once(EXIT_TERMINATED)
    is_ours = isinstance(stop, InterruptedRunError)
    _leave(stop if is_ours else InterruptedRunError("stopped; nothing that was finished is lost."))


def _exit_at_once(code: int) -> NoReturn:
    """Leave without waiting for kernels that are still running; everything finished is on the disk."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
