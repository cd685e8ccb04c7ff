"""Recognition tasks: images from the flag and from the page, and what becomes of the answer."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import HtmlResponse

from scrapy_capsolver.errors import (
    CaptchaConfigurationError,
    CaptchaError,
    UnsolvableCaptchaError,
    UnsupportedCaptchaError,
)
from scrapy_capsolver.families import FAMILIES, Challenge, Inject, SolutionKind, detect, family
from scrapy_capsolver.families._page.images import MAX_BYTES
from scrapy_capsolver.families._page.images import given as given_image
from scrapy_capsolver.families.recognition import Recognition

URL = "https://shop.example/list?page=2"
DATA = "data:image/png;base64,eA=="
X, Y = "eA==", "eQ=="
QUESTION = {"question": "/m/0k4j"}
FOUR = [one for one in FAMILIES if isinstance(one, Recognition)]
V2, AWS, VISION, TEXT = (
    family(name) for name in ("recaptcha_v2_classification", "aws_waf_classification", "vision_engine", "image_to_text")
)
GRID = {"question": "aws:grid:bed", "selector": "img"}


def seen(one, html, **fields):
    """The challenge as the middleware has it: with the flag's fields in it, and prepared."""
    found = detect(HtmlResponse(URL, body=html.encode()), fields=fields, only=one.name)
    return one.prepare(replace(found[0], params={**found[0].params, **fields})) if found else None


def announced(one, **fields):
    return one.prepare(Challenge(one.name, one.type_name, URL, params=fields))


def test_what_they_are():
    assert [one.name for one in FOUR] == [family.name for family in FAMILIES[:4]]
    for one in FOUR:
        assert one.kind is SolutionKind.ANSWER
        assert one.lifetime is None
        assert one.types[one.type_name].price == 0.4


# Images of the page


def test_recaptcha_classification():
    challenge = seen(V2, "<form action=/a><img id=c src=c.png></form>", selector="#c", **QUESTION)
    assert challenge.fetch == ("https://shop.example/c.png",)
    assert challenge.blocked
    assert challenge.reasons[0] == 'element <img id="c"> matches #c'
    assert V2.task(challenge, (b"x",), "") == {
        "type": "ReCaptchaV2Classification",
        "websiteURL": URL,
        "question": "/m/0k4j",
        "image": X,
    }


def test_nine_images_keep_their_order():
    html = "".join(f'<img src="{DATA if n % 2 else f"/{n}.png"}">' for n in range(9))
    challenge = seen(AWS, html, **GRID)
    assert challenge.fetch == tuple(f"https://shop.example/{n}.png" for n in range(0, 9, 2))
    task = AWS.task(challenge, (b"0", b"2", b"4", b"6", b"8"), "")
    wanted = [X if n % 2 else b64encode(b"%d" % n).decode() for n in range(9)]
    assert task == {"type": "AwsWafClassification", "websiteURL": URL, "question": "aws:grid:bed", "images": wanted}
    assert "" in challenge.params["images"]
    assert AWS.task(challenge, (b"0",) * 5, "")["images"][0] == b64encode(b"0").decode()


@pytest.mark.parametrize(
    ("question", "count", "words"),
    [
        ("aws:grid:bed", 8, "selects 8 images; AwsWafClassification takes 9 here"),
        ("aws:grid:bed", 10, "selects 10 images"),
        ("aws:toycarcity:carcity", 2, "selects 2 images; AwsWafClassification takes 1 here"),
        ("a question of tomorrow", 2, "takes 1 here"),
    ],
)
def test_how_many_images_aws_waf_wants(question, count, words):
    with pytest.raises(UnsupportedCaptchaError, match=words):
        seen(AWS, "<img src=a.png>" * count, question=question, selector="img")
    with pytest.raises(CaptchaConfigurationError, match=r"^images: "):
        announced(AWS, question=question, images=[X] * count)
    right = 9 if "grid" in question else 1
    assert len(seen(AWS, "<img src=a.png>" * right, question=question, selector="img").fetch) == right
    assert announced(AWS, question=question, images=[X] * right).params["images"] == [X] * right


