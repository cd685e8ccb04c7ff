from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector
from scrapy.utils.test import get_crawler
from twisted.internet.task import Clock

from scrapy_capsolver._crawl.stats import StatsRecorder
from scrapy_capsolver.errors import CaptchaBudgetError
from scrapy_capsolver.settings import CapSolverSettings, SettingError, is_enabled, read_settings, unknown_settings
from scrapy_capsolver.solving.ledger import NANO, Ledger, TaskScope
from scrapy_capsolver.solving.limits import Limits
from scrapy_capsolver.stores import MemoryStore

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


MOST = {
    "CONCURRENCY": (1, 100_000),
    "MAX_PENDING": (0, 1_000_000),
    "RETRY_TIMES": (0, 1000),
    "MAX_SOLVES": (0, 10**9),
    "MAX_SOLVES_PER_DOMAIN": (0, 10**9),
    "MAX_REJECTIONS": (0, 10**9),
    "OFFLINE_SOLVES": (0, 10**9),
    "PRIORITY_ADJUST": (-(10**9), 10**9),
    "BUDGET": (0, 10**6),
    "PRICES": (0, 10**6),
    "TIMEOUT": (1e-9, 300),
}
SOLVE = "ReCaptchaV2TaskProxyLess"


def read_number(name: str, value: object) -> Any:
    found = getattr(read(**{name: {SOLVE: value} if name == "PRICES" else value}), name.lower())
    return found[SOLVE] if name == "PRICES" else found


@pytest.mark.parametrize("name", MOST)
def test_a_number_out_of_its_range_is_named_with_what_is_allowed(name: str) -> None:
    low, high = MOST[name]
    for value in (low, high, str(high), float(high)):
        assert read_number(name, value) == float(value)
    for value in (
        low - 1,
        high + 1,
        f"{high}.5",
        f"{high}0",
        10**400,
        10**5000,
        "1e400",
        float("inf"),
        float("nan"),
        True,
        b"1",
    ):
        with pytest.raises(SettingError, match=rf"^CAPSOLVER_{name} is ") as caught:
            read_number(name, value)
        assert f"{high:,}" in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["BUDGET", "MAX_SOLVES", "PRICES"])
def test_zero_has_no_sign(name: str) -> None:
    assert str(read_number(name, -0.0)) in {"0", "0.0"}


@pytest.mark.parametrize("name", ["USER_AGENTS", "PRICES"])
def test_json_that_is_too_deep_is_wrong_and_no_traceback(name: str) -> None:
    with pytest.raises(SettingError, match=f"^CAPSOLVER_{name} is "):
        read(**{name: "[" * 100_000})


def test_types_in_the_price_table_are_names() -> None:
    with pytest.raises(SettingError, match="CAPSOLVER_PRICES is "):
        read(PRICES={7: 1.0})


NUMBERS = (
    st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 10**5000, "1e308", "9" * 400, "-0.0", True])
)


@example(budget=1000, price=0.0004, solves=40, times=10)
@example(budget="0.3", price="100", solves=40, times=10)
@given(
    budget=NUMBERS | NUMBERS.map(lambda value: str(value) if value != 10**5000 else "1" * 5000),
    price=NUMBERS,
    solves=NUMBERS,
    times=st.integers(1, 40),
)
def test_any_limit_that_is_accepted_is_kept_to_the_nano_dollar(
    budget: object, price: object, solves: object, times: int
) -> None:
    """In the limits and in the ledger, whose stats add up to what was paid."""
    try:
        settings = read(BUDGET=budget, PRICES={SOLVE: price}, MAX_SOLVES=solves)
    except SettingError:
        return
    stats = MemoryStatsCollector(get_crawler())
    count = StatsRecorder(stats).count
    ledger = Ledger("s", settings.prices, MemoryStore(), count)
    limits = Limits(
        Clock(),
        max_solves=settings.max_solves,
        max_solves_per_domain=None,
        budget=settings.budget,
        exhausted=lambda name: None,
    )
    paid = 0
    for _ in range(times):
        receipt = ledger.receipt(TaskScope("shop.example", "recaptcha_v2"), SOLVE)
        try:
            limits.check(receipt)
        except CaptchaBudgetError as error:
            assert error.message.isprintable()
            break
        limits.adopt(receipt)
        limits.settle(receipt, charged=True)
        ledger.paid(receipt)
        paid += receipt.nano or 0
    assert settings.budget is not None
    assert settings.max_solves is not None
    assert paid <= round(settings.budget * NANO)
    assert ledger.nano_spent == paid
    assert round(stats.get_value("capsolver/estimated_cost_usd", 0) * NANO) == paid
    ledger.close()


_NAMES = ["API_URL", "APP_ID", "AUTO", "ALLOWED_DOMAINS", "CONCURRENCY", "MAX_PENDING", "TIMEOUT", "RETRY_TIMES"]
_NAMES += ["ON_ERROR", *MOST]


@given(
    name=st.sampled_from(_NAMES),
    value=st.text()
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | NUMBERS
    | st.lists(st.text() | NUMBERS)
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
