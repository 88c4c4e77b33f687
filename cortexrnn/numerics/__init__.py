"""Shared kernels: vectorisable elementary functions and products with one trial per SIMD lane."""