def test_two_images_of_vision_engine():
    html = f'<form><img class=piece src="/p.png"><img class=back src="/b.png"><img class=inline src="{DATA}"></form>'
    flag = {"module": "slider_1", "selector": ".piece", "backgroundSelector": ".back"}
    challenge = seen(VISION, html, **flag)
    assert challenge.fetch == ("https://shop.example/p.png", "https://shop.example/b.png")
    assert VISION.task(challenge, (b"x", b"y"), "") == {
        "type": "VisionEngine",
        "websiteURL": URL,
        "module": "slider_1",
        "image": X,
        "imageBackground": Y,
    }
    mixed = seen(VISION, html, **{**flag, "selector": ".inline"})
    assert mixed.fetch == ("https://shop.example/b.png",)
    assert [VISION.task(mixed, (b"y",), "")[name] for name in ("image", "imageBackground")] == [X, Y]
    given_too = seen(VISION, html, module="slider_1", selector=".piece", imageBackground=Y)
    assert given_too.fetch == ("https://shop.example/p.png",)
    assert VISION.task(given_too, (b"x",), "")["imageBackground"] == Y
    assert "imageBackground" not in VISION.task(seen(VISION, html, module="rotate_1", selector="img"), (b"x",), "")


def test_an_attribute_may_hold_the_image():
    html = '<b data-i="/1.png"></b><b data-i="/2.png"></b>'
    challenge = seen(TEXT, html, module="number", selector="b::attr(data-i)")
    assert challenge.fetch == ("https://shop.example/1.png", "https://shop.example/2.png")
    assert TEXT.task(challenge, (b"x", b"y"), "") == {
        "type": "ImageToTextTask",
        "websiteURL": URL,
        "module": "number",
        "images": [X, Y],
    }


def test_numbers_are_read_several_at_a_time_and_other_text_is_not():
    html = "<img src=1.png><img src=2.png>"
    assert len(seen(TEXT, html, module="number", selector="img").fetch) == 2
    for module in ({}, {"module": "common"}):
        challenge = seen(TEXT, html, selector="img", **module)
        assert challenge.fetch == ("https://shop.example/1.png",)
        assert TEXT.task(challenge, (b"x",), "")["body"] == X
    with pytest.raises(UnsupportedCaptchaError, match="selects 10 images; ImageToTextTask takes up to 9 here"):
        seen(TEXT, html * 5, module="number", selector="img")


@pytest.mark.parametrize(
    ("one", "fields"),
    [
        (V2, {"selector": "img"}),
        (AWS, {"selector": "img"}),
        (VISION, {"selector": "img"}),
        (VISION, {"module": "rotate_1"}),
        (VISION, {"module": "rotate_1", "backgroundSelector": "img"}),
        (V2, {"selector": "video", **QUESTION}),
    ],
)
def test_pages_alone_show_no_task(one, fields):
    assert seen(one, "<img src=a.png>", **fields) is None


def test_what_the_flag_selects_must_be_there():
    with pytest.raises(UnsupportedCaptchaError, match=r"backgroundSelector '\.no' selects nothing"):
        seen(VISION, "<img src=a.png>", module="x", selector="img", backgroundSelector=".no")
    with pytest.raises(CaptchaConfigurationError, match=r"^backgroundSelector: 'img\[' is no CSS selector"):
        seen(VISION, "<img src=a.png>", module="x", selector="img", backgroundSelector="img[")
    with pytest.raises(CaptchaConfigurationError, match=r"^backgroundSelector: allowed is"):
        seen(VISION, "<img src=a.png>", module="x", selector="img", backgroundSelector=" ")
    with pytest.raises(UnsupportedCaptchaError, match=r"another site, https?://evil\.example, which"):
        seen(AWS, "<img src=a.png>" * 8 + "<img src=//evil.example/a.png>", **GRID)


