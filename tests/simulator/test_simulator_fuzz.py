from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from scrapy_capsolver.simulator import Simulator, images
from scrapy_capsolver.simulator.api import METHODS, Dialling, Pending
from scrapy_capsolver.simulator.egress import read_proxy
from scrapy_capsolver.simulator.gates import TASK_TYPES
from scrapy_capsolver.simulator.gates.base import USER_AGENT

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from([type_.name for type_ in TASK_TYPES])
FIELDS = st.sampled_from(
    sorted(
        {name for type_ in TASK_TYPES for name in (*type_.required, *type_.optional)}
        | {"proxy", "proxyType", "proxyAddress", "proxyPort", "proxyLogin", "proxyPassword"}
    )
)
# Enough for most types, so that what is changed is what matters.
PLAUSIBLE = {
    "websiteURL": "https://shop.example/aws-waf/7",
    "websiteKey": "6Lx",
    "captchaUrl": "https://geo.captcha-delivery.com/captcha/?initialCid=A&t=fe",
    "userAgent": USER_AGENT,
    "domain": "shop.example",
    "flowToken": "a.b.c",
    "captchaId": "0" * 32,
    "proxy": "http://user:word@127.0.0.1:1",
    "module": "rotate_1",
    "image": b64encode(images.noise(json.dumps({"size": 3, "objects": {}, "angle": 1}), 8, 8)).decode(),
    "question": "/m/0k4j",
}


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    type_=TYPES | VALUES,
    fields=st.dictionaries(FIELDS, VALUES, max_size=4),
    rest=st.dictionaries(st.sampled_from(["task", "taskId", "result"]), VALUES),
)
def test_whatever_is_asked_is_answered(method: str, type_: Any, fields: dict[str, Any], rest: dict[str, Any]) -> None:
    clock = Clock()
    simulator = Simulator(timer=clock)
    body = {"clientKey": simulator.key, "task": {"type": type_, **PLAUSIBLE, **fields}, **rest}
    reply = simulator._api.handle(method, json.dumps(body).encode(), "application/json", None)
    if isinstance(reply, Dialling):
        read_proxy(reply.fields)
        reply = simulator._api.dialled(reply, "127.0.0.1")
    clock.advance(200)
    if isinstance(reply, Pending):
        reply = simulator._api.token(reply)
    envelope = json.loads(reply.body)
    assert envelope["errorId"] == (0 if reply.status == 200 else 1)
    assert reply.status in {200, 400}
    json.dumps([simulator.state(), simulator._tasks.rows()])


@given(st.binary(max_size=60))
def test_images_that_are_none(data: bytes) -> None:
    assert images.read(data) is None
    assert images.read(images.draw("12")[:-1] + data[:0]) is None
    assert images.read(images.draw("12")[:8] + data) is None


@given(st.text("0123456789", min_size=1, max_size=8))
def test_images_are_read_as_they_were_drawn(answer: str) -> None:
    assert images.read(images.draw(answer)) == answer
