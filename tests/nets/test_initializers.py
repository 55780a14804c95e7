"""Initializers: canonical names, means and standard deviations against hand formulas, and what is refused."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.nets.initializers import ALIASES, INITIALIZERS, STANDARD, Initializer, LayerContext, resolve_initializer
from varprobe.nets.parametrizations import log10_multipliers
from varprobe.spec.calls import parse_calls
from varprobe.sweeps.request import read_request

PLACE = LayerContext(fan_in=300, fan_out=100, width=400, depth=50, layer=7)

BASE_STD = {"normal": 1, "uniform": 1 / math.sqrt(3), "truncated_normal": 0.87962566103423978, "nothing": 1}
"""Standard deviations of the bases that W = mean + scale * base is made of; U(-1, 1) has 1/sqrt(3)."""


def named(text: str) -> Initializer:
    return resolve_initializer(parse_calls(text)[0])


def mean_and_std(text: str, place: LayerContext = PLACE) -> tuple[float, float]:
    init = named(text)
    mean, scale = init.at(place)
    return mean, scale * BASE_STD[init.law[0]]


NUMBERS: dict[str, tuple[float, float]] = {
    # mean, standard deviation of the entries at fan_in = 300, fan_out = 100
    "normal": (0, 0.01),
    "normal(std=0.3)": (0, 0.3),
    "normal(stddev=0.3)": (0, 0.3),
    "normal(var=0.09)": (0, 0.3),
    "normal(mean=0.02,std=0.05)": (0.02, 0.05),
    "normal(mean=-1)": (-1, 0.01),
    "truncated_normal": (0, 0.01 * 0.87962566103423978),
    "truncated_normal(stddev=0.5)": (0, 0.5 * 0.87962566103423978),
    "truncated_normal(std=0.5)": (0, 0.5),
    "uniform(limit=0.3)": (0, 0.3 / math.sqrt(3)),
    "uniform(scale=0.3)": (0.15, 0.3 / math.sqrt(12)),
    "glorot_normal": (0, math.sqrt(2 / 400)),
    "glorot_uniform": (0, math.sqrt(2 / 400)),
    "he_normal": (0, math.sqrt(2 / 300)),
    "he_uniform": (0, math.sqrt(2 / 300)),
    "lecun_normal": (0, math.sqrt(1 / 300)),
    "lecun_uniform": (0, math.sqrt(1 / 300)),
    "variance_scaling": (0, math.sqrt(1 / 300)),
    "variance_scaling(scale=3)": (0, math.sqrt(3 / 300)),
    "variance_scaling(scale=3,mode=fan_out)": (0, math.sqrt(3 / 100)),
    "variance_scaling(scale=3,mode=fan_avg,distribution=normal)": (0, math.sqrt(3 / 200)),
    "variance_scaling(mode=fan_geo_avg,distribution=uniform)": (0, math.sqrt(1 / math.sqrt(30000))),
    "constant(value=0.7)": (0.7, 0),
    "constant(0.7)": (0.7, 0),
    "zeros": (0, 0),
    "ones": (1, 0),
    "torch_default": (0, math.sqrt(1 / 900)),  # a third of 1 / fan_in
    "keras_random_uniform": (0, 0.05 / math.sqrt(3)),
    "keras_random_normal": (0, 0.05),
    "gpt2": (0, 0.02),
    "gpt2(std=0.1)": (0, 0.1),
    "bert": (0, 0.02 * 0.87962566103423978),
    "he_normal(gain=3)": (0, 3 * math.sqrt(2 / 300)),
    "he_normal(shift=0.1)": (0.1, math.sqrt(2 / 300)),
    "normal(mean=0.02,std=0.05,gain=2,shift=1)": (1.04, 0.1),
    "zeros(shift=0.5)": (0.5, 0),
    "uniform(scale=1,shift=-0.5)": (0, 1 / math.sqrt(12)),
    # the formulas of introductory texts, as they stand
    "uniform(limit=1/sqrt(fan_in))": (0, 1 / math.sqrt(900)),
    "uniform(limit=sqrt(6/(fan_in+fan_out)))": (0, math.sqrt(2 / 400)),
    "normal(std=1/sqrt(fan_in+fan_out))": (0, 0.05),
    "normal(var=1/sqrt(fan_in))": (0, 300 ** (-1 / 4)),
    "normal(var=2/(fan_in+fan_out))": (0, math.sqrt(2 / 400)),
    "normal(std=sqrt(2/fan_in))": (0, math.sqrt(2 / 300)),
    "normal(var=1/fan_in)": (0, math.sqrt(1 / 300)),
    "uniform(limit=4*sqrt(6/(fan_in+fan_out)))": (0, 4 * math.sqrt(2 / 400)),
    "normal(std=sqrt(2/(fan_in*depth)))": (0, math.sqrt(2 / 15000)),
    "normal(std=1/layer)": (0, 1 / 7),
    "normal(std=1/width)": (0, 1 / 400),
    "mup": (0, math.sqrt(1 / 300)),
    "ntk": (0, math.sqrt(1 / 300)),
    "ntk(scale=2,gain=3)": (0, 3 * math.sqrt(2 / 300)),
    "fixup": (0, math.sqrt(2 / 300)),  # outside of a branch
    "skipinit": (0, math.sqrt(2 / 300)),
    "he_normal(gain=1/sqrt(depth))": (0, math.sqrt(2 / 300 / 50)),
}
OTHER_BASES = {"orthogonal", "delta_orthogonal", "identity", "sparse", "lsuv"}
UNSETTLED = {"critical"}
"""Without an activation it has no numbers; test_advice.py has those with one."""


def test_numbers_cover_the_registry() -> None:
    assert {text.partition("(")[0] for text in NUMBERS} | OTHER_BASES | UNSETTLED == set(INITIALIZERS)


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers(text: str) -> None:
    """float64 arithmetic on both sides."""
    assert mean_and_std(text) == pytest.approx(NUMBERS[text], rel=1e-12, abs=1e-15)
    other = mean_and_std(text, LayerContext(fan_in=301, fan_out=102, width=500, depth=60, layer=8))
    looks = "fan" in text or any(name in text for name in ("width", "depth", "layer"))
    looks |= named(text).name.partition("(")[0] in (
        "torch_default",
        "variance_scaling",
        "mup",
        "ntk",
        "fixup",
        "skipinit",
    )
    looks |= any(text.startswith(name) for name in ("he_", "glorot_", "lecun_"))
    assert (other != mean_and_std(text)) == looks


def test_numbers_of_other_bases() -> None:
    assert (named("orthogonal").law, named("orthogonal").at(PLACE)) == (("orthogonal",), (0, 1))
    assert named("orthogonal(1.5)").at(PLACE) == (0, 1.5)
    assert named("orthogonal(scale=sqrt(2),shift=1)").at(PLACE) == (1, math.sqrt(2))
    assert (named("lsuv").law, named("lsuv").at(PLACE), named("lsuv").data_driven) == (("lsuv",), (0, 1), True)
    assert (named("identity").law, named("identity(gain=0.5)").at(PLACE)) == (("eye",), (0, 0.5))
    assert (named("sparse(density=0.1)").law, named("sparse(density=0.1)").at(PLACE)) == (("sparse", 0.1), (0, 0.01))
    assert named("sparse(density=0.25,std=2)").at(PLACE) == (0, 2)


def test_fan_is_at_least_one() -> None:
    """As in jax.nn.initializers, where fans below 1 count as 1."""
    assert mean_and_std("he_normal", LayerContext(1, 1, 1, 1, 1)) == pytest.approx((0, math.sqrt(2)))


@pytest.mark.parametrize("alias, name", ALIASES.items())
def test_aliases(alias: str, name: str) -> None:
    assert named(alias).name == name
    assert named(alias).at(PLACE) == named(name).at(PLACE)


def test_aliases_are_those_of_jax_and_torch() -> None:
    families = {"kaiming": "he", "xavier": "glorot"}
    assert {f"{a}_{law}": f"{n}_{law}" for a, n in families.items() for law in ("normal", "uniform")} == ALIASES


def test_every_initializer_of_jax_is_there() -> None:
    public = {name for name in dir(jax.nn.initializers) if not name.startswith("_")}
    assert public - {"Initializer"} <= INITIALIZERS.keys() | ALIASES.keys()


def test_standard_set() -> None:
    assert [named(text).name for text in STANDARD] == list(STANDARD)
    assert len(STANDARD) == 11 and len(set(STANDARD)) == 11


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("kaiming_normal", "he_normal"),
        ("xavier_uniform(gain = 2.0)", "glorot_uniform(gain=2)"),
        ("normal( std=1.0 )", "normal(std=1)"),
        ("normal(std=1/ sqrt(fan_in))", "normal(std=1/sqrt(fan_in))"),
        ("normal(stddev=0.010)", "normal(stddev=0.01)"),
        ("constant(0.50)", "constant(value=0.5)"),
        ("sparse(density=0.10)", "sparse(density=0.1)"),
        ("orthogonal(1.0)", "orthogonal(scale=1)"),
        ("variance_scaling(mode=fan_in,scale=2)", "variance_scaling(mode=fan_in,scale=2)"),
    ],
)
def test_canonical_names(text: str, canonical: str) -> None:
    assert named(text).name == canonical
    assert named(canonical).name == canonical


@pytest.mark.parametrize(
    "name", ["normal", "truncated_normal", "torch_default", "keras_random_uniform", "zeros", "ones"]
)
def test_biases(name: str) -> None:
    """A bias of shape (fan_out,) has the fans of its layer's weights: torch's is U(+-1/sqrt(fan_in))."""
    assert named(name).for_bias
    vp.build({"act": "relu", "init": "he_normal", "bias": name, "depth": 1, "width": 3, "batch": 1})


@pytest.mark.parametrize("name", ["he_normal", "orthogonal", "identity", "sparse(density=0.1)", "variance_scaling"])
def test_no_biases(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="bias: .* has no meaning for a bias vector"):
        vp.build({"act": "relu", "init": "he_normal", "bias": name, "depth": 1, "width": 3, "batch": 1})


@pytest.mark.parametrize(
    "text, message",
    [
        # a number without a name says nothing
        ("normal(0.1)", "normal(0.1): a value needs its name here: normal(std= or stddev= or var="),
        ("uniform(0.1)", "uniform(0.1): a value needs its name here: uniform(limit= or scale="),
        ("truncated_normal(0.1)", "truncated_normal(0.1): a value needs its name here"),
        ("variance_scaling(2)", "variance_scaling(2): a value needs its name here"),
        ("he_normal(2)", "he_normal(2): a value needs its name here: he_normal(gain= or shift=)"),
        ("sparse(0.1)", "sparse(0.1): a value needs its name here: sparse(density= or std="),
        ("zeros(1)", "a value needs its name here"),
        # sigma
        ("normal(sigma=0.1)", "'sigma' is ambiguous, texts disagree whether it is a standard deviation or a variance"),
        ("normal(sd=0.1)", "say std= or var="),
        ("he_normal(sigma=2)", "'sigma' is ambiguous"),
        # missing and several
        ("uniform", "uniform needs limit= or scale=: "),
        ("uniform()", "uniform needs limit= or scale="),
        ("constant", "constant needs value=: every entry is value"),
        ("sparse", "sparse needs density=: "),
        ("sparse(std=1)", "needs density="),
        ("normal(std=0.1,var=0.01)", "give one of std, var, not several"),
        ("normal(std=0.1,stddev=0.1)", "give one of std, stddev, not several"),
        ("uniform(limit=1,scale=1)", "give one of limit, scale, not several"),
        ("truncated_normal(std=1,stddev=1)", "give one of std, stddev, not several"),
        ("normal(std=0.1,std=0.2)", "'std' is given twice"),
        # unknown
        ("he_norml", "unknown initializer 'he_norml'; did you mean 'he_normal'?"),
        ("kaiming_norml", "unknown initializer 'kaiming_norml'; did you mean 'kaiming_normal'?"),
        ("delta_orthogonl", "unknown initializer 'delta_orthogonl'; did you mean 'delta_orthogonal'?"),
        ("normal(sdt=0.1)", "unknown parameter 'sdt'; did you mean 'std'?"),
        ("uniform(limits=0.1)", "unknown parameter 'limits'; did you mean 'limit'?"),
        ("he_normal(std=0.1)", "unknown parameter 'std'"),
        ("variance_scaling(mode=fan_inn)", "unknown mode 'fan_inn'; did you mean 'fan_in'?"),
        ("variance_scaling(distribution=gaussian)", "unknown distribution 'gaussian'"),
        ("variance_scaling(mode=2)", "unknown mode '2'"),
        # of the wrong kind
        ("normal(std=true)", "std must be a number or an expression, got 'True'"),
        ("normal(std=big)", "std must be a number or an expression, got 'big'"),
        ("normal(std=1/fan_inn)", "unknown name 'fan_inn' in '1/fan_inn'; did you mean 'fan_in'?"),
        ("sparse(density=0)", "density must be a number above 0 and at most 1, got '0'"),
        ("sparse(density=1.5)", "density must be a number above 0 and at most 1, got '1.5'"),
        ("sparse(density=1/fan_in)", "density must be a number above 0 and at most 1, got '1/fan_in'"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        named(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("normal(std=-0.1)", "normal(std=-0.1): std must not be negative, got -0.1"),
        ("normal(var=-0.1)", "var must not be negative, got -0.1"),
        ("normal(stddev=-1)", "stddev must not be negative"),
        ("truncated_normal(std=-1)", "std must not be negative"),
        ("uniform(limit=-1)", "limit must not be negative"),
        ("sparse(density=0.5,std=-1)", "std must not be negative"),
        ("variance_scaling(scale=-1)", "variance_scaling(scale=-1): scale must not be negative"),
        ("normal(std=5-layer)", "std must not be negative, got -2"),
        ("normal(std=1/(layer-7))", "divides by zero at layer=7"),
        ("normal(std=sqrt(5-layer))", "takes a root of a negative number at layer=7"),
        ("normal(std=1e300,gain=1e300)", "is not finite at layer 7"),
    ],
)
def test_refuses_at_a_place(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        named(text).at(PLACE)
    assert message in str(caught.value)


def test_refuses_before_anything_runs() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^init: normal\(std=3-layer\): std must not be negative"):
        vp.sweep(init="normal(std=3-layer)", depth=4, width=3)
    with pytest.raises(InvalidArgumentError, match="^init_first: unknown initializer"):
        vp.sweep(init_first="he", depth=4, width=3)


# The user's own


def flat(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jnp.full(shape, 0.25, dtype)


def by_layer(key: jax.Array, shape: tuple[int, ...], dtype: Any, *, slope: float = 1.0, layer: int, depth: int) -> Any:
    return jnp.full(shape, slope * layer / depth, dtype)


def too_few(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.zeros(shape)


def test_the_users_own() -> None:
    """A function of jax's signature; jax.nn.initializers' own give the registered one's numbers; layer and depth."""
    config = {"act": "relu", "depth": 3, "width": 4, "batch": 1}

    def weights(init: Any) -> list[Any]:
        return [p["w"] for p in vp.build({**config, "init": init}).params]

    assert all((w == 0.25).all() for w in weights(flat))
    for ours, theirs in zip(weights("he_normal"), weights({"he": jax.nn.initializers.he_normal()}), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert [float(w[0, 0]) for w in weights(by_layer)] == pytest.approx([1 / 3, 2 / 3, 1])
    init = resolve_initializer(flat)
    assert (init.name, init.at(PLACE)) == ("flat", (0, 1))


@pytest.mark.parametrize(
    "function, message",
    [
        (too_few, "too_few is called with 3 positional arguments and takes 2"),
        (lambda key, shape, dtype, scale: None, "needs a value for scale"),
    ],
)
def test_refuses_of_the_users_own(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        resolve_initializer(function)


def test_parametrizations_multiply_each_layer_by_its_own_fan_in() -> None:
    """ntk has W = w / sqrt(fan_in), w ~ N(0, 1), in layers 1 to L, of 9, 9 and 16 inputs here (Jacot et al. 2018)."""
    ntk, plain = (read_request(init=init, width=["9-16-25"]).configs[0] for init in ("ntk", "he_normal"))
    np.testing.assert_allclose(log10_multipliers(ntk), np.log10([1 / 3, 1 / 3, 1 / 4]), rtol=1e-12)
    assert log10_multipliers(plain) == (0.0, 0.0, 0.0)
