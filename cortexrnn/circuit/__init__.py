"""What is wired: descriptions of circuits, their files, weights, signs, balance and spectra."""

from cortexrnn.circuit.build import Weights, build_inputs, build_weights
from cortexrnn.circuit.dale import audit_signs, balance_rows
from cortexrnn.circuit.eigenvalues import plot_spectrum
from cortexrnn.circuit.files import circuit_names, load_circuit, save_circuit
from cortexrnn.circuit.laws import WeightLaw
from cortexrnn.circuit.parts import Input, LowRank, Noise, Population, Projection, Ring
from cortexrnn.circuit.recipes import dann_recipe, spectral_recipe
from cortexrnn.circuit.sparse import SparseWeights, build_hashed, build_sparse
from cortexrnn.circuit.spec import Circuit
from cortexrnn.circuit.spectrum import Spectrum, predict_spectrum

__all__ = [
    "Circuit",
    "Input",
    "LowRank",
    "Noise",
    "Population",
    "Projection",
    "Ring",
    "SparseWeights",
    "Spectrum",
    "WeightLaw",
    "Weights",
    "audit_signs",
    "balance_rows",
    "build_hashed",
    "build_inputs",
    "build_sparse",
    "build_weights",
    "circuit_names",
    "dann_recipe",
    "load_circuit",
    "plot_spectrum",
    "predict_spectrum",
    "save_circuit",
    "spectral_recipe",
]
