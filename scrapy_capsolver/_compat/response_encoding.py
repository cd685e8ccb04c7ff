"""The encoding that a response was given, by a download handler or a middleware.

The public ``encoding`` says it too, but decodes and keeps the whole body if it was given none and the page names none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.http import TextResponse

from scrapy_capsolver._compat.names import Name

if TYPE_CHECKING:
    from scrapy.http import Response

NAMES = (
    Name(
        "TextResponse._encoding",
        used_for="reads a page in the encoding that a download handler or a middleware gave it",
        without="pages are read in the encoding that they, or their headers, name",
        root=lambda _: TextResponse("https://example.com/", encoding="ascii"),
        kind=str,
    ),
)


def given_encoding(response: Response) -> str | None:
    """Return the encoding that ``response`` was given, or None."""
    encoding = getattr(response, "_encoding", None)
    return encoding if isinstance(encoding, str) else None
