"""Ordinary settings; the line of ADDONS is all that scrapy-capsolver needs, besides the key."""

BOT_NAME = "shop"
SPIDER_MODULES = ["shop.spiders"]
NEWSPIDER_MODULE = "shop.spiders"

# CAPSOLVER_API_KEY is read from the environment, where it does not end up in a repository.
ADDONS = {"scrapy_capsolver.Addon": 500}

# Say who you are, and obey what the site asks of robots.
USER_AGENT = "scrapy-capsolver-example (put here how to reach you)"
ROBOTSTXT_OBEY = True

# Limits for a site that is our own. A request that waits for its captcha takes no part in them.
CONCURRENT_REQUESTS_PER_DOMAIN = 4
DOWNLOAD_DELAY = 0.05

FEEDS = {"%(name)s.jsonl": {"format": "jsonlines", "encoding": "utf-8", "overwrite": True}}

TELNETCONSOLE_ENABLED = False
LOG_LEVEL = "INFO"
