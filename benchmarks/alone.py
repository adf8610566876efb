"""A measurement in a process of its own: threads of two programs that take turns in one would slow both."""

from collections.abc import Callable
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def alone(measure: Callable[Arguments, Result], *arguments: Arguments.args, **more: Arguments.kwargs) -> Result:
    """What `measure` returns in a new process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments, more)
