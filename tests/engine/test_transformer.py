"""Transformers against plain jax.grad, at ordinary and extreme scales; attention's limits; what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.engine.random_bits import keys_of
from varprobe.engine.reference_network import plain_of
from varprobe.engine.wired.attention import Lifts, attention, softmax_pullback
from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures import architecture_of
from varprobe.nets.initializers import LayerContext, resolve_initializer
from varprobe.nets.softmax import below, softmax_entropy
from varprobe.runs.build import arguments_of, build
from varprobe.spec.calls import parse_calls
from varprobe.sweeps.record import hashable
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run

FIRST = {
    "arch": "transformer(heads=2,tokens=3,causal=true,gated=true,mlp_ratio=1.5)",
    "depth": 2,
    "width": 4,
    "batch": 2,
    "seeds": 1,
    "act": "gelu",
    "init": "he_normal",
    "init_qk": "uniform(limit=1)",
    "bias": "uniform(limit=0.1)",
    "dropout": 0.25,
}
SECOND = {
    "arch": "transformer(heads=1,tokens=3,norm_position=post)",
    "depth": 2,
    "width": 4,
    "batch": 2,
    "seeds": 1,
    "act": "relu",
    "init": "normal(std=0.5)",
    "init_qk": ["normal(std=1e-30)", "zeros"],
    "init_o": ["normal(std=1e-25)", "zeros"],
}


def log10_mean_square(x):
    x = np.asarray(x, np.float64)
    return np.log10(np.square(x).mean()) if x.any() else -np.inf


def by_jax_grad(ds, seed):
    """variable -> its values at layers 1 to L of each network of the same shapes, built in float64, by zeros added."""
    found = []
    with jax.enable_x64(True):
        arguments = [arguments_of(ds.isel(config=i)) | {"dtype": "float64"} for i in range(ds.sizes["config"])]
        request = read_request(**arguments[0])
        c, key = request.configs[0], keys_of(request.setting.root_seed, seed)["dropout"]
        first = build(arguments[0], seed)

        keys = jax.vmap(lambda layer: jax.random.fold_in(key, layer))(np.arange(1, c.depth + 1))

        @jax.jit
        def differentiated(params, x, cotangent):
            def block(h, at):
                p, shift, dropout_key = at
                h = c.arch.reference(plain_of(c, {}, dropout_key), p, h) + shift
                return h, h

            def loss(layers, shifts):
                h, stream = jax.lax.scan(block, x, (layers, shifts, keys))
                return jnp.sum(cotangent * h), stream

            layers = jax.tree.map(lambda *arrays: jnp.stack(arrays), *params)
            shifts = jnp.zeros((c.depth, *x.shape))
            return jax.grad(loss, argnums=(0, 1), has_aux=True)(layers, shifts), first.apply(params, x)

        for net in (first, *(build(more, seed) for more in arguments[1:])):
            ((weights, streams), stream), output = differentiated(net.params, net.x, net.cotangent)
            np.testing.assert_allclose(output, stream[-1], rtol=1e-12)
            values = {"activation": stream, "stream": stream, "gradient": streams}
            for slot in c.slots(1):
                name = "" if slot.name == "w" else f"{slot.name}_"
                values[f"{name}weight"] = [p[slot.name] for p in net.params]
                values[f"{name}weight_gradient"] = weights[slot.name]
            found.append(
                {f"{name}_log10_mean_square": [log10_mean_square(x) for x in arrays] for name, arrays in values.items()}
            )
    return found


@pytest.fixture(scope="module")
def first():
    return run(read_request(dtype="float64", **FIRST))


@pytest.fixture(scope="module")
def second():
    return vp.sweep(**SECOND)


@pytest.mark.exhaustive
def test_entropy_and_similarity_within_their_bounds(first):
    assert list(np.unique(first.init_qk)) == ["uniform(limit=1)"] and list(np.unique(first.norm)) == ["layer"]
    entropy = first.attention_entropy.values[..., 1:]
    assert ((entropy > 0) & (entropy < math.log(3))).all() and (np.abs(first.token_similarity[..., 1:]) <= 1).all()


def test_every_number_is_that_of_jax_grad(first):
    for name, values in by_jax_grad(first, 0)[0].items():
        np.testing.assert_allclose(first[name].values[0, 0, 1:], values, atol=1e-9, err_msg=name)


def test_queries_of_zeros_see_all_tokens_alike(second):
    flat = second.attention_entropy.where(second.init_qk == "zeros", drop=True)[..., 1:]
    np.testing.assert_allclose(flat, math.log(3), rtol=1e-6)


@pytest.mark.exhaustive
def test_float32_has_the_gradients_of_tiny_queries_and_branches(second):
    """1e-30 and 1e-25: the products of two of them are far below float32, whose relative error is 1e-6 here."""
    expected = by_jax_grad(second, 0)
    assert len(expected) == 4
    for config, values in enumerate(expected):
        for name, value in values.items():
            found = second[name].values[config, 0, 1:]
            np.testing.assert_allclose(found, value, atol=1e-4, err_msg=f"{name} of {config}")


def heads(seed, size=1.0):
    return [size * x for x in np.random.default_rng(seed).standard_normal((3, 1, 2, 4, 2, 8)).astype(np.float32)]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_softmax_attention(causal):
    (q, k, v), c, e = heads(0), heads(1)[0], np.array([1], np.int32)

    def reference(q, k, v):
        s = 2 * jnp.einsum("nbqhd,nbkhd->nbhqk", q, k) / math.sqrt(8)
        s = jnp.where(jnp.tri(4, dtype=bool), s, -jnp.inf) if causal else s
        p = jax.nn.softmax(s)
        return jnp.einsum("nbhqk,nbkhd->nbqhd", p, v), -jnp.sum(jax.scipy.special.xlogy(p, p)) / 16

    @jax.jit
    def both(q, k, v, c):
        want, pull, entropy = jax.vjp(reference, q, k, v, has_aux=True)
        zero = Lifts(jnp.zeros(1), jnp.zeros(1))
        (got, found), own = jax.vjp(lambda *a: attention((causal, "float32", False), *a[:3], e, a[3]), q, k, v, zero)
        return (want, entropy, pull(c)), (got, found[0], own((c, jnp.zeros(1))))

    (want, entropy, pulled), (got, found, (*gradients, lifts)) = both(q, k, v, c)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(found, entropy, atol=1e-5)
    for g, lift, right in zip(gradients, (*lifts, 0), pulled, strict=True):
        np.testing.assert_allclose(g * 2.0**lift, right, atol=1e-5)


def test_attention_beyond_every_range():
    """Compiled, as in a sweep: a score's difference from itself has to be 0 there too."""
    q, k, v = heads(2)

    @jax.jit
    def both_ways(e):
        zero = Lifts(jnp.zeros(1), jnp.zeros(1))
        y, pull = jax.vjp(lambda *a: attention((False, "float32", False), *a[:3], e, a[3]), q, k, v, zero)
        return y, pull((heads(3)[0], jnp.zeros(1)))

    for e, entropy in ((-5000, math.log(4)), (20, 0.0), (5000, 0.0)):
        (y, found), (g_q, g_k, _, lifts) = both_ways(np.array([e], np.int32))
        np.testing.assert_allclose(found, entropy, atol=1e-6)
        chosen = np.argmax(np.einsum("nbqhd,nbkhd->nbhqk", q, k), -1)
        picked = np.take_along_axis(v.swapaxes(2, 3), chosen[..., None], 3).swapaxes(2, 3)
        want = v.mean(2, keepdims=True) if e < 0 else picked
        np.testing.assert_allclose(y, np.broadcast_to(want, y.shape), atol=1e-6)
        assert 1 <= jnp.abs(g_q).max() < 2 and abs(lifts.q[0] - e) < 10 if e < 0 else not g_q.any() and not g_k.any()


