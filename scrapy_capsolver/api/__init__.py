"""The wire: CapSolver's HTTP API over treq. Knows HTTP and JSON, no Scrapy, and no captcha beyond the task's dict."""
