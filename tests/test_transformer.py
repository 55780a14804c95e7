"""Transformers against plain jax.grad, at ordinary and extreme scales; attention's limits; what is refused."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.blocks import architecture_of
from varprobe.building import arguments_of, build, plain_of
from varprobe.callform import parse_calls
from varprobe.configs import read_request
from varprobe.draws import keys_of
from varprobe.errors import RequestError
from varprobe.initializers import Place, resolve_initializer
from varprobe.plans import hashable
from varprobe.sweeping import run
from varprobe.wired.attention import Lifts, attention, softmax_entropy, softmax_pullback

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


def log10_ms(x):
    x = np.asarray(x, np.float64)
    return np.log10(np.square(x).mean()) if x.any() else -np.inf


def by_jax_grad(ds, config, seed):
    """variable -> its values at layers 1 to L, of the very net in float64, with gradients by zero perturbations."""
    with jax.enable_x64(True):
        arguments = arguments_of(ds.isel(config=config)) | {"dtype": "float64"}
        net, request = build(arguments, seed), read_request(**arguments)
        c, key = request.configs[0], keys_of(request.setting.root_seed, seed)["dropout"]

        @jax.jit
        def loss(params, shifts):
            x, stream = net.x, []
            for layer, (p, shift) in enumerate(zip(params, shifts, strict=True), 1):
                plain = plain_of(c, layer, jax.random.fold_in(key, layer))
                x = c.arch.reference(plain, p, x) + shift
                stream.append(x)
            return jnp.sum(net.cotangent * x), stream

        shifts = [jnp.zeros_like(net.x)] * c.depth
        (_, stream), (weights, streams) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(net.params, shifts)
        np.testing.assert_allclose(net.apply(net.params, net.x), stream[-1], rtol=1e-12)
    found = {"activation": stream, "stream": stream, "gradient": streams}
    for slot in c.slots(1):
        name = "" if slot.name == "w" else f"{slot.name}_"
        found[f"{name}weight"] = [p[slot.name] for p in net.params]
        found[f"{name}weight_gradient"] = [p[slot.name] for p in weights]
    return {f"{name}_log10_ms": [log10_ms(x) for x in values] for name, values in found.items()}


def test_every_number_is_that_of_jax_grad():
    ds = run(read_request(dtype="float64", **FIRST))
    for name, values in by_jax_grad(ds, 0, 0).items():
        np.testing.assert_allclose(ds[name].values[0, 0, 1:], values, atol=1e-9, err_msg=name)
    assert list(np.unique(ds.init_qk)) == ["uniform(limit=1)"] and list(np.unique(ds.norm)) == ["layer"]
    entropy = ds.attention_entropy.values[..., 1:]
    assert ((entropy > 0) & (entropy < math.log(3))).all() and (np.abs(ds.token_similarity[..., 1:]) <= 1).all()


def test_float32_has_the_gradients_of_tiny_queries_and_branches():
    """1e-30 and 1e-25: the products of two of them are far below float32, whose relative error is 1e-6 here."""
    ds = vp.sweep(**SECOND)
    assert ds.sizes["config"] == 4
    for config in range(4):
        zero = "zeros" in (str(ds.init_qk.values[config]), str(ds.init_o.values[config]))
        for name, values in by_jax_grad(ds, config, 0).items():
            np.testing.assert_allclose(
                ds[name].values[config, 0, 1:], values, atol=1e-4, err_msg=f"{name} of {config}, {zero=}"
            )
    flat = ds.attention_entropy.where(ds.init_qk == "zeros", drop=True)[..., 1:]
    np.testing.assert_allclose(flat, math.log(3), rtol=1e-6)


def heads(seed, size=1.0):
    return [size * x for x in jax.random.normal(jax.random.key(seed), (3, 1, 2, 4, 2, 8))]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_softmax_attention(causal):
    (q, k, v), c, e = heads(0), heads(1)[0], jnp.array([1], jnp.int32)

    def reference(q, k, v):
        s = 2 * jnp.einsum("nbqhd,nbkhd->nbhqk", q, k) / math.sqrt(8)
        s = jnp.where(jnp.tri(4, dtype=bool), s, -jnp.inf) if causal else s
        p = jax.nn.softmax(s)
        return jnp.einsum("nbhqk,nbkhd->nbqhd", p, v), -jnp.sum(jax.scipy.special.xlogy(p, p)) / 16

    want, pull, entropy = jax.vjp(reference, q, k, v, has_aux=True)
    zero = Lifts(jnp.zeros(1), jnp.zeros(1))
    (got, found), own = jax.vjp(lambda *a: attention((causal, "float32", False), *a[:3], e, a[3]), q, k, v, zero)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(found[0], entropy, atol=1e-5)
    *gradients, lifts = own((c, jnp.zeros(1)))
    for g, lift, right in zip(gradients, (*lifts, 0), pull(c), strict=True):
        np.testing.assert_allclose(g * 2.0**lift, right, atol=1e-5)


def test_attention_beyond_every_range():
    (q, k, v), apply = heads(2), partial(attention, (False, "float32", False))
    for e, entropy in ((-5000, math.log(4)), (5000, 0.0)):
        zero = Lifts(jnp.zeros(1), jnp.zeros(1))
        exponents = jnp.array([e], jnp.int32)
        (y, found), pull = jax.vjp(lambda *a, e=exponents: apply(*a[:3], e, a[3]), q, k, v, zero)
        np.testing.assert_allclose(found, entropy, atol=1e-6)
        chosen = jnp.argmax(jnp.einsum("nbqhd,nbkhd->nbhqk", q, k), -1)
        picked = jnp.take_along_axis(v.swapaxes(2, 3), chosen[..., None], 3).swapaxes(2, 3)
        want = v.mean(2, keepdims=True) if e < 0 else picked
        np.testing.assert_allclose(y, jnp.broadcast_to(want, y.shape), atol=1e-6)
        g_q, g_k, _, lifts = pull((heads(3)[0], jnp.zeros(1)))
        assert 1 <= jnp.abs(g_q).max() < 2 and abs(lifts.q[0] - e) < 10 if e < 0 else not g_q.any() and not g_k.any()


def test_gradient_of_a_softmax_that_is_nearly_one_hot():
    """Its true value, p_j (g_j - g_0) and minus their sum, is 1e-13: in float32 p (g - p g) would be 0 or 1e-7."""
    p, _ = softmax_entropy(jnp.array([30.0, 0.0, -1.0]))
    g = jnp.array([1.0, 3.0, -2.0])
    want = [math.exp(-30) * 2, -3 * math.exp(-31)]
    np.testing.assert_allclose(softmax_pullback(p, g), [-sum(want), *want], rtol=1e-5)


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
    assert resolve_initializer(parse_calls("bert")[0]).at(Place(3, 3, 3, 3, 1, last=True)) == (0, 0.02)


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
    with pytest.raises(RequestError) as caught:
        read_request(**{"depth": 2, "width": 8, "arch": "transformer", "init": "he_normal"} | arguments)
    assert words in str(caught.value) and caught.value.option == option


def test_token_similarity_of_equal_and_opposite_tokens():
    from varprobe.blocks.transformer import similarity

    m = jnp.array([[[[1.0, 0], [2, 0]]], [[[1, 0], [-3, 0]]], [[[1, 0], [0, 5]]]])
    np.testing.assert_allclose(similarity(m), [1, -1, 0])
    assert np.isnan(similarity(m[:, :, :1])).all()


def test_names_of_the_call_form():
    assert architecture_of("transformer(tokens=4,gated=true)").sample_shape(6) == (4, 6)
