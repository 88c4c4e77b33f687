"""Read a condition or a behaviour out of activity with decoders that never saw the trial that they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError, OptionError
from cortexrnn.training.decoding.data import Samples, draw_folds, take_course, take_groups, take_samples, take_target
from cortexrnn.training.decoding.network_runs import NetworkRun, network_variables, run_networks
from cortexrnn.training.decoding.result import DecodeOptions, Decoding, SourceComparison
from cortexrnn.training.decoding.runs import (
    LEVEL,
    TAILS,
    Question,
    Run,
    Scored,
    resample,
    run_over_time,
    run_over_time_pairs,
    score_variables,
)
from cortexrnn.training.decoding.scores import CLASSES, SCORES, scores

_TIME = "Expected the dimensions (trial, time, unit)."


def decode(
    activity: np.ndarray | xr.DataArray,
    labels: Any,
    *,
    groups: Any = None,
    options: DecodeOptions | None = None,
    seed: int = 0,
) -> Decoding:
    """Say how well a linear read-out tells the labels of trials that it has not seen, at every time on its own.

    Ridge regression on the value, or on the indicators of the classes, of which the largest answer counts. Features
    are standardised and the penalty is chosen on training trials alone. Beside it a causal network, which has seen
    activity up to a time when it answers, where `options` ask for one (`NetworkDecoder`).

    Parameters
    ----------
    activity : array or DataArray, shape (n_trials, n_units) or (n_trials, n_times, n_units)
        Counts, rates or any other features; NaN past a trial's end: such a trial is left out at that time.
    labels : array_like, shape (n_trials,) or (n_trials, n_times)
        Classes as strings, booleans or numbers, or values; a behaviour that changes over time has one value a trial and
        time, NaN where there is no activity.
    groups : array_like, shape (n_trials,), optional
        Trials of one group, as of one block or session, are never on both sides.
    options : DecodeOptions, optional
    seed : int
        Of folds, shuffles and resamples.

    Returns
    -------
    Decoding
        Scores are NaN at times at which a fold, or all but too few trials of a class, have ended.

    Raises
    ------
    DataError
        If activity and labels do not fit together or leave nothing to decode: one class, fewer trials of a class than
        folds, fewer groups than folds, activity that is NaN or the same everywhere; a network, but no time.
    OptionError
        If activity cannot be cut into the windows.
    NumericalError
        If the gradient of a network is not finite.

    Notes
    -----
    Labels are shuffled within folds (within groups that hold several labels; by whole groups of a fold that hold one),
    so that folds keep their classes, and the whole procedure, choice of the penalty included, is run on each shuffle.
    ``p = (1 + k) / (1 + n)`` with k of n shuffles at least as good (Phipson and Smyth 2010,
    doi:10.2202/1544-6115.1585).

    The interval of the accuracy is Wilson's, which does not shrink to nothing where all trials are right. With groups
    trials are not independent, and the other scores are no shares: their intervals are percentiles over resampled
    trials, or groups. Both hold the read-outs fixed and count held-out trials as independent, so they are a little
    narrow: of 300 simulated data sets of 200 trials 92 % held the accuracy on new trials, and 91 % the R2.

    Weights and patterns are means over the folds on the original scale of activity. The weight of a unit that only
    cancels others' noise is as large as that of one that tells: what may be interpreted is the pattern ``cov(x) w /
    var(w x)``, by how much each unit's activity rises per unit of the read-out (Haufe et al. 2014,
    doi:10.1016/j.neuroimage.2013.10.067).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> side = np.repeat(["left", "right"], 50)
    >>> counts = rng.poisson(np.where(side == "left", 2.0, 6.0)[:, None], (100, 20))
    >>> float(decode(counts, side, options=DecodeOptions(n_shuffles=20)).score)
    1.0
    """
    options = options or DecodeOptions()
    samples = take_samples(activity, options.window_s)
    if options.network is not None and samples.time_s is None:
        raise DataError("activity has no time, so there is nothing for a network to be causal about.", hint=_TIME)
    question = _question(activity, samples, labels, groups, options, seed)
    linear, sums, resampled = _decode_one(samples, question, seed)
    if options.network is None:
        return linear
    run = run_networks(samples, question, seed)
    variables = network_variables(run, (sums, resampled), question, seed)
    return replace(linear, network=_lay_out_networks(samples, question, run, variables, seed))


def cross_temporal(
    activity: np.ndarray | xr.DataArray,
    labels: Any,
    *,
    groups: Any = None,
    options: DecodeOptions | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Train a read-out at every time and test it at all times, on trials that it has not seen.

    Parameters
    ----------
    activity : array or DataArray, shape (n_trials, n_times, n_units)
    labels, groups, options, seed
        As for `decode`; the diagonal is what that gives. There are no networks.

    Returns
    -------
    xarray.Dataset
        Every score over (train_time, test_time), where labels were shuffled with ``_chance``, the mean of the shuffles,
        and ``_p``.

    Raises
    ------
    DataError
        As for `decode`, or if activity has no time.
    OptionError
        If activity cannot be cut into the windows, or a network is asked for.

    Notes
    -----
    King and Dehaene (2014), doi:10.1016/j.tics.2014.01.002. Features are standardised as at the time of training.
    """
    options = _without_network(options)
    samples = take_samples(activity, options.window_s)
    if samples.time_s is None:
        raise DataError("activity has no time.", hint=_TIME)
    question = _question(activity, samples, labels, groups, options, seed)
    found = run_over_time_pairs(samples, question)
    variables = {name: (("train_time", "test_time"), values) for name, values in found.items()}
    return xr.Dataset(
        variables,
        coords={dim: (dim, samples.time_s, samples.time_attrs) for dim in ("train_time", "test_time")},
        attrs=_attrs(question, options, seed),
    )


