"""Decisions on curves that are known: powers, curves that level off, and those that turn into a power."""

from typing import Any

import numpy as np
import pytest

from varprobe.training.scaling import Scaling, scaling_of
from varprobe.training.width_decisions import Decision, decide

WIDTHS = [32, 64, 128, 256]


def curve(mean_square: Any, noise: float = 0.0, widths: list[int] = WIDTHS, seeds: int = 5) -> Scaling:
    """The scaling of mean squares of width, times lognormal noise whose effect on log10 is of this size."""
    n = np.array(widths, float)
    random = np.random.default_rng(0).normal(size=(seeds, n.size))
    found = scaling_of(np.log10(mean_square(n)) + noise * random, widths)
    assert found is not None
    return found


def test_local_exponents_and_limit_in_closed_form() -> None:
    """MS = exp(2 p ln n - 4 c n^-1/2): the exponent at n is p + c n^-1/2, and nearly so between two widths."""
    p, c = 0.4, -2.0
    found = curve(lambda n: np.exp(2 * p * np.log(n) - 4 * c * n**-0.5))
    n = np.array(WIDTHS, float)
    local = p - 2 * c * np.diff(n**-0.5) / np.diff(np.log(n))
    np.testing.assert_allclose([power.mean for power in found.local], local)
    assert found.limit.mean == pytest.approx(p, abs=1e-9) and found.bends  # a factor 2 to the next: exactly so


@pytest.mark.parametrize("power, word", [(0.0, "stable"), (0.5, "grows"), (-0.5, "shrinks"), (0.2, "stable")])
@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("widths", [WIDTHS, [32, 256]], ids=str)
def test_powers(power: float, word: str, noise: float, widths: list[int]) -> None:
    found = decide(curve(lambda n: n ** (2 * power), noise, widths))
    assert (found.word, found.levels, found.certain, found.width) == (word, False, True, 0)
    assert found.power.mean == pytest.approx(power, abs=0.05)


def test_a_curve_that_levels_off_is_told_from_one_that_falls() -> None:
    """MS = 1 + k / n has the exponent -k / (2 (n + k))."""
    found = curve(lambda n: 1 + 300 / n, 0.005)
    assert -0.36 < found.largest.mean < -0.25 and decide(found)[:2] == ("stable", True)
    assert decide(curve(lambda n: 0.001 + 300 / n, 0.005)).word == "shrinks"
    grown = curve(lambda n: 1 / (1 + 300 / n), 0.005)
    assert grown.largest.mean > 0.25 and decide(grown)[:2] == ("stable", True)


OVER_D = """-0.776 -0.948 -1.083 -1.179 -1.235 -1.26
-0.789 -0.948 -1.061 -1.162 -1.239 -1.269
-0.753 -0.924 -1.057 -1.172 -1.23 -1.254
-0.805 -0.939 -1.057 -1.178 -1.216 -1.259
-0.782 -0.937 -1.091 -1.183 -1.23 -1.261"""
OVER_ROOT_D = """-0.776 -0.805 -0.79 -0.747 -0.687 -0.596
-0.789 -0.806 -0.775 -0.735 -0.704 -0.616
-0.753 -0.778 -0.768 -0.744 -0.674 -0.585
-0.805 -0.795 -0.768 -0.751 -0.667 -0.59
-0.782 -0.793 -0.803 -0.748 -0.671 -0.583"""
"""log10 RMS of attention scores of muP transformers after 4 steps of Adam; a line for each seed, widths 32 to 1024."""


@pytest.mark.parametrize(
    "scores, first, last, word, levels",
    [
        (OVER_D, 32, 256, "stable", True),
        (OVER_D, 128, 512, "stable", False),
        (OVER_D, 32, 1024, "stable", False),
        (OVER_ROOT_D, 32, 256, "undecided", False),
        (OVER_ROOT_D, 32, 1024, "grows", False),
    ],
)
def test_attention_scores_that_were_measured(scores: str, first: int, last: int, word: str, levels: bool) -> None:
    widths = [32, 64, 128, 256, 512, 1024]
    log10_rms = np.array([line.split() for line in scores.splitlines()], float)
    chosen = slice(widths.index(first), widths.index(last) + 1)
    found = scaling_of(2 * log10_rms[:, chosen], widths[chosen])
    assert found is not None
    decision = decide(found)
    assert (decision.word, decision.levels) == (word, levels)
    assert decision.width == (1024 if word == "undecided" else 0) and (word != "grows" or decision.certain)


