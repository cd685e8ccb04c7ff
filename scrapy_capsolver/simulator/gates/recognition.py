"""Pictures to choose from and pieces to move: the recognition types but for text.

Sources: docs.capsolver.com/guide/recognition/ReCaptchaClassification, .../AwsWafClassification and .../VisionEngine.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from scrapy_capsolver.simulator import images
from scrapy_capsolver.simulator.errors import ApiError, invalid_task
from scrapy_capsolver.simulator.pages import attributes
from scrapy_capsolver.simulator.task_types import Fields, Job, TaskType, is_text, is_text_list

from .pictures import PictureGate, indexes
from .reading import answer_in, fact_in

if TYPE_CHECKING:
    from scrapy_capsolver.simulator.visit import Visit

RECAPTCHA_QUESTIONS = (
    "/m/0pg52",
    "/m/01bjv",
    "/m/02yvhj",
    "/m/04_sv",
    "/m/013xlm",
    "/m/01jk_4",
    "/m/014xcs",
    "/m/015qff",
    "/m/0199g",
    "/m/015qbp",
    "/m/0k4j",
    "/m/015kr",
    "/m/019jd",
    "/m/0cdl1",
    "/m/09d_r",
    "/m/01pns0",
    "/m/01lynh",
)

_THINGS = (
    "bag",
    "bed",
    "belts",
    "binocular",
    "bucket",
    "chair",
    "clock",
    "cooking pot",
    "curtain",
    "fork",
    "hat",
    "scissors",
    "seat",
    "spoon",
    "suitcase",
    "umbrella",
)
AWS_GRIDS = tuple(f"aws:grid:{thing}" for thing in _THINGS)
AWS_CARS = "aws:toycarcity:carcity"

# For each module: whether it needs the background, whether it needs a question, and what it finds in which image.
_MODULES = {
    "slider_1": (True, False, "distance", "imageBackground"),
    "rotate_1": (False, False, "angle", "image"),
    "rotate_2": (False, False, "angle", "image"),
    "shein": (False, True, "rects", "image"),
    "ocr_gif": (False, False, "text", "image"),
    "space_detection": (False, False, "box", "image"),
}

# How far, in pixels, a slider may miss.
_TOLERANCE = 3


class GridGate(PictureGate):
    """reCAPTCHA's picture of nine, to choose some from; the answer is their indexes, with commas between them."""

    name = "recaptcha-grid"
    fields = ("cells",)
    pictures: tuple[str, ...] = ("grid",)
    label = "The cells"

    def shown(self, visit: Visit, ticket: str) -> str:
        question = self.question(visit, ticket)
        return self.picture(visit, ticket, "grid", {"id": "grid", "data-question": question})

    def draw(self, visit: Visit, ticket: str, name: str) -> bytes:
        facts = {"size": 3, "objects": {self.question(visit, ticket): self.cells(visit, ticket)}}
        return images.noise(json.dumps(facts), 120, 120)

    def right(self, visit: Visit, ticket: str, answer: str) -> bool:
        return indexes(answer) == [str(cell) for cell in self.cells(visit, ticket)]

    def question(self, visit: Visit, ticket: str) -> str:
        return RECAPTCHA_QUESTIONS[self.number(visit, ticket, "question") % len(RECAPTCHA_QUESTIONS)]

    def cells(self, visit: Visit, ticket: str) -> list[int]:
        """Return one to eight of the nine cells."""
        chosen = 1 + self.number(visit, ticket, "cells") % 510
        return [cell for cell in range(9) if chosen >> cell & 1]


class AwsGridGate(GridGate):
    """The nine pictures of AWS WAF, each of one thing."""

    name = "aws-grid"
    pictures = tuple("012345678")

    def shown(self, visit: Visit, ticket: str) -> str:
        cells = "\n".join(self.picture(visit, ticket, name, {"class": "cell"}) for name in self.pictures)
        grid = {"id": "cells", "data-question": self.question(visit, ticket)}
        return f"<div{attributes(grid)}>\n{cells}\n</div>"

    def draw(self, visit: Visit, ticket: str, name: str) -> bytes:
        asked = AWS_GRIDS.index(self.question(visit, ticket))
        there = asked if int(name) in self.cells(visit, ticket) else asked + 1 + int(name)
        return images.noise(json.dumps({"thing": AWS_GRIDS[there % len(AWS_GRIDS)], "cell": name}), 40, 40)

    def question(self, visit: Visit, ticket: str) -> str:
        return AWS_GRIDS[self.number(visit, ticket, "question") % len(AWS_GRIDS)]


