from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capsolver._request.flag import PLAIN, Flag, parse_flag
from scrapy_capsolver.errors import CaptchaConfigurationError, CaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import Inject

WHERE = 'request.meta["capsolver"]'
KEY = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"


def parse(value: object) -> Flag | None:
    return parse_flag(value, WHERE)


def test_plain_flags() -> None:
    assert parse(True) is PLAIN
    assert parse(None) is None
    assert parse(False) is None
    assert parse({}) == PLAIN


def test_a_dict_in_capsolvers_own_words() -> None:
    flag = parse(
        {
            "type": "recaptchav2taskproxyless",
            "websiteKey": KEY,
            "when": "before",
            "inject": {"json": "captcha.token"},
            "expect": ".product",
        }
    )
    assert flag == Flag(
        type="ReCaptchaV2TaskProxyLess",
        fields={"websiteKey": KEY},
        when="before",
        inject=Inject(json="captcha.token"),
        expect=".product",
    )


def test_expect_alone_is_enough() -> None:
    assert parse({"expect": "h1"}) == Flag(expect="h1")


@pytest.mark.parametrize(
    ("value", "named", "given"),
    [
        ("yes", "", "of type str"),
        (1, "", "of type int"),
        ([True], "", "of type list"),
        ({"type": "ReCaptchaV9Task"}, "type", "ReCaptchaV9Task"),
        ({"type": 5}, "type", "5"),
        ({"type": "ReCaptchaV2TaskProxyLess", "website_key": KEY}, "website_key", "websiteKey"),
        ({"type": "ReCaptchaV2TaskProxyLess", "isInvisible": "yes"}, "isInvisible", "yes"),
        ({"type": "ReCaptchaV2TaskProxyLess", "when": "later"}, "when", "later"),
        ({"type": "ReCaptchaV2TaskProxyLess", "when": "before"}, "websiteKey", "ReCaptchaV2TaskProxyLess"),
        ({"type": "ImageToTextTask", "inject": {"form": "answer"}}, "selector", "ImageToTextTask"),
        ({"when": "before"}, "type", "before"),
        ({"websiteKey": KEY}, "websiteKey", "type"),
        ({"expects": "h1"}, "expects", "'expect'"),
        ({"type": "ReCaptchaV2TaskProxyLess", "inject": "form"}, "inject", "form"),
        ({"expect": "h1["}, "expect", "h1["),
        ({"expect": 3}, "expect", "3"),
        ({"type": "ReCaptchaV2TaskProxyLess", "websiteKey": b"x"}, "websiteKey", "bytes"),
        ({"expect": "h1", "note": parse}, "note", "function"),
        ({"expect": "h1", "score": float("nan")}, "score", "float"),
        ({7: "h1"}, "7", "texts"),
    ],
)
def test_wrong_flags_say_what_was_given_and_what_is_allowed(value: object, named: str, given: str) -> None:
    with pytest.raises(CaptchaConfigurationError) as caught:
        parse(value)
    assert str(caught.value).startswith(WHERE)
    assert named in str(caught.value)
    assert given in str(caught.value)


def test_an_unknown_type_is_told_the_nearest_right_name() -> None:
    with pytest.raises(CaptchaConfigurationError, match="did you mean ReCaptchaV2TaskProxyLess"):
        parse({"type": "RecaptchaV2ProxylessTask"})


@pytest.mark.parametrize("name", ["HCaptchaTask", "hcaptchataskproxyless", "FunCaptchaTaskProxyLess", "AntiKasadaTask"])
def test_retired_types_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedCaptchaError, match="(?i)" + name):
        parse({"type": name})


def test_circular_and_deep_flags_are_refused() -> None:
    circle: dict[str, Any] = {"expect": "h1"}
    circle["self"] = circle
    with pytest.raises(CaptchaConfigurationError, match="JSON"):
        parse(circle)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CaptchaConfigurationError, match="JSON"):
        parse({"expect": "h1", "deep": deep})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KEYS = (
    st.sampled_from(["type", "when", "inject", "expect", "websiteKey", "selector", "proxy", "isInvisible"]) | st.text()
)


@given(st.dictionaries(_KEYS, _JSON | st.sampled_from(["before", "ReCaptchaV2Task", "ImageToTextTask"])) | _JSON)
def test_any_json_is_a_flag_or_a_clear_error(value: object) -> None:
    try:
        flag = parse(value)
    except CaptchaError as error:
        assert str(error).startswith(WHERE)
    else:
        assert flag == parse(json.loads(json.dumps(value)))