def test_a_curve_that_turns_into_a_power_is_undecided_until_the_power_is_there() -> None:
    """MS = 1 + n / k has the exponent n / (2 (n + k)), above 1/4 from n = k on."""
    early = curve(lambda n: 1 + n / 600, 0.002)
    assert 0.06 < early.largest.mean < 0.25
    decision = decide(early)
    assert abs(early.limit.mean) < 0.25 and decision.word == "undecided" and 512 <= decision.width <= 4096
    late = curve(lambda n: 1 + n / 600, 0.002, [*WIDTHS, 512, 1024, 2048])
    assert decide(late).word == "grows" and decide(late).certain


def test_noise_across_the_threshold_is_undecided_unless_one_power_fits_all_widths() -> None:
    wide = curve(lambda n: n**0.6, 0.1, [128, 256])
    assert wide.largest.low < 0.25 < wide.largest.mean and decide(wide).word == "undecided"
    assert decide(wide).width == 512
    steady = np.array([[0.79, 0.0], [-0.1, 0.9], [0.7, 0.1], [0.01, 0.8], [0.5, 0.3]])  # exponents, 0.4 over both
    found = scaling_of(2 * np.log10(2) * np.cumsum([[0, *row] for row in steady], axis=1), [2, 4, 8])
    assert found is not None and found.largest.low < 0.25 < found.largest.mean and not found.bends
    assert decide(found) == Decision("grows", False, True, found.overall)


def test_a_steep_power_is_no_curve_that_levels_off_unless_its_trend_is_certain() -> None:
    """Exponents of standard readouts, 1.1 and 0.9 with a standard error of 0.1; and of 0.5 and 0.4."""
    spread = np.array([[0.2, -0.2], [-0.2, 0.25], [0.1, 0.05], [0.0, -0.2], [-0.1, 0.1]])
    words = []
    for mean in ([1.1, 0.9], [0.5, 0.4]):
        found = scaling_of(2 * np.log10(2) * np.cumsum([[0, *row] for row in mean + spread], axis=1), [32, 64, 128])
        assert found is not None and not found.bends and found.limit.low < 0.25 < found.largest.low + 0.1
        words.append(decide(found).word)
    assert words == ["grows", "undecided"]


def test_one_seed_has_no_interval_and_is_never_certain() -> None:
    found = curve(lambda n: n**1.0, seeds=1)
    assert decide(found) == Decision("grows", False, False, found.largest) and np.isnan(found.largest.low)
    assert decide(curve(lambda n: 1 + 300 / n, seeds=1))[:3] == ("stable", True, False)


def test_a_power_is_fitted_to_the_widths_that_have_one() -> None:
    """Zero at the smallest width: the others count; zero at the largest, or one width left: none."""
    log10_mean_square = np.log10(np.array([[1.0, 4.0, 16.0]] * 2))
    log10_mean_square[0, 0] = -np.inf
    found = scaling_of(log10_mean_square, [2, 4, 8])
    assert found is not None and found.widths == (4, 8) and found.largest.mean == pytest.approx(1)
    assert (
        scaling_of(log10_mean_square[:, ::-1], [2, 4, 8]) is None
        and scaling_of(log10_mean_square[:, :2], [2, 4]) is None
    )


def test_undecided_passes_unless_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"healthy": value, "notes": [], "reason": "", "init": "", "layers": []} for value in (True, None)]
    monkeypatch.setattr("varprobe.runs.health.diagnose", lambda ds: Diagnosis(rows))
    from varprobe.runs.diagnose import Diagnosis
    from varprobe.runs.health import assert_healthy, unhealthy

    assert_healthy(None)
    assert len(unhealthy(Diagnosis(rows), strict=True)) == 1