def test_what_could_not_be_fetched():
    challenge = seen(AWS, "<img src=a.png>" * 9, **GRID)
    for fetched in ((), (b"x",) * 8, (b"x",) * 8 + (b"",), (b"x" * (MAX_BYTES + 1),) * 9):
        with pytest.raises(UnsupportedCaptchaError, match="image"):
            AWS.task(challenge, fetched, "")


# Images of the flag


@pytest.mark.parametrize(
    ("value", "image"),
    [
        (X, X),
        ("eA", X),
        (" e\nA=\r\n= ", X),
        (DATA, X),
        ("DATA:image/png;charset=x;BASE64,eA==", X),
        ("data:;base64,\neA==", X),
    ],
)
def test_pasted_images(value, image):
    assert given_image(value, "image") == image
    assert announced(V2, image=value, **QUESTION).params["image"] == image
    assert announced(TEXT, body=value).params["body"] == image
    assert announced(TEXT, images=[value, X], module="number").params["images"] == [image, X]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "cannot be decoded"),
        ("  ", "cannot be decoded"),
        ("secret!", "cannot be decoded"),
        ("secretsecre§", "cannot be decoded"),
        ("a", "cannot be decoded"),
        ("data:image/png;base64,", "cannot be decoded"),
        ("data:image/png,secret", "in base64 alone"),
        ("data:secret", "in base64 alone"),
        ("/path/secret.png?", "cannot be decoded"),
        (5, "not int"),
        (None, "not NoneType"),
        ("A" * (MAX_BYTES * 2), "more than"),
        ("A" * (MAX_BYTES * 2 + 1), "no captcha's image"),
    ],
    ids=range(13),
)
def test_what_is_no_image(value, words):
    for use in (
        lambda: announced(V2, image=value, **QUESTION),
        lambda: announced(VISION, module="x", image=X, imageBackground=value),
        lambda: announced(TEXT, module="number", images=[X, value]),
    ):
        with pytest.raises(CaptchaConfigurationError, match=words) as caught:
            use()
        assert str(caught.value).startswith(("image: ", "imageBackground: ", "images: "))
        assert "secret" not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("images", [[], [X] * 10, X, {"a": X}, None, 5])
def test_what_is_no_list_of_images(images):
    with pytest.raises(CaptchaConfigurationError, match=r"^images: a list of 1 to 9 images"):
        announced(TEXT, module="number", images=images)


@pytest.mark.parametrize(
    ("one", "fields", "words"),
    [
        (VISION, {"module": "slider_1", "image": X}, r"^imageBackground: .*slider_1.*\"backgroundSelector\""),
        (VISION, {"module": "shein", "image": X}, r"^question: .*shein"),
        (VISION, {"module": "shein", "image": X, "question": ""}, r"^question: .*shein"),
        (TEXT, {"images": [X]}, '^images: .*"module": "number" alone'),
        (TEXT, {"images": [X], "module": "common"}, '^images: .*"module": "number" alone'),
        (TEXT, {"images": [X], "body": X, "module": "number"}, "^images: .*not both"),
    ],
)
def test_what_cannot_be_solved_costs_nothing(one, fields, words):
    with pytest.raises(CaptchaConfigurationError, match=words):
        announced(one, **fields)


def test_what_is_enough():
    assert announced(VISION, module="slider_1", image=X, imageBackground=DATA).params["imageBackground"] == X
    assert announced(VISION, module="shein", image=X, question="q").params["question"] == "q"
    assert announced(VISION, module="a_module_of_tomorrow", image=X).params["image"] == X
    assert VISION.task(announced(VISION, module="rotate_1", image=DATA, selector="img"), (), "") == {
        "type": "VisionEngine",
        "websiteURL": URL,
        "module": "rotate_1",
        "image": X,
    }


# Answers


