"""What goes where: cookies, credentials and solutions, from every place that the plugin sends a request from.

========================  ==============================  ==========================================================
Sent from                 When                            To another origin
========================  ==============================  ==========================================================
``forms.submit``          a solution goes into a form     never: refused before anything is bought
``inject.place``          the flag says where it goes     never: the author's own request
``downloads.fetch_part``  an image, ``challengeUrl``      nothing of the crawl's own; an image only within its site
``downloads.fetch_page``  the page is looked at again     nothing of the crawl's own
``state.back_to_origin``  after a detour, or a rejection  never: the page first asked for
Scrapy's redirects        of a request with a solution    without the solution, and by Scrapy's own rules
Scrapy's meta refresh     of a page that was opened       without the solution, and by Scrapy's own rules
``ClearanceInjector``     of any flagged request          clearances of that site and port only
========================  ==============================  ==========================================================
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.errors import UnsupportedCaptchaError
from tests.crawls import Crawl, bought, crawl, simulator
from tests.origins import OTHER, PARENT, SIBLING, WWW, Answer, Asked, World, world

# Scrapy 2.13 calls Twisted in this way for https.
pytestmark = pytest.mark.filterwarnings("ignore:Passing method to twisted:DeprecationWarning")

AUTH, API_KEY, SESSION = "Bearer SECRETAUTH", "SECRETAPI", "HOSTONLY"
SECRETS = ("SECRETAUTH", SESSION)
OPEN: Answer = (200, {}, "<p class=product>open</p>")
IMAGE = {"type": "ImageToTextTask", "selector": "img#c", "inject": {"form": "answer"}}
TARGETS = {
    "another host of the site": lambda here: here.url("/x", SIBLING),
    "the host above": lambda here: here.url("/x", PARENT),
    "another site": lambda here: here.url("/x", OTHER),
    "another port": lambda here: here.url("/x", port=here.other_port),
    "https": lambda here: here.url("/x", scheme="https"),
}


def asking(here: World, path: str, flag: Any, **meta: Any) -> Request:
    """A flagged request with credentials, in a session that is bound to its host."""
    headers = {"Authorization": AUTH, "X-Api-Key": API_KEY}
    meta = {"capsolver": flag, "cookiejar": path, **meta}
    return Request(here.url(path), headers=headers, cookies={"mine": SESSION}, meta=meta)


def gate(key: str, form: str = "<form method=post action=/verify>", more: str = "") -> Answer:
    """A page that asks for a captcha, and begins a session of its host, with a cookie for all of the site."""
    body = f'<html><head>{more}</head><body>{form}<div class="g-recaptcha" data-sitekey="{key}"></div>'
    cookies = [f"sess={SESSION}; Path=/", "wide=SITE; Domain=shop-one.com; Path=/"]
    return 403, {"Set-Cookie": cookies}, f"{body}<input type=submit></form></body></html>"


def is_bare(asked: Asked, *solutions: str) -> bool:
    """Holds it nothing of the crawl's own, and no solution?"""
    own = asked.headers.keys() & {"cookie", "authorization", "proxy-authorization"}
    return not own and not any(secret in asked.text for secret in (*SECRETS, *solutions))


def tokens(capsolver: Any) -> list[str]:
    return [task.solution["gRecaptchaResponse"] for task in capsolver.tasks.values() if task.solution]


# Forms


WAYS = {
    "action": '<form method=post action="{0}">',
    "by GET": '<form action="{0}">',
    "a button": '<form method=post><button type=submit formaction="{0}">Go</button>',
    "base": '<base href="{0}"><form method=post action="v">',
    "without a scheme": '<form method=post action="{1}">',
    "a user before it": '<form method=post action="{2}">',
    "upper case and blanks": '<form method=post action=" \n{3} ">',
}


@pytest.mark.parametrize("target", TARGETS)
@deferred_f_from_coro_f
async def test_a_form_of_another_origin_is_not_sent(target: str) -> None:
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        url = TARGETS[target](here)
        user = url.replace("://", f"://{WWW}:{here.port}@", 1)
        forms = {
            f"/{number}": way.format(url, url.partition(":")[2], user, url.upper())
            for number, way in enumerate(WAYS.values())
            if not (way == WAYS["without a scheme"] and target == "https")
        }
        key = capsolver.site_keys["recaptcha-v2"]
        here.answer = lambda asked: gate(key, forms[asked.path]) if asked.path in forms else OPEN
        done = await crawl(capsolver, [asking(here, path, True) for path in forms])
        assert [type(error) for error in done.errors] == [UnsupportedCaptchaError] * len(forms)
        assert all("another origin" in str(error) for error in done.errors)
        assert sorted(one.path for one in here.asked) == [*forms]
        assert bought(capsolver) == {}


