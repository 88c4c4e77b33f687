"""Random streams keyed by what they are for, never by who draws from them."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *key: object) -> np.random.Generator:
    """Give the random generator that belongs to `seed` and `key`.

    The same seed and key give the same numbers in any order of calls and on any number of threads;
    different keys give independent streams.

    Parameters
    ----------
    seed : int
        The user's seed.
    key : str or int
        What the stream is for, as ``("surrogate", unit, 3)``.

    Returns
    -------
    numpy.random.Generator
        Counter-based (Philox), seeded from a SHA-256 of the key.
    """
    digest = hashlib.sha256("\x1f".join(map(repr, key)).encode()).digest()
    words = np.frombuffer(digest[:16], dtype=np.uint32)
    sequence = np.random.SeedSequence(entropy=int(seed), spawn_key=tuple(int(word) for word in words))
    return np.random.Generator(np.random.Philox(sequence))
