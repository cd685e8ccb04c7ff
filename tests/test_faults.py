"""Whatever goes wrong with the API: each request ends once and in time, and nothing is paid that is not told."""

from __future__ import annotations

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from benchmarks.faults import CASES, CREATE, POLL, Case, run


def _others() -> set[Case]:
    """All but one case of each fault: createTask's and getTaskResult's take turns from fault to fault, so each place has both."""
    others, turns = set(), {}
    for case in CASES:
        call = case.method or {"create": CREATE, "poll": POLL}.get(case.quirk.partition("-")[0], "")
        name = str(case.fault) if case.fault else case.quirk.partition("-")[2].partition("/")[0]
        if call:
            first = turns.setdefault(name, (CREATE, POLL)[len(turns) % 2])
            single = case.fault is not None and case.fault.kind in {"stale", "repeat"}
            if call != first and not single:
                others.add(case)
    return others


OTHERS = _others()


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.grid] * (case in OTHERS)) for case in CASES], ids=str
)
@deferred_f_from_coro_f
async def test_a_fault_loses_no_request_and_no_money(case: Case) -> None:
    result = await run(case)
    assert result.struck
    assert not result.foreign
    assert result.endings == dict.fromkeys(range(case.requests), 1)
    assert result.timing.open == 0
    assert result.money.agrees, result.money
    assert result.timing.over == 0
    if case.polls_alone and "CaptchaTimeoutError" not in result.errors:
        # No task but for tokens that aged while everything had to wait.
        assert result.pages == case.requests
        assert result.money.created == case.requests + result.money.wasted
