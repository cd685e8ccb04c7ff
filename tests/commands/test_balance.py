"""``scrapy capsolver balance``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.commands.served import served

if TYPE_CHECKING:
    from tests.commands.shell import Project

SECRET = "package-token-0123456789"  # of a package, in CapSolver's reply
PACKAGES = [
    {
        "packageId": "p",
        "type": 1,
        "title": "Gold\x1b[31m",
        "numberOfCalls": 500,
        "expireTime": 4102444800,
        "token": SECRET,
    },
    {"title": "Old", "numberOfCalls": 3, "expireTime": 1600000000, "token": SECRET},
    {"title": "Odd", "numberOfCalls": 1, "expireTime": 10**20, "token": SECRET},
    {"title": "Free", "numberOfCalls": 7},
]


def reply(**values: Any) -> dict[str, tuple[int, str, Any]]:
    return {"/getBalance": (200, "application/json", {"errorId": 0, **values})}


def test_the_balance(project: Project) -> None:
    project.calls()
    done = project.capsolver("balance")
    assert (done.code, done.out, done.err) == (0, "100.0000 USD\nno packages\n", "")
    assert project.calls() == {"getBalance": 1}
    assert project.capsolver("balance", "--json").json == {"balance_usd": 100.0, "packages": []}


def test_packages_without_their_secrets(project: Project) -> None:
    with served(reply(balance=0.5, packages=PACKAGES)) as url:
        done = project.capsolver("balance", "-s", f"CAPSOLVER_API_URL={url}")
        as_json = project.capsolver("balance", "--json", "-s", f"CAPSOLVER_API_URL={url}")
    assert done.out.splitlines() == [
        "0.5000 USD",
        "package 'Gold [31m': 500 calls, until 2100-01-01T00:00:00Z",
        "package 'Old': 3 calls, expired 2020-09-13T12:26:40Z",
        "package 'Odd': 1 calls, until 100000000000000000000",
        "package 'Free': 7 calls, without an end",
    ]
    assert [(one["title"], one["calls"], one["expires"], one["expired"]) for one in as_json.json["packages"]] == [
        ("Gold [31m", 500, "2100-01-01T00:00:00Z", False),
        ("Old", 3, "2020-09-13T12:26:40Z", True),
        ("Odd", 1, "100000000000000000000", False),
        ("Free", 7, None, False),
    ]
    assert SECRET not in done.out + as_json.out


@pytest.mark.parametrize(
    ("setting", "error", "said"),
    [
        ("CAPSOLVER_API_KEY=CAP-WRONG", "CapSolverAccountError", "the API key is wrong: check CAPSOLVER_API_KEY"),
        ("CAPSOLVER_API_URL=http://127.0.0.1:1", "CapSolverUnavailableError", "getBalance: "),
        ("CAPSOLVER_API_URL=ftp://x", "SettingError", "CAPSOLVER_API_URL is 'ftp://x': it takes"),
    ],
)
def test_errors(project: Project, setting: str, error: str, said: str) -> None:
    done = project.capsolver("balance", "--json", "-s", setting)
    assert (done.code, done.json["error"]["type"]) == (1, error)
    assert said in done.err
    assert done.json["error"]["message"] in done.err
    assert "CAP-WRONG" not in done.out + done.err


def test_a_reply_that_quotes_the_key(project: Project) -> None:
    key = project.where["key"]
    text = {"errorId": 1, "errorCode": "ERROR_OF_TOMORROW", "errorDescription": f"no {key} \x1b]0;title\x07 here"}
    with served({"/getBalance": (400, "application/json", text)}) as url:
        done = project.capsolver("balance", "-s", f"CAPSOLVER_API_URL={url}")  # which looks for the key and for escapes
    assert done.code == 1
    assert "no [key] ]0;title here" in done.err
