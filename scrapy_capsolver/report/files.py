"""Reports on disk: what CAPSOLVER_REPORT writes, and what can be read again."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import scrapy_capsolver
from scrapy_capsolver.report.figures import figures_of
from scrapy_capsolver.report.record import FORMAT, VERSION, Record, record_of_ledger
from scrapy_capsolver.stores import StoreError, read_ledger

PAGE, DATA = (".html", ".htm"), (".json",)
_SQLITE = b"SQLite format 3\0"  # with which such a file begins (sqlite.org/fileformat2.html, 1.3)
_MOST_BYTES = 64 * 1024 * 1024


class ReportError(Exception):
    """A report cannot be written or read, and why."""


def check_target(path: str) -> None:
    """Raise :class:`ReportError` where no report can be written to ``path``, before there is one."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in PAGE + DATA:
        raise ReportError("a report is a page or JSON: its name ends with .html or .json")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise ReportError(f"there is no directory {os.path.abspath(folder)}")
    if os.path.isdir(path):
        raise ReportError("this is a directory")
    if not os.access(folder, os.W_OK | os.X_OK) or (os.path.exists(path) and not os.access(path, os.W_OK)):
        raise ReportError(f"no file can be written there ({os.path.abspath(path)})")
    if ending in PAGE and find_spec("jinja2") is None:
        raise ReportError(
            "an .html report needs jinja2: pip install 'scrapy-capsolver[report]'; a .json report does not"
        )


def write_report(record: Record, path: str) -> None:
    """A page or JSON, as the name of the file says. A report that is there stays until the new one is whole.

    Raises :class:`ReportError`.
    """
    check_target(path)
    if path.lower().endswith(PAGE):
        from scrapy_capsolver.report.page import page_of  # noqa: PLC0415 - the extra

        text = page_of(figures_of(record))
    else:
        text = json.dumps(data_of(record), indent=1, allow_nan=False) + "\n"
    try:
        _replace(path, text)
    except OSError as error:
        raise ReportError(f"it cannot be written: {error}") from error


def data_of(record: Record) -> dict[str, Any]:
    """The report as plain data: its figures, and the record that they are computed from and that other records add up with."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "by": f"scrapy-capsolver {scrapy_capsolver.__version__}",
        "figures": figures_of(record).to_dict(),
        "record": record.to_dict(),
    }


def read_report(path: str) -> Record:
    """The record in a JSON report, or the ledger of an SQLite store. Raises :class:`ReportError`."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(_SQLITE))
            if head == _SQLITE:
                return record_of_ledger(read_ledger(path))
            if os.fstat(file.fileno()).st_size > _MOST_BYTES:
                raise ReportError(f"it is larger than {_MOST_BYTES} bytes, as no report is")
            text = head + file.read(_MOST_BYTES)
    except OSError as error:
        raise ReportError(error.strerror or str(error)) from error
    except StoreError as error:
        raise ReportError(str(error)) from error
    if text.lstrip()[:1] == b"<":
        raise ReportError(
            "it is a page, from which nothing is read: CAPSOLVER_REPORT=report.json writes what can be read again"
        )
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"there is no {{'format': {FORMAT!r}}} in it")
        if data.get("version") != VERSION:
            raise ValueError(f"its version is {data.get('version')!r:.40}, and this is version {VERSION}")
        return Record.of(data["record"])
    except (ValueError, KeyError, RecursionError) as error:
        raise ReportError(
            f"it is neither a report that CAPSOLVER_REPORT=....json wrote nor an SQLite store: {error}"
        ) from None


def _replace(path: str, text: str) -> None:
    target = Path(path)
    mode = 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
