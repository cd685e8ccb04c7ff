"""What a crawl's captchas cost and what came of them, as a page, as JSON or as text.

From events to a page: ``recorder`` -> ``record`` (sums, which add up) -> ``figures`` -> ``tables`` and ``charts`` -> ``page``. What writes
the page (the extra ``report``) is imported when it is written.
"""

from __future__ import annotations
