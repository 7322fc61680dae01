"""Several activities of one connection, of which the first that ends decides."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["first"]

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
