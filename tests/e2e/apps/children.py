"""A script whose children count, made in every way there is; shows the sum when all have ended normally."""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from opentelemetry import metrics

from bext_otel import measuring
from bext_otel.catalogue import CACHE_HITS

things = metrics.get_meter("shop").create_counter("shop.things")


def count(number: int) -> int:
    """Both kinds, as the last thing that a process does."""
    measuring.count(CACHE_HITS, app="shop", layer="isr", by=number)
    things.add(number)
    return number


def shown() -> dict[str, float]:
    import bext_otel

    runs = bext_otel.running()
    assert runs is not None
    reply = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True)
    assert reply is not None
    lines = [
        line.rpartition(" ")
        for line in reply.body.decode().splitlines()
        if line.startswith(("bext_cache_hits_total", "shop_things"))
    ]
    return {name.partition("{")[0]: float(value) for name, _, value in lines}


def main() -> None:
    if sys.argv[1] == "counts":
        count(1)
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        children = [context.Process(target=count, args=(number,)) for number in (10, 200)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [0, 0] == [child.exitcode for child in children]
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert 100_000 == sum(pool.map(count, [1000] * 100))
        print(json.dumps({"method": method, **shown()}), flush=True)


if __name__ == "__main__":
    main()
