"""Every threshold of a verdict, in one table (`varprobe list verdicts`)."""

from typing import NamedTuple

from varprobe.nets.float_formats import FORMATS

__all__ = ["VERDICTS", "Verdict", "threshold"]


class Verdict(NamedTuple):
    """A word that a verdict may hold, the number that decides, and what it means."""

    kind: str
    threshold: float | None
    meaning: str


VERDICTS: dict[str, Verdict] = {
    "stable": Verdict("word", 10, "RMS at layers 1 and L within 10x"),
    "shrinking": Verdict("word", 10, "RMS falls by more than 10x, at most 1000x"),
    "growing": Verdict("word", 10, "RMS grows by more than 10x, at most 1000x"),
    "vanishing": Verdict("word", 1000, "RMS falls by more than 1000x, or is exactly zero: unhealthy"),
    "exploding": Verdict("word", 1000, "RMS grows by more than 1000x: unhealthy"),
    "non_finite": Verdict("flag", None, "a value left every range, or is NaN: unhealthy"),
    "symmetric": Verdict(
        "flag", 1e-5, "all units of a layer equal (to 1e-5 of the largest; models: all weights): unhealthy"
    ),
    "dead": Verdict("flag", 0.9, "above 90% of a layer's units are zero on the whole batch: unhealthy"),
    "zero_in_some_seeds": Verdict(
        "flag", None, "signal or gradient is exactly zero in some seeds; the others are judged: unhealthy"
    ),
    "saturated": Verdict(
        "flag",
        0.5,
        "phi bounded; |phi'| < 0.01 in 50% of a model's site, or of the median layer's units not 0: unhealthy",
    ),
    "no_gradient": Verdict(
        "flag", None, "models: the gradient of all parameters, or of weights that a signal enters, is 0: unhealthy"
    ),
    "squashed_logits": Verdict(
        "flag", None, "models: a cross entropy of logits is given probabilities, as of a second softmax: unhealthy"
    ),
    "target_shape": Verdict(
        "flag", None, "models: output minus target has more entries than both, by broadcasting: unhealthy"
    ),
    "lost_gradients": Verdict(
        "flag", 0.5, "models: above half of a gradient is below its dtype's smallest normal number: unhealthy"
    ),
    "large_logits": Verdict(
        "flag", 3, "models: logits of a cross entropy with a standard deviation above 3, far above chance: unhealthy"
    ),
    "one_hot_attention": Verdict(
        "flag", 0.05, "models: entropy of attention below 0.05 of what equal probabilities have: unhealthy"
    ),
    "outlier": Verdict(
        "flag", 30, "models: weights at one site, or what it does to the RMS, 30 times off those like it: unhealthy"
    ),
    "target_scale": Verdict(
        "flag", 100, "models: RMS of the output 100 times off the target's, one above 100: unhealthy"
    ),
    "lost_updates": Verdict("flag", 0.5, "models: rounding loses above half of a parameter's updates: unhealthy"),
    "large_updates": Verdict("flag", 1, "models: a step changes a weight matrix by more than its RMS: unhealthy"),
    "departed": Verdict(
        "flag", 0.5, "training: a site is off the trend of the records before by so many decades: unhealthy"
    ),
    "grows": Verdict(
        "width",
        0.25,
        "coord-check: at the largest widths a value at step 0, or its change, is above width^0.25: not muP",
    ),
    "shrinks": Verdict(
        "width", 0.25, "coord-check: its change below width^-0.25, not leveling off: wide networks stop learning it"
    ),
    "undecided": Verdict(
        "width",
        0.25,
        "coord-check: the power may be beyond 0.25, and the widths cannot show it: neither healthy nor not",
    ),
    "trained": Verdict(
        "outcome", 0.5, "trainability: at least half the way from the best constant answer to all right (mse: R^2)"
    ),
    "correlation_collapse": Verdict("note", 0.999, "mean cosine between samples above 0.999"),
    "uniform_attention": Verdict(
        "note", 0.999, "models: entropy of every attention above 0.999 of the largest possible"
    ),
    "large_branch": Verdict(
        "note", 30, "models: a residual sum has above 30 times the RMS of the stream that enters it"
    ),
    "forgets": Verdict(
        "note", 10, "models: a gated state loses the gradient 1000-fold within the sequence; unhealthy within 10 steps"
    ),
    "terms": Verdict("note", 2, "models: weights right for the kernel's shape, and 2 times off for what outputs sum"),
    "unmoved": Verdict("note", None, "models: the optimizer does not change a parameter that has a gradient"),
    "mean_dominated": Verdict("note", 0.9, "|mean| of the preactivations above 0.9 of their RMS"),
    "leaves_float16": Verdict(
        "note", FORMATS["float16"].largest, "a magnitude above 65504, or an RMS below 6.1e-5; others: --json"
    ),
    "overflows": Verdict("note", None, "--range dtype: the signal is infinite from this layer on"),
    "underflows": Verdict("note", None, "--range dtype: the signal is rounded to zero at this layer"),
    "gradient_overflows": Verdict("note", None, "the same for the gradient, on its way to layer 1"),
    "gradient_underflows": Verdict("note", None, "the same for the gradient, on its way to layer 1"),
}


def threshold(name: str) -> float:
    """The number that decides about a word."""
    value = VERDICTS[name].threshold
    assert value is not None
    return value
