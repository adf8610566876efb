"""Sums over processes: each runs the same program on its own rows, and all get the same sums.

Nothing is pickled, and no process commands another: tensors or arrays are summed, compared and broadcast, through
gloo. Every decision must rest on numbers from these, or two processors that differ in the last bits would wait for one
another forever. A process alone does nothing here, and does not import torch.distributed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class ProcessLost(RuntimeError):  # noqa: N818  # a finding about the others
    """Another process died, or hangs."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that run the same program; `connected` makes one."""

    rank: int
    size: int

    @property
    def is_writer(self) -> bool:
        """Whether this is the one that reports and writes."""
        return self.rank == 0

    def rows(self, n_trials: int) -> slice:
        """This process's part of `n_trials` rows: consecutive; parts differ by at most one row."""
        return slice(n_trials * self.rank // self.size, n_trials * (self.rank + 1) // self.size)

    def all_reduce_sum(self, *tensors: Tensor | NDArray[Any]) -> None:
        """Replace each by its sum over processes, all in one message."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        parts = [torch.as_tensor(t) for t in tensors]
        packed = torch.cat([t.reshape(-1) for t in parts])
        with _losing():
            distributed.all_reduce(packed)
        for tensor, part in zip(parts, torch.split(packed, [t.numel() for t in parts]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def all_reduce_max(self, tensor: Tensor | NDArray[Any]) -> None:
        """Replace each number by the largest of all processes."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        with _losing():
            distributed.all_reduce(torch.as_tensor(tensor), distributed.ReduceOp.MAX)

    def broadcast(self, *tensors: Tensor | NDArray[Any]) -> None:
        """Replace each by that of process 0."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        with _losing():
            for tensor in tensors:
                distributed.broadcast(torch.as_tensor(tensor), 0)


ALONE = ProcessGroup(0, 1)


@contextmanager
def connected(rank: int, size: int, rendezvous: str, seconds: int = 600) -> Iterator[ProcessGroup]:
    """Within this, process `rank` of `size` is connected to the others.

    rendezvous: torch.distributed's `init_method`: file:///PATH of a file that does not exist yet, for processes of one
    machine, or env:// for what torchrun sets. A message that takes longer than `seconds` raises ProcessLost.
    """
    if size == 1:
        yield ALONE
        return
    from torch import distributed

    with _losing():
        distributed.init_process_group("gloo", rendezvous, timedelta(seconds=seconds), size, rank)
    try:
        yield ProcessGroup(rank, size)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _losing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that torch says of a peer that is gone, or of a timeout
        silent = "timed out" in str(error).lower()
        raise ProcessLost("another process hangs" if silent else "another process died") from None
