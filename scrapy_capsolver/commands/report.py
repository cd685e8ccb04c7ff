"""Shows what captchas cost and what came of them: from a report of a crawl, or from the ledger of a store.

  scrapy capsolver report report.json               as text
  scrapy capsolver report report.json -o page.html  as a page
  scrapy capsolver report monday.json tuesday.json  several added up
  scrapy capsolver report captchas.sqlite           what an SQLite store knows: the money alone
  scrapy capsolver report captchas.sqlite --json    as JSON

A crawl writes its report where the setting CAPSOLVER_REPORT says: a .json file can be read again here, a .html page cannot.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.files import ReportError, data_of, read_report, write_report
from scrapy_capsolver.report.record import Record
from scrapy_capsolver.report.text import text_of

if TYPE_CHECKING:
    import argparse

    from scrapy.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE|STORE", help="a report in JSON, or an SQLite file of CAPSOLVER_STORE"
    )
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="write a page (.html) or JSON (.json) there instead of text"
    )
    if "--json" not in parser._option_string_actions:  # which all commands have
        parser.add_argument("--json", action="store_true", help="print JSON")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """0; 1 where a file cannot be read or written."""
    path = ""
    record = Record()
    try:
        for path in arguments.files:
            record.merge(read_report(path))
        if arguments.output:
            path = arguments.output
            write_report(record, path)
    except ReportError as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 1
    if arguments.output:
        sys.stdout.write(f"{arguments.output}\n")
    elif arguments.json:
        sys.stdout.write(json.dumps(data_of(record), indent=1, allow_nan=False) + "\n")
    else:
        sys.stdout.write(text_of(figures_of(record)))
    return 0
