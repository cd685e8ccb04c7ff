"""One line in ADDONS sets everything up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings
    from typing_extensions import Self


class Addon:
    """Puts the middleware in its place, unless the user has given it one, or has switched it off with None."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        from scrapy_capsolver._crawl.placement import is_built, refuse_as_component  # noqa: PLC0415

        if is_built(crawler):
            refuse_as_component(crawler)
            raise NotConfigured
        return cls()

    def update_settings(self, settings: BaseSettings) -> None:
        # Here, not above: they load treq and Scrapy's middlewares, which ``import scrapy_capsolver`` has no need of.
        from scrapy_capsolver.middleware import CapSolverMiddleware  # noqa: PLC0415
        from scrapy_capsolver.order import ORDER  # noqa: PLC0415

        settings.setdefault_in_component_priority_dict("DOWNLOADER_MIDDLEWARES", CapSolverMiddleware, ORDER)
