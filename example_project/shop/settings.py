"""Ordinary settings; the line of ADDONS is all that scrapy-capsolver needs, besides the key."""

from scrapy_capsolver import Addon

BOT_NAME = "shop"
SPIDER_MODULES = ["shop.spiders"]
NEWSPIDER_MODULE = "shop.spiders"

# CAPSOLVER_API_KEY is read from the environment, where it does not end up in a repository.
ADDONS = {Addon: 500}

# Say who you are, and obey what the site asks of robots.
USER_AGENT = "shop (+https://shop.example/put-here-how-to-reach-you)"
ROBOTSTXT_OBEY = True

# For sites of other people. A request that waits for its captcha takes no part in these.
CONCURRENT_REQUESTS_PER_DOMAIN = 1
DOWNLOAD_DELAY = 1

FEEDS = {"%(name)s.jsonl": {"format": "jsonlines", "overwrite": True}}
FEED_EXPORT_ENCODING = "utf-8"

TELNETCONSOLE_ENABLED = False
LOG_LEVEL = "INFO"
