"""Mean-field predictions, in float64, that share no code with the networks they are compared to.

    vp.theory.moments("gelu"), vp.theory.correlation_map("relu", c=0.5), vp.theory.gain("selu")
    vp.theory.trajectory("tanh", sigma_w2=1.5, sigma_b2=0.05, depth=50)
    vp.theory.fixed_point("tanh", sigma_w2=1.5, sigma_b2=0.05), vp.theory.critical("gelu", sigma_b2=0)
    vp.theory.phase_grid("tanh", sigma_w2, sigma_b2), vp.theory.finite_width("relu", width=512, depth=50)

sigma_w2 = fan_in Var(W), sigma_b2 = Var(b), q is the mean square of preactivations, and an activation is a name, a
call form (`leaky_relu(0.2)`, `mine.py:swishy`) or a callable. Wrong requests raise `varprobe.RequestError`.
"""

from varprobe.theory.critical_lines import CriticalLine, CriticalPoint, critical
from varprobe.theory.expectations import Correlation, Gain, Moments, correlation_map, gain, moments
from varprobe.theory.finite_widths import FiniteWidth, finite_width
from varprobe.theory.fixed_points import FixedPoint, fixed_point
from varprobe.theory.phase_grids import PhaseGrid, phase_grid
from varprobe.theory.trajectories import Trajectory, trajectory

__all__ = [
    "Correlation",
    "CriticalLine",
    "CriticalPoint",
    "FiniteWidth",
    "FixedPoint",
    "Gain",
    "Moments",
    "PhaseGrid",
    "Trajectory",
    "correlation_map",
    "critical",
    "finite_width",
    "fixed_point",
    "gain",
    "moments",
    "phase_grid",
    "trajectory",
]
