"""Colours, marks and words that every figure and table of the report shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HISTORY_MATTERS = "history matters"
NO_RELEVANT_HISTORY = "no relevant history"
INCONCLUSIVE = "inconclusive"

# Hues after Okabe and Ito (2008), darkened until small text in them reaches a contrast of 4.5 on white.
INK = "#1b1f24"
MUTED = "#5f6873"
RULE = "#d5d9de"
OBSERVED = "#c3c9d1"
PSTH_MODEL = "#c2500a"
HISTORY_MODEL = "#0b62a4"
EQUIVALENCE = "#eef1f4"
NOT_HISTORY = "#9aa5b1"

# Conditions: distinct in hue and in lightness, so that they also part in print without colour.
CONDITIONS = ("#1b1f24", "#0b62a4", "#c2500a", "#0a8066", "#a9538a", "#b08900")

# Wider than the page's fonts, and shipped with matplotlib: the layout is the same on every machine, and text
# set in a narrower face never collides.
FONT_MEASURED = "DejaVu Sans"
FONT_SHOWN = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


class VerdictStyle(NamedTuple):
    """How one verdict looks everywhere.

    Attributes
    ----------
    colour : str
        Hexadecimal RGB.
    marker : str
        Matplotlib marker; verdicts differ in shape as well as in colour.
    is_filled : bool
        Whether the marker is solid.
    slug : str
        Name for style sheets.
    """

    colour: str
    marker: str
    is_filled: bool
    slug: str


VERDICTS: dict[str, VerdictStyle] = {
    HISTORY_MATTERS: VerdictStyle("#0b62a4", "o", True, "matters"),
    NO_RELEVANT_HISTORY: VerdictStyle("#5f6873", "s", False, "none"),
    INCONCLUSIVE: VerdictStyle("#a86400", "^", False, "unclear"),
}

# Networks whose own spikes are cut: controls, no steps of the ladder.
CUT_RUNGS = ("M6cut", "M6 vanilla cut", "M6 LSTM cut", "M6 Dale cut", "M6 ODE cut")
NETWORK_RUNGS = ("M6", "M6 vanilla", "M6 LSTM", "M6 Dale", "M6 ODE")
RUNG_ORDER = (
    "M0", "M1", "S1", "M2", "M3", "M4", "MK", "HMM", "M5", "M5 coupled",
    *(name for pair in zip(CUT_RUNGS, NETWORK_RUNGS, strict=True) for name in pair), "M7", "history",
)  # fmt: skip

RUNG_WORDS: dict[str, str] = {
    "M0": "constant rate",
    "M1": "stimulus-locked rate",
    "S1": "filters on the stimulus",
    "M2": "slow drift over trials",
    "M3": "gain of each trial",
    "M4": "time since last spike",
    "MK": "pattern of the last bins",
    "HMM": "hidden state",
    "M5": "spike history, GLM",
    "M5 coupled": "and other units, GLM",
    "M6cut": "network, own spikes cut",
    "M6": "network, own spikes in",
    "M6 vanilla cut": "own spikes cut",
    "M6 vanilla": "vanilla network",
    "M6 LSTM cut": "own spikes cut",
    "M6 LSTM": "LSTM",
    "M6 Dale cut": "own spikes cut",
    "M6 Dale": "E-I network",
    "M6 ODE cut": "own spikes cut",
    "M6 ODE": "neural ODE",
    "M7": "and other units, network",
    "history": "history rung, chosen in training",
}

SPIKE_HISTORY_RUNGS = frozenset({"M4", "MK", "HMM", "M5", "M5 coupled", *NETWORK_RUNGS, "M7", "history"})

# Matplotlib settings of every figure. `text.parse_math` is off because a unit may be called "$1$".
FIGURE_STYLE: dict[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelpad": 3.0,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "font.family": [FONT_MEASURED],
    "font.size": 10.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "path.simplify": True,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "xtick.major.size": 3.0,
    "xtick.major.width": 0.7,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
    "ytick.major.size": 3.0,
    "ytick.major.width": 0.7,
}


def verdict_style(verdict: str | None) -> VerdictStyle:
    """Give the colour and mark of a verdict; an unknown or missing one looks inconclusive."""
    return VERDICTS.get(str(verdict), VERDICTS[INCONCLUSIVE])


def write_instead(ax: Axes, words: str) -> Axes:
    """Write on empty axes why there is nothing to draw."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=MUTED)
    ax.set_axis_off()
    return ax
