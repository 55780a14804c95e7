"""Mean-field predictions, in float64, that share no code with the networks they are compared to.

    vp.theory.moments("gelu"), vp.theory.correlation_map("relu", c=0.5), vp.theory.gain("selu")
    vp.theory.trajectory("tanh", sigma_w2=1.5, sigma_b2=0.05, depth=50)
    vp.theory.fixed_point("tanh", sigma_w2=1.5, sigma_b2=0.05), vp.theory.critical("gelu", sigma_b2=0)
    vp.theory.phase_grid("tanh", sigma_w2, sigma_b2), vp.theory.finite_width("relu", width=512, depth=50)
    vp.theory.residual("relu", depth=50, branch_scale=50**-0.5), vp.theory.normalized("relu", "layer")
    vp.theory.batch_norm("relu", batch=32), vp.theory.convolution("relu", size=32, padding="zero")
    vp.theory.transformer("gelu", depth=12, tokens=64, norm="pre"), vp.theory.singular_values(50)

sigma_w2 = fan_in Var(W), sigma_b2 = Var(b), q is the mean square of preactivations, and an activation is a name, a
call form (`leaky_relu(0.2)`, `mine.py:swishy`) or a callable. Wrong requests raise `varprobe.InvalidArgumentError`.
"""

from varprobe.theory.angles import AngleDrift, angle_drift
from varprobe.theory.batch_norms import BatchNorm, batch_norm
from varprobe.theory.convolutions import Convolution, convolution
from varprobe.theory.critical_lines import CriticalLine, CriticalPoint, critical
from varprobe.theory.dead_networks import DeadProbability, dead_probability
from varprobe.theory.expectations import Correlation, Gain, Moments, correlation_map, gain, moments
from varprobe.theory.finite_widths import FiniteWidth, finite_width
from varprobe.theory.fixed_points import FixedPoint, fixed_point
from varprobe.theory.norms import NormalizedStack, normalized
from varprobe.theory.phase_grids import PhaseGrid, phase_grid
from varprobe.theory.products import SingularValues, repeated, singular_values
from varprobe.theory.residuals import Residual, residual
from varprobe.theory.stability import all_fixed_points, half_stable
from varprobe.theory.trajectories import Trajectory, trajectory
from varprobe.theory.transformers import Transformer, transformer
from varprobe.theory.unit_gains import unit_gain

__all__ = [
    "AngleDrift",
    "BatchNorm",
    "Convolution",
    "Correlation",
    "CriticalLine",
    "CriticalPoint",
    "DeadProbability",
    "FiniteWidth",
    "FixedPoint",
    "Gain",
    "Moments",
    "NormalizedStack",
    "PhaseGrid",
    "Residual",
    "SingularValues",
    "Trajectory",
    "Transformer",
    "all_fixed_points",
    "angle_drift",
    "batch_norm",
    "convolution",
    "correlation_map",
    "critical",
    "dead_probability",
    "finite_width",
    "fixed_point",
    "gain",
    "half_stable",
    "moments",
    "normalized",
    "phase_grid",
    "repeated",
    "residual",
    "singular_values",
    "trajectory",
    "transformer",
    "unit_gain",
]
