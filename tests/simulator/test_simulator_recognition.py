from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest
from scrapy.utils.defer import deferred_f_from_coro_f

from scrapy_capsolver.simulator import images

from .visitor import Answer, Caller, Visitor, is_product

if TYPE_CHECKING:
    from scrapy_capsolver.simulator import Simulator

CARS = "/m/0k4j"


def picture(**facts: Any) -> str:
    return b64encode(images.noise(json.dumps(facts), 8, 8)).decode()


async def pictures(visitor: Visitor, page: Answer, tag: str) -> list[str]:
    """The images of the page whose tags match, encoded for a task."""
    found = []
    for source in re.findall(f'<img {tag}[^>]* src="([^"]+)"', page.text):
        if source.startswith("data:"):
            found.append(source.partition(",")[2])
        else:
            image = await visitor.go(source)
            assert image.headers["content-type"] == "image/png"
            found.append(b64encode(image.body).decode())
    return found


async def answer(visitor: Visitor, type_: str, **fields: Any) -> dict[str, Any]:
    created = await Caller(visitor.simulator).create(type_, **fields)
    assert created.status == 200, created.text
    assert created.json["status"] == "ready"
    solution: dict[str, Any] = created.json["solution"]
    return solution


def question(page: Answer) -> str:
    match = re.search('data-question="([^"]+)"', page.text)
    assert match is not None
    return match[1]


async def numbers(visitor: Visitor, page: Answer) -> dict[str, str]:
    images = await pictures(visitor, page, 'class="number"')
    assert len(images) == 4
    answers = (await answer(visitor, "ImageToTextTask", images=images, module="number"))["answers"]
    assert len(answers) == 4
    return {"answers": ", ".join(answers)}


async def grid(visitor: Visitor, page: Answer) -> dict[str, str]:
    [image] = await pictures(visitor, page, 'id="grid"')
    solution = await answer(visitor, "ReCaptchaV2Classification", image=image, question=question(page))
    assert (solution["type"], solution["size"]) == ("multi", 3)
    return {"cells": ",".join(map(str, solution["objects"]))}


async def aws_grid(visitor: Visitor, page: Answer) -> dict[str, str]:
    images = await pictures(visitor, page, 'class="cell"')
    assert len(images) == 9
    solution = await answer(visitor, "AwsWafClassification", images=images, question=question(page))
    assert solution.keys() == {"objects"}
    return {"cells": ",".join(map(str, reversed(solution["objects"])))}


async def slider(visitor: Visitor, page: Answer) -> dict[str, str]:
    [piece] = await pictures(visitor, page, 'id="piece"')
    [background] = await pictures(visitor, page, 'id="background"')
    fields = {"module": "slider_1", "image": piece, "imageBackground": background}
    solution = await answer(visitor, "VisionEngine", **fields)
    assert solution.keys() == {"distance"}
    return {"distance": str(solution["distance"] + 2.5)}


SOLVERS = {"image-numbers": numbers, "recaptcha-grid": grid, "aws-grid": aws_grid, "vision-slider": slider}


@pytest.mark.parametrize("family", SOLVERS)
@pytest.mark.parametrize("style", ["", "data-uri", "widget"])
@deferred_f_from_coro_f
async def test_pictures_are_answered_once(visitor: Visitor, family: str, style: str) -> None:
    for number in range(1, 6):  # Each time another question, and another answer.
        page = await visitor.go(f"/{family}/{number}?style={style}")
        assert page.reason == "missing"
        fields = await SOLVERS[family](visitor, page)
        wrong = await visitor.submit(page, **dict.fromkeys(fields, "999"))
        assert wrong.reason == "wrong-answer"
        # The answer to pictures that are no longer shown is none.
        page = await visitor.go(f"/{family}/{number}?style={style}")
        assert (await visitor.submit(page, **fields)).reason == "wrong-answer"
        page = await visitor.go(f"/{family}/{number}?style={style}")
        fields = await SOLVERS[family](visitor, page)
        assert is_product(await visitor.submit(page, **fields), number)
        assert (await visitor.submit(page, **fields)).reason == "used"


