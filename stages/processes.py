"""One fit by several processes: each has rows of the trials, and sums over trials are summed over processes.

Started by `torchrun`, processes find one another through its environment variables; started alone, a process is
rank 0 of 1 and every function here returns at once. Sums go through gloo on the CPU and nccl on CUDA.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed


def joined() -> bool:
    """Whether this process is one of several that fit together."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """This process's number, from 0; 0 alone reports and writes."""
    return distributed.get_rank() if joined() else 0


def share(n_trials: int) -> slice:
    """The rows of this process: consecutive, and as many as the others' but for one."""
    if not joined():
        return slice(0, n_trials)
    k, n = distributed.get_rank(), distributed.get_world_size()
    return slice(n_trials * k // n, n_trials * (k + 1) // n)


def total(*sums: Tensor) -> None:
    """Replace each of these by its sum over processes, in one message."""
    if joined():
        packed = torch.cat([s.reshape(-1) for s in sums])
        distributed.all_reduce(packed)
        start = 0
        for s in sums:
            s.copy_(packed[start : start + s.numel()].view_as(s))
            start += s.numel()


def largest(values: Tensor) -> None:
    """Replace these by their maxima over processes."""
    if joined():
        distributed.all_reduce(values, distributed.ReduceOp.MAX)


def agree(values: NDArray[np.float64]) -> None:
    """Replace these by those of rank 0: other processors may round otherwise."""
    if joined():
        cuda = distributed.get_backend() == "nccl"
        sent = torch.from_numpy(values).to("cuda" if cuda else "cpu")
        distributed.broadcast(sent, 0)
        values[:] = sent.cpu().numpy()
