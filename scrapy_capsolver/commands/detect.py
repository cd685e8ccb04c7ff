"""Tell which captcha a page or an HTML file shows, and how to flag it; costs nothing.

Fetches the page as a crawl of this project would, or reads a file that holds one. Says which
captchas it shows, whether they block it or are a widget of it, why, with which parameters, and
the flag to write in the spider. Makes no call to CapSolver.

  scrapy capsolver detect https://shop.example/products
  scrapy capsolver detect page.html --url https://shop.example/products --status 403
  curl -s https://shop.example/products | scrapy capsolver detect - --json
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy import Request, Spider
from scrapy.http import HtmlResponse

from scrapy_capsolver._request.detection import detect_challenge
from scrapy_capsolver._request.flag import META_KEY, PLAIN
from scrapy_capsolver._request.task_builder import needs_proxy
from scrapy_capsolver.commands._console import complain, fail, literal, printable, say, say_json
from scrapy_capsolver.commands._crawl import FetchError, crawl, is_address, request_of, why
from scrapy_capsolver.errors import CaptchaError
from scrapy_capsolver.families import PRICES, Challenge, detect, family
from scrapy_capsolver.families._page.page import MAX_BYTES
from scrapy_capsolver.order import ORDER

if TYPE_CHECKING:
    import argparse

    from scrapy.http import Response
    from scrapy.settings import Settings

_SHOWN = 100  # characters of a parameter; JSON has all of them
_NOWHERE = "https://page.invalid/"


class Look:
    """Downloader middleware in the plugin's place: a page with a captcha is what the spider gets."""

    def process_response(self, request: Request, response: Response, spider: Spider | None = None) -> Response:
        if detect(response):
            request.meta.update({"dont_retry": True, "dont_redirect": True})
        return response


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="URL|FILE", help="an http(s) address; or a file with HTML, - for standard input"
    )
    parser.add_argument("--url", default=_NOWHERE, help="where the file came from")
    parser.add_argument("--status", type=int, default=200, help="the HTTP status that it came with (default: 200)")
    parser.add_argument("--proxy", help="fetch the page by this proxy")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        if is_address(arguments.source):
            response = _fetch(settings, request_of(arguments.source, {META_KEY: False}, arguments.proxy))
        elif not is_address(arguments.url) or not 100 <= arguments.status <= 599:
            complain("--url takes an http(s) address, and --status a number from 100 to 599")
            return 2
        else:
            response = _read(arguments.source, arguments.url, arguments.status)
    except FetchError as error:
        return fail(error, as_json=arguments.json)
    found = [_describe(challenge, response) for challenge in detect(response)]
    if arguments.json:
        say_json({"url": response.url, "status": response.status, "captchas": found})
        return 0
    say(f"{'the file' if response.url == _NOWHERE else response.url} (status {response.status})")
    for one in found:
        say()
        _show(one)
    if not found:
        say("no captcha found")
        say("Pictures are found by a flag that selects them: see the documentation of ImageToTextTask.")
    return 0


def _fetch(settings: Settings, request: Request) -> Response:
    changes = {
        # The plugin itself would ask for the balance.
        "CAPSOLVER_ENABLED": False,
        "DOWNLOADER_MIDDLEWARES": {**settings.getdict("DOWNLOADER_MIDDLEWARES"), Look: ORDER},
        "TWISTED_REACTOR_ENABLED": True,
    }
    _, spider = crawl(settings, request, changes)
    if spider.response is None:
        assert spider.error is not None
        raise FetchError(f"the page did not come: {why(spider.error)}")
    return spider.response


def _read(path: str, url: str, status: int) -> Response:
    try:
        if path == "-":
            body = sys.stdin.buffer.read(MAX_BYTES)
        else:
            with Path(path).open("rb") as file:
                body = file.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FetchError(f"{path}: {reason}; an address begins with http:// or https://") from error
    return HtmlResponse(url, status=status, body=body)


def _describe(challenge: Challenge, response: Response) -> dict[str, Any]:
    """JSON-able. ``flag`` is the shortest that has this captcha solved."""
    told: dict[str, Any] = {
        "family": challenge.family,
        "blocked": challenge.blocked,
        "reasons": list(challenge.reasons),
        "type": challenge.type or None,
        "parameters": dict(challenge.params),
        "price_usd_per_1000": PRICES.get(challenge.type),
        "needs_proxy": bool(challenge.type) and needs_proxy(family(challenge.family), challenge.type, PLAIN),
        "flag": None,
        "notes": [],
    }
    if challenge.refusal:
        told["notes"].append(challenge.refusal)
        return told
    told["flag"] = _shortest_flag(challenge, response)
    try:
        family(challenge.family).rehearse(Request(response.url), challenge, None)
    except CaptchaError as error:
        told["notes"].append(error.message)
    return told


def _shortest_flag(challenge: Challenge, response: Response) -> Any:
    found = detect_challenge(response, PLAIN, tried=False)
    return True if found is not None and found.family == challenge.family else {"type": challenge.type}


def _show(told: dict[str, Any]) -> None:
    say(f"{told['family']}, {'which blocks the page' if told['blocked'] else 'a widget of the page'}")
    for reason in told["reasons"]:
        say(f"  because    {reason}")
    if told["type"]:
        price = told["price_usd_per_1000"]
        say(f"  task       {told['type']}, {'price not known' if price is None else f'{price:.2f} USD per 1000'}")
    for name, value in told["parameters"].items():
        say(f"  parameter  {printable(name, _SHOWN)}: {printable(value, _SHOWN)}")
    if told["needs_proxy"]:
        say("  proxy      needed, and CapSolver must reach it: request.meta['proxy']")
    for note in told["notes"]:
        say(f"  note       {note}")
    if told["flag"] is not None:
        say(f'  flag       meta={{"{META_KEY}": {literal(told["flag"])}}}')
