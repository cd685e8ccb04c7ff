"""Which requests are the plugin's business: what their author flagged, within the domains that are allowed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scrapy.http.request import NO_CALLBACK

from scrapy_capsolver._request.flag import META_KEY, PLAIN, Flag, parse_flag
from scrapy_capsolver._utils.urls import host_of
from scrapy_capsolver.errors import CaptchaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request, Spider

logger = logging.getLogger(__name__)

_UNSET = object()


class FlagReader:
    """Reads the flag of each request, or the one that its spider or CAPSOLVER_AUTO sets for all."""

    def __init__(self, *, auto: bool, allowed_domains: tuple[str, ...], count: Callable[[str], None]) -> None:
        self._default: Flag | CaptchaError | None = PLAIN if auto else None
        self._allowed_domains = allowed_domains
        self._skipped_hosts: set[str] = set()
        self._count = count

    def read_spider(self, spider: Spider) -> None:
        """Take over ``spider.capsolver``. A wrong one is told here, and fails each request that it flags."""
        if not hasattr(spider, META_KEY):
            return
        try:
            self._default = parse_flag(getattr(spider, META_KEY), f"spider.{META_KEY}")
        except CaptchaError as error:
            self._default = error
            logger.error(error.message)

    def of(self, request: Request, url: str, *, first: bool = False) -> Flag | None:
        """What the author asked for, or None for a request that is none of our business.

        ``url`` is the request's, or its response's; one that is skipped is counted at its ``first`` look. Raises what
        :func:`parse_flag` does.
        """
        value = request.meta.get(META_KEY, _UNSET)
        if value is _UNSET:
            if self._default is None or _is_for_robots(request):
                return None
            if isinstance(self._default, CaptchaError):
                raise type(self._default)(self._default.message) from self._default
            flag: Flag | None = self._default
        else:
            flag = parse_flag(value, f'request.meta["{META_KEY}"]')
        if flag is None or not url.startswith(("http://", "https://")) or not self.allows(url, count=first):
            return None
        return flag

    def allows(self, url: str, *, count: bool = True) -> bool:
        """Is it in CAPSOLVER_ALLOWED_DOMAINS? One that is not is told, and counted where ``count`` says so."""
        domains = self._allowed_domains
        if not domains:
            return True
        host = host_of(url)
        if any(host == domain or host.endswith(f".{domain}") for domain in domains):
            return True
        if count:
            self._count("skipped/domain")
        if host not in self._skipped_hosts:
            self._skipped_hosts.add(host)
            logger.info("Leaving %s alone: it is not in CAPSOLVER_ALLOWED_DOMAINS", host)
        return False


def _is_for_robots(request: Request) -> bool:
    """robots.txt, as RobotsTxtMiddleware asks for it."""
    return request.callback is NO_CALLBACK and bool(request.meta.get("dont_obey_robotstxt"))
