"""A description of a spiking model as a standalone Brian2 script that needs brian2 and numpy only.

Names in the script are those of the description, which no user chooses; every other text stands in it as a literal.
Arrays are in a file of the same name that ends in ``.npz``, which the script loads without unpickling and whose
SHA-256 it checks.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cortexrnn.dynamics.brian_equations import DIMENSIONS
from cortexrnn.dynamics.brian_parts import Links, Parts, Units
from cortexrnn.errors import OptionError
from cortexrnn.runs.files import atomic_write

# An array whose text is longer than this goes into the file beside the script.
_LONGEST_INLINE = 72
_IMPORTED = (
    "Hz", "Network", "NeuronGroup", "SpikeMonitor", "Synapses", "TimedArray", "defaultclock", "linked_var", "prefs",
    "second", "seed",
)  # fmt: skip


class Heading(NamedTuple):
    """What a script says of itself and of its spikes.

    Attributes
    ----------
    model : str
        What the model is, in words.
    n_trials : int
        Trials of which every copy has one sequence each.
    seed : int
        Of Brian2's random numbers.
    """

    model: str
    n_trials: int
    seed: int


class Script(NamedTuple):
    """A script and the file beside it.

    Attributes
    ----------
    text : str
        Python code.
    arrays : bytes
        Content of the ``.npz`` file.
    """

    text: str
    arrays: bytes

    def save(self, path: str | os.PathLike) -> Path:
        """Write both.

        Parameters
        ----------
        path : path
            Script to write, ending in ``.py``; the arrays go beside it.

        Returns
        -------
        pathlib.Path
            The script.

        Raises
        ------
        OptionError
            If the path does not end in ``.py``.
        FileAccessError
            If a file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".py":
            raise OptionError(f"path={str(target)!r} is no Python script; expected a name that ends in .py.")
        atomic_write(target.with_suffix(".npz"), self.arrays)
        atomic_write(target, self.text.encode("ascii"))
        return target


def write_script(parts: Parts, heading: Heading) -> Script:
    """Write a description as a script.

    Run alone, the script prints the mean rate; with a path as its argument it writes copy, trial and bin of every
    spike there.

    Parameters
    ----------
    parts : Parts
    heading : Heading

    Returns
    -------
    Script
    """
    arrays = _Arrays()
    body = [f"{table.name} = TimedArray({arrays.show(table.name, table.values)}, dt=DT)" for table in parts.tables]
    for units in parts.units:
        body += _units(parts, units, arrays)
    if parts.links:
        body += ["", *_CONNECT]
    for links in parts.links:
        body += _links(parts, links, arrays)
    body += [f'\nspikes = SpikeMonitor({parts.spiking}, name="spikes")', *_tail(parts, heading)]
    data = arrays.packed()
    head = _head(parts, heading, hashlib.sha256(data).hexdigest(), body)
    return Script("\n".join([*head, "", *body]) + "\n", data)


class _Arrays:
    """Arrays of a script, each as an expression; those with a long text are kept for the file beside it."""

    def __init__(self):
        self._beside: dict[str, np.ndarray] = {}

    def show(self, name: str, values: np.ndarray) -> str:
        """Give an expression for an array."""
        if values.dtype.kind == "i" and (values == 0).all():
            return f"np.zeros({values.size}, dtype=int)"
        if values.dtype.kind == "i" and (values == np.arange(values.size)).all():
            return f"np.arange({values.size})"
        text = f"np.array({values.tolist()!r})"
        if len(text) <= _LONGEST_INLINE:
            return text
        self._beside[name] = values
        return f"arrays[{name!r}]"

    def packed(self) -> bytes:
        """Give the file's content."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._beside)
        return buffer.getvalue()


_CONNECT = (
    "",
    "def connect(synapses, pre, post):",
    '    """Connect units pre to units post inside every sequence."""',
    "    sequence = np.arange(N_SEQUENCES)[:, None]",
    "    source, target = (len(group) // N_SEQUENCES for group in (synapses.source, synapses.target))",
    "    synapses.connect(i=(sequence*source + pre).ravel(), j=(sequence*target + post).ravel())",
    "",
)


def _head(parts: Parts, heading: Heading, digest: str, body: list[str]) -> list[str]:
    """Write what comes before the network."""
    used = set(re.findall(r"\w+", "\n".join(body))) | {"defaultclock", "prefs", "second", "seed"}
    n_copies = parts.n_sequences // heading.n_trials
    return [
        '"""A fitted model of spikes in Brian2, written by cortexrnn.',
        "",
        f"{n_copies} copies of {heading.n_trials} trials, {parts.n_steps} bins of {parts.dt_s!r} s.",
        f"Every neuron of {parts.spiking!r} is one copy of one trial and fires with the probability of its next bin.",
        "",
        "    python SCRIPT              runs the network and prints the mean rate",
        "    python SCRIPT SPIKES.npz   writes copy, trial and bin of every spike, too",
        '"""',
        "",
        "import hashlib",
        "import io",
        "import sys",
        "from pathlib import Path",
        "",
        "import numpy as np",
        "from brian2 import (",
        *(f"    {line}" for line in textwrap.wrap(", ".join(name for name in _IMPORTED if name in used), 90)),
        ")",
        "",
        f"MODEL = {heading.model!a}",
        f"CORTEXRNN = {importlib.metadata.version('cortexrnn')!a}",
        f"N_TRIALS = {heading.n_trials}",
        f"N_SEQUENCES = {parts.n_sequences}",
        f"DURATION_S = {parts.n_steps}*{parts.dt_s!r}",
        f"DT = {parts.dt_s!r}*second",
        "",
        "# No compiler is needed; delete this line to let Brian2 use one.",
        'prefs.codegen.target = "numpy"',
        "defaultclock.dt = DT",
        f"seed({heading.seed})",
        "",
        'data = Path(__file__).with_suffix(".npz").read_bytes()',
        f"if hashlib.sha256(data).hexdigest() != {digest!r}:",
        '    raise SystemExit("The .npz file beside this script belongs to another one: export the model again.")',
        "arrays = np.load(io.BytesIO(data), allow_pickle=False)",
    ]


