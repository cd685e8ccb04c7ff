"""Images of digits to type off, which belong to the session they were shown in.

Source for the task: docs.capsolver.com/guide/recognition/ImageToTextTask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy_capsolver.simulator import images
from scrapy_capsolver.simulator.errors import ApiError, invalid_task
from scrapy_capsolver.simulator.task_types import Fields, Job, TaskType, is_flag, is_number, is_text, is_text_list

from .pictures import PictureGate
from .reading import answer_in

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.visit import Visit

MAX_IMAGES = 9


class ImageGate(PictureGate):
    """One image of six digits."""

    name = "image"
    fields = ("answer",)
    pictures = ("captcha",)
    label = "The digits"

    def shown(self, visit: Visit, ticket: str) -> str:
        return self.picture(visit, ticket, "captcha", {"id": "captcha"}, alt="Type the digits")

    def draw(self, visit: Visit, ticket: str, name: str) -> bytes:
        return images.draw(self.digits(visit, ticket))

    def right(self, visit: Visit, ticket: str, answer: str) -> bool:
        return answer == self.digits(visit, ticket)

    def digits(self, visit: Visit, ticket: str) -> str:
        return f"{self.number(visit, ticket) % 1_000_000:06}"


class NumbersGate(PictureGate):
    """Four images of three digits each, whose answers go into one field, with commas between them."""

    name = "image-numbers"
    fields = ("answers",)
    pictures = tuple("0123")
    label = "The numbers"

    def shown(self, visit: Visit, ticket: str) -> str:
        return "\n".join(self.picture(visit, ticket, name, {"class": "number"}) for name in self.pictures)

    def draw(self, visit: Visit, ticket: str, name: str) -> bytes:
        return images.draw(self.digits(visit, ticket, name))

    def right(self, visit: Visit, ticket: str, answer: str) -> bool:
        wanted = [self.digits(visit, ticket, name) for name in self.pictures]
        return [part.strip() for part in answer.split(",")] == wanted

    def digits(self, visit: Visit, ticket: str, name: str) -> str:
        return f"{self.number(visit, ticket, name) % 1000:03}"


def _solve(job: Job) -> Fields:
    fields = job.fields
    if fields.get("images"):
        if fields.get("body"):
            raise invalid_task("invalid task data: body and images exclude each other")
        if fields.get("module") != "number":
            raise invalid_task("invalid task data: images needs the module number")
        if len(fields["images"]) > MAX_IMAGES:
            raise invalid_task(f"invalid task data: images takes {MAX_IMAGES} at most")
        answers = [_digits(image) for image in fields["images"]]
    elif fields.get("body"):
        answers = [_digits(fields["body"])]
    else:
        raise invalid_task("invalid task data: body is required")
    solution: Fields = {"text": answers[0]}
    if fields.get("module") == "number":
        solution["answers"] = answers
    return solution


def _digits(body: str) -> str:
    text = answer_in(body)
    if not text.isdigit():
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

GATES = (ImageGate(), NumbersGate())
