"""The equations of a circuit's groups in Brian2: rate units of every activation and form, plastic terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity

# In terms of v = gain (z - threshold); forms whose exponentials never overflow.
_SIGMOID = "exp(-clip(-v, 0, inf))/(1 + exp(-abs(v)))"
_SHAPES = {
    "linear": "v",
    "tanh": "tanh(v)",
    "relu": "clip(v, 0, inf)",
    "softplus": "clip(v, 0, inf) + log1p(exp(-abs(v)))",
    "sigmoid": _SIGMOID,
    "wilson_cowan": f"{_SIGMOID} - resting",
    "power": "gain*clip({z} - threshold, 0, inf)**exponent",
}
# Units of the constants and variables that have one.
DIMENSIONS = {"tau": "second", "tau_m": "second", "tau_f": "second", "tau_d": "second", "rate_scale": "Hz"}


def unit_equations(activation: Activation, form: str, terms: Sequence[str]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Give the constants and the equations of rate units.

    Parameters
    ----------
    activation : Activation
    form : {"current", "rate"}
    terms : sequence of str
        What is added to the bias to drive them.

    Returns
    -------
    constants : dict of str to float
        Variables that all units share.
    equations : tuple of str
        One line each.
    """
    state = "current" if form == "current" else "drive"
    shape = _SHAPES[activation.kind].format(z=state)
    if form == "current":
        lines = ["dcurrent/dt = (-current + drive)/tau : 1", f"rate = {shape} : 1"]
    else:
        lines = ["drate/dt = (-rate + target)/tau : 1", f"target = {shape} : 1"]
    if re.search(r"\bv\b", shape):
        lines.append(f"v = gain*({state} - threshold) : 1")
    constants = {"gain": activation.gain, "threshold": activation.threshold}
    if activation.kind == "power":
        constants["exponent"] = activation.exponent
    if activation.kind == "wilson_cowan":
        constants["resting"] = float(Activation(kind="sigmoid")(-activation.gain * activation.threshold))
    return constants, (*lines, *drive_equations(terms), *shared_equations(constants))


def terminal_equations(
    stp: ShortTermPlasticity, rate_scale_hz: float, *, is_exact: bool
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Give the constants and the equations of the utilisation and resources of units.

    Parameters
    ----------
    stp : ShortTermPlasticity
    rate_scale_hz : float
        Hertz per unit of rate.
    is_exact : bool
        Whether to write them for the exponential Euler method, which relaxes them exactly: x then sees the
        utilisation half-way through the step, as in `rate_step`, which makes the step second order.

    Returns
    -------
    constants : dict of str to float
        Variables that all units share.
    equations : tuple of str
        One line each.
    """
    has_facilitation = stp.tau_f_s > 0.0
    used = "({0} + U*(1 - {0}))" if stp.convention == "mongillo2008" and has_facilitation else "{0}"
    seen = used.format("u_halfway" if is_exact and has_facilitation else "u")
    constants = {"U": stp.U, "tau_d": stp.tau_d_s, "rate_scale": rate_scale_hz}
    lines = ["u : 1 (constant)"]
    if has_facilitation:
        constants["tau_f"] = stp.tau_f_s
        lines = ["du/dt = (U - u)/tau_f + U*(1 - u)*presynaptic : 1"]
    lines.append(f"dx/dt = (1 - x)/tau_d - {seen}*x*presynaptic : 1")
    if is_exact and has_facilitation:
        lines += [
            "u_halfway = u - 0.5*(u_towards - u)*expm1(-dt*u_speed) : 1",
            "u_towards = U*(1/tau_f + presynaptic)/u_speed : 1",
            "u_speed = 1/tau_f + U*presynaptic : Hz",
        ]
    lines += [
        "presynaptic = clip(rate, 0, inf)*rate_scale : Hz",
        f"released = {used.format('u')}*x*rate : 1",
        "rate : 1 (linked)",
    ]
    return constants, (*lines, *shared_equations(constants))


def drive_equations(terms: Sequence[str]) -> list[str]:
    """Give the equations of what drives rate units.

    Parameters
    ----------
    terms : sequence of str
        What is added to the bias; others write into them, but for a stimulus, which is a function of the time and
        of the unit's column.

    Returns
    -------
    list of str
    """
    lines = [f"drive = {' + '.join(['bias', *terms])} : 1"]
    lines += ["column : integer (constant)" if "(" in term else f"{term} : 1" for term in terms]
    return [*lines, "bias : 1 (constant)", "tau : second (constant)"]


def shared_equations(constants: Iterable[str]) -> list[str]:
    """Declare constants as variables of the group, so that others can refer to what is computed with them.

    Parameters
    ----------
    constants : iterable of str
        Their names.

    Returns
    -------
    list of str
    """
    return [f"{name} : {DIMENSIONS.get(name, '1')} (shared, constant)" for name in constants]