def _units(parts: Parts, units: Units, arrays: _Arrays) -> list[str]:
    """Write a NeuronGroup and what it runs in every step."""
    size = "N_SEQUENCES" if units.size == 1 else f"{units.size}*N_SEQUENCES"
    lines = ["", f"{units.name} = NeuronGroup(", f"    {size},", '    """']
    lines += [f"    {line}" for line in units.equations]
    lines += ['    """,']
    if units.threshold:
        lines.append(f'    threshold="{units.threshold}",')
    if units.reset:
        lines += ['    reset="""', *(f"    {line}" for line in units.reset), '    """,']
    lines += [f'    method="{units.method}", order={units.order}, name="{units.name}",', ")"]
    if units.linked is not None:
        variable, source, of_source = units.linked
        lines.append(f'{units.name}.{variable} = linked_var({source}, "{of_source}")')
    for name, value in units.values.items():
        lines.append(f"{units.name}.{name} = {_value(arrays, units.name, name, value)}")
    for operation in parts.operations:
        if operation.units == units.name:
            lines += [f"{units.name}.run_regularly(", '    """', *(f"    {line}" for line in operation.statements)]
            lines += ['    """,', f'    when="{operation.when}", order={operation.order},', ")"]
    return lines


def _links(parts: Parts, links: Links, arrays: _Arrays) -> list[str]:
    """Write Synapses."""
    lines = ["", f"{links.name} = Synapses(", f"    {links.source}, {links.target},"]
    if links.equations:
        lines += ['    """', *(f"    {line}" for line in links.equations), '    """,']
    if links.on_pre:
        lines.append(f'    on_pre="{links.on_pre}",')
    pre, post = arrays.show(f"{links.name}_pre", links.pre), arrays.show(f"{links.name}_post", links.post)
    lines += [f'    name="{links.name}",', ")"]
    lines += ["connect(", f"    {links.name},", f"    pre={pre},", f"    post={post},", ")"]
    for name, values in links.values.items():
        lines.append(f"{links.name}.{name} = {_value(arrays, links.name, name, values)}")
    if links.delay_steps is not None:
        delays = arrays.show(f"{links.name}_delay_steps", links.delay_steps)
        lines.append(f"{links.name}.delay = np.tile({delays}, N_SEQUENCES)*DT")
    return lines


def _value(arrays: _Arrays, owner: str, name: str, value: float | np.ndarray) -> str:
    """Write what a variable is set to in all sequences."""
    unit = f"*{DIMENSIONS[name]}" if name in DIMENSIONS else ""
    values = np.asarray(value)
    if (values == values.flat[0]).all():
        return f"{values.flat[0].item()!r}{unit}"
    return f"np.tile({arrays.show(f'{owner}_{name}', values)}, N_SEQUENCES){unit}"


def _tail(parts: Parts, heading: Heading) -> list[str]:
    """Write how the network is run and what comes out."""
    objects = [*(units.name for units in parts.units), *(links.name for links in parts.links), "spikes"]
    return [
        "",
        "network = Network(",
        *(f"    {name}," for name in objects),
        ")",
        "network.run(DURATION_S*second)",
        "",
        'print(f"mean rate {spikes.num_spikes/N_SEQUENCES/DURATION_S:.6g} per second")',
        "if len(sys.argv) > 1:",
        "    copy, trial = np.divmod(np.asarray(spikes.i), N_TRIALS)",
        "    np.savez(sys.argv[1], copy=copy, trial=trial, bin=np.rint(np.asarray(spikes.t/DT)).astype(int))",
    ]
