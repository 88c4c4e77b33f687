"""Which unit a column of times is in: told by its header or an option, never guessed."""

from __future__ import annotations

import re

from cortexrnn._checks import check_positive
from cortexrnn.errors import TimeUnitError

SAMPLES = "samples"
_SECONDS_PER = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SPELLINGS = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "ms": "ms", "msec": "ms", "millisecond": "ms", "milliseconds": "ms",
    "us": "us", "usec": "us", "microsecond": "us", "microseconds": "us",
    "ns": "ns", "nanosecond": "ns", "nanoseconds": "ns",
    "sample": SAMPLES, "samples": SAMPLES,
}  # fmt: skip
_HEADER = re.compile(r"(?P<stem>.*?)\s*(?:_(?P<plain>[a-z]+)|\((?P<round>[a-z]+)\)|\[(?P<square>[a-z]+)\])")
ACCEPTED = "time_s, time_ms, time_us, time_ns, time_samples or 'time (ms)'"


def split_header(name: str) -> tuple[str, str | None]:
    """Split the header of a column into its stem and its unit of time.

    Parameters
    ----------
    name : str
        For example ``"time_ms"`` or ``"Stimulus (samples)"``.

    Returns
    -------
    stem : str
        The name without the unit, in lower case.
    unit : str or None
        "s", "ms", "us", "ns" or "samples"; None where the name tells none.

    Examples
    --------
    >>> split_header("Time (ms)"), split_header("stimulus_on")
    (('time', 'ms'), ('stimulus_on', None))
    """
    lower = name.strip().lower()
    match = _HEADER.fullmatch(lower)
    spelled = match and (match["plain"] or match["round"] or match["square"])
    if not spelled or spelled not in _SPELLINGS:
        return lower, None
    return match["stem"], _SPELLINGS[spelled]


def is_in_samples(unit: str | None) -> bool:
    """Tell whether a unit of time, in any accepted spelling, is samples.

    Parameters
    ----------
    unit : str or None
        What a header or an option says.
    """
    return unit is not None and _SPELLINGS.get(unit.strip().lower()) == SAMPLES


def time_scale(unit: str | None, sample_rate_hz: float | None, *, what: str, where: str) -> float:
    """Return how many seconds one unit of these times lasts.

    Parameters
    ----------
    unit : str or None
        Any accepted spelling of a unit of time.
    sample_rate_hz : float, optional
        Needed where the unit is samples.
    what : str
        Which times, for the message.
    where : str
        The file.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    TimeUnitError
        If the unit is not told or not known, or samples come without their rate.
    """
    if unit is None:
        raise TimeUnitError(
            f"{what} does not say its unit of time.",
            where=where,
            hint=f"Name it {ACCEPTED}, or give time_unit='s', 'ms', 'us', 'ns' or 'samples'.",
        )
    known = _SPELLINGS.get(unit.strip().lower())
    if known is None:
        raise TimeUnitError(
            f"time_unit={unit!r} is unknown.", where=where, hint="Expected s, ms, us, ns or samples."
        )
    if known != SAMPLES:
        return _SECONDS_PER[known]
    if sample_rate_hz is None:
        raise TimeUnitError(
            f"{what} is in samples, and the sampling rate is not known.",
            where=where,
            hint="Give sample_rate_hz, for example sample_rate_hz=30000.",
        )
    return 1.0 / check_positive("sample_rate_hz", sample_rate_hz)


def told_unit(header_unit: str | None, option: str | None, *, what: str, where: str) -> str | None:
    """Return the unit that header and option agree on.

    Parameters
    ----------
    header_unit : str or None
        What the header says.
    option : str or None
        What the caller says.
    what : str
        Which times, for the message.
    where : str
        The file.

    Returns
    -------
    str or None
        None where neither says anything.

    Raises
    ------
    TimeUnitError
        If the two contradict each other.
    """
    said = None if option is None else _SPELLINGS.get(option.strip().lower(), option)
    if header_unit and said and header_unit != said:
        raise TimeUnitError(
            f"{what} is in {header_unit} by its header, and time_unit={option!r} was given.",
            where=where,
            hint="Leave time_unit out, or correct the header.",
        )
    return header_unit or said