@deferred_f_from_coro_f
async def test_a_form_of_its_own_origin_is_sent_with_the_session_and_the_credentials() -> None:
    """Or the tests here would pass if nothing were ever sent."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        key = capsolver.site_keys["recaptcha-v2"]
        here.answer = lambda asked: gate(key) if asked.path == "/page" else OPEN
        done = await crawl(capsolver, [asking(here, "/page", True)])
        assert done.response.css(".product")
        _, sent = here.asked
        (token,) = tokens(capsolver)
        assert (sent.path, sent.body) == ("/verify", f"g-recaptcha-response={token}")
        assert sent.header("authorization") == AUTH
        assert sorted((sent.header("cookie") or "").split("; ")) == [f"mine={SESSION}", f"sess={SESSION}", "wide=SITE"]


# What is fetched


@pytest.mark.parametrize("target", TARGETS)
@deferred_f_from_coro_f
async def test_an_image_of_another_origin_is_fetched_as_by_a_stranger(target: str) -> None:
    """Or not at all: a page chooses no other site. The session that it sets is not taken up either."""
    default = {"Authorization": AUTH, "X-Api-Key": API_KEY, "Accept-Language": "en"}
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        url = TARGETS[target](here)

        def answer(asked: Asked) -> Answer:
            if asked.path == "/page":
                body = f'<form method=post action=/v><img id=c src="{url}"><input name=answer></form>'
                return 403, {"Set-Cookie": f"sess={SESSION}; Domain=shop-one.com"}, body
            return 200, {"Set-Cookie": "planted=1; Domain=shop-one.com"}, "not an image that is known"

        here.answer = answer
        attributes = {"http_user": "SECRETAUTH", "http_pass": "x", "http_auth_domain": "shop-one.com"}
        done = await crawl(
            capsolver,
            [asking(here, "/page", IMAGE, proxy=None)],
            attributes=attributes,
            DEFAULT_REQUEST_HEADERS=default,
        )
        fetched = [one for one in here.asked if one.path == "/x"]
        assert len(fetched) == (target != "another site")
        for one in fetched:
            assert is_bare(one)
            assert API_KEY not in one.text
            assert one.header("referer") == f"http://{WWW}:{here.port}/"
            assert one.header("accept-language") == "en"
        assert done.crawler is not None
        assert not any("planted" in one.text for one in here.asked)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@deferred_f_from_coro_f
async def test_an_image_on_another_port_of_an_address_is_not_fetched(host: str) -> None:
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        url = here.url("/x", host, port=here.other_port)
        body = f'<form method=post action=/v><img id=c src="{url}"><input name=answer></form>'
        here.answer = lambda asked: (403, {}, body)
        done = await crawl(capsolver, [Request(here.url("/page", host), meta={"capsolver": IMAGE})])
        assert "is on another site" in str(done.error)
        assert [one.path for one in here.asked] == ["/page"]


@deferred_f_from_coro_f
async def test_an_image_of_its_own_origin_is_fetched_in_the_session_of_its_page() -> None:
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        body = "<form method=post action=/v><img id=c src=/x><input name=answer></form>"
        here.answer = lambda asked: (403, {"Set-Cookie": f"sess={SESSION}"}, body) if asked.path == "/page" else OPEN
        await crawl(capsolver, [asking(here, "/page", IMAGE)])
        fetched = here.asked[1]
        assert (fetched.path, fetched.header("authorization")) == ("/x", AUTH)
        assert sorted((fetched.header("cookie") or "").split("; ")) == [f"mine={SESSION}", f"sess={SESSION}"]
        assert fetched.header("referer") == here.url("/page")


@deferred_f_from_coro_f
async def test_a_geetest_challenge_of_another_origin_is_fetched_as_by_a_stranger() -> None:
    """The author names that address; what a browser's script fetches from another origin has no cookies either."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        flag = {"type": "GeeTestTaskProxyLess", "challengeUrl": here.url("/register", OTHER)}
        page = "<script src=https://static.geetest.com/static/tools/gt.js></script><script>initGeetest({}, f)</script>"
        here.answer = lambda asked: (
            (403, {"Set-Cookie": f"sess={SESSION}"}, f"<form method=post action=/v>{page}</form>")
            if asked.path == "/page"
            else (200, {}, '{"gt": "x", "challenge": "y"}')
        )
        await crawl(capsolver, [asking(here, "/page", flag)])
        fetched = here.at(here.url("/", OTHER))
        assert {one.path for one in fetched} == {"/register"}
        assert all(is_bare(one) for one in fetched)


ADDRESSES = {
    "frames": '<iframe src="{0}"></iframe><frame src="{0}"><object data="{0}"></object><embed src="{0}">',
    "scripts": '<script src="{0}challenge.js"></script><script src="{0}jsapi.js"></script><script src="{0}gt.js"></script>',
    "links": '<link rel=stylesheet href="{0}"><link rel=preload href="{0}"><img src="{0}"><a href="{0}">x</a>',
    "addresses in scripts": "<script>var apiServers = ['{0}'], challengeUrl = '{0}', apiDomain = '{0}', u = '{0}problem?x';</script>",
}


