"""Shows what captchas cost and what came of them: from a report of a crawl, or from the ledger of a store.

  scrapy capsolver report report.json               as text
  scrapy capsolver report report.json -o page.html  as a page
  scrapy capsolver report monday.json tuesday.json  several added up
  scrapy capsolver report captchas.sqlite           what an SQLite store knows: the money alone
  scrapy capsolver report captchas.sqlite --json    as JSON
  scrapy capsolver report redis://host              all workers of a run; without an address, those of CAPSOLVER_STORE
  scrapy capsolver report redis://host --watch      the same, live

A crawl writes its report where the setting CAPSOLVER_REPORT says: a .json file can be read again here, a .html page cannot.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.commands._console import complain
from scrapy_capsolver.report.cluster import Fleet, lines_of, read_fleet
from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.files import ReportError, data_of, read_report, write_report
from scrapy_capsolver.report.record import Record
from scrapy_capsolver.report.text import text_of
from scrapy_capsolver.stores.redis.address import is_redis, shown
from scrapy_capsolver.stores.redis.scope import PREFIX

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from scrapy.settings import Settings

_LOOK_SECONDS = 2.0
_MOST_FAILED = 15  # looks in a row; a server that starts again takes less
_LINE = 100
# Of a terminal (xterm's control sequences): another screen without a cursor, and back; and over what is there.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE|STORE",
        help="a report in JSON, an SQLite file of CAPSOLVER_STORE, or redis://host[:port][/database] or rediss://...; "
        "without any the CAPSOLVER_STORE of the settings, if it is in Redis",
    )
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="write a page (.html) or JSON (.json) there instead of text"
    )
    parser.add_argument("--run", metavar="NAME", help="of Redis: this run, and not the one that began last")
    parser.add_argument(
        "--prefix", metavar="TEXT", help=f"of Redis: with what its keys begin (by the settings, else {PREFIX})"
    )
    parser.add_argument(
        "--watch", action="store_true", help="of Redis: show it again every 2 seconds, until no worker is alive"
    )


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """0; 1 where a report cannot be read or written; 2 where the arguments do not go together."""
    store = settings.get("CAPSOLVER_STORE")
    names: list[str] = arguments.files or ([store] if isinstance(store, str) and is_redis(store) else [])
    wrong = _wrong(names, arguments)
    if wrong:
        complain(wrong)
        return 2
    prefix = arguments.prefix or settings.get("CAPSOLVER_STORE_PREFIX") or PREFIX
    if arguments.watch:
        return _watch(names[0], str(prefix), arguments.run or "")
    return _report(names, str(prefix), arguments)


def _wrong(names: Sequence[str], arguments: argparse.Namespace) -> str:
    if not names:
        return "it takes a FILE or a STORE: there is no CAPSOLVER_STORE in Redis in the settings"
    if arguments.watch and (arguments.output or arguments.json):
        return "--watch shows text alone: it goes with neither -o nor --json"
    if arguments.watch and (len(names) > 1 or not is_redis(names[0])):
        return "--watch takes one store, and that in Redis (redis://...)"
    if (arguments.run or arguments.prefix) and not any(map(is_redis, names)):
        return "--run and --prefix are of a store in Redis (redis://...)"
    return ""


def _report(names: Sequence[str], prefix: str, arguments: argparse.Namespace) -> int:
    path = ""
    record = Record()
    fleets: list[Fleet] = []
    try:
        for path in names:
            if is_redis(path):
                fleets.append(read_fleet(path, prefix, arguments.run or ""))
                record.merge(fleets[-1].record)
            else:
                record.merge(read_report(path))
        if arguments.output:
            path = arguments.output
            write_report(record, path)
    except ReportError as error:
        sys.stderr.write(f"{shown(path)}: {error}\n")
        return 1
    if arguments.output:
        sys.stdout.write(f"{arguments.output}\n")
    elif arguments.json:
        data = data_of(record) | ({"fleets": [fleet.to_dict() for fleet in fleets]} if fleets else {})
        sys.stdout.write(json.dumps(data, indent=1, allow_nan=False) + "\n")
    else:
        sys.stdout.write(_text(fleets, record))
    return 0


def _text(fleets: Sequence[Fleet], record: Record) -> str:
    lines = [line for fleet in fleets for told in lines_of(fleet) for line in textwrap.wrap(told, _LINE)]
    return "".join(f"{line}\n" for line in [*lines, ""] if lines) + text_of(figures_of(record))


def _watch(url: str, prefix: str, name: str) -> int:
    """Until no worker is alive, or Ctrl-C. A server that does not answer for a while is waited for."""
    text, failed, error = "", 0, ""
    try:
        with _screen() as draw:
            while True:
                began = time.monotonic()
                try:
                    fleet = read_fleet(url, prefix, name)
                except ReportError as why:
                    failed, error = failed + 1, str(why)
                    if not text or failed >= _MOST_FAILED:
                        break
                    draw(f"{shown(url)}: {error}\n\n{text}")
                else:
                    failed, error, name = 0, "", fleet.run  # a run that begins now is another
                    text = _text([fleet], fleet.record)
                    draw(text)
                    if not fleet.alive:
                        break
                # Of a large fleet no more than half the time is spent on looking at it.
                _wait(max(_LOOK_SECONDS, time.monotonic() - began))
    except KeyboardInterrupt:
        failed = 0
    if _is_live():
        sys.stdout.write(text)  # to stay, whole, where the watching was
        sys.stdout.flush()
    if failed:
        complain(f"{shown(url)}: {error}")
    return 1 if failed else 0


def _wait(seconds: float) -> None:
    time.sleep(seconds)


def _is_live() -> bool:
    """Standard output can be written over."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def _screen() -> Iterator[Any]:
    """What draws a text: over the one before, on a terminal; elsewhere below it."""
    if not _is_live():
        yield _print
        return
    sys.stdout.write(_ENTER)
    try:
        yield _redraw
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _redraw(text: str) -> None:
    """Without clearing it all before, which flickers; and no more than fits, or the top would be out of sight."""
    width, height = shutil.get_terminal_size()
    lines = text.splitlines()
    if len(lines) > height - 1:
        lines = [*lines[: height - 2], "... Ctrl-C ends it, and shows all of the report"]
    shown_lines = "".join(f"{line[:width]}{_END_OF_LINE}\n" for line in lines)
    sys.stdout.write(f"{_HOME}{shown_lines}{_BELOW}")
    sys.stdout.flush()
