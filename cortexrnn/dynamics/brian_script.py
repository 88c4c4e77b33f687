"""A circuit as a standalone Brian2 script: readable, with every connection explicit, needing brian2 and numpy only.

Nothing that a user named or wrote becomes code. Names in the script are made here from names of populations and
are identifiers; every other text, such as the citation, stands in it as a string literal.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import pprint
import re
from pathlib import Path

import numpy as np

from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.brian_equations import DIMENSIONS
from cortexrnn.dynamics.brian_layout import Block, BrianRun, Group, Layout, lay_out
from cortexrnn.dynamics.noise import mixing
from cortexrnn.errors import OptionError
from cortexrnn.runs.files import atomic_write

# An array of more numbers than this goes into the file beside the script, if there is one.
_LARGEST_INLINE = 64
# With more numbers than this in all arrays together there is one.
_LARGEST_SCRIPT = 4000
_WIDTH = 100
_IMPORTED = (
    "Hz", "Network", "NetworkOperation", "NeuronGroup", "StateMonitor", "Synapses", "TimedArray", "defaultclock",
    "linked_var", "prefs", "second",
)  # fmt: skip
_ALWAYS = {"defaultclock", "prefs", "second"}


def export_brian2(circuit: Circuit, path: str | os.PathLike, run: BrianRun | None = None) -> Path:
    """Write a circuit as a Python script that runs it in Brian2.

    The script holds the weights themselves, in lists where they are few, else in a file of the same name that ends
    in ``.npz``, which it loads without unpickling and whose SHA-256 it checks. It prints the mean rates; with a
    path as its argument it writes all rates there. They are those of the first trial of `simulate` up to the last
    digits, unless the circuit has noise: the script draws its own.

    Parameters
    ----------
    circuit : Circuit
        Small enough for dense weights.
    path : path
        Script to write, ending in ``.py``.
    run : BrianRun, optional
        Duration, time step, integrator, stimulus, seed and initial state.

    Returns
    -------
    pathlib.Path
        The script.

    Raises
    ------
    OptionError
        If the run does not fit the circuit or the path does not end in ``.py``.
    FileAccessError
        If a file cannot be written; an older script is then still there.
    """
    target = Path(path)
    if target.suffix != ".py":
        raise OptionError(f"path={str(target)!r} is no Python script; expected a name that ends in .py.")
    layout = lay_out(circuit, run or BrianRun())
    arrays = _Arrays(_n_numbers(layout) > _LARGEST_SCRIPT)
    body = [*_body(layout, arrays), *_tail(layout)]
    digest = ""
    if arrays.beside:
        data = arrays.packed()
        digest = hashlib.sha256(data).hexdigest()
        atomic_write(target.with_suffix(".npz"), data)
    text = "\n".join([*_head(layout, digest, body), *body]) + "\n"
    atomic_write(target, text.encode("ascii"))
    return target


class _Arrays:
    """Arrays of a script, each as an expression; large ones are kept for the file beside it."""

    def __init__(self, has_file: bool):
        self._has_file = has_file
        self.beside: dict[str, np.ndarray] = {}

    def show(self, name: str, values: np.ndarray, *, may_be_number: bool = False) -> str:
        """Give an expression for an array; one number where all are equal and that will do."""
        if may_be_number and values.size and (values == values.flat[0]).all():
            return repr(values.flat[0].item())
        if self._has_file and values.size > _LARGEST_INLINE:
            self.beside[name] = values
            return f"arrays[{name!r}]"
        return pprint.pformat(values.tolist(), width=_WIDTH, compact=True)

    def packed(self) -> bytes:
        """Give the file's content."""
        buffer = io.BytesIO()
        np.savez(buffer, **self.beside)
        return buffer.getvalue()


def _n_numbers(layout: Layout) -> int:
    """Count the numbers of all arrays."""
    runs = sum(_runs(columns)[0].size for columns in layout.samples.values())
    return runs + 3 * sum(block.weights.size for block in layout.blocks) + 3 * layout.circuit.size