def compare_sources(
    sources: Mapping[str, np.ndarray | xr.DataArray],
    labels: Any,
    *,
    groups: Any = None,
    options: DecodeOptions | None = None,
    seed: int = 0,
) -> SourceComparison:
    """Read the same labels out of several sources, such as rates and the efficacies of synapses (Masse et al. 2019).

    Parameters
    ----------
    sources : mapping of str to array or DataArray
        Activity as `decode` takes it, of the same trials and times; the features may differ. A trial that has ended in
        one of them is left out of all.
    labels, groups, options, seed
        As for `decode`; all sources get the same folds, shuffles and resamples.

    Returns
    -------
    SourceComparison
        The intervals of differences are percentiles over resampled trials (groups), the same ones for both.

    Raises
    ------
    DataError
        As for `decode`, or if trials and times of the sources are not the same.
    OptionError
        If there are fewer than two sources, activity cannot be cut into the windows, or a network is asked for.

    Notes
    -----
    N. Y. Masse et al. (2019), doi:10.1038/s41593-019-0414-3.
    """
    if len(sources) < 2:
        raise OptionError(f"there are {len(sources)} sources; expected at least two.")
    options = _without_network(options)
    both = _decode_all(sources, labels, groups, options, seed)
    decodings = {name: decoding for name, (decoding, _) in both.items()}
    first = next(iter(decodings.values()))
    score = first.score.name
    asked = [f"{score}{end}" for end in ("", "_low", "_high", "_chance", "_p")]
    wanted = [name for name in asked if name in first.found]
    stacked = xr.concat([each.found[wanted] for each in decodings.values()], "source", combine_attrs="drop")
    names = list(decodings)
    resampled = {name: scores(first.kind, sums)[score] for name, (_, sums) in both.items()}
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    ends = [np.percentile(resampled[a] - resampled[b], TAILS, axis=0) for a, b in pairs]
    dims = ("pair", *first.score.dims)
    differences = {
        "difference": (dims, np.stack([decodings[a].score.values - decodings[b].score.values for a, b in pairs])),
        "difference_low": (dims, np.stack([low for low, _ in ends])),
        "difference_high": (dims, np.stack([high for _, high in ends])),
    }
    found = stacked.assign(differences).assign_coords(source=names, pair=[f"{a} - {b}" for a, b in pairs])
    return SourceComparison(decodings=decodings, found=found.assign_attrs(first.found.attrs))


def _decode_all(
    sources: Mapping[str, Any], labels: Any, groups: Any, options: DecodeOptions, seed: int
) -> dict[str, tuple[Decoding, np.ndarray]]:
    """Decode every source with the same folds; also give the sums over resampled trials."""
    samples = {name: take_samples(activity, options.window_s) for name, activity in sources.items()}
    one = next(iter(samples.values()))
    for name, each in samples.items():
        if each.present.shape != one.present.shape or (each.time_s is None) != (one.time_s is None):
            raise DataError(
                f"source {name!r} has {each.present.shape} trials and times, the first {one.present.shape}; expected "
                "the same."
            )
        if one.time_s is not None and not np.allclose(each.time_s, one.time_s, rtol=1e-9, atol=1e-9):
            raise DataError(f"source {name!r} has other times than the first.")
    present = np.logical_and.reduce([each.present for each in samples.values()])
    activity = next(iter(sources.values()))
    question = _question(activity, one._replace(present=present), labels, groups, options, seed)
    found = {}
    for name, each in samples.items():
        decoding, _, resampled = _decode_one(each._replace(present=present), question, seed)
        found[name] = decoding, resampled if each.time_s is not None else resampled[:, 0]
    return found


