"""A shop with free pages, and pages behind captchas of every kind."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from form2request import form2request
from scrapy import Request, Spider
from scrapy.http import JsonRequest, Response
from twisted.python.failure import Failure

from scrapy_capsolver import CaptchaError
from shop.items import Product

# The data-sitekey of the shop's pages behind recaptcha-v2.
SITE_KEY = "6LShLVePamrYuScMSXgJkX1eWccTfeEdfxVLVrDW"

# Two pictures: the piece of a slider, and the background with the gap.
SLIDER = {
    "type": "VisionEngine",
    "module": "slider_1",
    "selector": "img#piece",
    "backgroundSelector": "img#background",
}


class ShopSpider(Spider):
    """``scrapy crawl shop -a site=http://...``; ``-a products=5`` takes more of each kind.

    ``-a proxy=http://...`` takes the parts of the shop as well that open only to a visitor with a proxy.
    """

    name = "shop"

    # The parts of the shop, and how a request for a page of each is flagged: request.meta["capsolver"].
    flags: ClassVar[dict[str, Any]] = {
        # Never solve anything here.
        "free": False,
        # Solve the captcha that stands in the way, if there is one. This is what most pages need.
        "recaptcha-v2": True,
        "recaptcha-v2-invisible": True,
        "recaptcha-v2-enterprise": True,
        "recaptcha-v3": True,
        "recaptcha-v3-enterprise": True,
        "geetest-v4": True,
        "mtcaptcha": True,
        # One solve opens all pages of this part: flag each request that may meet the gate.
        "aws-waf": True,
        # The page is behind a captcha if this is missing: where a look at the page does not settle it.
        "turnstile": {"expect": ".product"},
        # Nobody says where a site wants this one's solution: the flag must.
        "botdeflector": {"inject": {"form": "botdeflector-token"}},
        # Any image may be a captcha: say which one is, and which field takes its text.
        "image": {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}},
        "recaptcha-grid": {
            "type": "ReCaptchaV2Classification",
            "selector": "img#grid",
            "questionSelector": "img#grid::attr(data-question)",
            "inject": {"form": "cells"},
        },
        "vision-slider": {**SLIDER, "inject": {"form": "distance"}},
    }

    # These are solved through the request's own proxy, and open to no other.
    proxied_flags: ClassVar[dict[str, Any]] = {"cloudflare": True, "datadome": True}

    def __init__(self, site: str, products: str = "3", proxy: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site.rstrip("/")
        self.products = int(products)
        self.proxy = proxy
        self.allowed_domains = [urlsplit(site).hostname]
        self.failures: list[tuple[str, str]] = []

    async def start(self) -> AsyncIterator[Request]:
        yield Request(f"{self.site}/", self.parse)
        for request in self.other_ways():
            yield request

    def other_ways(self) -> Iterator[Request]:
        """Pages for which there is more to say than which captcha they have."""
        # Where a site takes the token elsewhere than in the form of its captcha page, say where.
        yield Request(
            f"{self.site}/header/turnstile/6",
            self.parse_product,
            errback=self.failed,
            meta={"capsolver": {"inject": {"header": "X-Captcha-Token"}}},
        )
        yield JsonRequest(
            f"{self.site}/json/recaptcha-v2/7",
            data={"q": "shoes"},
            callback=self.parse_json,
            errback=self.failed,
            meta={"capsolver": {"type": "ReCaptchaV2TaskProxyLess", "inject": {"json": "captcha.token"}}},
        )
        # Where each request needs a token, solve before it is sent: that saves one request.
        yield Request(
            f"{self.site}/post/recaptcha-v2/8",
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode({"q": "shoes"}),
            callback=self.parse_product,
            errback=self.failed,
            meta={"capsolver": {"type": "ReCaptchaV2TaskProxyLess", "websiteKey": SITE_KEY, "when": "before"}},
        )
        # GeeTest 3 wants a fresh challenge for each attempt: say where the page's script fetches it.
        yield Request(
            f"{self.site}/geetest-v3/9",
            self.parse_product,
            errback=self.failed,
            meta={"capsolver": {"type": "GeeTestTaskProxyLess", "challengeUrl": "/geetest-v3/9/register"}},
        )
        # Without "inject" what CapSolver read off the pictures is for the spider's own code. The pictures belong to a
        # session, which is why this request has a cookie jar of its own.
        yield Request(
            f"{self.site}/vision-slider/10",
            self.parse_slider,
            errback=self.failed,
            meta={"capsolver": SLIDER, "cookiejar": "slider"},
        )

    def parse(self, response: Response) -> Iterator[Request]:
        for part, flag in self.flags.items():
            # A part stands for a site. They share an address, so that each has a cookie jar of its own: else the
            # other parts would wait for the clearance that opens one.
            yield from self.follow_part(response, part, {"capsolver": flag, "cookiejar": part})
        for part, flag in self.proxied_flags.items() if self.proxy else ():
            yield from self.follow_part(response, part, {"capsolver": flag, "cookiejar": part, "proxy": self.proxy})

    def follow_part(self, response: Response, part: str, meta: dict[str, Any]) -> Iterator[Request]:
        for link in response.css(f'nav a[href^="/{part}/"]')[: self.products]:
            yield response.follow(link, self.parse_product, errback=self.failed, meta=meta)

    def parse_product(self, response: Response, *, captcha: bool = False) -> Iterator[Product]:
        yield Product(
            name=response.css(".product::text").get(""),
            price=float(response.css(".price::text").get("nan")),
            url=response.url,
            # What CapSolver gave for this request, or the clearance that it was sent with.
            captcha=captcha or "capsolver_solution" in response.meta,
        )

    def parse_json(self, response: Response) -> Iterator[Product]:
        product = response.json()["product"]
        yield Product(product["name"], float(product["price"]), response.url, "capsolver_solution" in response.meta)

    def parse_slider(self, response: Response) -> Iterator[Request]:
        """The page with the captcha, and the answer to it."""
        distance = response.meta["capsolver_solution"]["distance"]
        form = form2request(response.css("form"), {"distance": str(distance)})
        yield form.to_scrapy(
            self.parse_product,
            errback=self.failed,
            cb_kwargs={"captcha": True},
            meta={"capsolver": False, "cookiejar": response.meta["cookiejar"]},
        )

    def failed(self, failure: Failure) -> None:
        url, reason = failure.request.url, repr(failure.value)
        if isinstance(failure.value, CaptchaError):
            # The message says what happened and what to do; .code, .attempts and .possibly_paid are for programs.
            reason = failure.value.message
        self.logger.error("No page from %s: %s", url, reason)
        self.failures.append((url, reason))