@deferred_f_from_coro_f
async def test_pictures_belong_to_a_session_and_a_gate(visitor: Visitor, simulator: Simulator) -> None:
    page = await visitor.go("/vision-slider/7")
    source = re.search('<img id="piece" src="([^"]+)"', page.text)
    assert source is not None
    assert (await visitor.go(source[1])).status == 200
    assert (await Visitor(simulator).go(source[1])).status == 403
    # Another gate's page of that number is another matter.
    await visitor.go("/recaptcha-grid/7")
    fields = await slider(visitor, page)
    assert is_product(await visitor.submit(page, **fields))
    for path in ("/vision-slider/7/grid.png", "/vision-slider/7/piece.gif", "/vision-slider/7/piece"):
        assert (await visitor.go(path)).status == 404
    nonsense = await visitor.go("/vision-slider/8")
    assert (await visitor.submit(nonsense, distance="far")).reason == "wrong-answer"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"size": 3, "objects": {CARS: [0, 4]}}, {"type": "multi", "objects": [0, 4], "size": 3}),
        ({"size": 4, "objects": {"/m/01bjv": [3]}}, {"type": "multi", "objects": [], "size": 4}),
        ({"size": 1, "objects": {CARS: [0]}}, {"type": "single", "hasObject": True, "size": 1}),
        ({"size": 1, "objects": {}}, {"type": "single", "hasObject": False, "size": 1}),
    ],
)
@deferred_f_from_coro_f
async def test_grids_of_recaptcha(visitor: Visitor, facts: dict[str, Any], expected: dict[str, Any]) -> None:
    solution = await answer(visitor, "ReCaptchaV2Classification", image=picture(**facts), question=CARS)
    assert solution == expected


@deferred_f_from_coro_f
async def test_the_toy_car_city(visitor: Visitor) -> None:
    solution = await answer(
        visitor, "AwsWafClassification", images=[picture(box=[116.7, 164.1])], question="aws:toycarcity:carcity"
    )
    assert solution == {"box": [116.7, 164.1]}


