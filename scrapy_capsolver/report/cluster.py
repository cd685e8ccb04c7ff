"""The report of a run of many workers, from the Redis that they share.

Money comes from the ledger alone, which has that of killed workers too. All else is what each worker wrote of itself some seconds
ago. Nothing is changed in Redis, and nothing that is read there is trusted: it is bounded, and a value that is not as this version
writes it is passed over and counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from scrapy_capsolver.report.figures import POSSIBLE, WASTED
from scrapy_capsolver.report.files import ReportError
from scrapy_capsolver.report.reading import count_in, text_in
from scrapy_capsolver.report.record import MOST_COUNTERS, MOST_KINDS, MOST_NAMES, MOST_ROWS, OTHERS, Account, Record
from scrapy_capsolver.report.timeline import STEPS
from scrapy_capsolver.report.words import plain, whole
from scrapy_capsolver.solving.ledger import SOLVED
from scrapy_capsolver.stores import StoreError
from scrapy_capsolver.stores.redis.address import Address
from scrapy_capsolver.stores.redis.scope import PREFIX
from scrapy_capsolver.stores.redis.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUNNING, LOST = "running", "lost"
"""Endings of workers that have none of their own: they live, or they show no sign of life."""
MOST_RUNS = 1000
"""The last ones, among which a run is looked for by the first part of its name."""
MOST_WORKERS = 10_000
"""Of a run, with those that left."""
MOST_ENTRIES = 500_000
"""Of a ledger. Two are an account of a site and family."""
MOST_OPEN = 100_000
"""Tasks, and a hundredth of that by one worker."""
MOST_RECORD_BYTES = 4 * 1024 * 1024
_BATCH_BYTES = 16 * 1024 * 1024  # of records at a time
_BATCH = 500  # keys in a pipeline
_MOST_TASK_BYTES = 4000
_MOST_FIELD_BYTES = 4000
_LONGEST_NAME = 300
_TOLD = 5  # other runs
_LAST = 2**33  # Unix seconds: the year 2242
_SECONDS = 5.0  # to connect, and for each answer

_ACCOUNTS = frozenset({SOLVED, "failed", *WASTED, *POSSIBLE})  # of the ledger
_VERDICTS = ("accepted", "handed_over")  # which workers' records have, and the ledger has not
_COUNT = re.compile(rb"[0-9]{1,18}")
_BOOKINGS = re.compile(rb"worker/[^/]+/bookings")  # how many entries of the ledger a worker has made: for that worker
_ALIVE_SECONDS = Timings().alive

# What Redis itself says of a command that it does not know quotes the command, AUTH and its password as well.
_REFUSALS = {
    "WRONGTYPE": "a key holds something else than this version writes there: do others use this prefix?",
    "NOPERM": "its user may not read these keys",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "it has lost its master",
    "CLUSTERDOWN": "its cluster is down",
}


@dataclass(frozen=True, slots=True)
class Fleet:
    record: Record
    """All workers' together."""
    run: str
    began: float | None
    """Unix seconds."""
    workers: int
    """All that ever were in the run. Each is alive, has finished, or is lost."""
    alive: int
    finished: int
    lost: int
    others: tuple[str, ...]
    """Names of other runs, the last that began first: some of them, where there are many."""
    others_number: int
    passed_over: int
    """Values that are not as this version writes them."""
    damaged: tuple[str, ...]
    """The keys that they are in: some of them, if there are many."""
    left_out: int
    """Workers beyond :data:`MOST_WORKERS`."""

    def to_dict(self) -> dict[str, Any]:
        """Of the run, without the record."""
        names = ("run", "began", "workers", "alive", "finished", "lost", "passed_over", "damaged", "left_out")
        return {name: getattr(self, name) for name in names}


def read_fleet(url: str, prefix: str = PREFIX, run: str = "") -> Fleet:
    """The run of that name, or the last that began with it and ``@``; without a name the last that began.

    Raises :class:`~scrapy_capsolver.report.files.ReportError`, which shows no password.
    """
    with _connected(url) as client:
        return _Reader(client, prefix).read(run)


