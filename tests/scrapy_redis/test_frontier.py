"""What the settings say of a request that is given back to the scheduler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import scrapy_redis.scheduler
from scrapy.settings import Settings

from scrapy_capsolver._compat.schedulers import outlives_the_process, shares_requests
from scrapy_capsolver.integrations import scrapy_redis as ours

THEIRS = "scrapy_redis.scheduler.Scheduler"
OURS = "scrapy_capsolver.integrations.scrapy_redis.Scheduler"


class OfTheirs(scrapy_redis.scheduler.Scheduler):
    pass


class OfOurs(ours.Scheduler):
    pass


@pytest.mark.parametrize(
    ("settings", "outlives"),
    [
        ({}, False),
        ({"JOBDIR": "job"}, True),
        ({"SCHEDULER_PERSIST": True}, False),
        ({"SCHEDULER": THEIRS}, False),
        ({"SCHEDULER": THEIRS, "SCHEDULER_PERSIST": "True"}, True),
        ({"SCHEDULER": THEIRS, "SCHEDULER_PERSIST": "0"}, False),
        ({"SCHEDULER": OURS, "SCHEDULER_PERSIST": True}, True),
        ({"SCHEDULER": OfTheirs, "SCHEDULER_PERSIST": True}, True),
        ({"SCHEDULER": OfOurs, "SCHEDULER_PERSIST": True}, True),
        # scrapy-redis makes nothing of a JOBDIR, and drops its queue at the end.
        ({"SCHEDULER": OURS, "JOBDIR": "job"}, False),
    ],
    ids=str,
)
def test_what_outlives_the_process(settings: dict[str, Any], outlives: bool) -> None:
    assert outlives_the_process(Settings(settings)) is outlives


@pytest.mark.parametrize("scheduler", [THEIRS, OfTheirs, f"{__name__}.OfTheirs"])
def test_that_any_worker_may_get_what_one_has_solved_is_said(scheduler: Any) -> None:
    line = shares_requests(Settings({"SCHEDULER": scheduler}))
    assert "\n" not in line
    assert (scheduler if isinstance(scheduler, str) else f"{__name__}.OfTheirs") in line
    assert f'set SCHEDULER to "{OURS}"' in line


@pytest.mark.parametrize("settings", [{}, {"SCHEDULER": OURS}, {"SCHEDULER": OfOurs}], ids=str)
def test_elsewhere_there_is_nothing_to_say(settings: dict[str, Any]) -> None:
    assert shares_requests(Settings(settings)) == ""


def test_scrapy_redis_is_needed_by_nobody_who_does_not_name_it() -> None:
    code = """
import sys
from scrapy.settings import Settings
from scrapy_capsolver._compat.schedulers import outlives_the_process, shares_requests
import scrapy_capsolver.middleware
for ask in (outlives_the_process, shares_requests):
    ask(Settings({"JOBDIR": "job"}))
assert not {"redis", "scrapy_redis", "twisted.internet.reactor"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
