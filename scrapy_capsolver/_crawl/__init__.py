"""What exists once per crawl."""
