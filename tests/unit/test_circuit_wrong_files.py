"""Wrong circuit files: every message names the key's place, the value, what was expected, and how to mend it.

Oracle: the texts, each a right file with one mistake that people make.
"""

from __future__ import annotations

import pytest

from cortexrnn.circuit.files import circuit_from_toml
from cortexrnn.errors import CortexError, DataError, OptionError

RIGHT = """
name = "pair"
form = "rate"
gain = 1.5
wiring_seed = 3
rate_scale_hz = 10.0
balance = "rows"

[[populations]]
name = "exc"
size = 8
sign = "excitatory"
activation = {kind = "relu", gain = 1.0}
tau_s = 0.02
bias = 0.5

[[populations]]
name = "inh"
size = 2
sign = "inhibitory"
activation = {kind = "softplus", threshold = 0.1}

[[projections]]
source = "exc"
target = "exc"
density = 0.9
weights = {law = "gamma", mean = 0.4, sd = 0.2}
plasticity = "fac"

[[projections]]
source = "inh"
target = "exc"
weights = {law = "gaussian", mean = 1.6, sd = 0.4}

[[projections]]
source = "exc"
target = "inh"
in_degree = 4
weights = {law = "lognormal", mean = 0.4, sd = 0.2}

[[projections]]
source = "inh"
target = "inh"
weights = {mean = 1.6}
allow_autapses = true

[plasticity.fac]
U = 0.2
tau_f_s = 1.5
tau_d_s = 0.2

[[inputs]]
name = "drive"
target = "exc"

[noise]
sigma = 0.1
tau_s = 0.005

[notes]
known = ["what the paper says"]
"""
# fmt: off
# Title: (what is replaced, by what, place of the key, value shown, expected, fix).
WRONG = {
    "unknown key": (
        "gain = 1.5\n", "gain = 1.5\ncolour = 2\n",
        "colour", "2", "expected one of name, populations", "Delete it"),
    "misspelt key": (
        "density = 0.9", "densty = 0.9",
        "projections[0].densty", "0.9", "expected one of source", "Did you mean 'density'"),
    "misspelt section": (
        "[noise]", "[niose]",
        "niose", "{'sigma': 0.1", "expected one of name", "Did you mean 'noise'"),
    "another word for the key": (
        "size = 8", "n = 8",
        "populations[0].n", "8", "expected one of name, size", "Write size."),
    "deviation by its symbol": (
        "mean = 0.4, sd = 0.2}\npl", "mean = 0.4, sigma = 0.2}\npl",
        "projections[0].weights.sigma", "0.2", "expected one of law", "Write sd."),
    "milliseconds in the key": (
        "tau_s = 0.02", "tau_ms = 20",
        "populations[0].tau_ms", "20", "expected one of", "write tau_s = 0.02"),
    "key without its unit": (
        "tau_s = 0.02", "tau = 0.02",
        "populations[0].tau", "0.02", "expected one of", "Write tau_s, in seconds"),
    "milliseconds as seconds": (
        "tau_s = 0.02", "tau_s = 20",
        "populations[0].tau_s", "20", "a time in seconds above 0 and at most 1", "write tau_s = 0.02"),
    "milliseconds of noise": (
        "tau_s = 0.005", "tau_s = 5",
        "noise.tau_s", "5", "a time in seconds", "write tau_s = 0.005"),
    "milliseconds of facilitation": (
        "tau_f_s = 1.5", "tau_f_s = 1500",
        "plasticity.fac.tau_f_s", "1500", "a time in seconds above 0 and at most 10", "write tau_f_s = 1.5"),
    "milliseconds of recovery": (
        "tau_d_s = 0.2", "tau_d_s = 200",
        "plasticity.fac.tau_d_s", "200", "a time in seconds", "write tau_d_s = 0.2"),
    "milliseconds in a key of plasticity": (
        "tau_d_s = 0.2", "tau_d_ms = 200",
        "plasticity.fac.tau_d_ms", "200", "expected one of U", "write tau_d_s = 0.2"),
    "negative time": (
        "tau_s = 0.02", "tau_s = -0.02",
        "populations[0].tau_s", "-0.02", "a time in seconds above 0", "0.01 for 10 ms"),
    "zero recovery": (
        "tau_d_s = 0.2", "tau_d_s = 0",
        "plasticity.fac.tau_d_s", "0", "a time in seconds above 0", "positive time"),
    "unknown sign": (
        'sign = "inhibitory"', 'sign = "inhibitor"',
        "populations[1].sign", "'inhibitor'", "one of 'excitatory', 'inhibitory', 'mixed'",
        "Did you mean 'inhibitory'"),
    "sign as a number": (
        'sign = "inhibitory"', "sign = -1",
        "populations[1].sign", "-1", "one of 'excitatory'", "known values"),
    "negative magnitude": (
        "mean = 1.6, sd = 0.4", "mean = -1.6, sd = 0.4",
        "projections[1].weights.mean", "-1.6", "a magnitude of at least 0", "Write mean = 1.6"),
    "negative deviation": (
        "mean = 1.6, sd = 0.4", "mean = 1.6, sd = -0.4",
        "projections[1].weights.sd", "-0.4", "a standard deviation of at least 0", "Write sd = 0.4"),
    "Gaussian too wide for one sign": (
        "mean = 1.6, sd = 0.4", "mean = 1.6, sd = 1.6",
        "projections[1].weights.sd", "1.6", "at most 0.9 of the mean", "law = 'gamma'"),
    "deviation of a constant": (
        "weights = {mean = 1.6}", "weights = {mean = 1.6, sd = 0.1}",
        "projections[3].weights.sd", "0.1", "0 for the law 'constant'", "law = 'gaussian'"),
    "unknown law": (
        'law = "gamma"', 'law = "gama"',
        "projections[0].weights.law", "'gama'", "one of 'gaussian'", "Did you mean 'gamma'"),
    "law without deviation": (
        'law = "gamma", mean = 0.4, sd = 0.2', 'law = "gamma", mean = 0.4',
        "projections[0].weights.sd", "0.0", "other than 0", "law = 'constant'"),
    "weights as a number": (
        "weights = {mean = 1.6}", "weights = 1.6",
        "projections[3].weights", "1.6", "expected a table", "weights = {key = value}"),
    "weights left out": (
        "weights = {mean = 1.6}\n", "",
        "projections[3].weights", "nothing is given", "a value for 'weights'", "Add weights = ..."),
    "name left out": (
        'name = "pair"\n', "",
        ": name", "nothing is given", "a value for 'name'", "the head of the file"),
    "too few times": (
        "tau_s = 0.02", "tau_s = [0.02, 0.01]",
        "populations[0].tau_s", "an array of 2", "one number, or 8 numbers", "the population's size"),
    "too many biases": (
        "bias = 0.5", "bias = [1, 1, 1, 1, 1, 1, 1, 1, 1]",
        "populations[0].bias", "an array of 9", "8 numbers", "the population's size"),
    "text among numbers": (
        "bias = 0.5", 'bias = [1, 1, 1, 1, 1, 1, 1, "1"]',
        "populations[0].bias[7]", "'1'", "a finite number", "without quotes"),
    "vector of the wrong length": (
        'name = "drive"\n', 'name = "drive"\nvector = [1.0, 2.0]\n',
        "inputs[0].vector", "an array of 2", "8 numbers", "one number a unit of the target"),
    "law and vector": (
        'name = "drive"\n', 'name = "drive"\nvector = [1, 1, 1, 1, 1, 1, 1, 1]\nweights = {mean = 2.0}\n',
        "inputs[0].vector", "an array of 8", "no law of the weights", "Leave vector or weights out"),
    "mask the other way round": (
        "in_degree = 4", 'mask = ["11", "10", "01", "11", "11", "11", "11", "11"]',
        "projections[2].mask", "an array of 8 rows of 2", "2 rows (targets) of 8 characters (sources)",
        "transpose the mask"),
    "mask of numbers": (
        "in_degree = 4", "mask = [[0, 1], [1, 0]]",
        "projections[2].mask", "[[0, 1], [1, 0]]", "one text of 0 and 1 a target unit", 'mask = ["01", "10"]'),
    "unknown population": (
        'source = "inh"\ntarget = "exc"', 'source = "inh"\ntarget = "ext"',
        "projections[1].target", "'ext'", "the name of a population ('exc', 'inh')", "Did you mean 'exc'"),
    "input into an unknown population": (
        'name = "drive"\ntarget = "exc"', 'name = "drive"\ntarget = "thalamus"',
        "inputs[0].target", "'thalamus'", "the name of a population", "take one of: 'exc', 'inh'"),
    "unknown plasticity": (
        'plasticity = "fac"', 'plasticity = "dep"',
        "projections[0].plasticity", "'dep'", "the name of a plasticity ('fac')", "Define it"),
    "plasticity that is not used": (
        'plasticity = "fac"\n', "",
        "plasticity.fac", "'fac'", "a class that a projection uses", 'Write plasticity = "fac"'),
    "plasticity without its scale": (
        "rate_scale_hz = 10.0\n", "",
        "rate_scale_hz", "None", "a number, because the circuit has plasticity", "rate_scale_hz = 1.0"),
    "plasticity of signed rates": (
        'kind = "relu"', 'kind = "tanh"',
        "projections[0].plasticity", "'fac'", "whose activation 'tanh' gives negative rates", "of kind 'relu'"),
    "plasticity as one table": (
        "[plasticity.fac]", "[plasticity]",
        "plasticity.U", "0.2", "expected a table", "[plasticity.U]"),
    "unknown convention": (
        "U = 0.2", 'U = 0.2\nconvention = "markram"',
        "plasticity.fac.convention", "'markram'", "one of 'tsodyks1998', 'mongillo2008'", "known values"),
    "utilisation above 1": (
        "U = 0.2", "U = 1.2",
        "plasticity.fac.U", "1.2", "a fraction above 0 and at most 1", "Divide by 100"),
    "utilisation in small letters": (
        "U = 0.2", "u = 0.2",
        "plasticity.fac.u", "0.2", "expected one of U", "Write U."),
    "density above 1": (
        "density = 0.9", "density = 90",
        "projections[0].density", "90", "a fraction above 0 and at most 1", "if density is in percent"),
    "density of 0": (
        "density = 0.9", "density = 0",
        "projections[0].density", "0", "a fraction above 0", "leave the part out"),
    "more inputs than sources": (
        "in_degree = 4", "in_degree = 9",
        "projections[2].in_degree", "9", "at most the 8 possible sources", "in_degree = 8"),
    "in-degree and density": (
        "in_degree = 4", "in_degree = 4\ndensity = 0.5",
        "projections[2].in_degree", "4", "no in_degree beside a density", "Leave in_degree or density out"),
    "fractional in-degree": (
        "in_degree = 4", "in_degree = 4.5",
        "projections[2].in_degree", "4.5", "a whole number of at least 1", "as a whole number"),
    "not a number": (
        "bias = 0.5", "bias = nan",
        "populations[0].bias", "nan", "a finite number", "as a finite number"),
    "infinite": ("gain = 1.5", "gain = inf", "gain", "inf", "a number above 0", "as a finite number"),
    "number in quotes": (
        "tau_s = 0.02", 'tau_s = "0.02"',
        "populations[0].tau_s", "'0.02'", "a time in seconds", "without quotes"),
    "time with its unit": (
        "tau_s = 0.02", 'tau_s = "20 ms"',
        "populations[0].tau_s", "'20 ms'", "a time in seconds", "without quotes or unit"),
    "bool for a number": (
        "sigma = 0.1", "sigma = true",
        "noise.sigma", "True", "a standard deviation of at least 0", "as a finite number"),
    "bool for a size": (
        "size = 2", "size = true",
        "populations[1].size", "True", "a whole number of at least 1", "size = 1"),
    "number for a bool": (
        "allow_autapses = true", "allow_autapses = 1",
        "projections[3].allow_autapses", "1", "true or false", "without quotes"),
    "empty population": (
        "size = 2", "size = 0",
        "populations[1].size", "0", "a whole number of at least 1", "size = 1"),
    "list for one value": (
        "gain = 1.0}", "gain = [1.0]}",
        "populations[0].activation.gain", "[1.0]", "expected one value", "with one value"),
    "unknown activation": (
        'kind = "relu"', 'kind = "rectified"',
        "populations[0].activation.kind", "'rectified'", "one of 'linear', 'tanh', 'relu'", "known values"),
    "activation as text": (
        'activation = {kind = "relu", gain = 1.0}', 'activation = "relu"',
        "populations[0].activation", "'relu'", "expected a table", "activation = {key = value}"),
    "negative gain of an activation": (
        "gain = 1.0}", "gain = -1.0}",
        "populations[0].activation.gain", "-1.0", "a number above 0", "positive number"),
    "exponent below 1": (
        'kind = "relu", gain = 1.0', 'kind = "power", exponent = 0.5',
        "populations[0].activation.exponent", "0.5", "an exponent of at least 1", "Raise exponent to 1"),
    "exponent without a power law": (
        'kind = "relu", gain = 1.0', 'kind = "relu", exponent = 2.0',
        "populations[0].activation", "exponent=2.0", "means nothing", "kind='power'"),
    "two populations of one name": (
        'name = "inh"', 'name = "exc"',
        "populations[1].name", "'exc'", "a name that no other population has", "exc_2"),
    "name with a space": (
        'name = "inh"', 'name = "inh 2"',
        "populations[1].name", "'inh 2'", "expected a name", "letters, digits and underscores"),
    "unknown form": (
        'form = "rate"', 'form = "rates"',
        "form", "'rates'", "one of 'current', 'rate'", "Did you mean 'rate'"),
    "unknown balance": (
        'balance = "rows"', 'balance = "columns"',
        "balance", "'columns'", "one of '', 'rows', 'random part'", "known values"),
    "balance of one sign": (
        'sign = "inhibitory"', 'sign = "excitatory"',
        "balance", "'rows'", "unless every population is excitatory or inhibitory", "Give populations signs"),
    "subtraction from signed weights": (
        'balance = "rows"', 'balance = "random part"',
        "balance", "'random part'", "only mixed populations", 'balance = "rows"'),
    "low rank with signs": (
        "[notes]", "[[low_rank_terms]]\noverlap = 2.0\n[notes]",
        "low_rank_terms[0]", "a term", "no low-rank term in a circuit with signed", 'sign = "mixed"'),
    "impossible loadings": (
        "[notes]", "[[low_rank_terms]]\noverlap = 2.0\nn_variance = 1.0\n[notes]",
        "low_rank_terms[0].n_variance", "1.0", "at least overlap^2/m_variance = 4", "Raise it"),
    "one loading of two": (
        "[notes]", "[[low_rank_terms]]\nm = [1.0, 2.0]\n[notes]",
        "low_rank_terms[0].n", "an array of 0", "as many numbers as m has, 2", "Give both loadings"),
    "loadings of another size": (
        "[notes]", "[[low_rank_terms]]\nm = [1.0, 2.0]\nn = [1.0, 2.0]\n[notes]",
        "low_rank_terms[0].m", "an array of 2", "10 numbers", "in the order of the populations"),
    "infinite weight": (
        "weights = {mean = 1.6}", "weights = {mean = -inf}",
        "projections[3].weights.mean", "-inf", "a finite number", "as a finite number"),
    "negative scale": (
        "rate_scale_hz = 10.0", "rate_scale_hz = -10.0",
        "rate_scale_hz", "-10.0", "a number above 0", "positive number"),
    "one bracket for many": (
        "[[inputs]]", "[inputs]",
        "inputs", "{'name': 'drive'", "an array of tables", "[[inputs]], with two brackets"),
    "ring in degrees": (
        "density = 0.9", "density = 0.9\ndistance = {width_rad = 40}",
        "projections[0].distance.width_rad", "40", "in radians of at most 2 pi", "write width_rad = 0.6981"),
    "ring narrower than its units": (
        "density = 0.9", "density = 0.9\ndistance = {width_rad = 0.1}",
        "projections[0].distance.width_rad", "0.1", "at least 0.7854", "Widen it"),
    "shared noise in percent": (
        "sigma = 0.1", "sigma = 0.1\nshared = 30",
        "noise.shared", "30", "a fraction of the variance", "percent"),
    "covariance of another size": (
        "sigma = 0.1", "sigma = 0.1\ncovariance = [[1.0]]",
        "noise.covariance", "an array of 1", "10 rows", "one row a unit"),
    "crooked covariance": (
        "sigma = 0.1", "sigma = 0.1\ncovariance = [[1.0, 0.5], [0.4, 1.0]]",
        "noise.covariance", "an array of 2", "a symmetric square table", "entry [i][j] equal"),
    "negative seed": (
        "wiring_seed = 3", "wiring_seed = -3",
        "wiring_seed", "-3", "a whole number of at least 0", "wiring_seed = 1"),
    "citation as a number": (
        "gain = 1.5", "gain = 1.5\ncitation = 1988",
        "citation", "1988", "expected text", "in quotes"),
    "notes of another kind": (
        "known = [", "guessed = [",
        "notes.guessed", "'guessed'", "one of 'known', 'chosen'", "known values"),
    "notes as a number": (
        'known = ["what the paper says"]', "known = [3]",
        "notes.known[0]", "3", "expected text", "in quotes"),
    "no population": (
        RIGHT[RIGHT.index("[[populations]]") :], "populations = []",
        "populations", "()", "at least one population", "Add one"),
}
UNREADABLE = {
    "empty file": (b"", OptionError, "name: nothing is given; expected a value for 'name'", "Add name"),
    "not TOML": (b"name: pair\nsize: 3\n", DataError, "not valid TOML: .*line 1", "Mend the line"),
    "key given twice": (
        RIGHT.replace("gain = 1.5", "gain = 1.5\ngain = 2.0").encode(), DataError,
        "not valid TOML: .*line", "Mend the line"),
    "python's False": (
        RIGHT.replace("= true", "= False").encode(), DataError,
        "not valid TOML: .*line", "true and false are lower case"),
    "text without quotes": (
        RIGHT.replace('"rate"', "rate").encode(), DataError,
        "not valid TOML: .*line 3", "texts need quotes"),
    "binary file": (
        b"\x89HDF\r\n\x1a\n\x00\x00", DataError,
        "byte 0 is no UTF-8; expected a TOML file", "Give the circuit's text file"),
    "zero bytes": (bytes(100), DataError, "not valid TOML", "Mend the line"),
    "deeply nested": (b"name = " + b"[" * 100_000, DataError, "not valid TOML", "Mend the line"),
}
# fmt: on


