"""What the workers of a run leave in Redis, and the one report that is made of it."""

from __future__ import annotations

import json
import random
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scrapy_capsolver.errors import CaptchaTimeoutError, UnsolvableCaptchaError
from scrapy_capsolver.report import cluster as fleet_module
from scrapy_capsolver.report.cluster import Fleet, lines_of, read_fleet
from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.files import ReportError, data_of, write_report
from scrapy_capsolver.report.record import MOST_KINDS, MOST_NAMES, MOST_ROWS, Account, Record
from scrapy_capsolver.report.recorder import Recorder
from scrapy_capsolver.report.text import text_of
from tests.documents import blocks
from tests.redis_server import RedisServer, free_port, needs_redis, redis_server
from tests.report.samples import PLANTED, START, crawl_of, planted, receipt, solved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_redis

RUN = "shop@20261127T084512-3f2a"
PASSWORD = "SECRET-PASSWORD"


class Seed:
    """Writes as workers do."""

    def __init__(self, client: Any, run: str = RUN, prefix: str = "capsolver", began: float = START) -> None:
        self.redis, self.name, self.prefix = client, run, prefix
        client.zadd(f"{prefix}:runs", {run: began})

    def worker(
        self,
        worker: str,
        record: Record | None = None,
        *,
        alive: bool = True,
        finished: bool = False,
        spider: str = "shop",
    ) -> None:
        seen = self.redis.time()[0] + 1000 if alive else START
        self.redis.zadd(f"{self.prefix}:workers:{self.name}", {worker: seen})
        if record is not None:
            values = {"spider": spider, "finished": finished, "record": record.to_dict()}
            self.redis.hset(f"{self.prefix}:records:{self.name}", worker, json.dumps(values))

    def spend(
        self, account: str, tasks: int = 1, nano: int = 800_000, site: str = "shop.example", family: str = "turnstile"
    ) -> None:
        field = "/".join([*(quote(name, safe="") for name in ("shop", site, family)), account])
        self.redis.hincrby(f"{self.prefix}:ledger:{self.name}", f"{field}/tasks", tasks)
        self.redis.hincrby(f"{self.prefix}:ledger:{self.name}", f"{field}/nano", nano)

    def book(self, record: Record) -> None:
        """What the ledger holds of a crawl that recorded this."""
        for (site, family), row in record.rows.items():
            for account, sums in row.items():
                if account not in {"accepted", "handed_over", "open"}:
                    self.spend(account, sums.tasks, sums.nano_usd, site, family)

    def open(self, worker: str, task: str, **values: Any) -> None:
        told = {
            "spider": "shop",
            "site": "shop.example",
            "family": "turnstile",
            "type": "T",
            "nano": 1_200_000,
            "state": "open",
            "ledger": f"{self.prefix}:ledger:{self.name}",
            **values,
        }
        self.redis.sadd(f"{self.prefix}:open:{worker}", task)
        self.redis.set(f"{self.prefix}:task:{task}", json.dumps({**told, "task": "id", "created": START}))


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


@pytest.fixture
def seed(server: RedisServer) -> Iterator[Seed]:
    with server.client() as client:
        yield Seed(client)


def snapshot(requests: int, number: int = 1) -> Record:
    """Of a worker that still works."""
    record = crawl_of(requests, seed=number)
    record.endings.clear()
    return record


def test_workers_are_one_report(server: RedisServer, seed: Seed) -> None:
    """Those that finished, one that works, one that was killed."""
    records = [crawl_of(60, seed=number) for number in range(3)]
    seed.worker("a", records[0], alive=False, finished=True)
    seed.worker("b", records[1])
    seed.worker("c", records[2], alive=False)
    seed.worker("d", alive=True)  # has just begun
    for record in records:
        seed.book(record)
    fleet = read_fleet(server.url)
    assert (fleet.run, fleet.began) == (RUN, START)
    assert (fleet.workers, fleet.alive, fleet.finished, fleet.lost) == (4, 2, 1, 1)
    assert fleet.record.endings == {"finished": 1, "running": 2, "lost": 1}
    assert fleet.record.spiders == {"shop": 3}
    figures = figures_of(fleet.record)
    parts = [figures_of(record) for record in records]
    assert figures.total.solved.nano_usd == sum(part.total.solved.nano_usd for part in parts) > 0
    assert figures.total.accepted == sum(part.total.accepted for part in parts) > 0
    assert figures.total.handed_over == sum(part.total.handed_over for part in parts) > 0
    assert figures.requests_failed == sum(part.requests_failed for part in parts) > 0
    assert not figures.from_ledger
    assert fleet.passed_over == 0