def lines_of(fleet: Fleet) -> list[str]:
    """The run in words. What stands in Redis can move no cursor."""
    number, parts = whole(fleet.workers), []
    for workers, word in ((fleet.alive, "alive"), (fleet.finished, "finished"), (fleet.lost, "lost")):
        if workers or word == "alive":
            parts.append(f"{whole(workers)} {word}")
    lines = [f"Run {_shown(fleet.run)}: {number} worker{'' if fleet.workers == 1 else 's'}, {', '.join(parts)}"]
    if fleet.others:
        more = fleet.others_number - len(fleet.others)
        names = ", ".join(map(_shown, fleet.others)) + (f" and {whole(more)} more" if more > 0 else "")
        lines.append(f"Other runs (--run): {names}")
    if fleet.lost:
        lines.append(
            "Lost workers show no sign of life, and did not say how they ended. The money has all of theirs; times, failures and what "
            "sites accepted lack their last seconds."
        )
    if fleet.left_out:
        lines.append(
            f"Of the workers {whole(fleet.left_out)} that were seen last longest ago are in the money alone: there are too many."
        )
    if fleet.passed_over:
        keys = ", ".join(map(_shown, fleet.damaged)) + (" and others" if len(fleet.damaged) == _TOLD else "")
        lines.append(
            f"Passed over, since they are not as this version writes them: {whole(fleet.passed_over)} values (in {keys})"
        )
    return lines