@deferred_f_from_coro_f
async def test_nothing_else_that_a_page_names_is_contacted() -> None:
    """Frames, scripts, challenge scripts of AWS WAF, the captcha of DataDome, API servers, headers."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        key, evil = capsolver.site_keys["recaptcha-v2"], here.url("/evil/", SIBLING)
        more = "".join(named.format(evil) for named in ADDRESSES.values())

        def answer(asked: Asked) -> Answer:
            if asked.path != "/page":
                return OPEN
            status, headers, body = gate(key, more=more)
            return status, {**headers, "Link": f'<{evil}>; rel="canonical"', "Content-Location": evil}, body

        here.answer = answer
        done = await crawl(capsolver, [asking(here, "/page", True)])
        assert done.response.css(".product")
        assert [one.path for one in here.asked] == ["/page", "/verify"]


# Redirects


PLACES: dict[str, Any] = {
    "form": True,
    "header": {"inject": {"header": "X-Captcha"}},
    "authorization": {"inject": {"header": "Authorization"}},
    "query": {"inject": {"query": "captcha"}},
    "cookie": {"inject": {"cookie": "captcha"}},
    "json": {"inject": {"json": "captcha"}},
}


def posted(here: World, path: str, place: str, target: str) -> Request:
    request = asking(here, path, PLACES[place], place=place, target=target)
    return request.replace(method="POST", body="{}") if place == "json" else request


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@deferred_f_from_coro_f
async def test_a_redirect_takes_neither_solution_nor_credentials_to_another_origin(status: int) -> None:
    async with simulator(speed=4, solve_seconds=(0.1, 0.5)) as capsolver, world(lambda asked: OPEN) as here:
        key = capsolver.site_keys["recaptcha-v2"]
        targets = [(place, target) for place in PLACES for target in TARGETS]
        paths = {f"/page/{number}": pair for number, pair in enumerate(targets)}
        seen: set[str] = set()

        def answer(asked: Asked) -> Answer:
            number = asked.path.rpartition("/")[2]
            if asked.origin != f"http://{WWW}:{here.port}":
                return OPEN
            if asked.path.startswith("/page/") and asked.path not in seen:
                seen.add(asked.path)
                return gate(key, f"<form method=post action=/verify/{number}>")
            target = TARGETS[paths[f"/page/{number}"][1]](here)
            return status, {"Location": f"{target}/{number}"}, ""

        here.answer = answer
        requests = [posted(here, path, *pair) for path, pair in paths.items()]
        done = await crawl(capsolver, requests, CAPSOLVER_TIMEOUT=300, CLOSESPIDER_TIMEOUT=0)
        assert len(done.responses) == len(paths), done.errors
        solutions = tokens(capsolver)
        assert len(solutions) == len(paths)
        for path, (place, target) in paths.items():
            number = path.rpartition("/")[2]
            _, carrier_fingerprint = [one for one in here.asked if one.path in {path, f"/verify/{number}"}]
            assert any(solution in carrier_fingerprint.text for solution in solutions)
            (followed,) = [one for one in here.asked if one.path == f"/x/{number}"]
            assert not any(solution in followed.text for solution in solutions), (place, target)
            assert "authorization" not in followed.headers, (place, target)
            assert SESSION not in followed.text, (place, target)
            # To another host goes what Scrapy's jar has for it, to another port nothing.
            wide = target in {"another host of the site", "the host above"}
            assert followed.header("cookie") == ("wide=SITE" if wide else None), (place, target)


@pytest.mark.parametrize("status", [302, 307])
@deferred_f_from_coro_f
async def test_a_redirect_within_the_origin_takes_all_along(status: int) -> None:
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        key = capsolver.site_keys["recaptcha-v2"]

        def answer(asked: Asked) -> Answer:
            if asked.path == "/page/" or "captcha=" not in asked.text:
                return OPEN if asked.path == "/page/" else gate(key)
            return status, {"Location": "/page/"}, ""

        here.answer = answer
        done = await crawl(capsolver, [asking(here, "/page", PLACES["cookie"])])
        assert done.response.css(".product")
        _, carrier_fingerprint, followed = here.asked
        (token,) = tokens(capsolver)
        for one in (carrier_fingerprint, followed):
            cookies = sorted((one.header("cookie") or "").split("; "))
            assert cookies == [f"captcha={token}", f"mine={SESSION}", f"sess={SESSION}", "wide=SITE"]
            assert one.header("authorization") == AUTH


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
@pytest.mark.parametrize("target", TARGETS)
@deferred_f_from_coro_f
async def test_a_meta_refresh_takes_no_solution_to_another_origin(place: str, target: str) -> None:
    """Of a page that the solution opened: Scrapy makes it from the request, after the plugin is done with it."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        key = capsolver.site_keys["recaptcha-v2"]
        refresh = f'<meta http-equiv=refresh content="0; url={TARGETS[target](here)}">'

        def answer(asked: Asked) -> Answer:
            if asked.path == "/x":
                return OPEN
            return (
                gate(key) if "captcha" not in asked.text.lower() else (200, {}, f"<html><head>{refresh}</head></html>")
            )

        here.answer = answer
        done = await crawl(capsolver, [asking(here, "/page", PLACES[place])])
        assert done.response.css(".product")
        (followed,) = [one for one in here.asked if one.path == "/x"]
        (token,) = tokens(capsolver)
        assert token not in followed.text
        assert "authorization" not in followed.headers
        assert "_capsolver" not in done.response.meta
        assert "dont_cache" not in done.response.meta
        assert done.ours()["delivered"] == 1


