import pytest

from simskip.evaluation.provenance import Origin
from simskip.evaluation.rows import Row
from simskip.evaluation.verdict import decide

ORIGIN = Origin("Engine", "hamming", n=1000, dim=8, k=25, database="a", queries="b")


def row(name, recall, speedup, kind="codes", *, batch=None, smaller=640.0, read=0.0, half=0.01, **rest):
    values = {
        "recall@25": recall,
        "recall@25 low": recall - half,
        "recall@25 high": recall + half,
        "speedup_single": speedup,
        "speedup_batch": speedup if batch is None else batch,
        "speedup": speedup if batch is None else min(speedup, batch),
        "memory_ratio": smaller,
        "vector_bytes": read,
    }
    description = {"codes": "64-bit codes", "reranked": "64-bit codes + rerank x10"}.get(kind, kind)
    return Row(name, description, kind, ORIGIN, values, **rest)


EXACT = row("exact", 1.0, 1.0, "exact")
CONTROL = row("control", 0.02, float("nan"), "control")


def test_the_sentence_of_one_searcher():
    verdict = decide([EXACT, row("mine", 0.93, 31.4), CONTROL], 25, 0.9)
    assert verdict.sentence == "64-bit codes: Recall@25 0.93 [0.92, 0.94], 31x faster, 640x smaller"
    assert verdict.replace
    assert verdict.row == "mine"


def test_a_rerank_says_what_it_reads():
    verdict = decide([EXACT, row("mine", 0.93, 31.4, "reranked", read=1_280_000), CONTROL], 25, 0.9)
    assert verdict.sentence == (
        "64-bit codes + rerank x10: Recall@25 0.93 [0.92, 0.94], 31x faster, 640x smaller"
        " (the rerank reads 1.28 MB of the stored vectors per query)"
    )


def test_two_different_ratios_are_both_told():
    verdict = decide([EXACT, row("mine", 0.93, 31.4, batch=4.2), CONTROL], 25, 0.9)
    assert "94], 31x faster for one query and 4.2x in batches, 640x" in verdict.sentence
    assert not decide([EXACT, row("mine", 0.93, 31.4, batch=0.9), CONTROL], 25, 0.9).replace


def test_recall_is_not_given_up_for_a_little_speed():
    rows = [EXACT, row("quick", 0.92, 10.0), row("sure", 0.99, 8.1), row("slow", 1.0, 7.9), CONTROL]
    assert decide(rows, 25, 0.9).row == "sure"


def test_of_several_the_fastest_that_qualifies_wins():
    rows = [
        EXACT,
        row("raw", 0.40, 99.0),
        row("deep", 0.99, 8.0, "reranked"),
        row("shallow", 0.94, 20.0, "reranked"),
        row("shallower", 0.92, 22.0, "reranked"),
        row("border", 0.905, 30.0, "reranked"),
        CONTROL,
    ]
    verdict = decide(rows, 25, 0.9)
    assert verdict.row == "shallow"
    assert verdict.sentence.startswith("shallow (64-bit codes + rerank x10): Recall@25 0.94")
    assert decide(rows, 25, 0.95).row == "deep"


def test_equal_speed_goes_to_the_higher_recall_then_to_the_first():
    rows = [EXACT, row("a", 0.95, 5.0), row("b", 0.97, 5.0), row("c", 0.97, 5.0), CONTROL]
    assert decide(rows, 25, 0.9).row == "b"


def test_too_little_recall_stays_with_float():
    verdict = decide([EXACT, row("a", 0.40, 99.0), row("b", 0.88, 50.0), CONTROL], 25, 0.9)
    assert verdict.sentence == (
        "stay with float: the best, b (64-bit codes), reaches Recall@25 0.88 [0.87, 0.89], below the 0.9 asked for"
    )
    assert not verdict.replace
    assert verdict.row == "b"


@pytest.mark.parametrize("speedup", [0.5, 1.0, 1.09])
def test_too_little_speed_stays_with_float(speedup):
    verdict = decide([EXACT, row("a", 0.99, speedup), CONTROL], 25, 0.9)
    assert verdict.sentence.startswith("stay with float: the best, 64-bit codes, reaches Recall@25 0.99")
    assert verdict.sentence.endswith("as fast as exact search")
    assert not verdict.replace
    assert decide([EXACT, row("a", 0.99, 1.1), CONTROL], 25, 0.9).replace
    assert decide([EXACT, row("a", 0.99, 0.3), row("b", 0.98, speedup / 2), CONTROL], 25, 0.9).row == (
        "a" if speedup < 0.6 else "b"
    )


def test_rows_without_an_interval_never_qualify():
    verdict = decide([EXACT, row("a", 1.0, 50.0, half=float("nan")), CONTROL], 25, 0.9)
    assert verdict.sentence.endswith("but one query is too few to judge")


def test_a_failed_control_silences_everything():
    control = row("control", 0.9, float("nan"), "control", flags=["the control scores 0.9"])
    verdict = decide([EXACT, row("a", 0.99, 50.0), control], 25, 0.9)
    assert verdict.sentence == "no verdict: the control scores 0.9"
    assert verdict.row is None
    assert not verdict.replace


def test_disqualified_rows_count_for_nothing():
    fake = row("fake", 1.0, 90.0, "index", disqualified=True)
    assert decide([EXACT, fake, row("a", 0.95, 5.0), CONTROL], 25, 0.9).row == "a"
    assert decide([EXACT, fake, CONTROL], 25, 0.9).sentence.startswith("no verdict: every searcher")


def test_unknown_memory_is_not_praised():
    verdict = decide([EXACT, row("a", 0.99, 50.0, smaller=float("nan")), CONTROL], 25, 0.9)
    assert verdict.sentence == "64-bit codes: Recall@25 0.99 [0.98, 1.00], 50x faster"