def test_money_is_the_ledgers_alone(server: RedisServer, seed: Seed) -> None:
    """A worker that was killed booked more than it wrote of itself; one that died young wrote nothing."""
    recorder = Recorder(lambda: START)
    recorder.booked(receipt(), "solved")
    recorder.booked(receipt(), "rejected")
    seed.worker("killed", recorder.snapshot("shop", {}), alive=False)
    accounts = [
        "solved",
        "failed",
        "rejected",
        "expired",
        "already_sent",
        "lost",
        "unusable",
        "no_solution",
        "undelivered",
    ]
    for number, account in enumerate([*accounts, "possibly_paid", "abandoned"], 1):
        seed.spend(account, number, number * 1000)
    record = read_fleet(server.url).record
    (row,) = record.rows.values()
    assert {name: (one.tasks, one.nano_usd) for name, one in row.items()} == {
        account: (number, number * 1000) for number, account in enumerate([*accounts, "possibly_paid", "abandoned"], 1)
    }


def test_the_workers_counts_of_entries_are_no_entries(server: RedisServer, seed: Seed) -> None:
    seed.spend("solved")
    seed.redis.hincrby(f"capsolver:ledger:{RUN}", "worker/a/bookings", 7)
    fleet = read_fleet(server.url)
    assert [list(row) for row in fleet.record.rows.values()] == [["solved"]]
    assert fleet.passed_over == 0


def test_names_in_the_ledger_may_hold_anything(server: RedisServer, seed: Seed) -> None:
    seed.spend("solved", 2, 5, site="a/b %é\x1b", family="turn/stile")
    seed.spend("solved", 1, 7, site="c", family="turn/stile")
    rows = read_fleet(server.url).record.rows
    assert {key: row["solved"].nano_usd for key, row in rows.items()} == {
        ("a/b %é\x1b", "turn/stile"): 5,
        ("c", "turn/stile"): 7,
    }


def test_an_account_that_is_none_of_the_ledgers_is_passed_over(server: RedisServer, seed: Seed) -> None:
    """Above all those that come from elsewhere, and would be counted twice."""
    for account in ("solved", "accepted", "handed_over", "open", "other"):
        seed.spend(account)
    seed.redis.hset(f"capsolver:ledger:{RUN}", "shop/a/b/solved/other", 1)
    fleet = read_fleet(server.url)
    assert [list(row) for row in fleet.record.rows.values()] == [["solved"]]
    assert fleet.passed_over == 9


@pytest.mark.parametrize("count", ["-1", "1.5", "", "x", "9" * 30, "1_0", "\u0661"])
def test_a_count_that_is_none_is_passed_over(server: RedisServer, seed: Seed, count: str) -> None:
    seed.spend("solved", 2, 5)
    seed.redis.hset(f"capsolver:ledger:{RUN}", "shop/shop.example/turnstile/solved/tasks", count)
    fleet = read_fleet(server.url)
    assert fleet.record.rows["shop.example", "turnstile"]["solved"] == Account(0, 5)
    assert fleet.passed_over == 1


@pytest.mark.parametrize("text", ["[" * 3000, "[]", "7", '"text"', "{}", "null", '{"record": "rows"}', "\0", "{"])
def test_a_text_that_is_none_of_a_workers_is_passed_over(server: RedisServer, seed: Seed, text: str) -> None:
    seed.worker("a")
    seed.open("a", "1")
    seed.redis.set("capsolver:task:1", text)
    seed.redis.hset(f"capsolver:records:{RUN}", "a", text)
    fleet = read_fleet(server.url)
    assert (fleet.passed_over, fleet.alive, fleet.record.rows) == (2, 1, {})


def test_a_key_of_another_kind_is_passed_over_or_one_error(server: RedisServer, seed: Seed) -> None:
    seed.worker("a")
    seed.redis.set("capsolver:open:a", "no set")
    seed.worker("b")
    seed.open("b", "1")
    seed.open("b", "2")
    seed.redis.delete("capsolver:task:1")
    seed.redis.rpush("capsolver:task:1", "no text")
    fleet = read_fleet(server.url)
    assert (figures_of(fleet.record).total.open, fleet.passed_over) == (1, 2)
    assert set(fleet.damaged) == {"capsolver:open:a", "capsolver:task:1"}
    seed.redis.set(f"capsolver:ledger:{RUN}", "no hash")
    with pytest.raises(ReportError, match="a key holds something else than this version writes there"):
        read_fleet(server.url)


def test_a_spider_of_which_no_worker_wrote_is_named(server: RedisServer, seed: Seed) -> None:
    seed.worker("a", alive=False)
    seed.spend("solved")
    fleet = read_fleet(server.url)
    figures = figures_of(fleet.record)
    assert (figures.spiders, figures.runs) == (("shop",), 0)
    assert fleet.record.started == START


