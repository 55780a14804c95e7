"""What the names of primitives mean to the probe."""

from jax.extend.core import primitives

__all__ = [
    "BOUNDED",
    "CALLS",
    "ELEMENTWISE",
    "FLAT",
    "LOGS",
    "MOVING",
    "OF_JAX",
    "PRODUCTS",
    "RESHAPING",
    "SCALING",
    "SHARING",
    "SPARSE",
    "SUMMING",
    "TAKING",
]

PRODUCTS = frozenset(
    {"dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general", "bcoo_dot_general",
     "bcsr_dot_general"}
)  # fmt: skip
SPARSE = {"bcoo_dot_general": 2, "bcsr_dot_general": 3}
"""Products whose first factor is sparse, and the number of the input that is the other."""
RESHAPING = frozenset(
    {"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "convert_element_type", "copy", "copy_p",
     "sharding_constraint", "rev", "reduce_precision", "optimization_barrier", "name", "stop_gradient", "device_put",
     "pvary"}
)  # fmt: skip
"""Values stay what they are."""
MOVING = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "rev"})
"""Those of them that axes do not survive."""
SHARING = frozenset({"all_gather", "all_gather_invariant", "all_gather_reduced", "all_to_all", "ppermute"})
"""Devices give each other parts of a value."""
SUMMING = frozenset({"psum", "psum_invariant", "pmax", "pmin"})
"""Of the values that devices have."""
TAKING = frozenset({"slice", "dynamic_slice", "split", "gather"})
"""A part of a value."""
ELEMENTWISE = frozenset(
    {"abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
     "clamp", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge",
     "gt", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne",
     "neg", "nextafter", "not", "or", "pow", "rem", "round", "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt",
     "square", "sub", "tan", "tanh", "xor"}
)  # fmt: skip
FLAT = frozenset({"ceil", "floor", "round", "sign"})
"""Functions whose slope is zero wherever they have one."""
BOUNDED = frozenset({"logistic", "tanh"})
"""Functions that are flat on both sides."""
SCALING = frozenset({"add", "div", "mul", "neg", "sub"})
"""Of one signal and numbers these are linear."""
LOGS = frozenset({"exp", "expm1", "log", "log1p", "log_sigmoid", "log_softmax", "logaddexp", "logsumexp", "softplus"})
"""Primitives, and functions of jax with a gradient of their own, that behind the last layer are a part of the loss."""
CALLS = frozenset({"ffi_call", "io_callback", "pallas_call", "pure_callback"})
"""Calls of what is no program of JAX's primitives."""
OF_JAX = frozenset(getattr(found, "name", "") for found in vars(primitives).values()) | frozenset(
    {"layout_constraint", "optimization_barrier", "reduce_scatter", "reshard", "scatter-sub", "split", "stack", "tie",
     "tile", "unstack"}
)  # fmt: skip
"""Primitives of JAX; those of other libraries are calls of what is not known."""
