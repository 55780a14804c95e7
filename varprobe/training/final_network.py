"""The very net that a training made, for `varprobe.build`."""

from typing import Any

import jax

from varprobe.engine.reference_network import Net, net_of
from varprobe.errors import InvalidArgumentError
from varprobe.spec.arguments import single
from varprobe.training.jobs import params_after
from varprobe.training.request import read_training

__all__ = ["trained_net"]


def trained_net(seed: int, *, stop: int | None = None, **given: Any) -> Net:
    """The net of one configuration, optimizer and seed after `stop` of its steps; x is the batch of step 0.

    Raises:
        InvalidArgumentError: the arguments describe several, or are wrong.
    """
    training = read_training("build", at=(), **given)
    if len(training.nets) != 1:
        raise InvalidArgumentError(f"build takes one configuration and optimizer, these are {len(training.nets)}")
    stop = training.steps if stop is None else single("stop", stop, 0, training.steps)
    net = net_of(training.request.setting, training.request.configs[0], seed)
    return net._replace(params=jax.tree.map(jax.numpy.asarray, params_after(training, seed, stop)))
