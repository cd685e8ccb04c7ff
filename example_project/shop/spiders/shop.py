"""A shop with free pages, and pages behind captchas of every kind."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from scrapy import FormRequest, Request, Spider
from scrapy.http import JsonRequest, Response
from twisted.python.failure import Failure

from scrapy_capsolver import CaptchaError
from shop.items import Product

# The data-sitekey of the shop's pages behind recaptcha-v2.
SITE_KEY = "6LShLVePamrYuScMSXgJkX1eWccTfeEdfxVLVrDW"


class ShopSpider(Spider):
    """``scrapy crawl shop -a site=http://...``; ``-a products=5`` takes more of each kind."""

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
        # The page is behind a captcha if this is missing: where a look at the page does not settle it.
        "turnstile": {"expect": ".product"},
        # Any image may be a captcha: say which one is, and which field takes its text.
        "image": {"type": "ImageToTextTask", "selector": "img#captcha", "inject": {"form": "answer"}},
    }

    def __init__(self, site: str, products: str = "3", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site.rstrip("/")
        self.products = int(products)
        self.allowed_domains = [urlsplit(site).hostname]
        self.failures: list[tuple[str, str]] = []

    async def start(self) -> AsyncIterator[Request]:
        yield Request(f"{self.site}/", self.parse)

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
        yield FormRequest(
            f"{self.site}/post/recaptcha-v2/8",
            formdata={"q": "shoes"},
            callback=self.parse_product,
            errback=self.failed,
            meta={"capsolver": {"type": "ReCaptchaV2TaskProxyLess", "websiteKey": SITE_KEY, "when": "before"}},
        )

    def parse(self, response: Response) -> Iterator[Request]:
        for part, flag in self.flags.items():
            for link in response.css(f'nav a[href^="/{part}/"]')[: self.products]:
                yield response.follow(link, self.parse_product, errback=self.failed, meta={"capsolver": flag})

    def parse_product(self, response: Response) -> Iterator[Product]:
        yield Product(
            name=response.css(".product::text").get(""),
            price=float(response.css(".price::text").get("nan")),
            url=response.url,
            captcha="capsolver" in response.flags,
        )

    def parse_json(self, response: Response) -> Iterator[Product]:
        product = response.json()["product"]
        yield Product(product["name"], float(product["price"]), response.url, "capsolver" in response.flags)

    def failed(self, failure: Failure) -> None:
        url, reason = failure.request.url, repr(failure.value)
        if isinstance(failure.value, CaptchaError):
            # The message says what happened and what to do; .code, .attempts and .possibly_paid are for programs.
            reason = failure.value.message
        self.logger.error("No page from %s: %s", url, reason)
        self.failures.append((url, reason))
