from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy.settings import Settings

from scrapy_capsolver.settings import CapSolverSettings, SettingError, is_enabled, read_settings, unknown_settings

KEY = {"CAPSOLVER_API_KEY": "CAP-SECRET-0123"}


def read(**settings: Any) -> CapSolverSettings:
    return read_settings(Settings({**KEY, **{f"CAPSOLVER_{name}": value for name, value in settings.items()}}))


def test_defaults() -> None:
    settings = read()
    assert settings.api_key == "CAP-SECRET-0123"
    assert settings.api_url == "https://api.capsolver.com"
    assert (settings.concurrency, settings.max_pending, settings.timeout, settings.retry_times) == (100, 1000, 150, 2)
    assert (settings.auto, settings.on_error, settings.priority_adjust) == (False, "raise", 100)


def test_every_setting_can_be_a_string() -> None:
    settings = read(
        AUTO="True",
        ALLOWED_DOMAINS="shop.example, .news.example",
        CONCURRENCY="7",
        MAX_PENDING="0",
        TIMEOUT="12.5",
        RETRY_TIMES="0",
        ON_ERROR="PASS",
        PRIORITY_ADJUST="-3",
        PRICES='{"ReCaptchaV2TaskProxyLess": "0.5"}',
    )
    assert settings.auto is True
    assert settings.allowed_domains == ("shop.example", "news.example")
    assert (settings.concurrency, settings.max_pending, settings.timeout, settings.retry_times) == (7, 0, 12.5, 0)
    assert (settings.on_error, settings.priority_adjust) == ("pass", -3)
    assert settings.prices == {"ReCaptchaV2TaskProxyLess": 0.5}


def test_the_key_comes_from_the_environment_where_no_setting_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPSOLVER_API_KEY", " CAP-ENV ")
    assert read_settings(Settings()).api_key == "CAP-ENV"
    assert read().api_key == "CAP-SECRET-0123"


@pytest.mark.parametrize("value", [None, "   ", 7, ["CAP-SECRET-0123"], "CAP SECRET", "CAP-\n1", "CAP-é"])
def test_a_key_that_is_none_is_named_and_never_shown(value: object) -> None:
    with pytest.raises(SettingError) as caught:
        read_settings(Settings({"CAPSOLVER_API_KEY": value}))
    assert "CAPSOLVER_API_KEY" in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://api-stable.capsolver.com/",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:1",
        "https://x:1/y",
    ],
)
def test_api_urls_that_are_allowed(url: str) -> None:
    assert read(API_URL=url).api_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.capsolver.com",
        "http://127.0.0.1.evil.example",
        "http://[::1].evil.example",
        "http://evil.example[::1]",
        "https://[::1].evil.example",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "api.capsolver.com",
        "https://",
        "https://user:pw-SECRET@api.capsolver.com",
        "https://api.capsolver.com/?a=b",
        "https://x:port",
        "//127.0.0.1",
        5,
    ],
)
def test_api_urls_that_are_not(url: str) -> None:
    with pytest.raises(SettingError, match=r"^CAPSOLVER_API_URL is .*: it takes ") as caught:
        read(API_URL=url)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("CONCURRENCY", "many", "a whole number of 1 or more"),
        ("CONCURRENCY", "0", "a whole number of 1 or more"),
        ("CONCURRENCY", -1, "a whole number of 1 or more"),
        ("CONCURRENCY", 1.5, "a whole number of 1 or more"),
        ("CONCURRENCY", True, "a whole number of 1 or more"),
        ("MAX_PENDING", "-1", "a whole number of 0 or more"),
        ("RETRY_TIMES", "2.5", "a whole number of 0 or more"),
        ("PRIORITY_ADJUST", "high", "a whole number"),
        ("TIMEOUT", "-5", "seconds, more than 0 and at most 300"),
        ("TIMEOUT", "nan", "seconds, more than 0 and at most 300"),
        ("TIMEOUT", 301, "seconds, more than 0 and at most 300"),
        ("TIMEOUT", [1], "seconds, more than 0 and at most 300"),
        ("AUTO", "maybe", "True or False"),
        ("ON_ERROR", "ignore", "'raise' or 'pass'"),
        ("APP_ID", 5, "a text"),
        ("ALLOWED_DOMAINS", "https://shop.example", "domains such as example.com"),
        ("ALLOWED_DOMAINS", [7], "a list of domains"),
        ("PRICES", "cheap", "USD per 1000 solves"),
        ("PRICES", {"ReCaptchaV2TaskProxyLess": -1}, "USD per 1000 solves"),
        ("PRICES", "[1]", "USD per 1000 solves"),
    ],
)
def test_wrong_settings_say_what_was_given_and_what_is_allowed(name: str, value: object, allowed: str) -> None:
    with pytest.raises(SettingError) as caught:
        read(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"CAPSOLVER_{name} is {value!r}: it takes ")
    assert allowed in message


