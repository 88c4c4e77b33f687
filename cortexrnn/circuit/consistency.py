"""Checks of a circuit as a whole: whether names, sizes, signs and balance fit together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import fields
from cortexrnn.circuit.parts import SIGNS, Population, Projection, within
from cortexrnn.errors import OptionError

if TYPE_CHECKING:
    from cortexrnn.circuit.spec import Circuit

NOTE_KINDS = ("known", "chosen")


def check_circuit(circuit: Circuit) -> None:
    """Raise OptionError, with the place inside the circuit, where its parts do not fit together."""
    _check_populations(circuit)
    for i, projection in enumerate(circuit.projections):
        _check_projection(circuit, f"projections[{i}]", projection)
    _check_plasticity(circuit)
    _check_inputs(circuit)
    _check_whole(circuit)


def check_notes(notes: object) -> dict[str, tuple[str, ...]]:
    """Return notes as tuples of texts under the two kinds, or refuse them."""
    if not isinstance(notes, dict):
        fix = 'Give a table with known = ["..."] and chosen = ["..."].'
        fields.refuse("notes", notes, "a table", fix)
    checked = {}
    for kind, entry in notes.items():
        fields.choice(f"notes.{kind}", kind, NOTE_KINDS)
        lines = (entry,) if isinstance(entry, str) else entry
        if not isinstance(lines, list | tuple):
            fields.refuse(f"notes.{kind}", entry, "a text or a list of texts", f'Write {kind} = ["..."].')
        checked[kind] = tuple(fields.text(f"notes.{kind}[{i}]", line) for i, line in enumerate(lines))
    return checked


def _check_populations(circuit: Circuit) -> None:
    """Refuse an empty list and a name that is used twice."""
    if not circuit.populations:
        fields.refuse("populations", (), "at least one population", "Add one, with a name and a size.")
    for name, count in Counter(population.name for population in circuit.populations).items():
        if count > 1:
            last = max(i for i, population in enumerate(circuit.populations) if population.name == name)
            where = f"populations[{last}].name"
            fields.refuse(where, name, "a name that no other population has", f"Call it {name}_2, say.")


def _check_plasticity(circuit: Circuit) -> None:
    """Refuse plasticity that is no dictionary of classes, or that nothing uses, or that has no rate in Hz."""
    used = {projection.plasticity for projection in circuit.projections}
    for name, stp in circuit.plasticity.items():
        fields.name(f"plasticity.{name}", name)
        if not isinstance(stp, ShortTermPlasticity):
            fix = "Give a table such as {U = 0.2, tau_f_s = 1.5, tau_d_s = 0.2}."
            fields.refuse(f"plasticity.{name}", stp, "short-term plasticity", fix)
        for which in ("tau_f_s", "tau_d_s"):
            if getattr(stp, which) > 0.0:
                place = f"plasticity.{name}.{which}"
                fields.seconds(place, getattr(stp, which), longest_s=fields.LONGEST_PLASTICITY_S)
        if name not in used:
            fix = f'Write plasticity = "{name}" in a projection, or delete this one.'
            fields.refuse(f"plasticity.{name}", name, "a class that a projection uses", fix)
    if circuit.plasticity and circuit.rate_scale_hz is None:
        fix = "Write how many hertz a rate of 1 is, as in rate_scale_hz = 1.0."
        fields.refuse("rate_scale_hz", None, "a number, because the circuit has plasticity", fix)


def _check_projection(circuit: Circuit, where: str, projection: Projection) -> None:
    """Refuse a projection whose names, sizes or signs do not fit the populations."""
    known = {population.name: population for population in circuit.populations}
    for end in ("source", "target"):
        _check_known(f"{where}.{end}", getattr(projection, end), known, "population")
    source, target = known[projection.source], known[projection.target]
    if projection.plasticity:
        _check_known(f"{where}.plasticity", projection.plasticity, circuit.plasticity, "plasticity")
        if not source.activation.is_nonnegative:
            kind = source.activation.kind
            expected = f"no plasticity of {source.name!r}, whose activation {kind!r} gives negative rates"
            fix = f"Give {source.name!r} an activation of kind 'relu', 'softplus', 'sigmoid' or 'power'."
            fields.refuse(f"{where}.plasticity", projection.plasticity, expected, fix)
    if projection.is_given:
        _check_given(where, projection, source, target)
    elif source.sign != "mixed":
        try:
            projection.weights.check_magnitude()
        except OptionError as error:
            raise within(f"{where}.weights", error) from None
    n_candidates = source.size - projection.skips_self
    if n_candidates == 0:
        fix = "Write allow_autapses = true, or enlarge the population."
        fields.refuse(f"{where}.allow_autapses", False, "true for a population of one unit onto itself", fix)
    if projection.in_degree is not None and projection.in_degree > n_candidates:
        expected = f"at most the {n_candidates} possible sources"
        fix = f"Write in_degree = {n_candidates}, or density = 1.0."
        fields.refuse(f"{where}.in_degree", projection.in_degree, expected, fix)
    shape = (len(projection.mask), len(projection.mask[0]) if projection.mask else 0)
    if projection.mask and shape != (target.size, source.size):
        expected = f"{target.size} rows (targets) of {source.size} characters (sources)"
        fix = "Rows are targets: transpose the mask if it is the other way round."
        fields.refuse(f"{where}.mask", f"an array of {shape[0]} rows of {shape[1]}", expected, fix)
    if projection.distance is not None:
        _check_ring(where, projection, source)


def _check_given(where: str, projection: Projection, source: Population, target: Population) -> None:
    """Refuse given weights of another shape, of the wrong sign, or from a unit to itself unasked."""
    weights = np.array(projection.weights)
    if weights.shape != (target.size, source.size):
        expected = f"{target.size} rows (targets) of {source.size} numbers (sources)"
        fix = "Rows are targets: transpose the table if it is the other way round."
        found = f"an array of {weights.shape[0]} rows of {weights.shape[1]}"
        fields.refuse(f"{where}.weights", found, expected, fix)
    wrong = np.argwhere(weights * SIGNS[source.sign] < 0.0)
    if wrong.size:
        i, j = wrong[0]
        expected = f"no weight of the wrong sign from the {source.sign} population {source.name!r}"
        fix = 'Mend its sign, or write sign = "mixed" in the population.'
        fields.refuse(f"{where}.weights[{i}][{j}]", float(weights[i, j]), expected, fix)
    if projection.skips_self and np.diagonal(weights).any():
        i = int(np.flatnonzero(np.diagonal(weights))[0])
        fix = "Write allow_autapses = true, or 0 on the diagonal."
        fields.refuse(f"{where}.weights[{i}][{i}]", float(weights[i, i]), "0 from a unit to itself", fix)


def _check_inputs(circuit: Circuit) -> None:
    """Refuse inputs into unknown populations and vectors of another length."""
    known = {population.name: population for population in circuit.populations}
    for i, entry in enumerate(circuit.inputs):
        _check_known(f"inputs[{i}].target", entry.target, known, "population")
        size = known[entry.target].size
        if entry.vector and len(entry.vector) != size:
            where = f"inputs[{i}].vector"
            fix = "Give one number a unit of the target."
            fields.refuse(where, f"an array of {len(entry.vector)}", f"{size} numbers", fix)


def _check_whole(circuit: Circuit) -> None:
    """Refuse what only the circuit as a whole can tell: sizes over all units, balance, and Dale's law."""
    for i, term in enumerate(circuit.low_rank_terms):
        if term.m and len(term.m) != circuit.size:
            fix = "Give one number a unit, in the order of the populations."
            fields.refuse(f"low_rank_terms[{i}].m", f"an array of {len(term.m)}", f"{circuit.size} numbers", fix)
    is_signed = any(population.sign != "mixed" for population in circuit.populations)
    if circuit.low_rank_terms and is_signed:
        expected = "no low-rank term in a circuit with signed populations"
        fields.refuse("low_rank_terms[0]", "a term", expected, 'Write sign = "mixed": the term breaks Dale\'s law.')
    if circuit.noise is not None and circuit.noise.covariance and len(circuit.noise.covariance) != circuit.size:
        expected, fix = f"{circuit.size} rows", "Give one row a unit, in the order of the populations."
        fields.refuse("noise.covariance", f"an array of {len(circuit.noise.covariance)}", expected, fix)
    if circuit.balance == "rows":
        signs = {population.sign for population in circuit.populations}
        if signs != {"excitatory", "inhibitory"}:
            expected = "no row balance unless every population is excitatory or inhibitory, and there are both"
            fix = 'Give populations signs, or write balance = "random part".'
            fields.refuse("balance", circuit.balance, expected, fix)
    if circuit.balance == "random part" and is_signed:
        expected = "only mixed populations with the balance 'random part': a subtraction breaks signs"
        fields.refuse("balance", circuit.balance, expected, 'Write balance = "rows", or sign = "mixed".')
    if circuit.gain is not None and not circuit.projections:
        fields.refuse("gain", circuit.gain, "no gain without projections", "Leave gain out.")


