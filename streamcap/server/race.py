"""Several activities of one connection, of which the first that ends decides."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

__all__ = ["first", "gone", "while_there"]

T = TypeVar("T")


async def first(*activities: Coroutine[Any, Any, T]) -> T:
    """Result of the first that ends, in order where several do; the others are cancelled and awaited."""
    tasks = [asyncio.create_task(activity) for activity in activities]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(task for task in tasks if task in done).result()


async def gone(receive: Receive) -> None:
    """Return when the client has left. What it still sends is dropped: a body has to be read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(receive: Receive, activity: Coroutine[Any, Any, T]) -> T | None:
    """Result of an activity, for a client that waits for it; where the client leaves first it is cancelled, and None.

    Args:
        receive: of the request, whose body has been read.
    """
    return await first(activity, gone(receive))
