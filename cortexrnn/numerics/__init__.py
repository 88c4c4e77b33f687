"""Shared numerics: elementary functions that vectorise, products with one trial per SIMD lane, keyed streams."""
