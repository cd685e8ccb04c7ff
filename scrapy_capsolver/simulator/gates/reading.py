"""How the simulated recognition reads an image of a task: CapSolver's errors, and the answer that the file carries.

Sources: docs.capsolver.com/guide/recognition/ImageToTextTask for the encoding, docs.capsolver.com/guide/api-error.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from typing import Any

from scrapy_capsolver.simulator import images
from scrapy_capsolver.simulator.errors import ApiError


def answer_in(body: str) -> str:
    """Return the text that an image carries; raise :class:`ApiError` if it is no base64, or no image of the site."""
    try:
        # Strict: neither the prefix of a data: address nor a line break is base64.
        image = b64decode(body.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ApiError("ERROR_PARSE_IMAGE_FAIL", "Failed to parse the image") from None
    text = images.read(image)
    if text is None:
        raise _not_recognised()
    return text


def fact_in(body: str, name: str) -> Any:
    """Return what an image, whose text is a JSON object, has under a name; raise as :func:`answer_in` does."""
    try:
        facts = json.loads(answer_in(body))
    except ValueError:
        raise _not_recognised() from None
    if not isinstance(facts, dict) or name not in facts:
        raise _not_recognised()
    return facts[name]


def _not_recognised() -> ApiError:
    return ApiError("ERROR_INVALID_IMAGE", "The image cannot be recognised")
