"""What happens to one request, in Scrapy's terms."""
