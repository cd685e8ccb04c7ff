"""The form around a captcha, and what a browser would send when it is submitted. form2request reads the form."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urldefrag, urlencode, urlsplit

from form2request import form2request
from lxml.etree import XPath
from scrapy import Request
from scrapy.http import JsonRequest
from w3lib.url import safe_url_string

from scrapy_capsolver._utils.urls import may_send, origin_of, same_site, without_secrets
from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.families._page import multipart
from scrapy_capsolver.families._page.page import elements, is_inside, known_encoding
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families.base import FormSubmission
from scrapy_capsolver.families.inject import URLENCODED

if TYPE_CHECKING:
    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page

MAX_PLACES = 5
"""Of the elements that may be the captcha of a page, those whose form is looked for."""

_CONTROLS = ("input", "textarea", "select", "button")
# More than any form has that a person fills in; detection reads no more.
_MAX_CONTROLS = 300


def form_of(
    page: Page, element: HtmlElement | None = None, container: str | None = None, *fields: str
) -> HtmlElement | None:
    """The form that a captcha belongs to.

    The one around ``element``; else around the element whose id is ``container``; else the only one that holds one
    of ``fields``; else, where nothing is said about its place, the only form of the page; else none.
    """
    if element is None and container is not None:
        element = page.by_id(container)
    if element is not None and (form := _owner(page, element)) is not None:
        return form
    holding = page.kept(("holding", *fields), lambda: _holding(page, frozenset(fields)))
    if len(holding) == 1:
        return holding[0]
    if element is not None or container is not None:
        return None
    forms = list(islice(page.root.iter("form"), 2))
    return forms[0] if len(forms) == 1 else None


def _holding(page: Page, names: frozenset[str]) -> list[HtmlElement]:
    """The forms that hold a field of one of these ``names``; no more than it takes to say that they are several."""
    found: list[HtmlElement] = []
    for control in islice(page.root.iter(*_CONTROLS), _MAX_CONTROLS):
        if control.get("name") in names:
            form = _owner(page, control)
            if form is not None and form not in found:
                found.append(form)
            if len(found) == 2:
                break
    return found


def has_field(form: HtmlElement, *names: str) -> bool:
    return any(control.get("name") in names for control in islice(form.iter(*_CONTROLS), _MAX_CONTROLS))


def submission(page: Page, form: HtmlElement) -> FormSubmission | None:
    """``form`` as a browser sends it when its first button is pressed.

    None where it sends nothing over HTTP, and where it has more fields than any form around a captcha has.
    """
    return page.kept(("submission", form), lambda: _submission(page, form))


def _submission(page: Page, form: HtmlElement) -> FormSubmission | None:
    if _is_large(form):
        return None
    _prepare(page, form)
    multipart_body = False
    try:
        try:
            built = form2request(form)
        except NotImplementedError:
            # Either of: method=dialog, which fails again, and multipart/form-data, which is encoded here.
            built = form2request(form, enctype=URLENCODED)
            multipart_body = True
        url = urldefrag(safe_url_string(built.url)).url
        parts = urlsplit(url)
        host = parts.hostname
    except (NotImplementedError, ValueError):
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return None
    headers, body = tuple(built.headers), built.body
    encoding = _encoding(page, form)
    if multipart_body:
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
        files = {name for control in form.iter("input") if _type(control) == "file" and (name := control.get("name"))}
        content_type, body = multipart.encode(pairs, files, encoding)
        headers = (("Content-Type", content_type),)
    elif encoding != "utf-8":
        if built.method == "GET":
            url = parts._replace(query=_recode(parts.query, encoding)).geturl()
        elif headers == (("Content-Type", URLENCODED),):
            body = _recode(body.decode(), encoding).encode()
    return FormSubmission(url, built.method, headers, body)


def submit(request: Request, form: FormSubmission, page_url: str) -> Request:
    """``request`` turned into the submission of a form that stands on ``page_url``, as a browser makes it.

    Raises :class:`UnsupportedCaptchaError` where that would carry the solution to another site, or out of https.
    """
    if not may_send(page_url, form.url):
        host = clean(urlsplit(form.url).hostname or form.url)
        where = f"over plain http to {host}" if same_site(page_url, form.url) else f"to another site, {host}"
        raise UnsupportedCaptchaError(
            f"The form would send the solution {where}. If the solution goes elsewhere, say so with inject."
        )
    headers = request.headers.copy()
    for name in ("Content-Type", "Content-Length", "Origin"):
        headers.pop(name, None)
    for name, value in form.headers:
        headers[name] = value
    # What browsers send by default, "strict-origin-when-cross-origin".
    origin = origin_of(page_url)
    headers["Referer"] = without_secrets(page_url) if origin == origin_of(form.url) else f"{origin}/"
    if form.method != "GET":
        headers["Origin"] = origin
    if isinstance(request, JsonRequest):  # which would declare the form to be JSON
        request = Request(**{name: getattr(request, name) for name in Request.attributes})
    return request.replace(url=form.url, method=form.method, headers=headers, body=form.body)


def asks(form: HtmlElement, own: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """What the form wants from a visitor, ``("text", "password")``, but for the fields named in ``own``."""
    asked: list[str] = []
    for control in islice(form.iter("input", "textarea", "select"), _MAX_CONTROLS):
        if len(asked) == _MAX_ASKED:
            break
        kind = _type(control) if control.tag == "input" else str(control.tag)
        if (
            kind in _SILENT
            or control.get("disabled") is not None
            or control.get("name") in own
            or _is_hidden(control, form)
        ):
            continue
        asked.append(kind)
    return tuple(asked)


# More than any form that a person fills in has, and deeper than any hides its traps.
_MAX_ASKED = 100
_MAX_LEVELS = 10
_FORM_ATTRIBUTE = re.compile(rb"form\s{0,8}=", re.IGNORECASE)
_WITH_FORM = XPath(f"(//*[@form = $id])[position() <= {_MAX_CONTROLS}]")
_SILENT = frozenset({"hidden", "submit", "image", "button", "reset", "checkbox", "radio"})


def _type(control: HtmlElement) -> str:
    return (control.get("type") or "text").strip().lower()


def _is_hidden(control: HtmlElement, form: HtmlElement) -> bool:
    """Hidden by its markup: a trap for robots, or a field that the page's script fills."""
    element: HtmlElement | None = control
    for _ in range(_MAX_LEVELS):
        if element is None or element is form:
            break
        style = (element.get("style") or "")[:512].replace(" ", "").lower()
        if element.get("hidden") is not None or "display:none" in style or "visibility:hidden" in style:
            return True
        element = element.getparent()
    return False


