"""How long detection takes for 100 KB of each kind of page, and what it says of the corpus in ``tests/pages``."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from scrapy.http import HtmlResponse

from scrapy_capsolver.families import FAMILIES, Page, detect
from tests.families.corpus import CORPUS, PAGES, expected_family, response_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 100_000
V2 = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"
TURNSTILE = "0x4AAAAAAADnPIDROrmt1Wwj"
TAG = f'<div class="g-recaptcha" data-sitekey="{V2}"></div><div class="cf-turnstile" data-sitekey="{TURNSTILE}"></div>'
CALLS = f"grecaptcha.render('a', {{sitekey: '{V2}'}}); turnstile.render('#b', {{sitekey: '{TURNSTILE}'}});"
WORDS = (
    "grecaptcha.render turnstile.render data-sitekey g-recaptcha initGeetest(  _cf_chl_opt captcha-delivery.com "
    "gokuProps awswaf.com /cdn-cgi/challenge-platform/ x-amzn-waf-action mtcaptchaConfig botdeflector geetest "
)


def plain_page() -> str:
    row = '<li class="item"><a href="/item/{0}">Item {0}</a> <span>A short text about it, {0}.</span></li>\n'
    return _filled("<html><body><ul>", (row.format(number) for number in range(SIZE)), "</ul></body></html>")


def hostile() -> dict[str, str]:
    """Pages made to be slow, each with a captcha of ours so that nobody stops early."""
    script = f"<script>{{}};{CALLS}</script>{TAG}".replace
    return {
        "10,000 strings": script("{}", _fill("a='b';")),
        "10,000 comments": script("{}", _fill("/*b*/ a;")),
        "strings of no length": script("{}", _fill('""')),
        "regular expressions": script("{}", _fill("a=/b/;")),
        "5,000 scripts": _fill("<script>a='b'</script>") + script("{}", ""),
        "5,000 nested divs": "<div>" * 5000 + "x" * (SIZE - 60_000) + TAG + "</div>" * 5000,
        "nested divs, scripts in it": "<div>" * 5000 + _fill("<script src=/a></script>", SIZE - 60_000) + TAG,
        "nested templates": _fill("<template>", SIZE // 2) + _fill("<p data-key=a>", SIZE // 2) + TAG,
        "attributes with key": f"<p {_fill('key1=x ', SIZE // 2)}>" + _fill("<p key=x>", SIZE // 2) + TAG,
        "20,000 attributes with key": "".join(f"<p {'key=x '}>" for _ in range(12000)) + TAG,
        "one line of 1 MB": TAG + "x" * 1_000_000,
        "one script of 1 MB": TAG + f"<script>{'x' * 1_000_000}</script>",
        "grecaptcha.render(": f"{TAG}<script>{_fill('grecaptcha.render(')}",
        "grecaptcha.render({": f"{TAG}<script>{_fill('grecaptcha.render({aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ')}",
        "many different renders": TAG
        + "<script>"
        + "".join(f"grecaptcha.render('i{n}',{{sitekey:k{n}}});" for n in range(2400)),
        "renders with forms": TAG
        + "".join(
            f"<form id=i{n}></form><script>grecaptcha.render('i{n}',{{sitekey:'{V2}'}})</script>" for n in range(900)
        ),
        "initGeetest(": f"{TAG}<script>{_fill('initGeetest(')}",
        "dd={": f"{TAG}<script>{_fill('dd={')} captcha-delivery.com",
        "gokuProps={": f"{TAG}<script>{_fill('window.gokuProps={')}",
        "_cf_chl_opt={": f"<script>{_fill('_cf_chl_opt={')}",
        "brackets in an object": f"{TAG}<script>grecaptcha.render('a',{{x:{_fill('[')}}})</script>",
        "site keys of 10 KB": _fill(f'<p class=g-recaptcha data-sitekey="{V2 * 250}"></p>') + TAG,
        "many forms": _fill("<form><input name=a></form>") + TAG,
        "many fields": f"<form>{_fill('<input name=a>')}{TAG}</form>",
        "many hidden fields": f"<form>{_fill('<b><input type=hidden name=a>')}{TAG}</form>",
        "many options": f"<form><select name=a multiple>{_fill('<option selected>')}</select>{TAG}</form>",
        "fieldsets that are disabled": f"<form>{_fill('<fieldset disabled>')}{TAG}</form>",
        "fields that name the form": f"<form id=f>{TAG}</form>" + "<p><b>" * 5000 + _fill("<input form=f>", SIZE // 2),
        "frames with long queries": _fill(
            f'<iframe src="https://www.google.com/recaptcha/api2/anchor?{"&a=b" * 1500}&k={V2}"></iframe>'
        ),
        "many frames": _fill(f'<iframe src="https://www.google.com/recaptcha/api2/anchor?k={V2}"></iframe>'),
        "elements without text": _fill("<b></b>") + TAG,
        "comments of HTML": _fill("<!-- x -->") + TAG,
        "entities": TAG + _fill("&amp;"),
    }


def pages() -> Iterator[tuple[str, HtmlResponse]]:
    plain = plain_page()
    yield "plain article", html(plain)
    yield "plain article, status 403", html(plain, 403)
    yield "article that names each captcha", html(plain.replace("</ul>", f"</ul><pre>{WORDS}</pre>"))
    for name in CORPUS:
        if name.endswith("_gate"):
            gate = response_of(name)
            filler = b"<!-- " + b"word " * ((SIZE - len(gate.body)) // 5) + b"-->"
            yield f"{name}, padded", gate.replace(body=gate.body.replace(b"</body>", filler + b"</body>"))
    for name, page in hostile().items():
        yield name, html(page)
        yield f"{name}, status 403", html(page, 403)


def html(body: str, status: int = 200) -> HtmlResponse:
    return HtmlResponse("https://shop.example/list", status, {"Content-Type": "text/html"}, body.encode())


def time_of(response: HtmlResponse, runs: int, only: str | None = None) -> float:
    """Median, in microseconds for 100 KB (or for the page, if it is smaller)."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        detect(Page(response), only=only)
        taken.append(time.perf_counter() - start)
        if taken[0] > 0.5:
            break
    return statistics.median(taken) * 1e6 * min(1, SIZE * 1.1 / len(response.body))


