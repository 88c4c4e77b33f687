"""Sparse circuits: who is connected, the three layouts, and the drive of one step.

Oracles: the wiring's definition in Python's integers, exact sampling laws of draws, `build_weights`, and the dense
matrix product.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, LowRank, Population, Projection, Ring, WeightLaw, build_weights
from cortexrnn.circuit.build import LARGEST_DENSE
from cortexrnn.circuit.sparse import FanTable, build_hashed, build_sparse
from cortexrnn.circuit.wiring import LONGEST_RUN, N_DRAWS, Fan, sources_of, tiles_of
from cortexrnn.dynamics import sparse as drives
from cortexrnn.dynamics.sparse import SparseDrive
from cortexrnn.errors import NumericalError, OptionError

MASK32, MASK64 = 2**32 - 1, 2**64 - 1
STP = ShortTermPlasticity(U=0.2, tau_f_s=0.5, tau_d_s=0.1)


def make_fan(n_sources: int, in_degree: int, *, skips_self: bool = False, key: int = 0xDEADBEEFCAFE1234) -> Fan:
    """Make a fan of a population onto itself."""
    return Fan(
        key=np.uint64(key),
        first_source=0,
        n_sources=n_sources,
        first_target=0,
        n_targets=n_sources,
        in_degree=in_degree,
        skips_self=skips_self,
    )


def slow_sources(fan: Fan, target: int) -> list[int]:
    """Follow the definition with Python's integers, one source at a time."""
    z = int(fan.key) + (target + 1) * 0x9E3779B97F4A7C15 & MASK64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK64
    low, high = (z ^ z >> 31) & MASK32, (z ^ z >> 31) >> 32
    n_candidates = fan.n_sources - fan.skips_self
    found = []
    for k in range(fan.in_degree):
        h = low + k // 2 * 0x9E3779B9 & MASK32
        h = (h ^ h >> 17) * 0xED5AD4BB & MASK32
        h = ((h ^ h >> 11) + high) * 0xAC4C1B51 & MASK32
        h = (h ^ h >> 15) * 0x31848BAB & MASK32
        h = h ^ h >> 14
        if k % 2 == 0:
            h = (h & 0xFFFF) << 16 | h >> 16
        first, stop = (i * n_candidates // fan.in_degree for i in (k, k + 1))
        candidate = first + (h * (stop - first) >> 32)
        found.append(candidate + (fan.skips_self and candidate >= target))
    return found


def make_circuit(*projections: Projection, sizes=(40, 10), **options) -> Circuit:
    """Make a circuit of excitatory and inhibitory units."""
    populations = tuple(
        Population(name=name, size=size, sign=sign, activation=Activation(kind="relu"))
        for name, size, sign in zip("ei", sizes, ("excitatory", "inhibitory"), strict=True)
    )
    options = {"name": "test", "wiring_seed": 3, "rate_scale_hz": 1.0} | options
    return Circuit(populations=populations, projections=projections, **options)


def join(source: str, target: str, **options) -> Projection:
    """Make a projection, of constant weights unless it is told otherwise."""
    options = {"weights": WeightLaw(mean=1.0 if source == "e" else 4.5)} | options
    return Projection(source=source, target=target, **options)


def all_four(**options) -> tuple[Projection, ...]:
    """Join both populations to both."""
    return tuple(join(source, target, **options) for source in "ei" for target in "ei")


EQUAL = WeightLaw(mean=1.0)
GAMMA = WeightLaw(law="gamma", mean=0.5, sd=0.3)
MIXED = (Population(name="m", size=50, sign="mixed"),)
MIXED_LOOP = Projection(source="m", target="m", in_degree=9, weights=WeightLaw(law="gaussian", mean=0.1, sd=1.0))
CIRCUITS = {
    "equal weights": make_circuit(*all_four(in_degree=7)),
    "every candidate": make_circuit(join("e", "e", in_degree=39), join("i", "e", in_degree=10)),
    "gain": make_circuit(*all_four(in_degree=7), gain=1.5),
    "drawn weights": make_circuit(*all_four(in_degree=6, weights=GAMMA), gain=0.7),
    "mixed signs": Circuit(name="mixed", populations=MIXED, projections=(MIXED_LOOP,)),
    "plastic": make_circuit(
        join("e", "e", in_degree=5, plasticity="slow"), join("i", "e", in_degree=3), plasticity={"slow": STP}
    ),
    "two between the same": make_circuit(join("i", "e", in_degree=2), join("i", "e", in_degree=2, plasticity="slow"),
                                         plasticity={"slow": STP}),
    "density": make_circuit(*all_four(density=0.3, weights=GAMMA)),
    "one dense, one not": make_circuit(join("e", "e", in_degree=5), join("i", "e")),
    "ring": make_circuit(join("e", "e", weights=GAMMA, distance=Ring(width_rad=0.7))),
    "dense and balanced": make_circuit(*all_four(density=0.5, weights=GAMMA), balance="rows", gain=1.2),
    "random part": Circuit(name="mixed", populations=MIXED, projections=(MIXED_LOOP,), balance="random part"),
    "low rank": Circuit(name="mixed", populations=MIXED, low_rank_terms=(LowRank(overlap=2.0),)),
    "nothing": make_circuit(),
}  # fmt: skip
HASHABLE = ("equal weights", "every candidate", "gain", "plastic", "two between the same", "nothing")


def with_equal_weights(circuit: Circuit) -> Circuit:
    """Give the circuit with a weight of 1 everywhere."""
    projections = tuple(dataclasses.replace(p, weights=EQUAL) for p in circuit.projections)
    return dataclasses.replace(circuit, projections=projections)


def drive_of(weights, sources, n_threads=1):
    """Give the drive alone."""
    drive = np.zeros_like(next(iter(sources.values())))
    with SparseDrive(weights, n_threads=n_threads) as recurrent:
        recurrent.add(sources, drive)
    return drive


def send(circuit: Circuit, lanes: int, dtype=np.float64) -> dict[str, np.ndarray]:
    """Draw what units send, a different array for every class."""
    rng = np.random.default_rng(5)
    return {name: rng.random((circuit.size, lanes)).astype(dtype) for name in ("", *circuit.plasticity)}


@pytest.mark.parametrize(
    ("n_sources", "in_degree", "skips_self"),
    [(1000, 37, True), (5000, 64, False), (5000, 65, True), (20, 20, False), (64_000, 2, True), (2, 1, True)],
)
def test_vector_code_draws_what_the_definition_says(n_sources, in_degree, skips_self):
    fan = make_fan(n_sources, in_degree, skips_self=skips_self)
    for target in (0, 1, n_sources // 2, n_sources - 1):
        assert sources_of(fan, target, target + 1)[0].tolist() == slow_sources(fan, target)


def test_a_range_of_targets_gets_what_each_gets_alone():
    fan = make_fan(300, 41, skips_self=True)
    alone = [sources_of(fan, target, target + 1)[0] for target in range(10, 30)]
    assert np.array_equal(sources_of(fan, 10, 30), alone)


def test_sources_are_distinct_ascending_and_never_the_target():
    sources = sources_of(make_fan(501, 100, skips_self=True), 0, 501)
    assert np.all(np.diff(sources, axis=1) > 0)
    assert np.all(sources != np.arange(501)[:, None])
    assert sources.min() == 0
    assert sources.max() == 500


def test_tiles_hold_every_run_once_and_their_places_fit_16_bits():
    for n_sources, in_degree in ((10_000, 1000), (100_000, 1000), (100_000, 77), (4 * LONGEST_RUN, 4), (30, 30)):
        fan = make_fan(n_sources, in_degree, skips_self=True)
        tiles, runs = tiles_of(fan), fan.runs.astype(np.int64)
        assert tiles.first[0] == 0
        assert tiles.first[-1] == in_degree
        assert np.all(tiles.first[:-1] % 2 == 0)
        spans = runs[tiles.first[1:]] - runs[tiles.first[:-1]]
        # A step over the target itself adds one; 65535 itself says that there is no such step.
        assert spans.max() < 65_535
        assert np.array_equal(tiles.base, runs[tiles.first[:-1]])
        assert np.array_equal(np.repeat(tiles.base, np.diff(tiles.first)) + tiles.start[:in_degree], runs[:-1])
        assert np.array_equal(tiles.length[:in_degree], np.diff(runs))
        assert not tiles.length[in_degree:].any()
        assert tiles.length[in_degree:].size == N_DRAWS


@pytest.mark.parametrize(("n_sources", "in_degree"), [(3000, 100), (3000, 3)])
def test_candidates_of_a_run_are_drawn_equally_often(n_sources, in_degree):
    """Pearson's statistic over candidates, run by run, has its chi-squared mean within five of its deviations."""
    fan = make_fan(n_sources, in_degree)
    n_targets = 60_000
    counts = np.bincount(sources_of(fan, 0, n_targets).ravel(), minlength=n_sources)
    expected = n_targets * in_degree / n_sources
    statistic = np.sum((counts - expected) ** 2) / expected
    freedom = n_sources - in_degree
    assert abs(statistic - freedom) < 5.0 * np.sqrt(2.0 * freedom)


@pytest.mark.parametrize("apart", [1, 2, 3], ids=["one hash", "next hash", "next but one"])
def test_draws_of_one_target_are_independent(apart):
    """Joint counts of the draws of two runs follow the product of their laws."""
    fan = make_fan(2000, 100)
    draws = sources_of(fan, 0, 40_000) - fan.runs[:-1].astype(np.int32)
    first = np.arange(0, 100 - apart, 4)
    joint = np.bincount((draws[:, first] * 20 + draws[:, first + apart]).ravel(), minlength=400)
    assert stats.chisquare(joint).pvalue > 1e-4


@pytest.mark.parametrize("apart", [1, 2, 256])
def test_draws_of_two_targets_are_independent(apart):
    fan = make_fan(2000, 100)
    draws = sources_of(fan, 0, 40_000) - fan.runs[:-1].astype(np.int32)
    joint = np.bincount((draws[:-apart] * 20 + draws[apart:]).ravel(), minlength=400)
    assert stats.chisquare(joint).pvalue > 1e-4


def test_another_key_is_another_network():
    """Two keys agree on a source with the chance of a run's length, 1/20: 5 deviations of a binomial."""
    one, other = (sources_of(make_fan(2000, 100, key=key), 0, 1000) for key in (1, 2))
    assert abs(np.mean(one == other) - 0.05) < 5.0 * np.sqrt(0.05 * 0.95 / one.size)


@pytest.mark.parametrize("name", CIRCUITS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sparse_weights_equal_the_dense_ones_to_the_bit(name, dtype):
    circuit = CIRCUITS[name]
    sparse, dense = build_sparse(circuit, dtype), build_weights(circuit, dtype)
    for plasticity, matrix in ({"": dense.static} | dense.plastic).items():
        assert sparse.dense(plasticity).dtype == dtype
        assert np.array_equal(sparse.dense(plasticity), matrix)


@pytest.mark.parametrize("laws", [(EQUAL, WeightLaw(mean=4.5)), (GAMMA, WeightLaw(mean=4.5)), (GAMMA, GAMMA)])
def test_rows_of_fans_are_balanced_like_dense_ones(laws):
    law_of = dict(zip("ei", laws, strict=True))
    pairs = [join(source, target, in_degree=8, weights=law_of[source]) for source in "ei" for target in "ei"]
    circuit = make_circuit(*pairs, balance="rows", gain=1.3)
    sparse = build_sparse(circuit)
    assert all(isinstance(table, FanTable) for table in sparse.tables)
    # Sums of 8 weights in another order: a few units in the last place.
    np.testing.assert_allclose(sparse.dense(), build_weights(circuit).static, rtol=1e-13, atol=0.0)
    assert np.abs(sparse.dense().sum(axis=1)).max() < 1e-14 * np.abs(sparse.dense()).sum(axis=1).max()


@pytest.mark.parametrize("name", HASHABLE)
def test_the_hash_gives_the_network_of_the_table(name):
    stored, hashed = build_sparse(CIRCUITS[name]), build_hashed(CIRCUITS[name])
    assert len(stored.tables) == len(hashed.tables)
    for table, rule in zip(stored.tables, hashed.tables, strict=True):
        assert rule.places.size == 0
        n_targets = table.fan.n_targets
        assert np.array_equal(table.sources(0, n_targets), rule.sources(0, n_targets))
        assert np.array_equal(table.weights(0, n_targets), rule.weights(0, n_targets))


def test_a_connection_of_equal_weight_takes_two_bytes_or_none():
    circuit = make_circuit(*all_four(in_degree=400), sizes=(3000, 1000))
    n_connections = 2 * 4000 * 400
    stored, hashed = build_sparse(circuit, np.float32), build_hashed(circuit, np.float32)
    assert stored.n_connections == hashed.n_connections == n_connections
    assert np.array_equal(stored.work(), np.full(4000, 800))
    # Beside the connections: a number a target and projection, and a few a run.
    assert stored.nbytes < 2 * n_connections + 60_000
    assert hashed.nbytes < 60_000


@pytest.mark.parametrize("name", CIRCUITS)
@pytest.mark.parametrize("lanes", [1, 16])
def test_the_drive_is_the_matrix_product(name, lanes):
    circuit = CIRCUITS[name]
    weights, sources = build_sparse(circuit), send(circuit, lanes)
    dense = build_weights(circuit)
    expected = sum(matrix @ sources[key] for key, matrix in ({"": dense.static} | dense.plastic).items())
    # At most 50 terms of order one, in another order.
    np.testing.assert_allclose(drive_of(weights, sources), expected, rtol=1e-12, atol=1e-13)


def test_the_drive_is_added_to_what_is_there():
    circuit = CIRCUITS["equal weights"]
    sources = send(circuit, 1)
    drive = np.full((50, 1), 3.0)
    with SparseDrive(build_sparse(circuit)) as recurrent:
        recurrent.add(sources, drive)
        recurrent.add(sources, drive)
    np.testing.assert_allclose(drive, 3.0 + 2.0 * build_weights(circuit).static @ sources[""], rtol=1e-12)


@pytest.fixture(scope="module")
def large():
    """Give a circuit of 3000 units whose work is worth threads, with every layout of a fan in it."""
    return make_circuit(
        join("e", "e", in_degree=301, plasticity="slow"),
        join("i", "e", in_degree=70),
        join("e", "i", in_degree=150, weights=GAMMA),
        join("i", "i", in_degree=99),
        sizes=(2300, 700),
        plasticity={"slow": STP},
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_do_not_change_a_bit(large, dtype, lanes, n_threads):
    weights, sources = build_sparse(large, dtype), send(large, lanes, dtype)
    assert weights.n_connections * lanes > drives._SMALL_WORK
    assert np.array_equal(drive_of(weights, sources), drive_of(weights, sources, n_threads))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("build", [build_sparse, build_hashed])
def test_companions_do_not_change_a_trial(large, dtype, build):
    equal = with_equal_weights(large)
    weights, sources = build(equal if build is build_hashed else large, dtype), send(large, 16, dtype)
    together = drive_of(weights, sources)
    for lane in (0, 7, 15):
        alone = drive_of(weights, {name: array[:, lane : lane + 1].copy() for name, array in sources.items()})
        assert np.array_equal(alone[:, 0], together[:, lane])


@pytest.mark.parametrize("lanes", [1, 16])
def test_table_and_hash_drive_alike_to_the_bit(large, lanes):
    equal = with_equal_weights(large)
    sources = send(equal, lanes, np.float32)
    stored, hashed = (drive_of(build(equal, np.float32), sources, 2) for build in (build_sparse, build_hashed))
    assert np.array_equal(stored, hashed)


def test_single_precision_agrees_with_double(large):
    single, double = (drive_of(build_sparse(large, dtype), send(large, 1, dtype)) for dtype in (np.float32, np.float64))
    # Two roundings a term and a few a sum of at most 371 terms of one sign before two such sums are subtracted.
    np.testing.assert_allclose(single, double, atol=1e-5 * np.abs(double).max(), rtol=0.0)


def test_a_nan_reaches_the_targets_of_its_unit_and_no_other():
    circuit = CIRCUITS["equal weights"]
    sources = send(circuit, 1)
    sources[""][17] = np.nan
    drive = drive_of(build_sparse(circuit), sources)
    assert np.array_equal(np.isnan(drive[:, 0]), build_weights(circuit).static[:, 17] != 0.0)


def test_a_network_of_a_hundred_thousand_units_is_built_without_a_table():
    circuit = make_circuit(*all_four(in_degree=500), sizes=(80_000, 20_000))
    weights = build_hashed(circuit, np.float32)
    assert weights.n_connections == 10**8
    assert weights.nbytes < 2**20
    table = weights.tables[0]
    assert table.sources(79_999, 80_000)[0].tolist() == slow_sources(table.fan, 79_999)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("density", r"projections\[0\].weights.law: 'gamma' .* expected 'constant' where no weight is stored"),
        ("drawn weights", r"projections\[0\].weights.law"),
        ("one dense, one not", r"projections\[1\].in_degree: None .* expected a number of sources"),
        ("low rank", "low_rank_terms: .* expected no term that joins every unit"),
    ],
)
def test_a_circuit_that_no_hash_can_give_is_refused_with_the_place(name, place):
    with pytest.raises(OptionError, match=place):
        build_hashed(CIRCUITS[name])


def test_a_subtracted_mean_is_refused_without_a_table():
    circuit = dataclasses.replace(
        CIRCUITS["random part"], projections=(dataclasses.replace(MIXED_LOOP, weights=WeightLaw(mean=0.1)),)
    )
    with pytest.raises(OptionError, match=r"balance: 'random part' .* would fill every row"):
        build_hashed(circuit)


def test_a_large_circuit_with_a_dense_part_is_refused_with_the_place():
    circuit = make_circuit(join("e", "e", in_degree=5), join("i", "e"), sizes=(LARGEST_DENSE, 10))
    with pytest.raises(OptionError, match=r"projections\[1\].in_degree: None .* more than 30000 units need"):
        build_sparse(circuit)


def test_rows_of_one_sign_cannot_be_balanced():
    pairs = [join(source, target, in_degree=5) for source, target in ("ee", "ie", "ei")]
    circuit = make_circuit(*pairs, balance="rows")
    with pytest.raises(NumericalError, match="population 'i': 10 rows have weights of one sign only"):
        build_hashed(circuit)


def test_a_matrix_of_a_large_circuit_is_refused():
    weights = build_hashed(make_circuit(join("e", "e", in_degree=5), sizes=(LARGEST_DENSE, 1)))
    with pytest.raises(OptionError, match="30001 is not valid; expected at most 30000 units in a dense matrix"):
        weights.dense()


def test_an_unknown_precision_is_refused():
    for build in (build_sparse, build_hashed):
        with pytest.raises(OptionError, match="dtype='float16' is unknown; expected one of float64, float32"):
            build(CIRCUITS["equal weights"], np.float16)


def test_arrays_that_do_not_fit_are_refused():
    circuit = CIRCUITS["plastic"]
    sources = send(circuit, 1)
    drive = np.zeros((50, 1))
    frozen = drive.copy()
    frozen.setflags(write=False)
    with SparseDrive(build_sparse(circuit)) as recurrent:
        for wrong, given, message in (
            ({"": sources[""]}, drive, "sources has no 'slow'"),
            (sources | {"": np.zeros((50, 1), np.float32)}, drive, r"sources\[''\] is float32 of shape \(50, 1\)"),
            (sources | {"": np.zeros((49, 1))}, drive, r"expected C-contiguous float64 .* \(50, 1\) or \(50, 16\)"),
            (sources | {"": np.zeros((50, 2))[:, :1]}, drive, "expected C-contiguous"),
            (sources, np.zeros((50, 16)), r"has shape \(50, 1\) and drive \(50, 16\)"),
            (sources, np.zeros((50, 3)), "drive is float64 of shape"),
            (sources, frozen, "the drive writeable"),
        ):
            with pytest.raises(OptionError, match=message):
                recurrent.add(wrong, given)


def test_a_drive_needs_a_thread():
    with pytest.raises(OptionError, match="n_threads=0 is not valid"):
        SparseDrive(build_sparse(CIRCUITS["nothing"]), n_threads=0)


def test_kernels_have_one_specialisation_a_precision(large):
    for dtype in (np.float64, np.float32):
        weights = build_sparse(large, dtype)
        for lanes in (1, 16):
            drive_of(weights, send(large, lanes, dtype), 2)
            drive_of(build_sparse(CIRCUITS["density"], dtype), send(CIRCUITS["density"], lanes, dtype))
    for kernel in (drives._add_stored, drives._add_valued, drives._add_rows):
        assert len(kernel.signatures) == 2