class SliderGate(PictureGate):
    """A piece to move into the gap of the background."""

    name = "vision-slider"
    fields = ("distance",)
    pictures = ("piece", "background")
    label = "The distance in pixels"

    def shown(self, visit: Visit, ticket: str) -> str:
        return "\n".join(self.picture(visit, ticket, name, {"id": name}) for name in self.pictures)

    def draw(self, visit: Visit, ticket: str, name: str) -> bytes:
        if name == "piece":
            return images.noise(json.dumps({"piece": ticket}), 40, 40)
        return images.noise(json.dumps({"distance": self.distance(visit, ticket)}), 300, 100)

    def right(self, visit: Visit, ticket: str, answer: str) -> bool:
        try:
            return abs(float(answer) - self.distance(visit, ticket)) <= _TOLERANCE
        except ValueError:
            return False

    def distance(self, visit: Visit, ticket: str) -> int:
        return 40 + self.number(visit, ticket, "distance") % 220


def _ask(fields: Fields, questions: tuple[str, ...]) -> str:
    question: str = fields.get("question") or ""
    if not question:
        raise invalid_task("invalid task data: question empty")
    if question not in questions:
        raise ApiError("ERROR_UNKNOWN_QUESTION", "The question is unknown")
    return question


def _classify_recaptcha(job: Job) -> Fields:
    question = _ask(job.fields, RECAPTCHA_QUESTIONS)
    image = job.fields["image"]
    size, found = fact_in(image, "size"), fact_in(image, "objects").get(question, [])
    if size == 1:
        return {"type": "single", "hasObject": bool(found), "size": 1}
    return {"type": "multi", "objects": found, "size": size}


def _classify_aws(job: Job) -> Fields:
    # The slider, which is another question, is marked as not supported.
    question = _ask(job.fields, (*AWS_GRIDS, AWS_CARS))
    pictures = job.fields.get("images") or []
    wanted = 9 if question in AWS_GRIDS else 1
    if len(pictures) != wanted:
        raise invalid_task(f"invalid task data: images takes {wanted} for this question")
    if question == AWS_CARS:
        return {"box": fact_in(pictures[0], "box")}
    things = [fact_in(picture, "thing") for picture in pictures]
    return {"objects": [index for index, thing in enumerate(things) if thing == question]}


def _see(job: Job) -> Fields:
    fields = job.fields
    if fields["module"] not in _MODULES:
        raise invalid_task("invalid task data: module is invalid")
    needs_background, needs_question, fact, where = _MODULES[fields["module"]]
    if needs_background and not fields.get("imageBackground"):
        raise invalid_task("invalid task data: imageBackground is required")
    if needs_question and not fields.get("question"):
        raise invalid_task("invalid task data: question empty")
    answer_in(fields["image"])
    return {fact: fact_in(fields[where], fact)}


_type = partial(TaskType, price=400, seconds=None)

TASK_TYPES = (
    _type(
        name="ReCaptchaV2Classification",
        solve=_classify_recaptcha,
        required={"image": is_text},
        optional={"question": is_text, "websiteURL": is_text, "websiteKey": is_text},
    ),
    _type(
        name="AwsWafClassification",
        solve=_classify_aws,
        optional={"images": is_text_list, "question": is_text, "websiteURL": is_text},
    ),
    _type(
        name="VisionEngine",
        solve=_see,
        required={"module": is_text, "image": is_text},
        optional={"imageBackground": is_text, "question": is_text, "websiteURL": is_text},
    ),
)

GATES = (SliderGate(), GridGate(), AwsGridGate())