def read_error(data):
    """Give the error of reading a file, whose message must start with the file's name."""
    with pytest.raises(CortexError, match=r"c\.toml") as caught:
        circuit_from_toml(data, where="c.toml")
    assert str(caught.value).startswith("c.toml: ")
    return caught.value


def test_the_file_without_a_mistake_is_right():
    """Otherwise the tests below would find another mistake than their own."""
    assert circuit_from_toml(RIGHT.encode(), where="c.toml").size == 10


def test_there_are_at_least_forty_different_mistakes():
    assert len(WRONG) + len(UNREADABLE) >= 40
    assert len({str(case) for case in WRONG.values()}) == len(WRONG)


@pytest.mark.parametrize("title", WRONG)
def test_a_mistake_is_named_with_its_place_value_expectation_and_fix(title):
    old, new, place, value, expected, fix = WRONG[title]
    assert RIGHT.count(old) >= 1
    error = read_error(RIGHT.replace(old, new, 1).encode())
    message = str(error)
    assert isinstance(error, OptionError)
    assert f"{place}: " in message
    assert value in error.what
    assert expected in error.what
    assert error.hint is not None
    assert fix in error.hint


@pytest.mark.parametrize("title", UNREADABLE)
def test_what_is_no_circuit_at_all_says_so_with_a_fix(title):
    data, kind, match, fix = UNREADABLE[title]
    with pytest.raises(kind, match=match) as caught:
        circuit_from_toml(data, where="c.toml")
    assert "c.toml: " in str(caught.value)
    assert fix in caught.value.hint