def _decode_one(samples: Samples, question: Question, seed: int) -> tuple[Decoding, np.ndarray, np.ndarray]:
    """Decode linearly; also give the sums over trials and those over resampled trials."""
    run = run_over_time(samples, question)
    resampled = resample(run.sums, question, seed)
    return _lay_out(samples, question, run, resampled, seed), run.sums, resampled


def _question(activity: Any, samples: Samples, labels: Any, groups: Any, options: DecodeOptions, seed: int) -> Question:
    """Check labels and groups, and draw folds and shuffles."""
    n_trials = len(samples.values)
    if np.ndim(labels) == 2:
        target = take_course(labels, activity, samples, options)
    else:
        target = take_target(labels, n_trials, options.kind, options.n_folds)
    codes = take_groups(groups, n_trials, options.n_folds)
    fold = draw_folds(target, codes, options.n_folds, seed)
    return Question.of(target, fold, codes, options, seed)


def _without_network(options: DecodeOptions | None) -> DecodeOptions:
    """Refuse a network where only linear read-outs are asked."""
    options = options or DecodeOptions()
    if options.network is not None:
        raise OptionError("network is for decode; leave it out here.")
    return options


def _lay_out(samples: Samples, question: Question, run: Run, sums: np.ndarray, seed: int) -> Decoding:
    """Lay what was found out as a labelled result."""
    target = question.target
    scored = Scored.of(target.kind, run.sums, sums, run.shuffled)
    over_class = ("class",) if target.kind == CLASSES else ()
    variables = score_variables(scored, question) | {
        "answer": (("trial", "time", *over_class), run.answers),
        "weight": (("time", *over_class, samples.feature), run.weights),
        "pattern": (("time", *over_class, samples.feature), run.patterns),
        "intercept": (("time", *over_class), run.intercepts),
        "penalty": (("time", "fold_number"), run.penalties),
    }
    if target.kind == CLASSES:
        variables["confusion"] = (("time", "true", "class"), run.confusion)
    return _decoding(samples, question, variables, samples.coords, seed)


def _lay_out_networks(
    samples: Samples, question: Question, run: NetworkRun, variables: dict[str, Any], seed: int
) -> Decoding:
    """Lay what networks found out as a labelled result."""
    is_labelled = question.target.kind == CLASSES
    answer = (("trial", "time", "class"), run.answers) if is_labelled else (("trial", "time"), run.answers[:, :, 0])
    variables = variables | {"answer": answer, "n_epochs": (("network_seed", "fold_number"), run.n_epochs)}
    if is_labelled:
        variables["confusion"] = (("time", "true", "class"), run.confusion)
    found = _decoding(samples, question, variables, {}, seed)
    return replace(found, found=found.found.assign_attrs(n_shuffles=len(run.shuffled)))


def _decoding(
    samples: Samples, question: Question, variables: dict[str, Any], coords: Mapping[str, Any], seed: int
) -> Decoding:
    """Add what all decoders share, and make a result of it."""
    target, options = question.target, question.options
    is_labelled = target.kind == CLASSES
    truth = target.classes[target.truth] if is_labelled else target.truth
    variables = variables | {
        "n_trials": (("time",), samples.present.sum(axis=0)),
        "fold": (("trial",), question.fold),
        "truth": (("trial", "time")[: truth.ndim], truth),
    }
    coords = dict(coords)
    if is_labelled:
        coords |= {"class": target.classes, "true": target.classes}
    if samples.time_s is not None:
        coords["time"] = ("time", samples.time_s, samples.time_attrs)
    found = xr.Dataset(variables, coords=coords, attrs=_attrs(question, options, seed))
    if samples.time_s is None:
        found = found.isel(time=0)
    classes = tuple(target.classes.tolist())
    return Decoding(kind=target.kind, classes=classes, found=found, options=options, seed=seed)


def _attrs(question: Question, options: DecodeOptions, seed: int) -> dict[str, Any]:
    """Say what was decoded and how."""
    target = question.target
    share = np.bincount(target.truth).max() / target.truth.size if target.kind == CLASSES else 0.0
    return {
        "kind": target.kind,
        "score": SCORES[target.kind][0],
        "n_classes": len(target.classes),
        "largest_share": float(share),
        "n_folds": options.n_folds,
        "n_shuffles": options.n_shuffles,
        "seed": seed,
        "interval": LEVEL,
    }