def _check_known(where: str, name: str, known: dict, kind: str) -> None:
    """Refuse a name that is not among the known ones."""
    if name not in known:
        listed = ", ".join(repr(other) for other in known) or "none is defined"
        fix = fields.suggest(name, known) or f"Define it, or take one of: {listed}."
        fields.refuse(where, name, f"the name of a {kind} ({listed})", fix)


def _check_ring(where: str, projection: Projection, source: Population) -> None:
    """Refuse a ring that is narrower than the units are apart, or that asks for a probability above 1."""
    ring, spacing = projection.distance, 2.0 * np.pi / source.size
    if ring.width_rad < spacing:
        expected = f"at least {spacing:.4g}, the angle between two of the {source.size} sources"
        fix = "Widen it, or enlarge the source population."
        fields.refuse(f"{where}.distance.width_rad", ring.width_rad, expected, fix)
    peak = float(ring.profile(np.zeros(1), np.zeros(1), source.size)[0, 0])
    # The profile's mean differs by less than 1e-8 between targets on and between the sources' places.
    if ring.modulates == "density" and projection.density * peak > 1.0 + 1e-8:
        expected = f"at most {1.0 / peak:.4g}, so that the nearest connect with probability 1"
        fix = "Lower density or widen distance.width_rad."
        fields.refuse(f"{where}.density", projection.density, expected, fix)
