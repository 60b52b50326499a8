"""What each process of a service sent over OTLP."""

from __future__ import annotations

from collections import defaultdict

from tests.e2e.otlp import Receiver

__all__ = ["by_instance"]


def by_instance(receiver: Receiver, name: str) -> dict[str, float]:
    """The newest total of a cumulative counter, over all its series, by `service.instance.id`."""
    newest: dict[tuple[str, bytes], tuple[int, float]] = {}
    for message in list(receiver.messages):
        for resource in getattr(message, "resource_metrics", ()):
            (instance,) = (
                pair.value.string_value
                for pair in resource.resource.attributes
                if pair.key == "service.instance.id"
            )
            points = [
                point
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name == name
                for point in metric.sum.data_points
            ]
            for point in points:
                key = instance, b"".join(sorted(pair.SerializeToString() for pair in point.attributes))
                found = (point.time_unix_nano, point.as_double or point.as_int)
                newest[key] = max(newest.get(key, (0, 0.0)), found)
    totals: dict[str, float] = defaultdict(float)
    for (instance, _), (_, value) in newest.items():
        totals[instance] += value
    return dict(totals)
