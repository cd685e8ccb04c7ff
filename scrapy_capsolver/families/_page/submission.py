"""A form as a browser with scripts would submit it: the same method, address and fields, byte for byte.

form2request reads the form's address and method; the entries are :mod:`~scrapy_capsolver.families._page.entries`, since it sends others
(see there). It has no ``multipart/form-data`` and knows only UTF-8: these belong upstream as well.
"""

from __future__ import annotations

import codecs
import re
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urldefrag, urlsplit

from form2request import form2request
from lxml.etree import fromstring
from lxml.html import HTMLParser
from w3lib.url import safe_url_string

from scrapy_capsolver.families._page import multipart
from scrapy_capsolver.families._page.encoding import is_wide, known_encoding
from scrapy_capsolver.families._page.entries import entries_of
from scrapy_capsolver.families.base import FormSubmission
from scrapy_capsolver.families.inject import URLENCODED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.entries import Entry
    from scrapy_capsolver.families._page.page import Page

_OF_FORM = ("method", "enctype")
_OF_BUTTON = ("formaction", "formmethod", "formenctype")
_LINE_END = re.compile(r"\r\n|\r|\n")
MULTIPART, PLAIN = "multipart/form-data", "text/plain"
# Names of encodings where browsers write another one than Python's codec.
_WEB_NAMES = {
    "cp1252": "windows-1252",
    "utf-8": "UTF-8",
    "shift_jis": "Shift_JIS",
    "euc_jp": "EUC-JP",
    "euc_kr": "EUC-KR",
}


def submission(page: Page, form: HtmlElement) -> FormSubmission | None:
    """Return ``form`` as it is sent when its first button is pressed.

    None if it sends nothing over HTTP, or has more fields than any form around a captcha has.
    """
    return page.kept(("submission", form), lambda: _submission(page, form))


def _submission(page: Page, form: HtmlElement) -> FormSubmission | None:
    encoding = _encoding(page, form)
    entries = entries_of(form, _web_name(encoding))
    if entries is None:
        return None
    try:
        copy = _bare_copy(page, form, entries.submitter)
        built = form2request(copy, enctype=URLENCODED)
        url = urldefrag(safe_url_string(built.url, encoding)).url
        parts = urlsplit(url)
        host = parts.hostname
    except (NotImplementedError, ValueError):  # method="dialog", or no address
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return None
    if built.method == "GET":
        query = serialize(entries.sent, encoding)
        return FormSubmission(parts._replace(query=query).geturl(), "GET", asked=entries.asked)
    content_type, body = _encoded(entries.sent, _enctype(form, entries.submitter), encoding)
    return FormSubmission(url, built.method, (("Content-Type", content_type),), body, entries.asked)


def serialize(entries: Iterable[Entry], encoding: str) -> str:
    """Return the entries as application/x-www-form-urlencoded (url.spec.whatwg.org/#concept-urlencoded-serializer)."""
    return "&".join(f"{_quoted(one.name, encoding)}={_quoted(one.value, encoding)}" for one in entries)


def _quoted(text: str, encoding: str) -> str:
    data = _LINE_END.sub("\r\n", text).encode(encoding, "xmlcharrefreplace")
    return quote_plus(data, safe="*").replace("~", "%7E")


def _encoded(entries: tuple[Entry, ...], enctype: str, encoding: str) -> tuple[str, bytes]:
    """Return the Content-Type and the body."""
    if enctype == MULTIPART:
        files = {one.name for one in entries if one.is_file}
        return multipart.encode([(one.name, one.value) for one in entries], files, encoding)
    if enctype == PLAIN:
        lines = "".join(f"{one.name}={_LINE_END.sub(chr(13) + chr(10), one.value)}\r\n" for one in entries)
        return PLAIN, lines.encode(encoding, "xmlcharrefreplace")
    return URLENCODED, serialize(entries, encoding).encode()


def _enctype(form: HtmlElement, submitter: HtmlElement | None) -> str:
    named = None if submitter is None else submitter.get("formenctype")
    kind = (form.get("enctype") if named is None else named) or ""
    return kind.lower() if kind.lower() in {MULTIPART, PLAIN} else URLENCODED


def _bare_copy(page: Page, form: HtmlElement, submitter: HtmlElement | None) -> HtmlElement:
    """Return the form without its fields. Without an action it goes to the page itself, whatever ``<base>`` says."""
    action = (form.get("action") or "").strip()
    button = ""
    if submitter is not None:
        given = (submitter.get("formaction") or "").strip()
        button = _tag("button", {name: submitter.get(name) for name in _OF_BUTTON[1:]} | {"formaction": given or None})
    attributes = {name: form.get(name) for name in _OF_FORM} | {"action": action or page.url}
    root = fromstring(
        f"{_tag('form', attributes)}{button}".encode(), HTMLParser(encoding="utf-8"), base_url=page.base_url
    )
    copy: HtmlElement = root.find(".//form")
    return copy


def _tag(name: str, attributes: dict[str, str | None]) -> str:
    given = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{given}>"


def _encoding(page: Page, form: HtmlElement) -> str:
    """Return the codec: the first of ``accept-charset`` that is known, else the page's; UTF-8 instead of UTF-16."""
    accepted = (form.get("accept-charset") or "")[:200].replace(",", " ").split()
    known = (known_encoding(name[:40]) for name in accepted[:5])
    encoding = next((one for one in known if one), page.encoding) if accepted else page.encoding
    return encoding if not is_wide(encoding) else "utf-8"


def _web_name(encoding: str) -> str:
    name = codecs.lookup(encoding).name
    return _WEB_NAMES.get(name) or (name.replace("cp", "windows-") if re.fullmatch(r"cp125\d", name) else name.upper())