def _shown(name: str) -> str:
    return plain(name if len(name) <= 100 else f"{name[:97]}...")


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    """redis-py's client; whatever goes wrong with it is one :class:`ReportError`."""
    try:
        address = Address.parse(url)
    except StoreError as error:
        raise ReportError(str(error)) from None
    try:
        import redis  # noqa: PLC0415 - the extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError:
        raise ReportError("to read a store in Redis takes redis-py: pip install 'scrapy-capsolver[redis]'") from None
    try:
        client = redis.Redis(
            **address.options(),
            protocol=2,  # which all servers speak
            socket_connect_timeout=_SECONDS,
            socket_timeout=_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            yield client
    except redis.AuthenticationError:
        raise ReportError("it asks for a user and a password, or for others than the address has") from None
    except redis.TimeoutError:
        raise ReportError(f"it does not answer within {_SECONDS:.0f} seconds") from None
    except redis.ResponseError as error:
        raise ReportError(_refusal(error)) from None
    except redis.BusyLoadingError:
        raise ReportError(_REFUSALS["LOADING"]) from None
    except redis.ConnectionError as error:
        raise ReportError(f"no connection: {_without(address.password, error)}") from None
    # What is no Redis may answer anything, and redis-py's parser raises what comes to its hands.
    except (redis.RedisError, ValueError, TypeError, LookupError, AttributeError, RecursionError, OSError) as error:
        raise ReportError(f"its answers are not those of a Redis ({type(error).__name__})") from None


def _refusal(error: Exception) -> str:
    code = "NOPERM" if type(error).__name__ == "NoPermissionError" else _code_of(error)
    return _REFUSALS.get(code, f"it refuses to answer{f' ({code})' if code else ''}")


def _code_of(error: object) -> str:
    """The one word of an error that is surely Redis' own."""
    found = re.match(r"[A-Z]{3,20}(?= |$)", str(error))
    return found[0] if found else ""


def _without(secret: str | None, error: object) -> str:
    """redis-py's own words on a connection, which has no password in it; and if it had, it would not be shown."""
    text = plain(str(error))[:300]
    return type(error).__name__ if secret and secret in text else text


class _Names:
    """So many different ones; all others are one."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        name = name[:_LONGEST_NAME]
        if name not in self._known:
            if len(self._known) >= MOST_NAMES:
                return OTHERS
            self._known.add(name)
        return name


class _Reader:
    """Of one run, once."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix.encode(errors="replace")
        self._record = Record()
        self._spiders, self._endings, self._families = _Names(), _Names(), _Names()
        self._errors, self._types = _Names(), _Names()
        self._passed_over: Counter[bytes] = Counter()  # by key

    def read(self, wanted: str) -> Fleet:
        run, began, others, others_number = self._run(wanted)
        seen: list[tuple[bytes, float]] = self._client.zrevrange(
            self._key("workers", run), 0, MOST_WORKERS - 1, withscores=True
        )
        workers = [worker for worker, _ in seen]
        left_out = max(self._client.zcard(self._key("workers", run)) - len(workers), 0)
        spiders = self._money(run)
        self._open_tasks(run, workers)
        now, _ = self._client.time()
        alive = {worker for worker, at in seen if now - at < _ALIVE_SECONDS}
        finished = self._records(run, workers)
        counts = Counter(self._state(one, finished, alive) for one in workers)
        for state in (RUNNING, LOST):
            if counts[state]:
                self._record.endings[state] += counts[state]
        for spider in spiders:
            self._record.spiders.setdefault(self._spiders(spider), 0)  # of which no worker has written anything
        if self._record.started is None:
            self._record.started = began
        return Fleet(
            record=self._record,
            run=_text(run),
            began=began,
            workers=len(workers) + left_out,
            alive=counts[RUNNING],
            finished=counts["finished"],
            lost=counts[LOST],
            others=others,
            others_number=others_number,
            passed_over=self._passed_over.total(),
            damaged=tuple(_text(key) for key in islice(self._passed_over, _TOLD)),
            left_out=left_out,
        )

    @staticmethod
    def _state(worker: bytes, finished: set[bytes], alive: set[bytes]) -> str:
        if worker in finished:
            return "finished"
        return RUNNING if worker in alive else LOST

    def _key(self, *parts: str | bytes) -> bytes:
        """Of the bytes that were read: names need not be text."""
        return b":".join([self._prefix, *(part.encode() if isinstance(part, str) else part for part in parts)])

    def _run(self, wanted: str) -> tuple[bytes, float | None, tuple[str, ...], int]:
        """Its name, when it began, and others."""
        key = self._key("runs")
        known: list[tuple[bytes, float]] = self._client.zrevrange(key, 0, MOST_RUNS - 1, withscores=True)
        names = [_text(name) for name, _ in known]
        if not known:
            raise ReportError(f"no run has written anything there with the prefix {plain(_text(self._prefix))}")
        at = 0
        if wanted:
            of_that_name = [at for at, name in enumerate(names) if name == wanted]
            of_that_name += [at for at, name in enumerate(names) if name.rpartition("@")[0] == wanted]
            if not of_that_name:
                old = wanted.encode(errors="replace")
                score = self._client.zscore(key, old)
                if score is None:
                    some = ", ".join(map(_shown, names[:_TOLD])) + (" and others" if len(names) > _TOLD else "")
                    raise ReportError(f"there is no run {_shown(wanted)}: there are {some}")
                known, names = [(old, score), *known], [wanted, *names]
            else:
                at = of_that_name[0]
        run, began = known[at]
        others = [name for place, name in enumerate(names) if place != at]
        number = self._client.zcard(key) - 1
        return run, began if 0 <= began <= _LAST else None, tuple(others[:_TOLD]), max(number, len(others[:_TOLD]))

    def _money(self, run: bytes) -> list[str]:
        """Enter the ledger, and give its spiders. A scan does not hold up the workers, and may bring a field twice."""
        key = self._key("ledger", run)
        found: dict[bytes, bytes] = {}
        cursor = 0
        while True:
            cursor, some = self._client.hscan(key, cursor, count=1000)
            found.update(some)
            if len(found) > MOST_ENTRIES:
                raise ReportError(f"its ledger has more than {whole(MOST_ENTRIES)} entries")
            if not cursor:
                break
        rows: dict[tuple[str, str], dict[str, Account]] = {}
        spiders: dict[str, None] = {}
        for field, value in found.items():
            if _BOOKINGS.fullmatch(field):
                continue
            entry = _entry(field, value)
            if entry is None:
                self._passed_over[key] += 1
                continue
            spider, site, family, account, tasks, nano_usd = entry
            spiders[spider] = None
            rows.setdefault((site, self._families(family)), {}).setdefault(account, Account()).add(tasks, nano_usd)
        for (site, family), row in rows.items():  # each as a whole, or a record would part what it adds up
            for account, sums in row.items():
                self._record.enter(site, family, account, sums.tasks, sums.nano_usd)
        return list(spiders)

    def _open_tasks(self, run: bytes, workers: Sequence[bytes]) -> None:
        """Enter the tasks under way, and those that no worker is at."""
        ledger = self._key("ledger", run).decode(errors="replace")
        left = MOST_OPEN
        sets = [self._key("open", worker) for worker in workers] + [self._key("left", run.rpartition(b"@")[0])]
        for keys in _batches(sets, _BATCH // 10):
            held = self._each("srandmember", keys, MOST_OPEN // 100)  # all of them, if there are not more
            tasks = [task for tasks in held if tasks for task in tasks][:left]
            left -= len(tasks)
            for ids in _batches(tasks, _BATCH):
                names = [self._key("task", one) for one in ids]
                for name, data in zip(names, self._each("getrange", names, 0, _MOST_TASK_BYTES), strict=True):
                    if data:  # else it has ended since, or its keys have expired
                        self._enter_open(name, data, ledger)

    def _enter_open(self, name: bytes, data: bytes, ledger: str) -> None:
        try:
            task = json.loads(data.decode())
            site, family = text_in(task, "site"), text_in(task, "family")
            nano_usd = 0 if task["nano"] is None else count_in(task, "nano")
            counts = task["state"] != "over" and task["ledger"] == ledger
        except (ValueError, LookupError, TypeError, RecursionError):
            self._passed_over[name] += 1
            return
        if counts:
            self._record.enter(site[:_LONGEST_NAME], self._families(family), "open", 1, nano_usd)

    def _records(self, run: bytes, workers: Sequence[bytes]) -> set[bytes]:
        """Add up what the workers recorded, and give those that have finished."""
        key = self._key("records", run)
        finished: set[bytes] = set()
        for some in self._fitting(key, workers):
            for worker, data in zip(some, self._client.hmget(key, some), strict=True):
                if data is None:
                    continue
                read = _record(data)
                if read is None:
                    self._passed_over[key] += 1
                    continue
                spider, ending, record = read
                record.spiders = Counter({self._spiders(spider): 1})
                record.endings = Counter() if ending is None else Counter({self._endings(ending): 1})
                self._add(record)
                if ending is not None:
                    finished.add(worker)
        return finished

    def _fitting(self, key: bytes, workers: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Workers whose records together are no more than is read at a time. One that is too large is left where it is."""
        batch: list[bytes] = []
        size = 0
        for some in _batches(workers, _BATCH):
            pipe = self._client.pipeline(transaction=False)
            for worker in some:
                pipe.hstrlen(key, worker)
            for worker, length in zip(some, pipe.execute(), strict=True):
                if length > MOST_RECORD_BYTES:
                    self._passed_over[key] += 1
                elif length:
                    if batch and size + length > _BATCH_BYTES:
                        yield batch
                        batch, size = [], 0
                    batch.append(worker)
                    size += length
        if batch:
            yield batch

    def _add(self, record: Record) -> None:
        """Merge it, and of names no more than a report has."""
        rows, record.rows = record.rows, {}
        for (site, family), row in rows.items():
            for account, sums in row.items():
                record.enter(site[:_LONGEST_NAME], self._families(family), account, sums.tasks, sums.nano_usd)
        failures, record.failures = record.failures, {}
        for (error, code, family), one in failures.items():
            record.fail(self._errors(error), code[:_LONGEST_NAME], self._families(family), one.example, one.requests)
        for histograms in (record.solves, record.pick_ups):
            for family in [family for family in histograms if self._families(family) != family]:
                del histograms[family]
        unpriced, record.unpriced = record.unpriced, Counter()
        for task_type, times in unpriced.items():
            record.unpriced[self._types(task_type)] += times
        known = self._record.counters
        for name in [name for name in record.counters if name not in known]:
            if len(name) > _LONGEST_NAME or len(known) >= 10 * MOST_COUNTERS:
                del record.counters[name]
        self._record.merge(record)

    def _each(self, command: str, keys: Sequence[bytes], *arguments: int) -> list[Any]:
        """Return a command's answers for each of the keys; None, and passed over, if a key holds something else."""
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            getattr(pipe, command)(key, *arguments)
        answers = pipe.execute(raise_on_error=False)
        for at, answer in enumerate(answers):
            if isinstance(answer, Exception):
                if _code_of(answer) != "WRONGTYPE":
                    raise answer
                self._passed_over[keys[at]] += 1
                answers[at] = None
        return list(answers)


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _batches(values: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _entry(field: bytes, value: bytes) -> tuple[str, str, str, str, int, int] | None:
    """Spider, site, family, account, tasks and nano-dollars of a field of the ledger."""
    if len(field) > _MOST_FIELD_BYTES or not _COUNT.fullmatch(value):
        return None
    try:
        spider, site, family, account, what = field.decode("ascii").split("/")
    except ValueError:
        return None
    if account not in _ACCOUNTS or what not in {"tasks", "nano"}:
        return None
    number = int(value)
    names = [unquote(name)[:_LONGEST_NAME] for name in (spider, site, family)]
    return names[0], names[1], names[2], account, *((number, 0) if what == "tasks" else (0, number))


def _record(data: bytes) -> tuple[str, str | None, Record] | None:
    """A worker's spider, how it ended, if it has, and its record without money. No larger than a recorder's ever is, or None."""
    try:
        values = json.loads(data.decode())
        written = values["record"]
        rows, failures, timeline = written["rows"], written["failures"], written["timeline"]
        if len(rows) > MOST_ROWS or len(failures) > MOST_KINDS + MOST_NAMES or len(timeline["steps"]) > STEPS:
            return None
        verdicts = [
            {**row, "accounts": {name: row["accounts"][name] for name in _VERDICTS if name in row["accounts"]}}
            for row in rows
        ]
        spider, record = text_in(values, "spider"), Record.of({**written, "rows": verdicts})
        times = [record.started or 0, record.finished or 0, *(at for at, _ in record.timeline.steps())]
        if max(times) > _LAST:
            return None
        ending = (next(iter(record.endings), "") or "finished") if values["finished"] is True else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return spider, ending, record
