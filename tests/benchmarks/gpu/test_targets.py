"""What figures say of the targets."""

from benchmarks.dense.cell import FLOOR, GOLD_HYBRID, GOLD_PLAIN, Size, least_bytes
from benchmarks.gpu.tables import missed_lines
from benchmarks.gpu.targets import MET, MISSED, NOT_SHOWN, verdicts

SIZE = "4096:151936/2048:128256/4096"
PAIR = SIZE.partition(":")[2]
RATES = {"kind": "rate", "name": "rate", "cells": {PAIR: {"status": "ok", "rate": 100.0}}}


def way(seconds: float, extra_bytes: float, flop: float = 0.0, **more):
    return {"status": "ok", "seconds": seconds, "extra_bytes": extra_bytes, "product_flop": flop, **more}


def losses(**cells):
    return {"rate": RATES, "losses": {"kind": "losses", "name": "losses", "size": SIZE, "cells": cells}}


def judged(**cells):
    given = {FLOOR: way(1, 1), GOLD_PLAIN: way(30, 1000), GOLD_HYBRID: way(60, 2000)} | cells
    found = verdicts(losses(**given), "bfloat16")
    return {(one.way, one.target.partition(":")[0]): (one.value, one.verdict) for one in found}


def test_a_way_that_meets_all():
    found = judged(simct=way(10, 100, 600))
    assert found == {
        ("simct", "of the bare rate"): (0.6, MET),
        ("simct", "times faster than GOLD"): (3.0, MET),
        ("simct", "times less memory than GOLD"): (10.0, MET),
    }


def test_a_way_that_misses_all_beside_the_better_form_of_gold():
    found = judged(simct=way(10.1, 101, 600))
    assert [verdict for _, verdict in found.values()] == [MISSED] * 3
    assert found["simct", "times faster than GOLD"][0] == 30 / 10.1


def test_a_bound_that_is_below_the_target_shows_nothing():
    late, full = {"status": "time-out", "seconds_at_least": 20.0}, {"status": "out of memory"}
    computed = least_bytes(GOLD_PLAIN, Size.parse(SIZE), "bfloat16")
    given = {GOLD_PLAIN: late, GOLD_HYBRID: full}
    found = judged(simct=way(10, computed / 9, 600), **given)
    assert found["simct", "times faster than GOLD, a lower bound"] == (2.0, NOT_SHOWN)
    assert found["simct", "times less memory than GOLD, a lower bound"] == (9.0, NOT_SHOWN)
    found = judged(simct=way(1, computed / 10, 600), **given)
    assert [verdict for _, verdict in found.values()] == [MET] * 3
    found = judged(simct=way(1, 1, 600), **{GOLD_PLAIN: full, GOLD_HYBRID: full})
    assert found["simct", "times faster than GOLD"] == (None, NOT_SHOWN)


def test_gold_that_failed_is_no_reference():
    failed = {"status": "failed", "reason": "any"}
    found = judged(simct=way(10, 100, 600), **{GOLD_PLAIN: failed, GOLD_HYBRID: failed})
    assert found["simct", "times faster than GOLD"] == (None, NOT_SHOWN)
    assert found["simct", "times less memory than GOLD"] == (None, NOT_SHOWN)


def test_a_way_of_ours_without_figures_misses_and_one_of_others_is_not_judged():
    failed = {"status": "failed", "reason": "an error"}
    found = judged(simct=failed, cut_cross_entropy=failed, liger_jsd=way(1, 1, 1))
    assert found == {("simct", "no figures"): (None, MISSED)}


def test_without_the_bare_rate_nothing_is_shown_to_be_near_it():
    given = {FLOOR: way(1, 1), GOLD_PLAIN: way(30, 1000), "simct": way(10, 100, 600)}
    rates = RATES | {"cells": {PAIR: {"status": "failed", "reason": "CUDA error"}}}
    found = verdicts(losses(**given) | {"rate": rates}, "bfloat16")
    assert missed_lines(found) == [
        f"missed: rate, {PAIR}: no figures: CUDA error",
        "not shown: losses, simct: of the bare rate: nothing to compare with",
    ]


def test_a_way_whose_products_were_not_counted_is_not_shown():
    assert judged(simct=way(10, 100, 0))["simct", "of the bare rate"] == (None, NOT_SHOWN)


def test_sampled_is_judged_by_the_rate_alone():
    assert judged(sampled=way(10, 1e9, 500)) == {("sampled", "of the bare rate"): (0.5, MISSED)}


def test_a_way_that_computes_something_else_misses():
    found = judged(simct=way(10, 100, 600, agreement={"value": 0.2, "gradient": 0.0}))
    assert found["simct", "differs from the naive form"] == (None, MISSED)


def test_the_rest_of_a_step():
    cells = {"transformers": {"status": "ok", "share_of_rest": 0.03}, "vllm": {"status": "ok", "share_of_rest": 0.02}}
    found = verdicts({"step": {"kind": "step", "name": "step", "cells": cells}}, "bfloat16")
    assert missed_lines(found) == ["missed: step, transformers: 0.03 of a step is the rest: at most 0.02"]


def test_steps_without_figures_meet_nothing():
    cells = {"transformers": {"status": "time-out"}, "vllm": {"status": "skipped", "reason": "it is not installed"}}
    found = verdicts({"step": {"kind": "step", "name": "step", "cells": cells}}, "bfloat16")
    assert missed_lines(found) == [
        "missed: step, transformers: no figures: time-out",
        "not shown: step, vllm: no figures: it is not installed",
    ]