def test_tasks_under_way_are_open(server: RedisServer, seed: Seed) -> None:
    seed.worker("a")
    seed.worker("b", alive=False)
    seed.open("a", "1")
    seed.open("a", "2", nano=None)
    seed.open("b", "3", site="other.example")
    seed.redis.sadd("capsolver:open:a", "ended meanwhile")
    seed.open("a", "4", state="over")
    seed.open("a", "5", ledger="capsolver:ledger:shop@earlier")
    seed.open("a", "6", state="left")
    seed.redis.smove("capsolver:open:a", "capsolver:left:shop", "6")  # no worker is at it
    fleet = read_fleet(server.url)
    assert figures_of(fleet.record).total.open == 4
    row = fleet.record.rows["shop.example", "turnstile"]["open"]
    assert (row.tasks, row.nano_usd) == (3, 2_400_000)
    assert fleet.passed_over == 0


def test_one_that_has_finished_is_not_alive_any_more(server: RedisServer, seed: Seed) -> None:
    """Though its key has some seconds to go."""
    seed.worker("a", crawl_of(10), alive=True, finished=True)
    fleet = read_fleet(server.url)
    assert (fleet.alive, fleet.finished, fleet.record.endings) == (0, 1, {"finished": 1})


def test_one_that_finishes_while_it_is_read_is_not_lost(
    server: RedisServer, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed.worker("a", snapshot(10))
    asked = fleet_module._Reader._open_tasks

    def then_finish(self: Any, run: bytes, workers: Any) -> None:
        asked(self, run, workers)
        seed.worker("a", crawl_of(10), finished=True, alive=False)
        seed.redis.zadd(f"capsolver:workers:{RUN}", {"a": START})

    monkeypatch.setattr(fleet_module._Reader, "_open_tasks", then_finish)
    fleet = read_fleet(server.url)
    assert (fleet.alive, fleet.finished, fleet.lost) == (0, 1, 0)


def test_a_worker_that_finished_keeps_its_own_ending(server: RedisServer, seed: Seed) -> None:
    record = crawl_of(10)
    record.endings.clear()
    record.endings["capsolver_budget"] += 1
    seed.worker("a", record, finished=True)
    assert read_fleet(server.url).record.endings == {"capsolver_budget": 1}


# Eight workers and one


def happen(recorder: Recorder, stats: dict[str, int], dice: random.Random) -> None:
    """Something or other. Times are sums of powers of two, which add up in any order."""
    family = dice.choice(["turnstile", "datadome"])
    one = receipt(dice.choice(["a.example", "b.example"]), family, dice.choice([800_000, None]))
    fate = dice.randrange(6)
    stats["capsolver/tasks"] = stats.get("capsolver/tasks", 0) + 1
    if fate == 0:
        recorder.booked(one, "failed")
        recorder.failed(UnsolvableCaptchaError("no", code="ERROR_X"), family)
        return
    if fate == 1:
        recorder.booked(one, "abandoned")
        recorder.failed(CaptchaTimeoutError("too late"), family)
        return
    recorder.booked(one, "solved")
    recorder.solved(solved(one, dice.randrange(1, 400) / 16, dice.randrange(16) / 16))
    match fate:
        case 2:
            recorder.booked(one, "rejected")
        case 3:
            recorder.handed_over(one)
        case _:
            recorder.accepted(one)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_eight_workers_are_what_one_recorder_would_have_recorded(server: RedisServer, seed: Seed, number: int) -> None:
    now = [START]
    one, eight = Recorder(lambda: now[0]), [Recorder(lambda: now[0]) for _ in range(8)]
    all_stats: dict[str, int] = {}
    stats: list[dict[str, int]] = [{} for _ in eight]
    dice = random.Random(number)
    for event in range(600):
        now[0] += dice.randrange(8) / 4
        worker = dice.randrange(8)
        happen(one, all_stats, random.Random(event))
        happen(eight[worker], stats[worker], random.Random(event))
    together = one.finish("shop", "finished", all_stats)
    seed.book(together)
    for at, recorder in enumerate(eight):
        seed.worker(f"w{at}", recorder.finish("shop", "finished", stats[at]), finished=True)
    fleet = read_fleet(server.url)
    assert (fleet.record.spiders, fleet.record.endings) == ({"shop": 8}, {"finished": 8})
    fleet.record.spiders, fleet.record.endings = together.spiders, together.endings
    assert comparable(fleet.record) == comparable(together)
    first, second = figures_of(fleet.record), figures_of(together)
    for name in ("total", "waste", "solves", "solve_bars", "pick_ups", "failures", "steps", "counters", "unpriced"):
        assert getattr(first, name) == getattr(second, name), name


def comparable(record: Record) -> dict[str, Any]:
    """Without the order in which things came."""
    values = record.to_dict()
    values["rows"] = {(row["site"], row["family"]): row["accounts"] for row in values["rows"]}
    values["failures"] = sorted(values["failures"], key=str)
    return values


# Which run


def test_the_run_that_began_last_or_the_one_that_is_named(server: RedisServer) -> None:
    with server.client() as client:
        names = ["shop@1", "shop@2", "books@1", "shop@odd@1"]
        for began, name in enumerate(names):
            Seed(client, name, began=START + began).spend("solved", began + 1)

    def tasks(run: str = "") -> tuple[str, int]:
        fleet = read_fleet(server.url, run=run)
        return fleet.run, figures_of(fleet.record).total.solved.tasks

    assert tasks() == ("shop@odd@1", 4)
    assert tasks("shop@1") == ("shop@1", 1)
    assert tasks("shop") == ("shop@2", 2)
    assert tasks("books") == ("books@1", 3)
    assert read_fleet(server.url, run="shop").others == ("shop@odd@1", "books@1", "shop@1")
    with pytest.raises(ReportError, match=r"no run none: there are shop@odd@1, books@1, shop@2, shop@1$"):
        tasks("none")


def test_many_runs_are_not_all_told_and_an_old_one_is_found(server: RedisServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(fleet_module, "MOST_RUNS", 20)
    with server.client() as client:
        for number in range(30):
            Seed(client, f"shop@{number:02}", began=START + number).spend("solved", number + 1)
    fleet = read_fleet(server.url)
    assert fleet.others == ("shop@28", "shop@27", "shop@26", "shop@25", "shop@24")
    assert lines_of(fleet)[1] == "Other runs (--run): shop@28, shop@27, shop@26, shop@25, shop@24 and 24 more"
    fleet = read_fleet(server.url, run="shop@03")
    assert (fleet.run, fleet.others_number) == ("shop@03", 29)
    assert figures_of(fleet.record).total.solved.tasks == 4
    with pytest.raises(ReportError, match=r"shop@25 and others$"):
        read_fleet(server.url, run="shop@30")


@pytest.mark.parametrize("began", [-1.0, 2.0**34, float("inf")])
def test_a_run_that_began_at_no_time_of_the_calendar(server: RedisServer, seed: Seed, began: float) -> None:
    Seed(seed.redis, began=began)
    fleet = read_fleet(server.url)
    assert (fleet.run, fleet.began, fleet.record.started) == (RUN, None, None)
    everything_of(fleet)


def test_another_prefix(server: RedisServer) -> None:
    with server.client() as client:
        Seed(client, prefix="theirs").spend("solved", 3)
    assert figures_of(read_fleet(server.url, "theirs").record).total.solved.tasks == 3
    with pytest.raises(ReportError, match="no run has written anything there with the prefix capsolver"):
        read_fleet(server.url)


# In words


def fleet_of(**values: Any) -> Fleet:
    plain: dict[str, Any] = {
        "record": Record(), "run": RUN, "began": START, "workers": 1, "alive": 1, "finished": 0, "lost": 0,
        "others": (), "others_number": 0, "passed_over": 0, "damaged": (), "left_out": 0,
    }  # fmt: skip
    return Fleet(**{**plain, **values})


def test_lines() -> None:
    assert lines_of(fleet_of()) == [f"Run {RUN}: 1 worker, 1 alive"]
    assert lines_of(fleet_of(workers=1200, alive=0, finished=1200)) == [
        f"Run {RUN}: 1,200 workers, 0 alive, 1,200 finished"
    ]
    first, lost = lines_of(fleet_of(workers=8, alive=5, finished=1, lost=2))
    assert first == f"Run {RUN}: 8 workers, 5 alive, 1 finished, 2 lost"
    assert lost.startswith("Lost workers show no sign of life, and did not say how they ended.")
    assert lines_of(fleet_of(others=("a", "b"), others_number=2))[1] == "Other runs (--run): a, b"
    assert lines_of(fleet_of(passed_over=3, damaged=("a", "b")))[1].endswith(": 3 values (in a, b)")
    assert lines_of(fleet_of(passed_over=9, damaged=tuple("abcde")))[1].endswith("(in a, b, c, d, e and others)")
    assert lines_of(fleet_of(passed_over=1, damaged=("a\x1b[2J",)))[1].isprintable()
    assert "2 that were seen last longest ago" in lines_of(fleet_of(left_out=2))[1]
    (line,) = lines_of(fleet_of(run="\x1b[2J" + "x" * 500))
    assert line.isprintable()
    assert len(line) < 200


def test_the_documentation_shows_what_is_written() -> None:
    (shown,) = [source for _, source in blocks("docs/report.rst", "text") if source.startswith("Run ")]
    others = ("shop@20261126T084507-91c0",)
    lines = lines_of(fleet_of(workers=8, alive=6, finished=1, lost=1, others=others, others_number=1))
    assert " ".join(shown.split()) == " ".join(lines)


# What cannot be read


def test_no_server_is_one_error() -> None:
    with pytest.raises(ReportError, match=r"no connection: .*refused") as caught:
        read_fleet(f"redis://user:{PASSWORD}@127.0.0.1:{free_port()}")
    assert PASSWORD not in str(caught.value)


def test_a_server_that_does_not_answer_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "_SECONDS", 0.2)
    with redis_server() as server:
        server.pause()
        began = time.monotonic()
        with pytest.raises(ReportError, match="does not answer within"):
            read_fleet(server.url)
        assert time.monotonic() - began < 4


def test_the_password_is_used_and_never_told() -> None:
    with redis_server(requirepass=PASSWORD) as server:
        host = f"127.0.0.1:{server.port}"
        with server.client(password=PASSWORD) as client:
            Seed(client).spend("solved")
        assert read_fleet(f"redis://:{PASSWORD}@{host}").run == RUN
        assert read_fleet(f"redis://default:{PASSWORD}@{host}/0").run == RUN
        for wrong in (f"redis://{host}", f"redis://:{PASSWORD}x@{host}", f"redis://nobody:{PASSWORD}@{host}"):
            with pytest.raises(ReportError, match="asks for a user and a password") as caught:
                read_fleet(wrong)
            assert PASSWORD not in str(caught.value)
            assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", [f"redis://:{PASSWORD}@", f"redis://:{PASSWORD}@host:port", f"http://:{PASSWORD}@host"])
def test_an_address_that_is_none_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ReportError, match="its address") as caught:
        read_fleet(url)
    assert PASSWORD not in str(caught.value)


