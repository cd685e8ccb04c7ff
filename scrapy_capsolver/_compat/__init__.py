"""Every undocumented name of Scrapy, Twisted and treq that the package touches, each checked when a spider opens."""
