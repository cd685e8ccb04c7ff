"""Records of crawls that never were, with all that a report can hold; and with what it must not run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from scrapy_capsolver.errors import CaptchaTimeoutError, UnsolvableCaptchaError
from scrapy_capsolver.report.recorder import Recorder
from scrapy_capsolver.solving.ledger import Receipt
from scrapy_capsolver.solving.solver import Solved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy_capsolver.report.record import Record

START = 1_790_000_000.0  # Unix seconds
FAMILIES = {"recaptcha_v2": 800_000, "turnstile": 1_200_000, "datadome": 2_500_000, "image_to_text": 400_000}
SITES = ("shop.example", "books.example", "a-host-with-a-very-long-name-of-many-letters.example", "127.0.0.1")

# Each would run, fetch, break out of its place, or move a cursor, if it were not escaped.
PLANTED = (
    "<script>document.title='PWNED'</script>",
    "</script></style></svg></title><script>document.title='PWNED'</script>",
    "\"'><img src=//planted.example/x.png onerror=\"document.title='PWNED'\">",
    "<svg onload=\"document.title='PWNED'\"><!--",
    "]]><![CDATA[{{ 7 * 7 }}{% raw %}&lt;b&gt;&#60;",
    "\x1b[2J\x1b]0;PWNED\x07\x00\r\n\x85\u202etxt.exe\u2028\ud800\ufffe",
    "x" * 3000,
)


def receipt(
    site: str = "shop.example", family: str = "recaptcha_v2", nano: int | None = 800_000, task_type: str = "T"
) -> Receipt:
    return Receipt("id", task_type, site, family, nano)


def solved(of: Receipt, seconds: float, pick_up: float | None = None) -> Solved:
    return Solved({"token": "SECRET-TOKEN"}, of, 1, seconds, 3, 0.0, pick_up)


def crawl_of(requests: int, seed: int = 1, sites: Sequence[str] = SITES, spider: str = "shop") -> Record:
    """A crawl in which of everything there is something, once ``requests`` are some hundred."""
    dice = random.Random(seed)
    now = [START]
    recorder = Recorder(lambda: now[0])
    for _ in range(requests):
        now[0] += dice.expovariate(1)
        family = dice.choice(list(FAMILIES))
        one = receipt(dice.choice(sites), family, FAMILIES[family])
        fate = dice.random()
        if fate < 0.05:
            recorder.booked(one, "failed")
            recorder.failed(
                UnsolvableCaptchaError(f"{family} at {one.site}: no", code="ERROR_CAPTCHA_UNSOLVABLE"), family
            )
            continue
        if fate < 0.08:
            recorder.booked(one, "possibly_paid")
            recorder.failed(CaptchaTimeoutError(f"{family} at {one.site}: too late"), family)
            continue
        recorder.booked(one, "solved")
        recorder.solved(solved(one, dice.lognormvariate(2, 0.4), dice.lognormvariate(-0.5, 0.5)))
        if family == "image_to_text":
            recorder.handed_over(one)
        elif fate < 0.9:
            recorder.accepted(one)
        else:
            recorder.booked(one, dice.choice(["rejected", "rejected", "expired", "undelivered"]))
    stats = {
        "capsolver/tasks": requests,
        "capsolver/tasks/failed/ERROR_CAPTCHA_UNSOLVABLE": 7,
        "capsolver/tasks/refused/ERROR_RATE_LIMIT": 3,
        "capsolver/balance_usd": 12.5,
        "item_scraped_count": 9,
    }
    return recorder.finish(spider, "finished", stats)


def planted() -> Record:
    """All that comes from outside is hostile."""
    recorder = Recorder(lambda: START)
    for text in PLANTED:
        one = receipt(text, text, 1_000_000, text)
        recorder.booked(one, "solved")
        recorder.booked(one, "rejected")
        recorder.accepted(one)
        recorder.handed_over(one)
        recorder.booked(receipt(text, text, None, text), "solved")
        recorder.solved(solved(one, 3.0, 1.0))
        recorder.failed(UnsolvableCaptchaError(text, code=text), text)
    stats = {f"capsolver/tasks/{kind}/{text}": 1 for kind in ("refused", "failed") for text in PLANTED}
    return recorder.finish(PLANTED[0], PLANTED[1], stats)
