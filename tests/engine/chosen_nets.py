"""Requests for chosen nets, where a sweep would take every activation with every initializer."""

import dataclasses
from typing import Any

from varprobe.engine import groups
from varprobe.engine.wired.groups import WiredGroup
from varprobe.sweeps.request import Request, read_request


def request_of(nets: dict[str, list[str]], **arguments: Any) -> Request:
    """activation -> its initializers, and nothing else, in one run."""
    requests = [read_request(act=act, init=inits, **arguments) for act, inits in nets.items()]
    return dataclasses.replace(requests[0], configs=tuple(c for r in requests for c in r.configs))


def group_sizes(request: Request) -> list[int]:
    """How many nets each of its cells computes."""
    found = groups.groups_of(list(request.configs), request.setting)
    return [len(c.nets) if isinstance(c, WiredGroup) else sum(map(len, c.nets)) for c in found]