def _head(layout: Layout, digest: str, body: list[str]) -> list[str]:
    """Write what comes before the network."""
    circuit, run = layout.circuit, layout.run
    equation = "tau dx/dt = -x + W phi(x) + input" if circuit.form == "current" else "tau dr/dt = -r + phi(W r + input)"
    used = set(re.findall(r"\w+", "\n".join(body)))
    return [
        '"""A rate network in Brian2, written by cortexrnn.',
        "",
        f"{circuit.size} units, {sum(block.weights.size for block in layout.blocks)} connections, {equation}.",
        "",
        "    python SCRIPT             runs the network and prints the mean rates",
        "    python SCRIPT RATES.npz   writes the rates of every population, shape (time, unit), too",
        '"""',
        "",
        *(["import hashlib", "import io"] if digest else []),
        "import sys",
        *(["from pathlib import Path"] if digest else []),
        "",
        "import numpy as np",
        f"from brian2 import {', '.join(name for name in _IMPORTED if name in used | _ALWAYS)}",
        "",
        f"CIRCUIT = {circuit.name!a}",
        f"CITATION = {circuit.citation!a}",
        f"CIRCUIT_HASH = {circuit.hash()!r}",
        f"CORTEXRNN = {importlib.metadata.version('cortexrnn')!a}",
        f"SEED = {int(run.seed)}",
        f"DURATION_S = {run.duration_s!r}",
        "",
        "# No compiler is needed; delete this line to let Brian2 use one.",
        'prefs.codegen.target = "numpy"',
        f"defaultclock.dt = {run.dt_s!r}*second",
        *(_loading(digest) if digest else []),
    ]


def _loading(digest: str) -> list[str]:
    """Write how the file beside the script is read."""
    return [
        "",
        'data = Path(__file__).with_suffix(".npz").read_bytes()',
        f"if hashlib.sha256(data).hexdigest() != {digest!r}:",
        '    raise SystemExit("The .npz file beside this script belongs to another one: export the circuit again.")',
        "arrays = np.load(io.BytesIO(data), allow_pickle=False)",
    ]


def _body(layout: Layout, arrays: _Arrays) -> list[str]:
    """Write the groups, the synapses, the monitors and the noise."""
    lines = []
    for name, columns in layout.samples.items():
        values, lengths = _runs(columns)
        label = layout.units[name].name.replace("units_", "stimulus_", 1)
        shown = arrays.show(label, values)
        held = repr(lengths[0].item()) if lengths.min() == lengths.max() else arrays.show(f"{label}_steps", lengths)
        samples = f"np.repeat({shown}, {held}, axis=0)"
        lines += ["", f"{label} = TimedArray({samples}, dt=defaultclock.dt)"]
    for group in layout.groups:
        lines += _group(layout, group, arrays)
    if layout.blocks:
        lines += ["", "# Sums are taken first, then terminals and units move on, all from the same old state."]
    for block in layout.blocks:
        lines += _synapses(block, arrays)
    lines += [""]
    for name, group in layout.units.items():
        lines.append(f'{_monitor(layout, name)} = StateMonitor({group.name}, "rate", record=True)')
    return lines + _noise(layout, arrays)


def _group(layout: Layout, group: Group, arrays: _Arrays) -> list[str]:
    """Write a NeuronGroup."""
    lines = ["", f"{group.name} = NeuronGroup(", f"    {group.size},", '    """']
    lines += [f"    {line}" for line in group.equations]
    namespace = ""
    if group.stimulus:
        namespace = f', namespace={{"stimulus": {group.name.replace("units_", "stimulus_", 1)}}}'
    lines += ['    """,', f'    method="{group.method}", order={group.order}, name="{group.name}"{namespace},', ")"]
    if group.linked is not None:
        variable, source, of_source = group.linked
        lines.append(f'{group.name}.{variable} = linked_var({source}, "{of_source}")')
    for name, values in (group.constants | group.values).items():
        unit = f"*{DIMENSIONS[name]}" if name in DIMENSIONS else ""
        shown = arrays.show(f"{group.name}_{name}", np.asarray(values), may_be_number=True)
        if unit and shown.startswith("["):
            shown = f"np.array({shown})"
        lines.append(f"{group.name}.{name} = {shown}{unit}")
    return lines