@pytest.mark.parametrize(
    ("one", "solution", "main"),
    [
        (V2, {"type": "multi", "objects": [0, 4, 8], "size": 3}, "0,4,8"),
        (AWS, {"objects": [1], "box": [5.5, 6]}, "1"),
        (AWS, {"box": [116.7, 164]}, "116.7,164"),
        (AWS, {"distance": 213}, "213"),
        (VISION, {"distance": 213}, "213"),
        (VISION, {"angle": 12.5}, "12.5"),
        (VISION, {"text": "ab"}, "ab"),
        (TEXT, {"text": "44795sds", "answers": ["100", "233"]}, "44795sds"),
    ],
)
def test_answers_go_where_inject_says(one, solution, main):
    challenge = Challenge(one.name, one.type_name, URL)
    key = next(iter(solution))
    for inject in (Inject(form="f"), Inject(query={"f": key}, header="X-Main")):
        one.rehearse(Request(URL, method="POST"), challenge, inject)
        sent = one.apply(Request(URL, method="POST"), challenge, solution, inject)
        assert inject.form is None or sent.body == b"f=" + main.replace(",", "%2C").encode()
        assert inject.form is not None or sent.headers[b"X-Main"] == main.encode()


def test_all_answers_by_their_keys():
    challenge = Challenge(TEXT.name, TEXT.type_name, URL)
    sent = TEXT.apply(Request(URL), challenge, {"text": "a", "answers": ["1", "", "3"]}, Inject(query={"f": "answers"}))
    assert sent.url == f"{URL}&f=1%2C%2C3"


@pytest.mark.parametrize(
    ("one", "solution"),
    [
        (V2, {"type": "single", "hasObject": True, "size": 1}),
        (VISION, {"rects": [{"x1": 1}]}),
        (AWS, {}),
        (V2, {"objects": []}),
    ],
)
def test_answers_that_are_for_the_spider(one, solution):
    challenge = Challenge(one.name, one.type_name, URL)
    with pytest.raises(UnsolvableCaptchaError, match=r'leave inject out|Leave inject out.*"capsolver_solution"'):
        one.apply(Request(URL), challenge, solution, Inject(form="f"))
    assert one.hands_over(challenge, None)
    one.rehearse(Request(URL), challenge, None)
    assert one.apply(Request(URL), challenge, solution, None).url == URL


def test_without_inject_no_form_is_sent():
    challenge = seen(TEXT, "<form action=/a method=post><img src=a.png></form>", selector="img")
    assert challenge.form is not None
    assert TEXT.apply(Request(URL), challenge, {"text": "x"}, None).method == "GET"


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(FOUR),
    st.lists(
        st.sampled_from(
            ["<img src=a.png>", "<img>", f"<img src='{DATA}'>", "<img src='http://['>", "<template>", "<form>", "<p>"]
        )
        | st.text(max_size=5),
        max_size=12,
    ).map("".join),
    st.dictionaries(
        st.sampled_from(["selector", "backgroundSelector", "module", "question", "image", "images", "body"]),
        st.sampled_from(["img", "p", "img::attr(src)", "number", "slider_1", "aws:grid:x", X, DATA, ""])
        | st.lists(st.just(X), max_size=10)
        | st.text(max_size=5),
        max_size=5,
    ),
    st.lists(st.binary(max_size=3), max_size=9),
)
def test_any_page_and_any_flag_make_a_task_or_an_error(one, html, fields, fetched):
    try:
        challenge = seen(one, html, **fields)
        if challenge is None:
            return
        assert all(address.startswith("https://shop.example/") for address in challenge.fetch)
        task = one.task(challenge, fetched, "")
    except CaptchaError as error:
        assert error.message.isprintable()
        return
    assert task["type"] == one.type_name
    assert not one.types[one.type_name].own & task.keys()
    for name in one.images:
        for image in task[name] if isinstance(task.get(name), list) else [task.get(name, X)]:
            assert image
