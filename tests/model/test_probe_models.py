"""Models of Flax (nnx and linen), Equinox and Haiku, as their users write them."""

from typing import Any

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from flax import nnx

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.evidence import Evidence
from varprobe.model.flags import dead, non_finite
from varprobe.model.probed import plan_of

KEY = jax.random.key(3)
DEPTH, WIDTH, BATCH, SEEDS = 3, 32, 16, 16


def sites(ds: Any) -> list[str]:
    """Names without repetitions, in the order of the rows, the input left out."""
    return list(dict.fromkeys(ds.site.values.tolist()[1:]))


def drawn(module: nn.Module, *arguments: Any) -> tuple[nn.Module, Any]:
    """A linen module and variables of its shapes, drawn without compiling anything."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, KEY, *arguments)
    return module, jax.tree.map(lambda s: random.normal(0, 0.5, s.shape).astype(s.dtype), shapes)


def test_what_is_not_finite_is_told_where_it_starts() -> None:
    """Of the signal the first site, of gradients, which come the other way, the last."""
    quantities = ("preactivation", "activation", "gradient")
    zeros = {f"{q}_log10_{s}": np.zeros((2, 4)) for q in quantities for s in ("mean_square", "absmax")}
    zeros |= {"overflow_fraction": np.zeros((2, 4)), "gradient_overflow_fraction": np.zeros((2, 4))}
    zeros |= {"dead_unit_fraction": np.array([[0.0, 1.0, 0.84, 0.9], [0.0, 0.7, 0.98, 1.0]])}

    def told(**changed: tuple[int, slice, float]) -> dict[str, str]:
        arrays = {name: values.copy() for name, values in zeros.items()}
        for name, (seed, sites, value) in changed.items():
            arrays[name][seed, sites] = value
        coords = {
            name: ("layer", [value] * 4) for name, value in {"site": "", "kind": "linear", "iteration": 0}.items()
        }
        ds = xr.Dataset({name: (("seed", "layer"), values) for name, values in arrays.items()}, coords)
        seen = Evidence(ds, ["x", "a", "b", "c"])
        return {found.flag: found.sentence for check in (non_finite, dead) for found in check(seen)}

    of_units = {"dead": "b: 91% of the units are zero on the whole batch."}
    assert told() == of_units
    inf, behind = float("inf"), slice(1, 3)
    for name in ("preactivation", "activation", "gradient"):
        at = "b" if name == "gradient" else "a"
        assert told(**{f"{name}_log10_absmax": (1, behind, inf)})["non_finite"] == f"{at}: the {name} is not finite."
    said = told(overflow_fraction=(0, behind, 0.1), gradient_log10_mean_square=(0, behind, np.nan))
    assert said == {"non_finite": "a: the preactivation is not finite.", **of_units}
    assert told(gradient_overflow_fraction=(0, behind, 0.1))["non_finite"] == "b: the gradient is not finite."
    assert (
        told(activation_log10_mean_square=(0, behind, np.nan), activation_log10_absmax=(0, behind, np.nan)) == of_units
    )


def initialized(module: nn.Module, *arguments: Any) -> tuple[nn.Module, Any]:
    """A linen module and the variables that it begins with."""
    return module, jax.jit(module.init)(KEY, *arguments)


by_either = pytest.mark.parametrize("begun", [drawn, pytest.param(initialized, marks=pytest.mark.exhaustive)])


def agrees(model: nn.Module, variables: Any, x: Any) -> Any:
    """The probe, whose own comparison of loss and gradients has passed; it tells the sizes of these parameters."""
    ds = vp.probe((model, variables), x)
    assert "opaque" not in ds.attrs["coverage"]
    sizes = {"/".join(k.key for k in path): np.mean(a**2) for path, a in jax.tree.leaves_with_path(variables["params"])}
    with np.errstate(divide="ignore"):
        expected = np.log10([sizes[name] for name in ds.parameter.values])
    np.testing.assert_allclose(ds.parameter_log10_mean_square.values[0, 0], expected, atol=1e-5)
    return ds


# A plain stack, four times


class NNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        init = nnx.initializers.lecun_normal()
        self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, kernel_init=init, rngs=rngs) for _ in range(DEPTH)])

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = nnx.tanh(layer(x))
        return x


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        for _ in range(DEPTH):
            x = jnp.tanh(nn.Dense(WIDTH)(x))
        return x


class Equinox(eqx.Module):
    layers: list[Any]

    def __init__(self, key: Any) -> None:
        self.layers = []
        for k in jax.random.split(key, DEPTH):
            layer = eqx.nn.Linear(WIDTH, WIDTH, key=k)
            weight = jax.random.normal(k, (WIDTH, WIDTH)) / np.sqrt(WIDTH)
            layer = eqx.tree_at(lambda m: (m.weight, m.bias), layer, (weight, jnp.zeros(WIDTH)))
            self.layers.append(layer)

    def __call__(self, x: Any) -> Any:
        def one(x: Any) -> Any:
            for layer in self.layers:
                x = jnp.tanh(layer(x))
            return x

        return jax.vmap(one)(x)


def haiku_net(x: Any) -> Any:
    for _ in range(DEPTH):
        x = jnp.tanh(hk.Linear(WIDTH, w_init=hk.initializers.VarianceScaling(1.0, "fan_in", "normal"))(x))
    return x


HAIKU = hk.without_apply_rng(hk.transform(haiku_net))


@pytest.fixture(scope="module")
def swept() -> dict[str, Any]:
    ds = vp.sweep(act="tanh", init="lecun_normal", depth=DEPTH, width=WIDTH, batch=BATCH, seeds=96)
    return vp.diagnose(ds).rows[0]


@pytest.mark.parametrize("library", ["nnx", "linen", "equinox", "haiku"])
def test_a_plain_stack_has_the_factors_of_sweep(library: str, swept: dict[str, Any]) -> None:
    x = jax.random.normal(KEY, (BATCH, WIDTH))
    module = Linen()
    transformed = hk.transform(haiku_net)
    model, init, first, last = {
        "nnx": ((NNX(nnx.Rngs(0)),), lambda key: NNX(nnx.Rngs(key)), "layers/0", "layers/2"),
        "linen": (((module, module.init(KEY, x)),), jax.jit(lambda key: module.init(key, x)), "Dense_0", "Dense_2"),
        "equinox": ((Equinox(KEY),), Equinox, "layers/0", "layers/2"),
        "haiku": ((transformed, transformed.init(KEY, x)), lambda key: transformed.init(key, x), "linear", "linear_2"),
    }[library]
    ds = vp.probe(*model, x, init=init, seeds=SEEDS)
    assert (sites(ds)[0], sites(ds)[-1], len(sites(ds))) == (first, last, DEPTH)
    assert ds.attrs["coverage"] == f"{DEPTH} of {DEPTH} matrix products probed"
    (row,) = vp.diagnose(ds).rows
    (family,) = row["families"]
    assert family["sites"] == DEPTH
    for name in ("activation_factor", "gradient_factor"):
        widths = [r[f"{name}_ci95"][1] - r[f"{name}_ci95"][0] for r in (row, swept)]
        assert row[name] == pytest.approx(swept[name], abs=np.hypot(*widths))  # twice the two half-widths


# Architectures


class Block(nn.Module):
    dense: bool

    @nn.compact
    def __call__(self, x: Any, _: Any) -> Any:
        attention = nn.MultiHeadDotProductAttention(num_heads=2, use_bias=self.dense, name="attention")
        x = x + attention(nn.LayerNorm(name="norm_1")(x))
        if not self.dense:
            return x, None
        h = nn.gelu(nn.Dense(4 * WIDTH, name="up")(nn.LayerNorm(name="norm_2")(x)))
        return x + nn.Dense(WIDTH, name="down")(h), None


class Transformer(nn.Module):
    dense: bool

    @nn.compact
    def __call__(self, tokens: Any) -> Any:
        embed = nn.Embed(11, WIDTH, name="embed")
        blocks = nn.scan(nn.remat(Block), variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = blocks(self.dense, name="blocks")(embed(tokens), None)
        return embed.attend(nn.LayerNorm(name="norm")(x))


@pytest.mark.parametrize("dense", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_a_transformer_scanned_and_rematerialized(dense: bool) -> None:
    """All names by default, the numbers without the dense half of a block."""
    tokens = jax.random.randint(KEY, (3, 5), 0, 11)
    inside = [f"blocks/{name}" for name in ("norm_1", *(f"attention/{n}" for n in ("query", "key", "value")))]
    inside += [f"blocks/attention/{name}" for name in ("logits", "probabilities", "mixed", "out", "residual")]
    whole = [*inside, *(f"blocks/{name}" for name in ("norm_2", "up", "down", "residual"))]
    layout = plan_of(subject_of(drawn(Transformer(True), tokens), (tokens, tokens), "cross_entropy")).layout
    assert list(dict.fromkeys(row.site for row in layout.rows)) == ["embed", *whole, "norm", "embed#2"]
    assert layout.coverage == "9 of 9 matrix products probed"
    inside = whole if dense else inside
    ds = vp.probe(drawn(Transformer(dense), tokens), tokens, tokens, loss="cross_entropy")
    assert sites(ds) == ["embed", *inside, "norm", "embed#2"]
    assert ds.iteration.values[ds.site.values == "blocks/attention/out"].tolist() == [0, 1, 2]
    products = 9 if dense else 7
    assert ds.attrs["coverage"] == f"{products} of {products} matrix products probed"
    assert ds.attrs["tied"] == '[["embed", "embed#2"]]'
    weights = ds.isel(config=0, seed=0, layer=ds.kind.values == "probabilities")
    mean = weights.activation_mean_over_rms * 10 ** (weights.activation_log10_mean_square / 2)
    np.testing.assert_allclose(mean, 1 / 5, rtol=1e-5)
    assert {f["family"] for f in vp.diagnose(ds).rows[0]["families"]} == set(inside)


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = True) -> Any:
        x = nn.Conv(4, (3, 3), name="stem")(x)
        for i in range(2):
            y = nn.Conv(4, (3, 3), use_bias=False, name=f"conv_{i}")(x)
            y = nn.BatchNorm(use_running_average=not train, name=f"norm_{i}")(y)
            x = nn.relu(y + x)
        return nn.Dense(3, name="head")(x.mean((1, 2)))


@by_either
def test_a_residual_network_with_batch_norm(begun: Any) -> None:
    x = jax.random.normal(KEY, (6, 5, 5, 2))
    ds = agrees(*begun(ResNet(), x), x)
    middle = [name for i in range(2) for name in (f"conv_{i}", f"norm_{i}", "residual" + (f"#{i + 1}" if i else ""))]
    assert sites(ds) == ["stem", *middle, "head"]
    assert set(ds.kind.values[1:]) == {"conv", "norm", "residual", "linear"}
    assert int(ds.fan_in[ds.site.values.tolist().index("stem")]) == 18


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(2)(nn.RNN(nn.OptimizedLSTMCell(8), name="rnn")(x)[:, -1])


@by_either
def test_an_lstm_has_a_row_a_step(begun: Any) -> None:
    x = jax.random.normal(KEY, (4, 3, 3))
    ds = agrees(*begun(Recurrent(), x), x)
    gates = ds.isel(layer=ds.kind.values == "sum")
    assert sorted(set(gates.iteration.values.tolist())) == [0, 1, 2]
    assert len(set(gates.site.values.tolist())) == 4


class Convolutional(eqx.Module):
    layers: list[Any]

    def __init__(self, key: Any) -> None:
        a, b, c = jax.random.split(key, 3)
        conv = eqx.nn.Conv2d(1, 3, kernel_size=4, key=a)
        linears = eqx.nn.Linear(12, 16, key=b), eqx.nn.Linear(16, 10, key=c)
        self.layers = [conv, eqx.nn.MaxPool2d(4, 4), jax.nn.relu, jnp.ravel, linears[0], jax.nn.sigmoid, linears[1]]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.exhaustive
def test_equinox_under_vmap() -> None:
    x = jax.random.normal(KEY, (5, 1, 11, 11))
    ds = vp.probe(lambda model, x: jnp.mean(jax.vmap(model)(x) ** 2), Convolutional(KEY), x)
    assert sites(ds) == ["layers/0", "layers/4", "layers/6"]
    assert ds.fan_in.values.tolist() == [0, 16, 12, 16]
    zero = ds.activation_zero_fraction.values[0, 0]
    assert np.isnan(zero[3]) and zero[2] == 0


class Dropping(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.up, self.norm = nnx.Linear(4, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.drop, self.down = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.down(self.drop(nnx.relu(self.norm(self.up(x)))))


def test_dropout_and_running_means() -> None:
    """The model is left as it was by a probe, and moves on in training."""
    model, x = Dropping(nnx.Rngs(0)), jax.random.normal(KEY, (16, 4))
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))
    ds = vp.probe(model, x)
    assert sites(ds) == ["up", "norm", "down"]
    jax.tree.map(np.testing.assert_array_equal, before, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))

    def loss(model: Any, x: Any) -> Any:
        return jnp.mean(model(x) ** 2)

    twin = Dropping(nnx.Rngs(0))
    expected = nnx.jit(nnx.value_and_grad(loss))(twin, x)
    value, gradients, _ = nnx.jit(vp.instrument(loss))(model, x)
    assert float(value) == pytest.approx(float(expected[0]), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), gradients, expected[1])
    for one, other in zip(*(jax.tree.leaves(nnx.state(m, nnx.BatchStat)) for m in (model, twin)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert not np.allclose(before["norm"]["mean"], model.norm.mean[...])


def test_frozen_parameters_and_half_precision() -> None:
    x = jax.random.normal(KEY, (4, 8), jnp.bfloat16)
    p = {n: jax.random.normal(k, (8, 8), jnp.bfloat16) for n, k in zip("ab", jax.random.split(KEY), strict=True)}

    def loss(p: Any, x: Any) -> Any:
        return jnp.sum((jnp.tanh(x @ jax.lax.stop_gradient(p["a"])) @ p["b"]).astype(jnp.float32))

    ds = vp.probe(loss, p, x, step_size=1e-3).isel(config=0, seed=0)
    assert sites(ds) == ["a", "b"] and str(ds.dtype.values) == "bfloat16"
    assert float(ds.weight_gradient_log10_mean_square[1]) == -np.inf and np.isfinite(
        float(ds.gradient_log10_mean_square[1])
    )
    assert float(ds.parameter_lost_update_fraction[1]) > 0.5


def test_two_networks_against_each_other() -> None:
    """A generator behind a discriminator, both in one pytree, one of them frozen."""
    nets = {name: Equinox(k) for name, k in zip(("generator", "critic"), jax.random.split(KEY), strict=True)}
    ds = vp.probe(
        lambda nets, z: jnp.mean(nets["critic"](nets["generator"](z))), nets, jax.random.normal(KEY, (4, WIDTH))
    )
    assert sites(ds) == [f"{name}/layers/{i}" for name in ("generator", "critic") for i in range(DEPTH)]
    assert [f["family"] for f in vp.diagnose(ds).rows[0]["families"]] == ["generator/layers/*", "critic/layers/*"]


def test_sharded_arrays() -> None:
    mesh = jax.make_mesh((len(jax.devices()),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x = jax.device_put(jax.random.normal(KEY, (BATCH, WIDTH)), spread)
    assert len(sites(vp.probe(NNX(nnx.Rngs(0)), x))) == DEPTH