def _synapses(block: Block, arrays: _Arrays) -> list[str]:
    """Write the synapses of a block, one for each weight."""
    shown = {
        name: arrays.show(f"{block.name}_{name}", values)
        for name, values in (("pre", block.pre), ("post", block.post), ("w", block.weights))
    }
    return [
        "",
        f"{block.name} = Synapses(",
        f"    {block.source}, {block.target},",
        '    """',
        *(f"    {line}" for line in block.equations),
        '    """,',
        f'    name="{block.name}",',
        ")",
        f"{block.name}.connect(i={shown['pre']}, j={shown['post']})",
        f"{block.name}.w = {shown['w']}",
    ]


def _noise(layout: Layout, arrays: _Arrays) -> list[str]:
    """Write the operation that sets the noise of all units before every step."""
    if layout.noise is None:
        return []
    noise, size = layout.noise, layout.circuit.size
    correlated = "normals"
    lines = ["", "# Ornstein-Uhlenbeck current with the exact update, so that its variance does not depend on dt."]
    if noise.covariance or noise.shared:
        mixed = mixing(noise, size)
        correlated = "mixing @ normals"
        lines.append(f"mixing = np.array({arrays.show('mixing', mixed)})")
    n_drawn = mixed.shape[1] if noise.covariance or noise.shared else size
    keep = np.exp(-layout.run.dt_s / noise.tau_s).item()
    fresh = np.sqrt(-np.expm1(-2.0 * layout.run.dt_s / noise.tau_s)).item()
    lines += [
        "rng = np.random.default_rng(SEED)",
        "",
        "",
        "def draw():",
        f"    normals = rng.standard_normal({n_drawn})",
        f"    return {noise.sigma!r}*({correlated})",
        "",
        "",
        "noise_current = draw()",
        "",
        "",
        "def advance_noise():",
    ]
    for name, place in layout.circuit.slices.items():
        lines.append(f"    {layout.units[name].name}.noise = noise_current[{place.start}:{place.stop}]")
    return [*lines, f"    noise_current[:] = {keep!r}*noise_current + {fresh!r}*draw()", ""]


def _tail(layout: Layout) -> list[str]:
    """Write how the network is run and what comes out."""
    objects = [group.name for group in layout.groups] + [block.name for block in layout.blocks]
    objects += [_monitor(layout, name) for name in layout.units]
    if layout.noise is not None:
        objects.append('NetworkOperation(advance_noise, clock=defaultclock, when="start")')
    rates = [f"    {name!a}: {_monitor(layout, name)}.rate[:].T," for name in layout.units]
    return [
        "",
        "network = Network(",
        *(f"    {name}," for name in objects),
        ")",
        "network.run(DURATION_S*second, namespace={})",
        "",
        "rates = {",
        *rates,
        "}",
        "for name, rate in rates.items():",
        '    print(f"{name}: mean rate {rate.mean():.6g}")',
        "if len(sys.argv) > 1:",
        '    np.savez(sys.argv[1], **{f"rate_{name}": rate for name, rate in rates.items()})',
    ]


def _monitor(layout: Layout, population: str) -> str:
    """Name the monitor of a population."""
    return layout.units[population].name.replace("units_", "monitor_", 1)


def _runs(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the rows of a table that differ from the row before, and for how many rows each holds."""
    is_new = np.ones(len(columns), dtype=bool)
    is_new[1:] = (columns[1:] != columns[:-1]).any(axis=1)
    starts = np.flatnonzero(is_new)
    return columns[starts], np.diff(np.append(starts, len(columns)))