@pytest.mark.parametrize("target", TARGETS)
@deferred_f_from_coro_f
async def test_a_gate_that_a_redirect_led_to_gets_what_is_its_own(target: str) -> None:
    """The form of a gate on another origin is sent there, with that origin's session and without the page's."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        key, url = capsolver.site_keys["recaptcha-v2"], TARGETS[target](here)

        def answer(asked: Asked) -> Answer:
            if asked.path == "/page":
                known = f"passed={SESSION}" in (asked.header("cookie") or "")
                return OPEN if known else (302, {"Location": url, "Set-Cookie": f"first={SESSION}"}, "")
            if asked.path == "/x":
                status, headers, body = gate(key, "<form method=post action=/v>")
                return status, {**headers, "Set-Cookie": "theirs=1"}, body
            return 302, {"Location": here.url("/page"), "Set-Cookie": f"passed={SESSION}"}, ""

        here.answer = answer
        await crawl(capsolver, [asking(here, "/page", True)], CAPSOLVER_RETRY_TIMES=0, REDIRECT_MAX_TIMES=3)
        (sent,) = [one for one in here.asked if one.path == "/v"]
        (token,) = tokens(capsolver)
        assert sent.origin == url.removesuffix("/x")
        assert sent.body == f"g-recaptcha-response={token}"
        assert "theirs=1" in (sent.header("cookie") or "")
        assert "authorization" not in sent.headers
        # A jar knows neither ports nor, for cookies that are not secure, the way from http to https.
        assert (SESSION in sent.text) == (target in {"another port", "https"})
        for one in here.asked:
            if one.origin != f"http://{WWW}:{here.port}":
                assert "authorization" not in one.headers


# Clearances


AWS: Answer = (
    405,
    {"x-amzn-waf-action": "captcha"},
    '<script>window.gokuProps = {"key":"a","iv":"b","context":"c"};</script>',
)
API = {
    "/getBalance": {"errorId": 0, "balance": 1, "packages": []},
    "/createTask": {"errorId": 0, "taskId": "37223a89-06ed-442c-a0b8-22067b79c5b4"},
    "/getTaskResult": {"errorId": 0, "status": "ready", "solution": {"cookie": "CLEARANCE"}},
    "/feedbackTask": {"errorId": 0},
}


@deferred_f_from_coro_f
async def test_a_clearance_goes_to_its_own_site_and_port_only() -> None:
    """Whether a redirect leads there, or the spider's own request."""
    async with simulator() as capsolver, world(lambda asked: OPEN) as here:
        paths = {f"/to/{number}": TARGETS[target](here) for number, target in enumerate(TARGETS)}

        def answer(asked: Asked) -> Answer:
            if asked.path in API:
                return 200, {}, json.dumps(API[asked.path])
            if asked.path not in paths:
                return OPEN
            return (302, {"Location": paths[asked.path]}, "") if "CLEARANCE" in asked.text else AWS

        def parse(done: Crawl, spider: Any, response: Any) -> list[Request]:
            if response.meta["depth"]:
                return []
            return [Request(url, meta={"capsolver": True}, dont_filter=True) for url in paths.values()]

        here.answer = answer
        requests = [Request(here.url(path), meta={"capsolver": True}, dont_filter=True) for path in paths]
        api = here.url("", "127.0.0.1").rstrip("/")
        done = await crawl(capsolver, requests, parse=parse, CAPSOLVER_API_URL=api)
        assert not done.errors
        assert done.ours()["tasks"] == 1
        assert len([one for one in here.asked if "CLEARANCE" in one.text]) == len(paths)
        followed = [one for one in here.asked if one.path == "/x"]
        assert len(followed) == len(paths) * (1 + len(paths))
        assert not [one for one in followed if "CLEARANCE" in one.text]
