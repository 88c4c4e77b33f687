"""What a read-out tells of a trial: conditions and behaviour from counts, rates or synapses."""

from cortexrnn.training.decoding.decoder import compare_sources, cross_temporal, decode
from cortexrnn.training.decoding.result import DecodeOptions, Decoding, NetworkDecoder, SourceComparison

__all__ = [
    "DecodeOptions", "Decoding", "NetworkDecoder", "SourceComparison", "compare_sources", "cross_temporal", "decode",
]  # fmt: skip