def _owner(page: Page, element: HtmlElement) -> HtmlElement | None:
    """The form of an element: by its ``form`` attribute, else the one around it."""
    if element.tag == "form":
        return element
    if element.tag in _CONTROLS and (name := element.get("form")):
        named = page.by_id(name)
        return named if named is not None and named.tag == "form" else None
    return next(element.iterancestors("form"), None)


def _prepare(page: Page, form: HtmlElement) -> None:
    """Bring the page's own tree into the shape that form2request reads as a browser reads the original."""
    # Controls that are disabled are not sent, nor those in a fieldset that is.
    inside: dict[HtmlElement, bool] = {}
    for control in list(form.iter(*_CONTROLS)):
        if control.get("disabled") is not None or is_inside(control, _is_disabled_set, inside):
            control.drop_tree()
    # Controls that stand elsewhere and name the form are.
    identity = form.get("id")
    if identity and len(identity) <= 256 and identity.isprintable() and page.matches(_FORM_ATTRIBUTE):
        inside = {}
        for control in elements(_WITH_FORM, form.getroottree().getroot(), id=identity):
            if (
                control.tag in _CONTROLS
                and control.get("disabled") is None
                and not is_inside(control, lambda element: element is form, inside)
            ):
                form.append(control)
    # Without an action the form goes to the page itself, whatever <base> says.
    if not (form.get("action") or "").strip():
        form.set("action", page.url)


def _is_large(form: HtmlElement) -> bool:
    controls = (
        element
        for element in form.iter(*_CONTROLS, "option")
        if element.tag != "option" or element.get("selected") is not None
    )
    return next(islice(controls, _MAX_CONTROLS, None), None) is not None


def _is_disabled_set(element: HtmlElement) -> bool:
    return element.tag == "fieldset" and element.get("disabled") is not None


def _encoding(page: Page, form: HtmlElement) -> str:
    accepted = (form.get("accept-charset") or "").replace(",", " ").split()
    encoding = known_encoding(accepted[0][:40]) if accepted else page.encoding
    return encoding if encoding and not encoding.startswith(("utf-16", "utf-32")) else "utf-8"


def _recode(encoded: str, encoding: str) -> str:
    """form2request writes UTF-8; a browser writes the page's own encoding, with what it lacks as ``&#8364;``."""
    return urlencode(parse_qsl(encoded, keep_blank_values=True), encoding=encoding, errors="xmlcharrefreplace")