def test_enabled() -> None:
    assert is_enabled(Settings())
    assert not is_enabled(Settings({"CAPSOLVER_ENABLED": "False"}))
    with pytest.raises(SettingError, match="CAPSOLVER_ENABLED is 'perhaps': it takes True or False"):
        is_enabled(Settings({"CAPSOLVER_ENABLED": "perhaps"}))


def test_a_misspelt_setting_is_told() -> None:
    (line,) = unknown_settings(Settings({**KEY, "CAPSOLVER_CONCURENCY": 3}))
    assert "CAPSOLVER_CONCURENCY" in line
    assert "did you mean CAPSOLVER_CONCURRENCY?" in line
    assert not unknown_settings(Settings({**KEY, "CAPSOLVER_ENABLED": True}))


def test_the_key_is_in_no_repr() -> None:
    assert "SECRET" not in repr(read())


_NAMES = ["API_URL", "APP_ID", "AUTO", "ALLOWED_DOMAINS", "CONCURRENCY", "MAX_PENDING", "TIMEOUT", "RETRY_TIMES"]
_NAMES += ["ON_ERROR", "PRIORITY_ADJUST", "PRICES"]


@given(
    name=st.sampled_from(_NAMES),
    value=st.text()
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.lists(st.text() | st.integers())
    | st.binary()
    | st.dictionaries(st.text(), st.text() | st.floats()),
)
def test_any_value_is_read_or_named(name: str, value: object) -> None:
    try:
        read(**{name: value})
    except SettingError as error:
        assert str(error).startswith(f"CAPSOLVER_{name} is ")
        assert ": it takes " in str(error)


# A store that is shared


@pytest.mark.parametrize("url", ["redis://r.example", "rediss://u:SECRET@r.example:1/2"])
def test_a_store_may_be_a_redis_server(url: str) -> None:
    settings = read(
        STORE=url, STORE_PREFIX="shop.1", RUN="nightly/2", LIMIT_WINDOW="Day", EGRESS="vpn-1", OFFLINE_SOLVES="3"
    )
    assert settings.store == url
    assert (settings.store_prefix, settings.run, settings.limit_window) == ("shop.1", "nightly/2", "day")
    assert (settings.egress, settings.offline_solves) == ("vpn-1", 3)
    assert "SECRET" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("redis://u:SECRET@r.example/one", "its database is no number"),
        ("redis://u:SECRET@", "it takes redis://"),
        ("rediss://u:SECRET@r.example?ssl_cert_reqs=none", "options that it does not take"),
        ("memcached://u:SECRET@r.example", "it takes 'memory', the path of an SQLite file, or an address redis://"),
    ],
)
def test_a_store_that_is_none_is_said_so_without_what_may_be_a_password(url: str, allowed: str) -> None:
    with pytest.raises(SettingError, match=r"^CAPSOLVER_STORE") as caught:
        read(STORE=url)
    assert allowed in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["STORE_PREFIX", "RUN", "EGRESS"])
@pytest.mark.parametrize("value", ["a b", "a*", "a\nb", "ł", "a" * 101, 7])
def test_names_are_plain(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"^CAPSOLVER_{name} is "):
        read(**{name: value})


@pytest.mark.parametrize(
    ("environment", "bot", "run"),
    [
        ({}, "shop", "shop"),
        ({}, "my shop/ł", "my_shop/_"),
        ({}, "", "run"),
        ({"SHUB_JOBKEY": "12345/1/7"}, "shop", "12345"),
        ({"SHUB_JOBKEY": "12345/1/7", "SHUB_JOB_TAGS": "a,group=nightly,b"}, "shop", "nightly"),
        ({"SHUB_JOBKEY": "12345/1/7", "SHUB_JOB_TAGS": "a,b"}, "shop", "12345"),
    ],
)
def test_the_run_has_a_name(environment: dict[str, str], bot: str, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert read_settings(Settings({**KEY, "BOT_NAME": bot})).run == run
    assert read_settings(Settings({**KEY, "BOT_NAME": bot, "CAPSOLVER_RUN": "mine"})).run == "mine"
