"""Captchas that are a picture of text. The flag says which picture, and where the answer goes.

Source: docs.capsolver.com/guide/recognition/ImageToTextTask
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError
from scrapy_capsolver.families.base import TaskType
from scrapy_capsolver.families.recognition import Recognition
from scrapy_capsolver.families.solution import read_answer, read_token
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Mapping


class ImageToText(Recognition):
    name = "image_to_text"
    images = ("body", "images")
    solution_key = "text"
    solution_keys = frozenset({"text", "answers", "confidence"})
    types: Mapping[str, TaskType] = {
        "ImageToTextTask": TaskType(
            required=frozenset(),
            optional=frozenset({"module", "score", "case"}),
            one_of=(frozenset({"body", "images"}),),
            shown_by=frozenset({"selector", "body", "images"}),
            kinds={"images": list, "score": float, "case": bool},
            own=frozenset({"selector"}),  # where the image is
            price=0.4,
        )
    }

    def sources(self, fields: Mapping[str, Any]) -> Mapping[str, str]:
        """The module ``number`` reads several images at a time, and no other does."""
        if "body" in fields or "images" in fields:
            return {}
        return {"selector": "images" if fields.get("module") == "number" else "body"}

    def check(self, fields: Mapping[str, Any]) -> None:
        if "images" in fields and fields.get("module") != "number":
            raise CaptchaConfigurationError(
                'images: ImageToTextTask takes them with "module": "number" alone; else "body"'
            )
        if "images" in fields and "body" in fields:
            raise CaptchaConfigurationError('images: ImageToTextTask takes either them or "body", not both')

    def main(self, solution: Mapping[str, Any]) -> str | None:
        """Return the text, which may come as a number; or the answers of the module ``number``."""
        text = read_token(solution, "text", numbers=True)
        return read_answer(solution, ("answers",)) if text is None else text

    def value(self, solution: Mapping[str, Any]) -> str:
        return TokenFamily.value(self, solution)  # which names the one key that there should be
