"""The benchmarks of `caxton benchmark`, one module each, with `measure() -> {"figures", "baseline", "ratios"}`."""

from collections.abc import Sequence

Result = dict[str, dict[str, object]]


def quantile(values: Sequence[float], fraction: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]
