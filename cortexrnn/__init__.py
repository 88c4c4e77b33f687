"""Rate RNNs with Dale's law and plasticity beside models of spike trains that are compared honestly.

The public names are listed here and loaded when first used, so that ``import cortexrnn`` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortexrnn.cells.activation import Activation
    from cortexrnn.cells.initial import Initial
    from cortexrnn.cells.stp import ShortTermPlasticity
    from cortexrnn.circuit import (
        Circuit,
        Input,
        LowRank,
        Noise,
        Population,
        Projection,
        Ring,
        WeightLaw,
        audit_signs,
        build_weights,
        circuit_names,
        dann_recipe,
        load_circuit,
        plot_spectrum,
        predict_spectrum,
        save_circuit,
        spectral_recipe,
    )
    from cortexrnn.dynamics import (
        Fluctuation,
        Pulse,
        Ramp,
        Record,
        Samples,
        Sinusoid,
        Solver,
        SpikeProcess,
        check_dt,
        describe,
        sample_spikes,
        simulate,
    )
    from cortexrnn.dynamics.brian import to_brian2
    from cortexrnn.dynamics.brian_layout import BrianRun
    from cortexrnn.dynamics.brian_script import export_brian2
    from cortexrnn.dynamics.twin import spiking_twin
    from cortexrnn.encoding import (
        HMM,
        PSTH,
        RNN,
        CausalGain,
        Constant,
        Drift,
        HistoryGLM,
        Markov,
        Network,
        PoissonFit,
        Renewal,
        fit_poisson,
    )
    from cortexrnn.encoding.adapter import Adapted
    from cortexrnn.encoding.adapter_trials import AdaptedTrials
    from cortexrnn.encoding.connectivity import functional_connectivity
    from cortexrnn.encoding.contamination import Guarded
    from cortexrnn.encoding.coupled_glm import CoupledHistoryGLM
    from cortexrnn.encoding.coupling import CoupledGLM
    from cortexrnn.encoding.loops import ReadOff
    from cortexrnn.encoding.population_rnn import PopulationRNN
    from cortexrnn.encoding.read_off import read_off
    from cortexrnn.encoding.recurrent_smoother import RecurrentSmoother
    from cortexrnn.encoding.simulation import simulate_copies
    from cortexrnn.encoding.smoothers import PoissonSmoother
    from cortexrnn.encoding.stimulus import Stimulus
    from cortexrnn.evaluation import CompareOptions, Comparison, RunSettings, compare, ladder
    from cortexrnn.evaluation.bin_sweep import bin_sweep
    from cortexrnn.evaluation.co_smoothing import (
        CoSmoothing,
        bits_per_spike,
        co_smoothing,
        psth_r2,
    )
    from cortexrnn.evaluation.data_budget import data_budget
    from cortexrnn.evaluation.free_run import free_run
    from cortexrnn.evaluation.goodness import goodness_of_fit
    from cortexrnn.evaluation.likeness import compare_like, simulate_like
    from cortexrnn.evaluation.read_offs import read_off_units
    from cortexrnn.evaluation.rescaling import rescale
    from cortexrnn.spikes import DoctorReport, Recording, doctor, read_recording
    from cortexrnn.spikes.covariates import Boxcar, Signal, Timing, TrialValue, with_covariates
    from cortexrnn.spikes.readers.signals import read_signals
    from cortexrnn.spikes.refractory import foreign_spikes
    from cortexrnn.theory import mean_field
    from cortexrnn.theory.analysis import AnalysisOptions, analyse
    from cortexrnn.theory.basins import basins, complete_patterns
    from cortexrnn.theory.continuation import follow_branch
    from cortexrnn.theory.fixed_points import fixed_points
    from cortexrnn.theory.gradient_flow import gradient_flow
    from cortexrnn.theory.lyapunov import lyapunov
    from cortexrnn.theory.mean_field import dmft
    from cortexrnn.theory.population import ei_balance, principal_components
    from cortexrnn.theory.response import superposition
    from cortexrnn.theory.state_gain import state_gain
    from cortexrnn.theory.system import as_system
    from cortexrnn.training import reservoirs, tasks
    from cortexrnn.training.cell_model import CellNetwork
    from cortexrnn.training.circuit_model import Trainable
    from cortexrnn.training.continual import elastic_weights, projected_gradients
    from cortexrnn.training.decoding import (
        DecodeOptions,
        NetworkDecoder,
        compare_sources,
        cross_temporal,
        decode,
    )
    from cortexrnn.training.hidden_sources import (
        HiddenSource,
        even_process,
        golden_mean,
        markov_source,
        simple_nonunifilar,
    )
    from cortexrnn.training.interference import predict_interference
    from cortexrnn.training.lesions import Lesion, ablate, ablation
    from cortexrnn.training.loop import TrainOptions, train
    from cortexrnn.training.markov import MarkovChain, choose_order
    from cortexrnn.training.memory_horizon import HorizonOptions, memory_horizon
    from cortexrnn.training.optimisers import Schedule
    from cortexrnn.training.penalties import Penalties
    from cortexrnn.training.perturbations import Perturbation, perturb
    from cortexrnn.training.trained import Trained, load_trained

_ROOMS = {
    "Activation": "cells.activation",
    "Adapted": "encoding.adapter",
    "AdaptedTrials": "encoding.adapter_trials",
    "AnalysisOptions": "theory.analysis",
    "Boxcar": "spikes.covariates",
    "BrianRun": "dynamics.brian_layout",
    "CausalGain": "encoding",
    "CellNetwork": "training.cell_model",
    "Circuit": "circuit",
    "CoSmoothing": "evaluation.co_smoothing",
    "CompareOptions": "evaluation",
    "Comparison": "evaluation",
    "Constant": "encoding",
    "CoupledGLM": "encoding.coupling",
    "CoupledHistoryGLM": "encoding.coupled_glm",
    "DecodeOptions": "training.decoding",
    "DoctorReport": "spikes",
    "Drift": "encoding",
    "Fluctuation": "dynamics",
    "Guarded": "encoding.contamination",
    "HMM": "encoding",
    "HiddenSource": "training.hidden_sources",
    "HistoryGLM": "encoding",
    "HorizonOptions": "training.memory_horizon",
    "Initial": "cells.initial",
    "Input": "circuit",
    "Lesion": "training.lesions",
    "LowRank": "circuit",
    "Markov": "encoding",
    "MarkovChain": "training.markov",
    "Network": "encoding",
    "NetworkDecoder": "training.decoding",
    "Noise": "circuit",
    "PSTH": "encoding",
    "Penalties": "training.penalties",
    "Perturbation": "training.perturbations",
    "PoissonFit": "encoding",
    "PoissonSmoother": "encoding.smoothers",
    "Population": "circuit",
    "PopulationRNN": "encoding.population_rnn",
    "Projection": "circuit",
    "Pulse": "dynamics",
    "RNN": "encoding",
    "Ramp": "dynamics",
    "ReadOff": "encoding.loops",
    "Record": "dynamics",
    "Recording": "spikes",
    "RecurrentSmoother": "encoding.recurrent_smoother",
    "Renewal": "encoding",
    "Ring": "circuit",
    "RunSettings": "evaluation",
    "Samples": "dynamics",
    "Schedule": "training.optimisers",
    "ShortTermPlasticity": "cells.stp",
    "Signal": "spikes.covariates",
    "Sinusoid": "dynamics",
    "Solver": "dynamics",
    "SpikeProcess": "dynamics",
    "Stimulus": "encoding.stimulus",
    "Timing": "spikes.covariates",
    "TrainOptions": "training.loop",
    "Trainable": "training.circuit_model",
    "Trained": "training.trained",
    "TrialValue": "spikes.covariates",
    "WeightLaw": "circuit",
    "ablate": "training.lesions",
    "ablation": "training.lesions",
    "analyse": "theory.analysis",
    "as_system": "theory.system",
    "audit_signs": "circuit",
    "basins": "theory.basins",
    "bin_sweep": "evaluation.bin_sweep",
    "bits_per_spike": "evaluation.co_smoothing",
    "build_weights": "circuit",
    "check_dt": "dynamics",
    "choose_order": "training.markov",
    "circuit_names": "circuit",
    "co_smoothing": "evaluation.co_smoothing",
    "compare": "evaluation",
    "compare_like": "evaluation.likeness",
    "compare_sources": "training.decoding",
    "complete_patterns": "theory.basins",
    "cross_temporal": "training.decoding",
    "dann_recipe": "circuit",
    "data_budget": "evaluation.data_budget",
    "decode": "training.decoding",
    "describe": "dynamics",
    "dmft": "theory.mean_field",
    "doctor": "spikes",
    "ei_balance": "theory.population",
    "elastic_weights": "training.continual",
    "even_process": "training.hidden_sources",
    "export_brian2": "dynamics.brian_script",
    "fit_poisson": "encoding",
    "fixed_points": "theory.fixed_points",
    "follow_branch": "theory.continuation",
    "foreign_spikes": "spikes.refractory",
    "free_run": "evaluation.free_run",
    "functional_connectivity": "encoding.connectivity",
    "golden_mean": "training.hidden_sources",
    "goodness_of_fit": "evaluation.goodness",
    "gradient_flow": "theory.gradient_flow",
    "ladder": "evaluation",
    "load_circuit": "circuit",
    "load_trained": "training.trained",
    "lyapunov": "theory.lyapunov",
    "markov_source": "training.hidden_sources",
    "mean_field": "theory.mean_field",
    "memory_horizon": "training.memory_horizon",
    "perturb": "training.perturbations",
    "plot_spectrum": "circuit",
    "predict_interference": "training.interference",
    "predict_spectrum": "circuit",
    "principal_components": "theory.population",
    "projected_gradients": "training.continual",
    "psth_r2": "evaluation.co_smoothing",
    "read_off": "encoding.read_off",
    "read_off_units": "evaluation.read_offs",
    "read_recording": "spikes",
    "read_signals": "spikes.readers.signals",
    "rescale": "evaluation.rescaling",
    "reservoirs": "training.reservoirs",
    "sample_spikes": "dynamics",
    "save_circuit": "circuit",
    "simple_nonunifilar": "training.hidden_sources",
    "simulate": "dynamics",
    "simulate_copies": "encoding.simulation",
    "simulate_like": "evaluation.likeness",
    "spectral_recipe": "circuit",
    "spiking_twin": "dynamics.twin",
    "state_gain": "theory.state_gain",
    "superposition": "theory.response",
    "tasks": "training.tasks",
    "to_brian2": "dynamics.brian",
    "train": "training.loop",
    "with_covariates": "spikes.covariates",
}

__all__ = [
    "Activation",
    "Adapted",
    "AdaptedTrials",
    "AnalysisOptions",
    "Boxcar",
    "BrianRun",
    "CausalGain",
    "CellNetwork",
    "Circuit",
    "CoSmoothing",
    "CompareOptions",
    "Comparison",
    "Constant",
    "CoupledGLM",
    "CoupledHistoryGLM",
    "DecodeOptions",
    "DoctorReport",
    "Drift",
    "Fluctuation",
    "Guarded",
    "HMM",
    "HiddenSource",
    "HistoryGLM",
    "HorizonOptions",
    "Initial",
    "Input",
    "Lesion",
    "LowRank",
    "Markov",
    "MarkovChain",
    "Network",
    "NetworkDecoder",
    "Noise",
    "PSTH",
    "Penalties",
    "Perturbation",
    "PoissonFit",
    "PoissonSmoother",
    "Population",
    "PopulationRNN",
    "Projection",
    "Pulse",
    "RNN",
    "Ramp",
    "ReadOff",
    "Record",
    "Recording",
    "RecurrentSmoother",
    "Renewal",
    "Ring",
    "RunSettings",
    "Samples",
    "Schedule",
    "ShortTermPlasticity",
    "Signal",
    "Sinusoid",
    "Solver",
    "SpikeProcess",
    "Stimulus",
    "Timing",
    "TrainOptions",
    "Trainable",
    "Trained",
    "TrialValue",
    "WeightLaw",
    "ablate",
    "ablation",
    "analyse",
    "as_system",
    "audit_signs",
    "basins",
    "bin_sweep",
    "bits_per_spike",
    "build_weights",
    "check_dt",
    "choose_order",
    "circuit_names",
    "co_smoothing",
    "compare",
    "compare_like",
    "compare_sources",
    "complete_patterns",
    "cross_temporal",
    "dann_recipe",
    "data_budget",
    "decode",
    "describe",
    "dmft",
    "doctor",
    "ei_balance",
    "elastic_weights",
    "even_process",
    "export_brian2",
    "fit_poisson",
    "fixed_points",
    "follow_branch",
    "foreign_spikes",
    "free_run",
    "functional_connectivity",
    "golden_mean",
    "goodness_of_fit",
    "gradient_flow",
    "ladder",
    "load_circuit",
    "load_trained",
    "lyapunov",
    "markov_source",
    "mean_field",
    "memory_horizon",
    "perturb",
    "plot_spectrum",
    "predict_interference",
    "predict_spectrum",
    "principal_components",
    "projected_gradients",
    "psth_r2",
    "read_off",
    "read_off_units",
    "read_recording",
    "read_signals",
    "rescale",
    "reservoirs",
    "sample_spikes",
    "save_circuit",
    "simple_nonunifilar",
    "simulate",
    "simulate_copies",
    "simulate_like",
    "spectral_recipe",
    "spiking_twin",
    "state_gain",
    "superposition",
    "tasks",
    "to_brian2",
    "train",
    "with_covariates",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room when it is first used."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'cortexrnn' has no attribute {name!r}")
    room = importlib.import_module(f"cortexrnn.{_ROOMS[name]}")
    # Tasks, reservoirs and mean fields are rooms of their own, shown as such.
    return getattr(room, name, room)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
