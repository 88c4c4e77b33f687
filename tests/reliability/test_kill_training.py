"""kill -9 during a training, then the same command: the network of a training that nobody killed, to the bit."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from cortexrnn.training.checkpoint import load_arrays

SIZES = ["--set", "populations[0].size=12", "--set", "populations[1].size=3"]
TRAIN = ["train", "song_2016", "--task", "random_dots", *SIZES, "--steps", "80", "--batch", "16", "--criterion", "2"]
ARGUMENTS = [*TRAIN, "--threads", "1", "--seed", "5", "--out", "out"]
N_KILLS = 10


def arrays_of(folder):
    """Give parameters and history of the saved network."""
    return load_arrays(folder / "out" / "network.safetensors")[0]


@pytest.mark.slow
def test_kills_at_random_moments_of_a_training_change_no_bit(forked, tmp_path, results):
    """Ten kills, each on what the one before left; against one training that ran through."""
    whole_folder, folder = tmp_path / "whole", tmp_path / "killed"
    whole_folder.mkdir()
    folder.mkdir()
    whole = forked(whole_folder, arguments=ARGUMENTS)
    assert whole.code == 0, whole.text
    rng = np.random.default_rng(8)
    n_killed = 0
    for number in range(N_KILLS):
        run = forked(folder, arguments=ARGUMENTS, after_s=float(rng.uniform(0.0, whole.seconds)), signal="SIGKILL")
        n_killed += run.code == -signal.SIGKILL
        if number % 4 == 3 or number == N_KILLS - 1:
            run = forked(folder, arguments=ARGUMENTS)
            assert run.code == 0, run.text
            assert results.leftovers(folder) == []
            expected, found = arrays_of(whole_folder), arrays_of(folder)
            assert expected.keys() == found.keys()
            for name in expected:
                np.testing.assert_array_equal(found[name], expected[name])
            for path in (folder / "out").glob("*.safetensors"):
                path.unlink()
    assert n_killed >= 0.3 * N_KILLS
