"""Task types and their fields."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsupportedCaptchaError
from scrapy_capsolver.families import FAMILIES, RETIRED, check_fields, check_type, family, family_of
from scrapy_capsolver.families.token import TokenFamily

KEY = {"websiteKey": "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"}
TYPES = [name for one in FAMILIES for name in one.types]


def test_the_registry():
    assert [one.name for one in FAMILIES] == [
        "image_to_text",
        "recaptcha_v2_classification",
        "aws_waf_classification",
        "vision_engine",
        "cloudflare_challenge",
        "datadome",
        "aws_waf",
        "turnstile",
        "recaptcha_v2",
        "recaptcha_v3",
        "geetest",
        "mtcaptcha",
        "botdeflector",
        "hcaptcha",
        "funcaptcha",
        "perimeterx",
        "imperva",
        "kasada",
        "akamai",
        "f5",
        "sucuri",
        "anubis",
    ]
    assert {one.name: one.lifetime for one in FAMILIES if isinstance(one, TokenFamily)} == {
        "image_to_text": None,
        "recaptcha_v2_classification": None,
        "aws_waf_classification": None,
        "vision_engine": None,
        "turnstile": 300,
        "recaptcha_v2": 120,
        "recaptcha_v3": 120,
        "geetest": 60,
        "mtcaptcha": 60,
        "botdeflector": None,
    }
    assert {name: family_of(name).name for name in TYPES} == {
        "ImageToTextTask": "image_to_text",
        "ReCaptchaV2Classification": "recaptcha_v2_classification",
        "AwsWafClassification": "aws_waf_classification",
        "VisionEngine": "vision_engine",
        "AntiCloudflareTask": "cloudflare_challenge",
        "DatadomeSliderTask": "datadome",
        "AntiAwsWafTaskProxyLess": "aws_waf",
        "AntiAwsWafTask": "aws_waf",
        "AntiTurnstileTaskProxyLess": "turnstile",
        "AntiTurnstileTask": "turnstile",
        "ReCaptchaV2TaskProxyLess": "recaptcha_v2",
        "ReCaptchaV2Task": "recaptcha_v2",
        "ReCaptchaV2EnterpriseTaskProxyLess": "recaptcha_v2",
        "ReCaptchaV2EnterpriseTask": "recaptcha_v2",
        "ReCaptchaV3TaskProxyLess": "recaptcha_v3",
        "ReCaptchaV3Task": "recaptcha_v3",
        "ReCaptchaV3EnterpriseTaskProxyLess": "recaptcha_v3",
        "ReCaptchaV3EnterpriseTask": "recaptcha_v3",
        "ReCaptchaV3M1TaskProxyLess": "recaptcha_v3",
        "ReCaptchaV3M1Task": "recaptcha_v3",
        "ReCaptchaV3EnterpriseM1TaskProxyLess": "recaptcha_v3",
        "ReCaptchaV3EnterpriseM1Task": "recaptcha_v3",
        "GeeTestTaskProxyLess": "geetest",
        "MtCaptchaTaskProxyLess": "mtcaptcha",
        "MtCaptchaTask": "mtcaptcha",
        "AntiBotdeflectorTaskProxyLess": "botdeflector",
    }
    assert not set(TYPES) & set(RETIRED)
    assert family("turnstile") in FAMILIES
    with pytest.raises(KeyError):
        family("nope")


def test_families_of_one_captcha_are_named_apart():
    assert {
        name for name in TYPES if "ProxyLess" not in name and "proxy" not in family_of(name).types[name].required
    } == {
        "ImageToTextTask",
        "ReCaptchaV2Classification",
        "AwsWafClassification",
        "VisionEngine",
    }
    assert all("proxy" not in family_of(name).types[name].required for name in TYPES if name.endswith("ProxyLess"))


@pytest.mark.parametrize("one", FAMILIES, ids=lambda one: one.name)
def test_fields_of_a_type_are_named_once(one):
    for task_type in one.types.values():
        known = task_type.required.union(task_type.optional, *task_type.one_of)
        assert not task_type.required & task_type.optional
        assert not task_type.own & known or one.name == "geetest"  # challengeUrl stands for the challenge
        assert task_type.given <= task_type.required
        assert task_type.shown_by <= known | task_type.own
        assert set(task_type.kinds) <= known


# Types that this version does not know


def test_a_type_of_tomorrow():
    with pytest.raises(CaptchaConfigurationError, match=r'"inject": \{"form": "field name"\}'):
        check_type("NewCaptchaTask")
    assert check_type(" NewCaptchaTask ", raw=True) == "NewCaptchaTask"
    assert check_type("recaptchav2taskproxyless", raw=True) == "ReCaptchaV2TaskProxyLess"
    assert family_of("NewCaptchaTask", raw=True) is family("raw")
    assert family_of("VisionEngine", raw=True).name == "vision_engine"
    assert family("raw") not in FAMILIES
    check_fields("NewCaptchaTask", {"any": [1], "thing": None}, complete=True, raw=True)
    with pytest.raises(CaptchaConfigurationError, match="int"):
        check_fields("NewCaptchaTask", {1: "x"}, complete=False, raw=True)
    with pytest.raises(CaptchaConfigurationError, match="websiteKey"):
        check_fields("ReCaptchaV2TaskProxyLess", {}, complete=True, raw=True)
    with pytest.raises(CaptchaConfigurationError, match="no CapSolver task type"):
        check_fields("NewCaptchaTask", {}, complete=True)


@pytest.mark.parametrize("name", ["", " ", None, 5, "x\ny", "é", "x" * 101])
def test_types_that_nobody_will_ever_know(name):
    with pytest.raises(CaptchaConfigurationError, match=r"^type: "):
        check_type(name, raw=True)


@pytest.mark.parametrize("name", sorted(RETIRED))
def test_retired_types_stay_refused(name):
    with pytest.raises(UnsupportedCaptchaError, match="cannot be used any more"):
        check_type(name, raw=True)
    assert "never" not in RETIRED[name]


def test_spelling_of_types():
    assert check_type("recaptchav2taskproxyless") == "ReCaptchaV2TaskProxyLess"
    assert check_type(" AntiTurnstileTaskProxyless ") == "AntiTurnstileTaskProxyLess"


@pytest.mark.parametrize("name", sorted(RETIRED))
def test_retired_types(name):
    with pytest.raises(UnsupportedCaptchaError, match=f"{name} cannot be used any more: .*(;|use)"):
        check_type(name.upper())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RecaptchaV2TaskProxyles", "did you mean ReCaptchaV2TaskProxyLess"),
        ("HCaptchaTas", "is no CapSolver task type"),
        ("nonsense", "ImageToTextTask"),
        ("nonsense", 'its solution goes, "inject"'),
        ("", "a CapSolver task type is wanted"),
        (None, "not NoneType"),
        (["a"], "not list"),
        ("x\n" * 500, "is no CapSolver task type"),
    ],
)
def test_types_that_are_none(name, words):
    with pytest.raises(CaptchaConfigurationError) as caught:
        check_type(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        KEY,
        {"isInvisible": True, "pageAction": "x", "enterprisePayload": {"s": "1"}, "cookies": [], "apiDomain": "x"},
        {"proxyType": "http", "proxyAddress": "p.example", "proxyPort": 3128, "proxyLogin": "u", "proxyPassword": "p"},
        {"cookies": "a=1", "userAgent": "x", "websiteURL": "https://a.example/"},
        {"fieldOfTomorrow": object(), "extra": 1, "type": "ReCaptchaV2TaskProxyLess"},
    ],
)
def test_right_fields(fields):
    check_fields("ReCaptchaV2TaskProxyLess", fields, complete=False)


@pytest.mark.parametrize(
    ("type_name", "fields", "words"),
    [
        ("ReCaptchaV2TaskProxyLess", {"websiteKey": 1}, ["websiteKey: 1 was given", "takes text"]),
        ("ReCaptchaV2TaskProxyLess", {"websiteKey": None}, ["None was given"]),
        ("ReCaptchaV2TaskProxyLess", {"isInvisible": "yes"}, ["isInvisible: 'yes'", "true or false"]),
        ("ReCaptchaV2TaskProxyLess", {"isInvisible": 1}, ["true or false"]),
        ("ReCaptchaV2TaskProxyLess", {"enterprisePayload": "s"}, ["an object"]),
        ("ReCaptchaV2TaskProxyLess", {"proxyPort": "3128"}, ["a whole number"]),
        ("ReCaptchaV2TaskProxyLess", {"proxyPort": True}, ["a whole number"]),
        ("ReCaptchaV2TaskProxyLess", {"cookies": {}}, ["a list or text"]),
        ("ReCaptchaV3TaskProxyLess", {"minScore": "0.7"}, ["a number"]),
        ("AntiTurnstileTaskProxyLess", {"metadata": "x"}, ["an object"]),
        ("ImageToTextTask", {"images": "x"}, ["a list"]),
        ("ReCaptchaV2TaskProxyLess", {"website_key": "x"}, ["website_key", "did you mean websiteKey?"]),
        ("ReCaptchaV2TaskProxyLess", {"websitekey": "x"}, ["did you mean websiteKey?"]),
        ("ReCaptchaV2TaskProxyLess", {"siteKey": "x"}, ["did you mean websiteKey?"]),
        ("ReCaptchaV2TaskProxyLess", {"invisible": True}, ["did you mean isInvisible?"]),
        ("ImageToTextTask", {"selctor": "img"}, ["did you mean selector?"]),
        ("VisionEngine", {"module": "x", "background_selector": "img"}, ["did you mean backgroundSelector?"]),
        ("GeeTestTaskProxyLess", {"challengeURL": "/x"}, ["did you mean challengeUrl?"]),
        ("GeeTestTaskProxyLess", {"challengeUrl": ["/x"]}, ["challengeUrl", "text"]),
        ("AwsWafClassification", {"question": "x", "images": "x"}, ["a list"]),
        ("VisionEngine", {"image": "x"}, ["module: ", "needs it in the flag"]),
        ("AwsWafClassification", {"images": ["x"]}, ["question: ", "needs it in the flag"]),
        ("ReCaptchaV2Classification", {"image": "x", "question": ""}, ["question: ", "needs it in the flag"]),
        ("ReCaptchaV2Classification", {"question": "x"}, ["image or selector: "]),
        ("ReCaptchaV2TaskProxyLess", {1: "x"}, ["int"]),
    ],
)
def test_wrong_fields(type_name, fields, words):
    with pytest.raises(CaptchaConfigurationError) as caught:
        check_fields(type_name, fields, complete=False)
    for word in (*words, type_name):
        assert word in str(caught.value)


def test_numbers_may_be_whole():
    check_fields("ReCaptchaV3TaskProxyLess", {"minScore": 1}, complete=False)


@pytest.mark.parametrize(
    ("type_name", "fields", "missing"),
    [
        ("ReCaptchaV2TaskProxyLess", {}, "websiteKey"),
        ("ReCaptchaV2TaskProxyLess", {"websiteKey": ""}, "websiteKey"),
        ("GeeTestTaskProxyLess", {}, "captchaId or challengeUrl or gt"),
        ("GeeTestTaskProxyLess", {"gt": "x"}, "captchaId or challenge or challengeUrl"),
        ("GeeTestTaskProxyLess", {"challenge": "x"}, "captchaId or challengeUrl or gt"),
        ("MtCaptchaTask", {}, "websiteKey"),
        ("AntiBotdeflectorTaskProxyLess", {"flowToken": "x"}, "domain"),
        ("ReCaptchaV2Classification", {"question": "x", "selector": "img"}, "image"),
        ("ImageToTextTask", {"selector": "img"}, "body or images"),
    ],
)
def test_what_lacks_before_there_is_a_page(type_name, fields, missing):
    check_fields(type_name, fields, complete=False)
    with pytest.raises(CaptchaConfigurationError, match=f"^{missing}: {type_name} needs"):
        check_fields(type_name, fields, complete=True)


@pytest.mark.parametrize(
    ("type_name", "fields"),
    [
        ("ReCaptchaV2TaskProxyLess", KEY),
        ("ReCaptchaV2Task", KEY),  # the proxy is the request's
        ("ReCaptchaV2Task", {**KEY, "proxy": "http:p:1:u:p"}),
        ("GeeTestTaskProxyLess", {"captchaId": "x"}),
        ("GeeTestTaskProxyLess", {"gt": "x", "challenge": "y"}),
        ("GeeTestTaskProxyLess", {"challengeUrl": "/register"}),
        ("VisionEngine", {"module": "rotate_1", "image": "eA=="}),
        ("ReCaptchaV2Task", {**KEY, "proxyType": "http", "proxyAddress": "p.example", "proxyPort": 1}),
        ("ImageToTextTask", {"body": "eA=="}),
        ("ImageToTextTask", {"images": ["eA=="]}),
    ],
)
def test_complete(type_name, fields):
    check_fields(type_name, fields, complete=True)


@pytest.mark.parametrize("name", ["proxy", "proxyLogin", "proxyPassword", "proxyAddress", "cookies"])
def test_secrets_are_not_shown(name):
    with pytest.raises(CaptchaConfigurationError) as caught:
        check_fields("ReCaptchaV2Task", {name: 123456}, complete=False)
    assert "123456" not in str(caught.value)
    assert name in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(TYPES),
    st.dictionaries(
        st.one_of(st.text(), st.sampled_from(["websiteKey", "proxy", "proxyPort", "isInvisible", "metadata", "body"])),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.just({})),
    ),
    st.booleans(),
)
def test_any_fields_pass_or_are_named(type_name, fields, complete):
    message = ""
    try:
        check_fields(type_name, fields, complete=complete)
    except CaptchaConfigurationError as error:
        message = error.message
    assert not message or (type_name in message and message.isprintable())
