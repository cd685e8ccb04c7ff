"""Get past the captcha of one page, and tell what that took; costs one solve.

Crawls the page as a spider of this project would that flags it: by the same middlewares, with
the same key, store and limits. Pays for one solve at most, whatever CAPSOLVER_RETRY_TIMES says.
The solution's values are secrets, and are shown only on --show-token.

  scrapy capsolver solve https://shop.example/products
  scrapy capsolver solve https://shop.example/search --type ReCaptchaV2TaskProxyLess --expect .results
  scrapy capsolver solve https://shop.example/ --flag '{"expect": "h1.product", "proxied": true}'
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from scrapy_capsolver._request.flag import META_KEY, parse_flag
from scrapy_capsolver.commands._console import complain, fail, printable, say, say_json
from scrapy_capsolver.commands._crawl import FetchError, crawl, is_address, request_of, why
from scrapy_capsolver.commands._progress import Progress
from scrapy_capsolver.errors import CaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.middleware import SOLUTION_KEY, SOLVED_FLAG
from scrapy_capsolver.settings import CapSolverSettings, SettingError, is_enabled, read_settings

if TYPE_CHECKING:
    import argparse

    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.settings import Settings

_TITLE = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the page, an http(s) address")
    parser.add_argument("--type", help="CapSolver's task type; without it, what blocks the page is solved")
    parser.add_argument("--expect", metavar="CSS", help="selects something that only the page itself has")
    parser.add_argument("--flag", metavar="JSON", help="the whole flag, as request.meta['capsolver'] takes it")
    parser.add_argument("--proxy", help="the request's proxy")
    parser.add_argument("--show-token", action="store_true", help="show the solution's values")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        flag = _flag(arguments)
        if not is_address(arguments.url):
            raise ValueError("URL: an address begins with http:// or https://")
    except ValueError as error:
        complain(error)
        return 2
    try:
        parse_flag(flag, "the flag")
        if not is_enabled(settings):
            raise SettingError("CAPSOLVER_ENABLED is False: the plugin solves nothing")
        mine = read_settings(settings)
        request = request_of(arguments.url, {META_KEY: flag}, arguments.proxy)
        crawler, spider = crawl(settings, request, _changes(settings, mine), Progress)
    except (SettingError, CaptchaError, FetchError) as error:
        return fail(error, as_json=arguments.json)
    costs = _costs(crawler)
    failure = spider.error if spider.response is None else _nothing_solved(spider.response, mine)
    if failure is not None:
        if not isinstance(failure, CaptchaError):
            failure = FetchError(f"the page did not come: {why(failure)}")
        code = fail(failure, as_json=arguments.json, **costs)
        if not arguments.json and costs["tasks"]:
            complain(f"It cost {_in_words(costs)}.")
        return code
    assert spider.response is not None
    _tell(spider.response, costs, arguments)
    return 0


def _flag(arguments: argparse.Namespace) -> Any:
    """Raises ValueError."""
    flag: Any = {}
    if arguments.flag is not None:
        try:
            flag = json.loads(arguments.flag)
        except (ValueError, RecursionError):
            raise ValueError('--flag is no JSON: it takes such as \'{"type": "ReCaptchaV2TaskProxyLess"}\'') from None
    own = {name: getattr(arguments, name) for name in ("type", "expect") if getattr(arguments, name) is not None}
    if own and isinstance(flag, dict):
        return {**flag, **own}
    if own:
        raise ValueError("--flag is no object: --type and --expect go into one")
    return flag or True


def _changes(settings: Settings, mine: CapSolverSettings) -> dict[str, Any]:
    return {
        "ADDONS": {**settings.getdict("ADDONS"), "scrapy_capsolver.Addon": 500},
        "CAPSOLVER_MAX_SOLVES": 1 if mine.max_solves is None else min(mine.max_solves, 1),
        "CAPSOLVER_RETRY_TIMES": 0,
        "CAPSOLVER_ON_ERROR": "raise",
        "CAPSOLVER_ON_LIMIT": "raise",
    }


def _nothing_solved(response: Response, mine: CapSolverSettings) -> UnsupportedCaptchaError | None:
    if SOLVED_FLAG in response.flags:
        return None
    outside = " (or CAPSOLVER_ALLOWED_DOMAINS leaves it out)" if mine.allowed_domains else ""
    return UnsupportedCaptchaError(
        f"no captcha stood in the way of {_without_query(response.url)} (status {response.status}){outside}: nothing was solved or "
        "paid. `scrapy capsolver detect` tells what is on the page, and the --type of a widget"
    )


def _without_query(url: str) -> str:
    """A solution may be in it, or what the site made of one."""
    path, separator, _ = url.partition("?")
    return path + "?..." * bool(separator)


def _costs(crawler: Crawler) -> dict[str, Any]:
    stats: Any = crawler.stats
    ours = {name.removeprefix("capsolver/"): value for name, value in stats.get_stats().items()}
    seconds = [value for name, value in ours.items() if name.startswith("solve_seconds/")]
    return {
        "tasks": ours.get("tasks", 0),
        "polls": ours.get("polls", 0),
        "solve_seconds": round(sum(seconds), 3) if seconds else None,
        "estimated_cost_usd": None if ours.get("unpriced") else ours.get("estimated_cost_usd", 0.0),
        "possible_cost_usd": ours.get("possible_cost_usd", 0.0),
    }


def _in_words(costs: dict[str, Any]) -> str:
    usd, possible = costs["estimated_cost_usd"], costs["possible_cost_usd"]
    words = "a price that is not known (CAPSOLVER_PRICES)" if usd is None else f"{usd:.4f} USD, by the price table"
    return words + (f", and perhaps {possible:.4f} USD more" if possible else "")


def _tell(response: Response, costs: dict[str, Any], arguments: argparse.Namespace) -> None:
    solution = response.meta.get(SOLUTION_KEY) or {}
    shown = solution if arguments.show_token else {name: shape(value) for name, value in solution.items()}
    title = " ".join(response.css("title::text").get("").split()) if hasattr(response, "text") else ""
    url = response.url if arguments.show_token or response.url == arguments.url else _without_query(response.url)
    if arguments.json:
        page = {"url": url, "status": response.status, "title": title}
        say_json({**costs, "page": page, "solution": shown})
        return
    seconds = costs["solve_seconds"]
    if seconds is None:
        say("opened by a clearance that was held: nothing was solved")
    else:
        say(f"solved     in {seconds:.1f} s, {costs['polls']} poll{'' if costs['polls'] == 1 else 's'}")
    say(f"page       {response.status} {url} {printable(title, _TITLE)}".rstrip())
    for name, value in shown.items():
        say(f"solution   {printable(name, _TITLE)}: {value}")
    say(f"cost       {_in_words(costs)}")


def shape(value: Any) -> str:
    """What a value of a solution is, without the value."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, dict):
        return f"object of {', '.join(printable(name, 40) for name in value)}" if value else "empty object"
    if isinstance(value, list):
        return f"list of {len(value)}"
    return {bool: "true or false", int: "number", float: "number"}.get(type(value), "nothing")
