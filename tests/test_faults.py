"""Whatever goes wrong with the API: each request ends once and in time, and nothing is paid that is not told."""

from __future__ import annotations

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from benchmarks.faults import CASES, Case, run


@pytest.mark.parametrize("case", CASES, ids=str)
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