@pytest.mark.parametrize(
    ("module", "fields", "expected"),
    [
        ("slider_1", {"image": picture(a=1), "imageBackground": picture(distance=213)}, {"distance": 213}),
        ("rotate_1", {"image": picture(angle=45.5)}, {"angle": 45.5}),
        ("rotate_2", {"image": picture(angle=45), "imageBackground": picture(b=1)}, {"angle": 45}),
        (
            "shein",
            {"image": picture(rects=[{"x1": 1, "y1": 2, "x2": 3, "y2": 4}]), "question": "shirt"},
            {"rects": [{"x1": 1, "y1": 2, "x2": 3, "y2": 4}]},
        ),
        ("ocr_gif", {"image": picture(text="abc")}, {"text": "abc"}),
        ("space_detection", {"image": picture(box=[1, 2])}, {"box": [1, 2]}),
    ],
)
@deferred_f_from_coro_f
async def test_the_modules_of_the_vision_engine(
    visitor: Visitor, module: str, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    assert await answer(visitor, "VisionEngine", module=module, **fields) == expected
    assert visitor.simulator.state()["money"]["spent"] == 0.0004


GOOD = picture(size=3, objects={})
DIGITS = b64encode(images.draw("12")).decode()
GRID = {"question": "aws:grid:bag"}


@pytest.mark.parametrize(
    ("type_", "fields", "code", "says"),
    [
        ("ReCaptchaV2Classification", {"question": CARS}, "ERROR_INVALID_TASK_DATA", "image is required"),
        ("ReCaptchaV2Classification", {"image": GOOD}, "ERROR_INVALID_TASK_DATA", "question empty"),
        ("ReCaptchaV2Classification", {"image": GOOD, "question": ""}, "ERROR_INVALID_TASK_DATA", "question empty"),
        ("ReCaptchaV2Classification", {"image": GOOD, "question": "cars"}, "ERROR_UNKNOWN_QUESTION", ""),
        (
            "ReCaptchaV2Classification",
            {"image": "data:image/png;base64," + GOOD, "question": CARS},
            "ERROR_PARSE_IMAGE_FAIL",
            "",
        ),
        ("ReCaptchaV2Classification", {"image": DIGITS, "question": CARS}, "ERROR_INVALID_IMAGE", ""),
        ("ReCaptchaV2Classification", {"image": picture(size=3), "question": CARS}, "ERROR_INVALID_IMAGE", ""),
        ("AwsWafClassification", {"images": [GOOD] * 9}, "ERROR_INVALID_TASK_DATA", "question empty"),
        ("AwsWafClassification", {"images": [GOOD] * 9, "question": "aws:grid:mop"}, "ERROR_UNKNOWN_QUESTION", ""),
        ("AwsWafClassification", GRID, "ERROR_INVALID_TASK_DATA", "images takes 9"),
        ("AwsWafClassification", {"images": [GOOD], **GRID}, "ERROR_INVALID_TASK_DATA", "images takes 9"),
        (
            "AwsWafClassification",
            {"images": [GOOD] * 9, "question": "aws:toycarcity:carcity"},
            "ERROR_INVALID_TASK_DATA",
            "images takes 1",
        ),
        ("AwsWafClassification", {"images": ["?"] * 9, **GRID}, "ERROR_PARSE_IMAGE_FAIL", ""),
        ("AwsWafClassification", {"images": [GOOD] * 9, **GRID}, "ERROR_INVALID_IMAGE", ""),
        ("VisionEngine", {"image": GOOD}, "ERROR_INVALID_TASK_DATA", "module is required"),
        ("VisionEngine", {"module": "rotate_1"}, "ERROR_INVALID_TASK_DATA", "image is required"),
        ("VisionEngine", {"module": "none", "image": GOOD}, "ERROR_INVALID_TASK_DATA", "module is invalid"),
        ("VisionEngine", {"module": "slider_1", "image": GOOD}, "ERROR_INVALID_TASK_DATA", "imageBackground is"),
        ("VisionEngine", {"module": "shein", "image": GOOD}, "ERROR_INVALID_TASK_DATA", "question empty"),
        ("VisionEngine", {"module": "rotate_1", "image": GOOD}, "ERROR_INVALID_IMAGE", ""),
        (
            "VisionEngine",
            {"module": "slider_1", "image": "?", "imageBackground": picture(distance=1)},
            "ERROR_PARSE_IMAGE_FAIL",
            "",
        ),
        (
            "ImageToTextTask",
            {"body": DIGITS, "images": [DIGITS], "module": "number"},
            "ERROR_INVALID_TASK_DATA",
            "exclude",
        ),
        ("ImageToTextTask", {"body": GOOD}, "ERROR_INVALID_IMAGE", ""),
    ],
)
@deferred_f_from_coro_f
async def test_refused_tasks(caller: Caller, type_: str, fields: dict[str, Any], code: str, says: str) -> None:
    refused = await caller.create(type_, **fields)
    assert (refused.status, refused.json["errorCode"]) == (400, code)
    assert says in refused.json["errorDescription"]
    assert caller.simulator.state()["tasks"]["created"] == 0


@deferred_f_from_coro_f
async def test_the_answers_of_images_keep_their_order(visitor: Visitor) -> None:
    wanted = [str(number) for number in range(91, 100)]
    bodies = [b64encode(images.draw(text)).decode() for text in wanted]
    solution = await answer(visitor, "ImageToTextTask", images=bodies, module="number")
    assert solution["answers"] == wanted
    assert images.read(b64decode(bodies[0])) == "91"
