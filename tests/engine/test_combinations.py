"""Architectures, norms, activations and initializers, every two of them together at least once: they run or are refused.

By default a few of them run: those of one architecture and norm that no other test compares with jax.grad.
"""

from itertools import product

import numpy as np
import pytest
from check_combinations import ARCHS, INITS, NORMS, TINY, allowed, faults

import varprobe as vp
from varprobe.engine.weight_bases import base_of
from varprobe.nets.initializers import resolve_initializer
from varprobe.spec.calls import parse_calls

ACTS = ["relu", "tanh", "gelu"]
RUN = [
    "plain(order=pre)",
    "residual",
    "conv(dims=1,padding=zero,size=8,transpose=true)",
    "rnn",
    "transformer(heads=2,tokens=3,causal=true,norm_position=post,gated=true)",
    "lstm",
    "gru(inputs=first)",
]
"""One of each kind; the requests of all are checked."""
SHARES = [{"normal", "Identity"}, {"truncated_normal", "Zeros"}, {"uniform", "Sparse"}, {"Orthogonal"}]
"""Of the initializers, by their bases, each of which is compiled. An architecture has so many norms or more, or one,
and one share runs with each."""
DEFAULT = {("plain(order=pre)", "batch"), (RUN[2], "group(groups=2)"), ("rnn", "rms")}
REFUSED_NORMS = {
    "transformer(heads=2,tokens=3)": {"layer(position=post)"},
    "transformer(heads=2,tokens=3,causal=true,norm_position=post,gated=true)": {"layer(position=post)"},
    "transformer(heads=2,tokens=3,norm_position=none)": set(NORMS) - {"none"},
    "lstm": set(NORMS) - {"none"},
    "gru(inputs=first)": set(NORMS) - {"none"},
}
IN_KERNELS, IN_BRANCHES, PER_LAYER = {"delta_orthogonal"}, {"fixup", "skipinit"}, {"lsuv"}


def refused_inits(arch: str) -> set[str]:
    """Initializers that have no meaning in an architecture."""
    kind = arch.partition("(")[0]
    found = set() if kind == "conv" else set(IN_KERNELS)
    found |= IN_BRANCHES if kind not in ("residual", "transformer") else set()
    found |= {"skipinit"} if kind == "transformer" else set()
    return found | (PER_LAYER if kind in ("rnn", "lstm", "gru") else set())


@pytest.mark.parametrize("arch, norm", list(product(ARCHS, NORMS)))
def test_refused_with_a_reason_or_not_at_all(arch: str, norm: str) -> None:
    taken, refused = allowed(arch, norm, "relu", INITS)
    if norm in REFUSED_NORMS.get(arch, set()):
        assert not taken
    else:
        assert set(refused) == refused_inits(arch)
    assert all(reason and "\n" not in reason for reason in refused.values())


def share(init: str) -> int:
    base = base_of(resolve_initializer(parse_calls(init)[0]).law)
    return next(i for i, names in enumerate(SHARES) if getattr(base, "law", type(base).__name__) in names)


def rows() -> list[tuple[str, str, str, list[str]]]:
    """(arch, norm, act, inits): every value of one with every value of another, those that are refused left out."""
    found = []
    for i, arch in enumerate(RUN):
        norms = [norm for norm in NORMS if norm not in REFUSED_NORMS.get(arch, set())]
        inits = [init for init in INITS if init not in refused_inits(arch)]
        for j, norm in enumerate(norms):
            some = inits if len(norms) < len(SHARES) else [x for x in inits if (share(x) - i - j) % len(SHARES) == 0]
            found.append((arch, norm, ACTS[(i + j) % len(ACTS)], some))
    met = {(row[2], init) for row in found for init in row[3]}
    for act, init in sorted(set(product(ACTS, INITS)) - met):
        next(row[3] for row in found if row[2] == act and init not in refused_inits(row[0])).append(init)
    return found


def test_rows_cover_all_pairs() -> None:
    found = rows()
    for arch in RUN:
        mine = [row for row in found if row[0] == arch]
        norms, inits = {row[1] for row in mine}, {init for row in mine for init in row[3]}
        assert norms == set(NORMS) - REFUSED_NORMS.get(arch, set())
        assert inits == set(INITS) - refused_inits(arch)
        assert {row[2] for row in mine} == set(ACTS) or len(norms) == 1
    for norm in NORMS:
        mine = [row for row in found if row[1] == norm]
        assert {row[2] for row in mine} == set(ACTS)
        everywhere = set(INITS) - IN_KERNELS - IN_BRANCHES - PER_LAYER
        assert {init for row in mine for init in row[3]} >= everywhere
    assert {(row[2], init) for row in found for init in row[3]} >= set(product(ACTS, INITS))


@pytest.mark.parametrize(
    "arch, norm, act, inits",
    [pytest.param(*row, marks=() if row[:2] in DEFAULT else pytest.mark.exhaustive) for row in rows()],
    ids=lambda x: None if isinstance(x, list) else x,
)
def test_they_run(arch: str, norm: str, act: str, inits: list[str]) -> None:
    """Numbers wherever they apply, and a verdict for each."""
    ds = vp.sweep(arch=arch, norm=norm, act=act, init=inits, **TINY)
    assert not list(faults(ds))
    assert len(vp.diagnose(ds).rows) == len(inits)
    assert np.isfinite(ds.activation_log10_mean_square.values[:, :, 0]).all()