def test_keys_that_a_user_may_not_read_are_told() -> None:
    with redis_server() as server:
        with server.client() as client:
            Seed(client).spend("solved")
            Seed(client).worker("a")
            readers = {"one": ["~capsolver:runs"], "two": ["~capsolver:*:*@*", "~capsolver:runs"]}
            for name, keys in readers.items():
                client.execute_command("ACL", "SETUSER", name, "on", f">{PASSWORD}", *keys, "+@all")
        for name in readers:
            with pytest.raises(ReportError, match="its user may not read these keys"):
                read_fleet(f"redis://{name}:{PASSWORD}@127.0.0.1:{server.port}")


def test_tls_with_a_certificate_that_somebody_vouches_for(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    options = {"tls-port": str(port), "tls-auth-clients": "no", "tls-ca-cert-file": str(tmp_path / "ca.pem")}
    options |= dict.fromkeys(("tls-cert-file", "tls-key-file"), str(tmp_path / "server.pem"))
    with redis_server(**options) as server:
        with server.client() as client:
            Seed(client).spend("solved")
        url = f"rediss://:{PASSWORD}@127.0.0.1:{port}"
        assert read_fleet(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ca.pem").run == RUN
        with pytest.raises(ReportError, match=r"(?i)certificate.*verify") as caught:
            read_fleet(url)
        assert PASSWORD not in str(caught.value)
        with pytest.raises(ReportError, match="no connection"):  # its name is another
            read_fleet(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}/ca.pem")


def test_without_redis_py_it_says_how_to_get_it() -> None:
    """And whatever else the module's users do needs it not."""
    code = (
        "import sys\n"
        "sys.modules['redis'] = None\n"
        "import scrapy_capsolver.commands.report\n"
        "from scrapy_capsolver.report.cluster import read_fleet\n"
        "try:\n    read_fleet('redis://:SECRET@127.0.0.1')\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "ReportError to read a store in Redis takes redis-py: pip install 'scrapy-capsolver[redis]'\n"
    )


@contextmanager
def answering(data: bytes) -> Iterator[str]:
    """The address of what is no Redis: it says this to whoever asks, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"redis://user:{PASSWORD}@127.0.0.1:{server.server_address[1]}/1"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            f"-ERR unknown command `AUTH`, with args beginning with: `user`, `{PASSWORD}`\r\n",
            "it refuses to answer",
        ),
        (f"-WRONGPASS {PASSWORD}\r\n", "it asks for a user and a password, or for others than the address has"),
        (f"-LOADING {PASSWORD}\r\n", "it is still loading its data"),
        (f"-MISCONF {PASSWORD}\r\n", "it refuses to answer (MISCONF)"),
        (f"{PASSWORD}\r\n", "its answers are not those of a Redis"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "its answers are not those of a Redis"),
        ("+OK\r\n" * 9, ""),
        (":x\r\n", "its answers are not those of a Redis"),
        ("*1\r\n" * 5000, "its answers are not those of a Redis"),
        ("", "no connection: "),
    ],
)
def test_what_is_no_redis_is_one_error(data: str, said: str) -> None:
    with answering(data.encode()) as url, pytest.raises(ReportError) as caught:
        read_fleet(url)
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).startswith(said)
    assert str(caught.value).isprintable()


def test_words_on_a_connection_that_hold_the_password_are_not_shown() -> None:
    assert fleet_module._without(PASSWORD, OSError(f"no {PASSWORD}")) == "OSError"
    assert fleet_module._without(None, OSError("no\x1b way")) == "no\ufffd way"


# Bounds


def test_of_hundreds_of_workers_all_are_read_in_parts(
    server: RedisServer, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "_BATCH_BYTES", 40_000)
    record = snapshot(30)
    for number in range(200):
        seed.worker(f"w{number}", record, alive=number % 2 == 0, finished=number % 4 == 1)
        seed.open(f"w{number}", f"t{number}")
    batches: list[int] = []
    fitting = fleet_module._Reader._fitting

    def counted(self: Any, *arguments: Any) -> Iterator[list[bytes]]:
        for some in fitting(self, *arguments):
            batches.append(len(some))
            yield some

    monkeypatch.setattr(fleet_module._Reader, "_fitting", counted)
    fleet = read_fleet(server.url)
    assert (fleet.workers, fleet.alive, fleet.finished, fleet.lost) == (200, 100, 50, 50)
    figures = figures_of(fleet.record)
    assert (figures.runs, figures.total.open) == (200, 200)
    assert figures.total.accepted == 200 * figures_of(record).total.accepted
    assert len(batches) > 10
    assert max(batches) * len(json.dumps(record.to_dict())) < 60_000


def test_workers_beyond_the_most_are_told(server: RedisServer, seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "MOST_WORKERS", 3)
    for number in range(5):
        seed.worker(f"w{number}", crawl_of(10))
    fleet = read_fleet(server.url)
    assert (fleet.workers, fleet.alive, fleet.left_out) == (5, 3, 2)


def test_a_record_that_is_too_large_stays_where_it_is(
    server: RedisServer, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed.worker("a", crawl_of(10), finished=True)
    seed.worker("b", crawl_of(300), finished=True)
    size = seed.redis.hstrlen(f"capsolver:records:{RUN}", "b")
    monkeypatch.setattr(fleet_module, "MOST_RECORD_BYTES", size - 1)
    fleet = read_fleet(server.url)
    assert (fleet.passed_over, fleet.record.spiders) == (1, {"shop": 1})


def test_a_ledger_of_more_sites_than_a_report_has_is_summed_up(server: RedisServer, seed: Seed) -> None:
    pipe = seed.redis.pipeline()
    for number in range(3 * MOST_ROWS):
        pipe.hset(f"capsolver:ledger:{RUN}", f"shop/{number}.example/turnstile/solved/tasks", 1)
        pipe.hset(f"capsolver:ledger:{RUN}", f"shop/{number}.example/turnstile/solved/nano", 1000 + number)
    pipe.execute()
    fleet = read_fleet(server.url)
    figures = figures_of(fleet.record)
    assert len(fleet.record.rows) <= MOST_ROWS
    assert figures.total.solved.tasks == 3 * MOST_ROWS
    assert figures.total.solved.nano_usd == sum(range(1000, 1000 + 3 * MOST_ROWS))
    kept = [line for line in figures.sites if line.name]
    assert [line.solved.nano_usd for line in kept[:1000]] == [999 + 3 * MOST_ROWS - place for place in range(1000)]
    assert all(line.solved.tasks == 1 for line in kept)


def test_a_ledger_without_end_is_one_error(server: RedisServer, seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "MOST_ENTRIES", 100)
    for number in range(60):
        seed.spend("solved", site=f"{number}.example")
    with pytest.raises(ReportError, match="its ledger has more than 100 entries"):
        read_fleet(server.url)


def test_open_tasks_are_counted_up_to_a_bound(server: RedisServer, seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "MOST_OPEN", 300)
    for number in range(200):
        seed.worker(f"w{number}")
        for task in range(5):
            seed.open(f"w{number}", f"{number}-{task}")
    assert figures_of(read_fleet(server.url).record).total.open == 300


def test_names_without_end_are_one(server: RedisServer, seed: Seed) -> None:
    """Families, errors, stats and so on, of which workers have some dozens."""
    for number in range(20):
        recorder = Recorder(lambda: START)
        for n in range(100):
            name = f"{number}-{n}"
            recorder.accepted(receipt("a.example", name))
            recorder.solved(solved(receipt("a.example", name), 1.0, 1.0))
            recorder.booked(receipt("a.example", "f", None, name), "solved")
        stats = {f"capsolver/{number}-{n}": 1 for n in range(300)}
        record = recorder.finish("shop", f"reason {number}" * 1000, stats)
        for n in range(100):
            record.fail(f"Error{number}-{n}", f"{n}", f"{number}-{n}", "")
        seed.worker(f"w{number}", record, finished=True, spider=f"spider {number}" * 1000)
        for n in range(20):
            seed.spend("solved", family=f"{number}-{n}")
    fleet = read_fleet(server.url)
    record = fleet.record
    assert fleet.passed_over == 0
    assert len({family for _, family in record.rows}) <= MOST_NAMES + 1
    assert len(record.solves) <= MOST_NAMES + 1
    assert len(record.pick_ups) <= MOST_NAMES + 1
    assert len(record.unpriced) == MOST_NAMES + 1
    assert len(record.failures) <= MOST_KINDS + MOST_NAMES + 1
    assert len(record.counters) <= 3300
    assert max(map(len, [*record.spiders, *record.endings])) <= 300
    assert figures_of(record).total.accepted == 2000
    assert figures_of(record).total.solved.tasks == 400


# What anybody may have written


def everything_of(fleet: Fleet) -> None:
    """All that is made of it."""
    text = "\n".join(lines_of(fleet)) + text_of(figures_of(fleet.record))
    assert all(line.isprintable() for line in text.splitlines())
    json.dumps({**data_of(fleet.record), "fleet": fleet.to_dict()}, allow_nan=False)


def test_planted_texts_reach_no_terminal(server: RedisServer, seed: Seed, tmp_path: Path) -> None:
    seed.worker("a", planted(), finished=True, spider=PLANTED[-2].replace("\ud800", ""))
    for text in PLANTED:
        name = text.replace("\ud800", "")
        seed.spend("solved", site=name, family=name)
        Seed(seed.redis, name, began=START - 1)
        seed.open("a", name, site=name, family=name)
    fleet = read_fleet(server.url)
    assert fleet.finished == 1
    everything_of(fleet)
    write_report(fleet.record, str(tmp_path / "page.html"))
    assert "<script" not in (tmp_path / "page.html").read_text("utf-8")


small = st.binary(max_size=40)
numbers = st.integers(-5, 5).map(lambda number: str(number).encode()) | st.just(b"9" * 30)
json_bytes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
).map(lambda value: json.dumps(value).encode())
fields = st.builds(
    lambda names, account, what: b"/".join([*names, account, what]),
    st.lists(small, min_size=2, max_size=4),
    st.sampled_from([b"solved", b"open", b"accepted", b"x"]),
    st.sampled_from([b"tasks", b"nano", b"%ff"]),
)
HASHES = (f"records:{RUN}", f"ledger:{RUN}", f"limits:{RUN}")
KEYS = ("runs", f"workers:{RUN}", *HASHES, "open:w", "left:shop", "task:t")


def write(client: Any, key: str, data: Any) -> None:
    """Anything, of the key's own kind or of another."""
    kind = data.draw(st.sampled_from(["own", "own", "string", "list", "set", "hash", "zset"]), label=f"kind of {key}")
    own = {
        "runs": "zset",
        f"workers:{RUN}": "zset",
        **dict.fromkeys(HASHES, "hash"),
        "open:w": "set",
        "left:shop": "set",
    }
    kind = own.get(key, "string") if kind == "own" else kind
    if data.draw(st.booleans(), label="in place of what is there"):
        client.delete(f"capsolver:{key}")
    elif client.type(f"capsolver:{key}") not in {kind.encode(), b"none"}:
        return
    some = data.draw(st.lists(small | json_bytes, min_size=1, max_size=4), label="values")
    match kind:
        case "string":
            client.set(f"capsolver:{key}", some[0])
        case "list":
            client.rpush(f"capsolver:{key}", *some)
        case "set":
            client.sadd(f"capsolver:{key}", *some)
        case "zset":
            scores = data.draw(st.lists(st.floats(allow_nan=False), min_size=4, max_size=4), label="scores")
            client.zadd(f"capsolver:{key}", dict(zip(some, scores, strict=False)))
        case "hash":
            for value in some:
                names = fields if key.startswith("ledger") else st.just(b"w") | small
                client.hset(
                    f"capsolver:{key}",
                    data.draw(names, label="field"),
                    data.draw(numbers | st.just(value), label="value"),
                )


@given(data=st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_redis_are_a_report_or_one_error(shared_redis: RedisServer, data: Any) -> None:
    with shared_redis.client() as texts:
        texts.flushall()
        good = Seed(texts)
        good.worker("w", crawl_of(5))
        good.spend("solved")
        good.open("w", "t")
    import redis

    with redis.Redis(port=shared_redis.port) as client:
        for key in data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3), label="keys"):
            write(client, key, data)
    try:
        fleet = read_fleet(shared_redis.url)
    except ReportError as error:
        assert str(error).isprintable()
    else:
        everything_of(fleet)


EXTREMES = st.sampled_from([0, -1, 2**33, 2**34, 2**40, 2**62, 1e300, True, None, "", [], {}, "x" * 1000])


@given(data=st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_a_record_is_passed_over_or_read(
    shared_redis: RedisServer, tmp_path_factory: Any, data: Any
) -> None:
    """Times that no calendar has, counts that are none, and so on: in the text and on the page."""
    values: Any = {"spider": "shop", "finished": True, "record": crawl_of(40).to_dict()}
    place = values
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.integers(0, 4)) == 0:
            break
        place = place[key]
    place[key] = data.draw(EXTREMES)
    with shared_redis.client() as client:
        client.flushall()
        seed = Seed(client)
        seed.worker("w")
        client.hset(f"capsolver:records:{RUN}", "w", json.dumps(values))
    fleet = read_fleet(shared_redis.url)
    assert fleet.passed_over + fleet.record.spiders.total() == 1
    everything_of(fleet)
    write_report(fleet.record, str(tmp_path_factory.getbasetemp() / "page.html"))


@pytest.mark.parametrize("place", ["started", "finished", "at"])
@pytest.mark.parametrize("moment", [2**34, 2**40, 2**61])
def test_times_that_no_calendar_has_are_passed_over(server: RedisServer, seed: Seed, place: str, moment: int) -> None:
    values = crawl_of(40).to_dict()
    (values["timeline"]["steps"][-1] if place == "at" else values)[place] = moment
    seed.worker("w")
    seed.redis.hset(f"capsolver:records:{RUN}", "w", json.dumps({"spider": "s", "finished": True, "record": values}))
    fleet = read_fleet(server.url)
    assert (fleet.passed_over, fleet.finished) == (1, 0)
    everything_of(fleet)


@pytest.mark.parametrize(
    ("place", "number"), [("rows", MOST_ROWS + 1), ("failures", MOST_KINDS + MOST_NAMES + 1), ("steps", 121)]
)
def test_a_record_that_no_recorder_writes_is_passed_over(
    server: RedisServer, seed: Seed, place: str, number: int
) -> None:
    """Each row of a family of its own would make room by sorting all of them."""
    values = crawl_of(40).to_dict()
    found = values["timeline"]["steps"] if place == "steps" else values[place]
    found += [found[0]] * (number - len(found))
    seed.worker("w")
    seed.redis.hset(f"capsolver:records:{RUN}", "w", json.dumps({"spider": "s", "finished": True, "record": values}))
    fleet = read_fleet(server.url)
    assert (fleet.passed_over, fleet.finished, fleet.alive) == (1, 0, 1)


# The record of a crawl that still runs


def test_a_snapshot_changes_nothing_of_what_comes_after_it() -> None:
    def crawl(*, looked_at: bool) -> tuple[Record, list[Record]]:
        now = [START]
        recorder, stats, snapshots = Recorder(lambda: now[0]), {"other": 1}, []
        for event in range(200):
            now[0] += 1
            happen(recorder, stats, random.Random(event))
            if looked_at:
                snapshots.append(recorder.snapshot("shop", stats))
        return recorder.finish("shop", "finished", stats), snapshots

    finished, _ = crawl(looked_at=False)
    looked_at, snapshots = crawl(looked_at=True)
    assert looked_at.to_dict() == finished.to_dict()
    before = snapshots[99].to_dict()
    assert before["counters"] == {"tasks": 100}
    assert (before["spiders"], before["endings"]) == ({"shop": 1}, {})
    assert (before["started"], before["finished"]) == (START, START + 100)
    assert {**snapshots[-1].to_dict(), "endings": {"finished": 1}} == finished.to_dict()
