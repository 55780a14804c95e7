"""Precision, recall and rank correlation of a verdict: numbers known by hand, invariances, and what has no number."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from varprobe.training.outcomes import (
    RESAMPLES,
    accuracy_of,
    has_trained,
    rank_correlation,
    skill_of_accuracy,
    skill_of_loss,
    spearman,
)
from varprobe.verdict.thresholds import threshold


def test_skills_are_shares_of_the_way():
    accuracy = np.array([0.1, 0.55, 1.0, 0.0])
    assert skill_of_accuracy(accuracy, 0.1) == pytest.approx([0, 0.5, 1, -1 / 9])
    assert skill_of_loss(np.array([4.0, 1.0, 0.0, 8.0]), 4.0) == pytest.approx([0, 0.75, 1, -1])


def test_half_the_way_is_trained_and_what_diverged_is_not():
    assert threshold("trained") == 0.5
    assert has_trained(np.array([0.5, 0.4999, np.nan, -np.inf, 1.0])).tolist() == [True, False, False, False, True]


def test_counts_by_hand():
    """Six nets: three unhealthy, two of which fail; four fail."""
    healthy = np.array([True, True, True, False, False, False])
    skill = np.array([0.9, 0.2, 0.1, 0.8, np.nan, 0.0])
    found = accuracy_of(np.array([0.0, 1, 2, 3, 4, 5]), healthy, skill)
    assert (found.nets, found.failed, found.unhealthy, found.found) == (6, 4, 3, 2)
    assert found.precision == pytest.approx(2 / 3) and found.recall == pytest.approx(1 / 2)
    ranks = [6, 4, 3, 5, 1, 2]  # the one that diverged learned least
    assert found.rank_correlation == pytest.approx(1 - 6 * sum((i + 1 - r) ** 2 for i, r in enumerate(ranks)) / 210)
    assert found.reasons == {}


def test_spearman_is_scipys_with_ties():
    generator = np.random.default_rng(0)
    x, y = generator.integers(5, size=(2, 40)).astype(float)
    assert spearman(x[None], y[None])[0] == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_a_lost_signal_is_the_farthest():
    score = np.array([0.0, 1.0, np.inf, np.nan])
    found = accuracy_of(score, score < 3, np.array([0.9, 0.6, 0.1, 0.1]))
    assert found.rank_correlation == pytest.approx(-1)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Of normal pairs of correlation r, Spearman's is (6 / pi) arcsin(r / 2); 200 samples of 60, 95% +- 2 x 1.5%."""
    generator, r, inside = np.random.default_rng(1), 0.6, 0
    truth = 6 / np.pi * np.arcsin(r / 2)
    for _ in range(200):
        x = generator.normal(size=60)
        y = r * x + np.sqrt(1 - r * r) * generator.normal(size=60)
        low, value, high = rank_correlation(x, y)
        assert low < value < high
        inside += low < truth < high
    assert 0.90 < inside / 200 <= 1


def test_the_interval_holds_19_of_20_resamples():
    generator = np.random.default_rng(4)
    x = generator.normal(size=40)
    y = x + generator.normal(size=40)
    rows = generator.integers(40, size=(4000, 40))
    low, _, high = rank_correlation(x, y)
    found = spearman(x[rows], y[rows])
    assert np.mean(found < low) == pytest.approx(0.025, abs=0.01)
    assert np.mean(found > high) == pytest.approx(0.025, abs=0.01)


def test_the_interval_narrows_as_the_root_of_the_nets():
    generator = np.random.default_rng(2)
    x = generator.normal(size=400)
    y = x + generator.normal(size=400)
    low, _, high = rank_correlation(x, y)
    parts = [rank_correlation(x[i : i + 40], y[i : i + 40]) for i in range(0, 400, 40)]
    assert (high - low) / np.mean([p[2] - p[0] for p in parts]) == pytest.approx(np.sqrt(1 / 10), rel=0.2)


def test_the_interval_is_the_same_each_time():
    x, y = np.random.default_rng(3).normal(size=(2, 30))
    assert rank_correlation(x, y) == rank_correlation(x, y) != rank_correlation(x, y, root_seed=1)


def test_large_samples_are_resampled_in_parts(monkeypatch):
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(2, 30))
    whole = rank_correlation(x, y)
    monkeypatch.setattr("varprobe.training.outcomes.AT_ONCE", 30 * 7)
    assert rank_correlation(x, y) == pytest.approx(whole, abs=0) and RESAMPLES % 7


@pytest.mark.parametrize(
    ("healthy", "skill", "missing"),
    [
        ([True] * 5, [0.9, 0.8, 0.7, 0.6, 0.9], {"precision": "every net is healthy", "recall": "every net trained"}),
        ([True] * 5, [0.1, 0.2, 0.3, 0.4, 0.0], {"precision": "every net is healthy"}),
        ([False] * 5, [0.9, 0.8, 0.7, 0.6, 0.9], {"recall": "every net trained"}),
        ([False] * 5, [0.1] * 5, {"rank_correlation": "all skills are alike"}),
        ([True] * 2, [0.1, 0.9], {"precision": "every net is healthy", "rank_correlation_ci95": "fewer than four"}),
    ],
)
def test_what_cannot_be_told_has_a_reason(healthy, skill, missing):
    found = accuracy_of(np.arange(len(skill), dtype=float), np.array(healthy), np.array(skill))
    assert set(found.reasons) == set(missing)
    for name, why in missing.items():
        assert why in found.reasons[name]
        assert getattr(found, name) in (None, (None, None))
    for name in {"precision", "recall", "rank_correlation"} - set(missing):
        assert getattr(found, name) is not None


def test_equal_scores_have_no_rank_correlation():
    found = accuracy_of(np.full(5, 2.0), np.ones(5, bool), np.linspace(0, 1, 5))
    assert found.rank_correlation is None and found.rank_correlation_ci95 == (None, None)
    assert found.reasons["rank_correlation"] == "all scores are alike"


NETS = st.lists(
    st.tuples(st.integers(0, 50).map(float), st.booleans(), st.floats(-0.2, 1)),
    min_size=5,
    max_size=25,
    unique_by=lambda n: n[0],
)


@settings(max_examples=40, deadline=None)
@given(NETS, st.randoms(use_true_random=False))
def test_neither_order_nor_scale_matters(nets, random):
    """Permuted nets, and any rising function of the score, give the same counts and the same correlation."""
    score, healthy, skill = (np.array(column) for column in zip(*nets, strict=True))
    found = accuracy_of(score, healthy, skill)
    order = np.array(random.sample(range(len(nets)), len(nets)))
    for other in (accuracy_of(score[order], healthy[order], skill[order]), accuracy_of(3 + score**3, healthy, skill)):
        assert (other.precision, other.recall, other.reasons) == (found.precision, found.recall, found.reasons)
        assert other.rank_correlation == pytest.approx(found.rank_correlation, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(NETS)
def test_a_perfect_forecast_and_its_opposite(nets):
    """Who is called unhealthy exactly where it fails is right every time; the opposite never."""
    score, _, skill = (np.array(column) for column in zip(*nets, strict=True))
    trained = has_trained(skill)
    assume(trained.any() and not trained.all())
    right, wrong = accuracy_of(score, trained, skill), accuracy_of(score, ~trained, skill)
    assert (right.precision, right.recall, wrong.precision, wrong.recall) == (1, 1, 0, 0)
    mirrored = accuracy_of(score.max() - score, trained, skill)
    if right.rank_correlation is not None:
        assert mirrored.rank_correlation == pytest.approx(-right.rank_correlation, abs=1e-12)
