"""The table of timers against the plainest model there is."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from caxton.runtime.timers import Timers

OWNERS = st.sampled_from(["ping", "ping#2"])
STEPS = st.one_of(
    st.tuples(st.just("set"), OWNERS, st.integers(1, 4), st.integers(0, 50)),
    st.tuples(st.just("forget"), OWNERS, st.just(0), st.just(0)),
    st.tuples(st.just("tick"), OWNERS, st.just(0), st.integers(0, 60)),
)


@given(st.lists(STEPS, max_size=200))
def test_timers_are_handed_out_once_when_they_are_due(steps: list[tuple[str, str, int, int]]) -> None:
    timers = Timers()
    model: dict[tuple[str, int], int] = {}
    for verb, owner, timer_id, number in steps:
        if verb == "set":
            timers.set(owner, timer_id, number)
            model[owner, timer_id] = number
            if number == 0:
                del model[owner, timer_id]
        elif verb == "forget":
            timers.forget(owner)
            model = {key: due for key, due in model.items() if key[0] != owner}
        else:
            due = sorted((due, *key) for key, due in model.items() if due <= number)
            assert timers.tick(number) == [key[1:] for key in due]
            for _, *key in due:
                del model[key[0], key[1]]
            assert timers.next_due() > number
        assert timers.next_due() == min(model.values(), default=inf)
