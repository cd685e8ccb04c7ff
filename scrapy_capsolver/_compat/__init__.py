"""Every undocumented name of Scrapy, Twisted and treq that the package touches, each checked when a spider opens.

A module for each subject goes on without what its names are needed for. Nothing else touches such a name, and nothing here
imports the rest of the package.
"""
