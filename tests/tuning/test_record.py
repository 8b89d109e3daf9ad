"""The Pareto front."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simskip.tuning.record import non_dominated

FIGURES = st.integers(1, 3).flatmap(
    lambda m: st.tuples(
        st.integers(0, 25).flatmap(lambda n: arrays(np.float64, (n, m), elements=st.integers(0, 4).map(float))),
        st.lists(st.booleans(), min_size=m, max_size=m),
    )
)


def beats(one, other, minimised):
    signs = np.where(minimised, 1, -1)
    return bool((one * signs <= other * signs).all() and (one * signs < other * signs).any())


@given(FIGURES)
def test_the_front_is_what_nothing_beats(both):
    figures, minimised = both
    front = non_dominated(figures, minimised)
    assert front.shape == (len(figures),)
    assert front.any() == (len(figures) > 0)
    for i, row in enumerate(figures):
        assert front[i] == (not any(beats(other, row, minimised) for other in figures))
