"""A CUDA device that is none: tensors "on" it hold theirs on the CPU, but keep its rules.

What lies there cannot be had by NumPy, and does not mix with what lies on the CPU, unless it is moved. So code that
would fail on a device for that reason fails here, on any machine. (Its arithmetic and its speed are the CPU's.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
MAY_INDEX = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}  # from the CPU, too


class Pretended(torch.Tensor):
    """A tensor that says that it is on CUDA; `own` is where it really is."""

    own: torch.Tensor

    @staticmethod
    def __new__(cls, own: torch.Tensor) -> Pretended:
        made: Pretended = torch.Tensor._make_wrapper_subclass(
            cls, own.size(), strides=own.stride(), dtype=own.dtype, device=torch.device("meta")
        )
        made.own = own
        return made

    device = property(lambda _: torch.device("cuda:0"))  # what PyTorch's core must not see:
    is_cuda = property(lambda _: True)  # without CUDA it has nothing to do with such

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # as torch itself calls it
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _called(func, args, kwargs or {})

    def numpy(self, **_: Any) -> Any:
        raise TypeError("a tensor on CUDA cannot be had by NumPy; use .cpu() first")


class PretendCuda(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this, device="cuda" is there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _called(func, args, kwargs or {})


def _called(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Pretended)]
    named = kwargs.get("device")
    if there and func not in MOVES | MAY_INDEX:
        here = [tensor for tensor in tensors if not isinstance(tensor, Pretended) and tensor.dim()]
        if here:
            raise RuntimeError(f"{func}: some of its tensors are on the CPU and some on CUDA")
    if func in MAY_INDEX and isinstance(args[0], torch.Tensor) and not isinstance(args[0], Pretended) and there:
        raise RuntimeError(f"{func}: indices on CUDA for a tensor on the CPU")
    wrappers = {id(tensor.own): tensor for tensor in there}
    inner_args, inner_kwargs = tree_map(_inner, (tuple(args), dict(kwargs)))
    if named is not None:
        inner_kwargs["device"] = torch.device("cpu")
    result = func(*inner_args, **inner_kwargs)
    on_device = torch.device(named).type != "cpu" if named is not None else bool(there)
    if func is aten.copy_.default:  # its result is where its first argument is
        on_device = isinstance(args[0], Pretended)

    def outer(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not on_device:
            return value
        return wrappers[id(value)] if id(value) in wrappers else Pretended(value)

    return tree_map(outer, result)


def _inner(value: Any) -> Any:
    return value.own if isinstance(value, Pretended) else value
