"""What becomes of a request that is given back to the scheduler: who may send it, and whether it outlives this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.utils.misc import load_object

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

_OURS = "scrapy_capsolver.integrations.scrapy_redis"
_THEIRS = "scrapy_redis.scheduler"


def outlives_the_process(settings: BaseSettings) -> bool:
    """Does a request that is given back when the crawl stops wait there for another run or another worker?"""
    if _THEIRS in _modules(settings):  # it makes nothing of a JOBDIR
        return settings.getbool("SCHEDULER_PERSIST")
    return bool(settings["JOBDIR"])


def keeps_solutions(settings: BaseSettings) -> bool:
    """Does it wait there with the solution in it, which another run then sends?"""
    return outlives_the_process(settings) and _OURS not in _modules(settings)


def shares_requests(settings: BaseSettings) -> str:
    """What is to be said where any worker may get a request that another one has solved a captcha for; "" elsewhere."""
    modules = _modules(settings)
    if _THEIRS not in modules or _OURS in modules:
        return ""
    return (
        f"SCHEDULER is {_name(settings['SCHEDULER'])}: a request that is sent again after its captcha goes through the queue "
        "that all workers share, with the token in it, and another worker may send it, without this one's cookies, "
        f'clearances and address: set SCHEDULER to "{_OURS}.Scheduler", or derive yours from it'
    )


def _modules(settings: BaseSettings) -> set[str]:
    """Where the scheduler and its bases come from. By name: scrapy-redis need not be installed."""
    return {base.__module__ for base in load_object(settings["SCHEDULER"]).__mro__ if base.__name__ == "Scheduler"}


def _name(scheduler: object) -> str:
    return f"{scheduler.__module__}.{scheduler.__qualname__}" if isinstance(scheduler, type) else str(scheduler)
