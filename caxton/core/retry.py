"""How long to wait before the next attempt."""

from random import Random

_MAX_EXPONENT = 1000.0  # beyond it a float overflows; the cap has long been reached


def backoff(attempt: int, base: float, factor: float, cap: float, rng: Random) -> float:
    """Seconds to wait before attempt number *attempt* (0 is the first repetition).

    The wait grows from *base* by *factor* up to *cap*, and is then drawn from its upper half: those who failed together
    do not come back together, and nobody comes back at once.
    """
    if attempt < 0 or base < 0 or factor < 1 or cap < 0:
        raise ValueError(f"attempt {attempt}, base {base} and cap {cap} must be 0 or more, factor {factor} 1 or more")
    try:
        longest = min(cap, base * factor ** min(float(attempt), _MAX_EXPONENT))
    except OverflowError:
        longest = cap if base else 0.0
    return rng.uniform(longest / 2, longest)