def by_family() -> Iterator[tuple[str, int, int]]:
    """(family, pages that it rightly sees or leaves, pages where it errs) over the corpus."""
    for family in FAMILIES:
        right = wrong = 0
        for name in CORPUS:
            seen = bool(detect(response_of(name), only=family.name))
            expected = family.name in expected_family(name)
            right += seen == expected
            wrong += seen != expected
        yield family.name, right, wrong


def detection(runs: int) -> None:
    """Time of detection in us for 100 KB of page, by page and by family; then the judgement over the corpus."""
    worst = 0.0
    names = [family.name for family in FAMILIES]
    print(f"{'page':42}{'all':>8}" + "".join(f"{name[:9]:>10}" for name in names))
    for name, response in pages():
        whole = time_of(response, runs)
        worst = max(worst, whole)
        row = "".join(f"{time_of(response, max(3, runs // 5), only):10.0f}" for only in names)
        print(f"{name[:41]:42}{whole:8.0f}{row}", flush=True)
    print(f"slowest: {worst:.0f} us")
    print(f"corpus: {len(CORPUS)} pages in {PAGES.name}")
    for name, right, wrong in by_family():
        print(f"  {name:24}{right:4} right{wrong:4} wrong")


def _fill(piece: str, size: int = SIZE) -> str:
    return piece * (size // len(piece))


def _filled(start: str, rows: Iterator[str], end: str) -> str:
    parts, left = [start], SIZE - len(start) - len(end)
    for row in rows:
        left -= len(row)
        if left < 0:
            break
        parts.append(row)
    return "".join([*parts, end])
