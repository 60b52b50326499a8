"""Work of requests that is done in other threads and processes."""

import asyncio
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from typing import Any

from cachetools import LRUCache, cached

# Threads that start within the first request, and processes that are forked in it, serve all others.
pool = ThreadPoolExecutor(1)
processes = {
    method: ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))
    for method in ("fork", "forkserver", "spawn")
}


@cache
def forked() -> Any:
    """A pool of multiprocessing, whose processes are forked at once."""
    return multiprocessing.get_context("fork").Pool(1)


@cached(LRUCache(1000))
def load(key: str) -> str:
    return key


def do(way: str, key: str) -> None:
    """Load something, in one of the ways."""
    if way == "pool":
        pool.submit(load, key).result()
    elif way == "Pool":
        forked().apply(load, (key,))
    elif way in processes:
        processes[way].submit(load, key).result()
    elif way == "run_in_executor":
        asyncio.run(_in_executor(key))
    else:
        thread = (
            threading.Thread(target=load, args=(key,))
            if way == "thread"
            else threading.Timer(0, load, (key,))
        )
        thread.start()
        thread.join()


async def _in_executor(key: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, load, key)
