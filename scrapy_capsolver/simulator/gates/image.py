"""An image of digits to type off, which belongs to the session it was shown in.

Source for the task: docs.capsolver.com/guide/recognition/ImageToTextTask.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator import images
from scrapy_capsolver.simulator.errors import ApiError, invalid_task
from scrapy_capsolver.simulator.pages import Page, attributes
from scrapy_capsolver.simulator.task_types import Fields, Job, TaskType, is_flag, is_number, is_text, is_text_list

from .base import Gate

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.visit import Visit

MAX_IMAGES = 9


class ImageGate(Gate):
    """``?style=data-uri`` has the image inside of the page.

    An image is good for one answer, right or wrong, and only the last one shown in a session for a page counts.
    """

    name = "image"
    field = "answer"
    styles = frozenset({"data-uri"})

    def head(self, visit: Visit) -> str:
        return ""

    def widget(self, visit: Visit) -> str:
        ticket = visit.site.next_ticket()
        visit.site.images[visit.session, visit.number] = ticket
        if "data-uri" in visit.styles:
            source = "data:image/png;base64," + b64encode(images.draw(_answer(visit, ticket))).decode("ascii")
        else:
            source = f"/{self.name}/{visit.number}/captcha.png?id={ticket}"
        picture = {"id": "captcha", "src": source, "alt": "Type the digits"}
        box = {"type": "text", "name": self.field, "id": self.field, "autocomplete": "off"}
        return f"<img{attributes(picture)}>\n<label>The digits: <input{attributes(box)}></label>"

    def refusal(self, visit: Visit, solution: str) -> str | None:
        shown = visit.site.images.get((visit.session, visit.number))
        if shown is None:
            return "unknown"
        if not shown:
            return "used"
        right = solution.strip() == _answer(visit, shown)
        visit.site.images[visit.session, visit.number] = ""
        return None if right else "wrong-answer"

    def below(self, visit: Visit, name: str) -> Page | None:
        if name != "captcha.png":
            return None
        visit.site.count("images_fetched")
        shown = visit.site.images.get((visit.session, visit.number))
        if visit.fresh or not shown or visit.query.get("id") != shown:
            return Page(b"This image is not yours.", status=403, content_type="text/plain; charset=utf-8")
        return Page(images.draw(_answer(visit, shown)), content_type="image/png")


def _answer(visit: Visit, ticket: str) -> str:
    """Return the six digits of an image; nobody has to remember them."""
    return f"{int(visit.secret('image', str(visit.number), ticket)[:12], 16) % 1_000_000:06}"


def _solve(job: Job) -> Fields:
    fields = job.fields
    if fields.get("images"):
        if fields.get("module") != "number":
            raise invalid_task("invalid task data: images needs the module number")
        if len(fields["images"]) > MAX_IMAGES:
            raise invalid_task(f"invalid task data: images takes {MAX_IMAGES} at most")
        answers = [_recognise(image) for image in fields["images"]]
    elif fields.get("body"):
        answers = [_recognise(fields["body"])]
    else:
        raise invalid_task("invalid task data: body is required")
    solution: Fields = {"text": answers[0]}
    if fields.get("module") == "number":
        solution["answers"] = answers
    return solution


def _recognise(body: str) -> str:
    try:
        # Strict: neither the prefix of a data: address nor a line break is base64.
        image = b64decode(body.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ApiError("ERROR_PARSE_IMAGE_FAIL", "Failed to parse the image") from None
    text = images.read(image)
    if text is None:
        raise ApiError("ERROR_INVALID_IMAGE", "The image cannot be recognised")
    return text


TASK_TYPES = (
    TaskType(
        name="ImageToTextTask",
        solve=_solve,
        price=400,
        seconds=None,
        optional={
            "body": is_text,
            "images": is_text_list,
            "module": is_text,
            "websiteURL": is_text,
            "score": is_number,
            "case": is_flag,
        },
    ),
)

GATES = (ImageGate(),)