def test_gradient_of_a_softmax_that_is_nearly_one_hot():
    """Its true value, p_j (g_j - g_0) and minus their sum, is 1e-13: in float32 p (g - p g) would be 0 or 1e-7."""
    found = jax.jit(lambda s, g: softmax_pullback(softmax_entropy(s)[0], g))
    want = [math.exp(-30) * 2, -3 * math.exp(-31)]
    np.testing.assert_allclose(
        found(jnp.array([30.0, 0.0, -1.0]), jnp.array([1.0, 3.0, -2.0])), [-sum(want), *want], rtol=1e-5
    )


def test_softmax_of_scores_that_were_rounded_twice():
    """A score that is computed again need not equal the largest one; 2^100 times a rounding error is still one-hot."""
    s = np.array([[3, 1, -2], [1, 1, 1]], np.float32) * np.float32(2.0**100)
    found = below(s, s.max(-1, keepdims=True) * np.float32(1 + 2.0**-23))
    np.testing.assert_array_equal(np.exp(found), [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(below(s, s.max(-1, keepdims=True))[1], 0)
    lower = below(s, s.max(-1, keepdims=True) * np.float32(1 - 2.0**-23))
    assert (lower <= 0).all() and not np.exp(lower[0, 1:]).any()
    assert np.isnan(softmax_entropy(jnp.array([np.inf, 0.0]))[1])


def test_gradient_of_a_softmax_with_equal_scores():
    s, w = jnp.array([0.5, 0.5, -1.0]), jnp.array([1.0, -2.0, 3.0])
    p = jax.nn.softmax(s)
    np.testing.assert_allclose(jax.grad(lambda s: softmax_entropy(s)[0] @ w)(s), p * (w - p @ w), rtol=1e-5)
    entropy = -p @ jnp.log(p)
    np.testing.assert_allclose(jax.grad(lambda s: softmax_entropy(s)[1])(s), -p * (jnp.log(p) + entropy), atol=1e-6)


def test_matrices_and_their_initializers():
    c = read_request(
        depth=3, width=8, arch="transformer(mlp_ratio=2,gated=true)", init="gpt2", init_v="ones", init_mlp="gpt2(std=1)"
    ).configs[0]
    slots = {s.name: s for s in c.slots(2)}
    assert list(slots) == ["w", "down", "gate", "q", "k", "v", "o"]
    assert slots["down"][1:3] == (16, 8) and slots["w"][1:3] == (8, 16)
    scales = {s.name: c.initializer(2, i).at(c.place(2, slot=i)) for i, s in enumerate(slots.values())}
    small = 1 / math.sqrt(6)
    expected = {"w": 1, "down": small, "gate": 1, "q": 0.02, "k": 0.02, "o": 0.02 * small}
    for name, std in expected.items():
        assert scales[name] == (0, pytest.approx(std))
    assert scales["v"] == (1, 0)
    assert resolve_initializer(parse_calls("bert")[0]).at(LayerContext(3, 3, 3, 3, 1, last=True)) == (0, 0.02)


def test_initializers_of_parts_tell_runs_apart():
    texts = [
        hashable(read_request(depth=2, width=8, arch="transformer", init="he_normal", **more), {})[1]
        for more in ({}, {"init_qk": "zeros"}, {"init_v": "zeros"})
    ]
    assert len({str(t) for t in texts}) == 3


def test_norm_none_is_layer_norm_once():
    request = read_request(depth=1, width=8, arch="transformer,plain", norm="none,layer,rms", init="zeros")
    found = [(c.arch_name, c.norm_name) for c in request.configs]
    assert found == [
        *(("transformer", n) for n in ("layer", "rms")),
        *(("plain", n) for n in ("none", "layer", "rms")),
    ]
    assert not read_request(depth=1, width=8, arch="transformer(norm_position=none)", init="zeros").configs[0].norm


@pytest.mark.parametrize(
    "option, arguments, words",
    [
        ("arch", {"arch": "transformer(heads=3)"}, "3 heads do not divide 8 units"),
        ("arch", {"arch": "transformer(heads=0)"}, "heads=0 is not allowed (allowed: whole numbers from 1"),
        ("arch", {"arch": "transformer(norm_position=mid)"}, "unknown norm_position 'mid'"),
        ("arch", {"arch": "transformer(mlp_ratio=0)"}, "numbers above 0"),
        ("arch", {"arch": "transformer(norm_position=none)", "norm": "rms"}, "leaves no place for --norm rms"),
        ("arch", {"norm": "rms(position=post)"}, "norm_position says where a norm stands"),
        ("arch", {"arch": "transformer(tokens=1000000)", "batch": 4096}, "1000000 positions needs about"),
        ("arch", {"arch": "transformer(heads=8,tokens=100000)", "batch": 1}, "its scores need about"),
        ("width", {"width": "8-16"}, "keeps the width"),
        ("init_qk", {"arch": "plain", "init_qk": "zeros"}, "plain has no such matrices"),
        ("init_mlp", {"arch": "transformer,residual", "init_mlp": "zeros"}, "residual has no such matrices"),
        ("init_v", {"init_v": "he_norml"}, "he_normal"),
        ("init_o", {"init_o": "normal(std=1/(layer-1))"}, "divides by zero at layer=1"),
    ],
)
def test_what_makes_no_sense_is_refused(option, arguments, words):
    with pytest.raises(InvalidArgumentError) as caught:
        read_request(**{"depth": 2, "width": 8, "arch": "transformer", "init": "he_normal"} | arguments)
    assert words in str(caught.value) and caught.value.option == option


def test_token_similarity_of_equal_and_opposite_tokens():
    from varprobe.engine.wired.attention import token_similarity

    m = np.array([[[[1.0, 0], [2, 0]]], [[[1, 0], [-3, 0]]], [[[1, 0], [0, 5]]]], np.float32)
    np.testing.assert_allclose(jax.jit(token_similarity)(m), [1, -1, 0])
    assert np.isnan(jax.jit(token_similarity)(m[:, :, :1])).all()


def test_names_of_the_call_form():
    assert architecture_of("transformer(tokens=4,gated=true)").sample_shape(6) == (4, 6)
