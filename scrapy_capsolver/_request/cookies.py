"""The cookies of the visit in which a page was shown.

Forms and image captchas are often bound to a session. If several requests of a crawl meet a gate at once, each may be
given a session of its own, and the last one wins in their common cookie jar. So the cookies of the visit are noted as
they are in the jar, with all that says where they go, and put back just before Scrapy's CookiesMiddleware makes the
``Cookie`` header of the request that carries the solution. Where they go is then for the jar to say.
"""

from __future__ import annotations

from collections import defaultdict
from http.cookiejar import Cookie
from typing import TYPE_CHECKING, Any

from scrapy_capsolver._compat.cookie_jars import jar_of, keeps_cookies, put_into_jar
from scrapy_capsolver._utils.set_cookie import accepted_from, goes_to

if TYPE_CHECKING:
    from collections.abc import Collection

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

_NOTED = ("name", "value", "domain", "domain_specified", "path", "path_specified", "secure", "expires")


def session_of(crawler: Crawler, request: Request, response: Response) -> list[dict[str, Any]]:
    """Return the cookies that were sent with ``request``, as changed by ``response``, as plain data.

    Empty if Scrapy keeps no cookies for the request.
    """
    if not keeps_cookies(crawler, request):
        return []
    issued = {_place(cookie): cookie for cookie in accepted_from(response, request)}
    sent = _sent(request)
    jar = jar_of(crawler, request)
    if jar is None:
        known = {cookie.name for cookie in issued.values()}
        unknown = [_host_only(name, values[0]) for name, values in sent.items() if name not in known]
        return [*map(_noted, issued.values()), *unknown]
    # Where they go is known to the jar only; one that is no longer in it was deleted by the site.
    session, others = [], defaultdict(list)
    for cookie in jar:
        if (fresh := issued.get(_place(cookie))) is not None:
            session.append(_noted(cookie) | {"value": fresh.value})
        elif cookie.name in sent and goes_to(cookie, request.url):
            others[cookie.name].append(cookie)
    for name, cookies in others.items():
        session += _with_values(cookies, sent[name])
    return session


def restore_session(crawler: Crawler, request: Request, session: Collection[dict[str, Any]]) -> None:
    """Put the cookies of a visit back into the jar of ``request``, in place of what other visits left there."""
    if not session or not keeps_cookies(crawler, request):
        return
    if not put_into_jar(crawler, request, [_cookie(noted) for noted in session]):
        request.cookies = [_verbose(noted) for noted in session]


def _with_values(cookies: list[Cookie], sent: list[str]) -> list[dict[str, Any]]:
    """Return cookies of one name with the values that were sent of them, which may have been replaced in the jar since.

    If several of the name were sent, and it cannot be said which value was whose, those that were replaced are left out.
    """
    noted, replaced = [], []
    for cookie in sorted(cookies, key=lambda cookie: -len(cookie.path)):  # the order in which a jar sends them
        if cookie.value in sent:
            sent.remove(cookie.value)
            noted.append(_noted(cookie))
        else:
            replaced.append(cookie)
    if len(replaced) == len(sent):
        noted += [_noted(cookie) | {"value": value} for cookie, value in zip(replaced, sent, strict=True)]
    return noted


def _noted(cookie: Cookie) -> dict[str, Any]:
    return {name: getattr(cookie, name) for name in _NOTED}


def _cookie(noted: dict[str, Any]) -> Cookie:
    return Cookie(
        version=0,
        port=None,
        port_specified=False,
        domain_initial_dot=noted["domain"].startswith("."),
        discard=noted["expires"] is None,
        comment=None,
        comment_url=None,
        rest={},
        **noted,
    )


def _verbose(noted: dict[str, Any]) -> Any:
    """Return a cookie in the form of ``Request.cookies``, from which Scrapy puts it into the jar by itself."""
    domain = {"domain": noted["domain"]} if noted["domain_specified"] else {}
    return {name: noted[name] for name in ("name", "value", "path", "secure")} | domain


def _host_only(name: str, value: str) -> dict[str, Any]:
    """Return a cookie of which no more is known, as one that is for the host of its request only."""
    place = {"domain": "", "domain_specified": False, "path": "/", "path_specified": True}
    return {"name": name, "value": value, **place, "secure": False, "expires": None}


def _place(cookie: Cookie) -> tuple[str, str, str]:
    return cookie.domain, cookie.path, cookie.name


def _sent(request: Request) -> dict[str, list[str]]:
    """Return the values of the ``Cookie`` header by their names, as far as they can be read."""
    values = defaultdict(list)
    for header in request.headers.getlist("Cookie"):
        for pair in header.decode("latin-1").split(";"):
            name, separator, value = pair.strip().partition("=")
            if separator and name:
                values[name].append(value)
    return dict(values)
