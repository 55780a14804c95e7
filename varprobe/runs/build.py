"""`varprobe.build`: the very net that a sweep or a training has, as plain arrays and a plain function."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from varprobe.engine.reference_network import Net, net_of
from varprobe.errors import InvalidArgumentError
from varprobe.nets.config import OWN
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import single
from varprobe.storage.dataset import FURTHER
from varprobe.storage.kinds import require_kind
from varprobe.sweeps.request import read_request

__all__ = ["arguments_of", "build"]


@checks_types
def build(config: Mapping[str, Any] | xr.Dataset, seed: int = 0) -> Net:
    """The net of one configuration and seed, so that any number can be checked with plain jax.grad.

    Weights are in the configuration's dtype; float64 needs jax_enable_x64, or `with jax.enable_x64(True)` around this
    call and what follows. Outside a float's range the arrays overflow, where the sweep's own numbers do not.

    Args:
        config: a dict of `varprobe.sweep`'s arguments with one value each, or `ds.isel(config=i)`. With `optimizer` and
            `steps` the parameters are those after so many steps of training, as `varprobe.track` has it; of its
            datasets, `ds.isel(config=i, step=j)`.
        seed: which draw; a sweep's own are 0, 1, ..., seeds - 1, and any other is as good.

    Raises:
        InvalidArgumentError: the arguments describe several configurations, or are wrong.
    """
    seed = single("seed", seed, 0, 2**32 - 1)
    if not isinstance(config, Mapping | xr.Dataset):
        raise InvalidArgumentError(
            f"{config!r:.80} is neither a dict of arguments nor a dataset with one configuration", "config"
        )
    given = arguments_of(config) if isinstance(config, xr.Dataset) else dict(config)
    if "optimizer" in given or "steps" in given:
        from varprobe.training.final_network import trained_net

        return trained_net(seed, **given)
    request = read_request(**given)
    if len(request.configs) != 1:
        raise InvalidArgumentError(f"build takes one configuration, these arguments describe {len(request.configs)}")
    return net_of(request.setting, request.configs[0], seed)


def arguments_of(ds: xr.Dataset) -> dict[str, Any]:
    """The arguments of `sweep` that give the one configuration of a dataset."""
    if ds.sizes.get("config", 1) != 1:
        raise InvalidArgumentError(
            f"build takes one configuration (ds.isel(config=i)), this dataset has {ds.sizes['config']}"
        )
    require_kind(ds, "sweep", "track", "trainability", option="config")
    spec = json.loads(ds.attrs["spec"])
    arguments: dict[str, Any] = {
        k: str(np.squeeze(ds[k].values)) for k in ("act", "init", "bias", "width", "depth", "batch", "arch", "norm")
    }
    arguments = {k: v for k, v in arguments.items() if (k, v) not in (("act", OWN), ("init", OWN), ("bias", OWN))}
    for name in FURTHER:
        if name in ds.coords and str(np.squeeze(ds[name].values)):
            arguments[name] = str(np.squeeze(ds[name].values))
    if "optimizer" in ds.coords:
        at = ds["step"].values if "step" in ds.coords else np.array(spec["steps"])
        if at.ndim:
            raise InvalidArgumentError("build takes one step of a training (ds.isel(config=i, step=j))")
        arguments |= {"optimizer": str(ds["optimizer"].values), "steps": spec["steps"], "stop": int(at)}
    names = ("input_width", "seeds", "root_seed", "data", "labels", "standardize", "loss", "dtype", "range")
    return arguments | {k: spec[k] for k in names if spec.get(k) is not None}
