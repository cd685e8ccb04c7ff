"""The form around a captcha: which one it is, what it asks of a visitor, and a request turned into its submission."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.http import JsonRequest

from scrapy_capsolver._utils.headers import CREDENTIALS
from scrapy_capsolver._utils.urls import origin_of, same_origin, without_secrets
from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.families._page.entries import CONTROLS, MAX_CONTROLS, is_hidden
from scrapy_capsolver.families._page.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.html import HtmlElement

    from scrapy_capsolver.families._page.page import Page
    from scrapy_capsolver.families.base import FormSubmission

MAX_PLACES = 5
"""Of the elements that may be the captcha of a page, those whose form is looked for."""


# More than any form that a person fills in has.
_MAX_ASKED = 100
_MAX_TYPE = 100
_SILENT = frozenset({"hidden", "submit", "image", "button", "reset", "checkbox", "radio"})


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
    for control in islice(page.root.iter(*CONTROLS), MAX_CONTROLS):
        if control.get("name") in names:
            form = _owner(page, control)
            if form is not None and form not in found:
                found.append(form)
            if len(found) == 2:
                break
    return found


def has_field(form: HtmlElement, *names: str) -> bool:
    return any(control.get("name") in names for control in islice(form.iter(*CONTROLS), MAX_CONTROLS))


def submit(request: Request, form: FormSubmission, page_url: str) -> Request:
    """Return ``request`` turned into the submission of a form on ``page_url``, as a browser makes it.

    Raise :class:`UnsupportedCaptchaError` if that would carry the solution to another origin.
    """
    if not same_origin(page_url, form.url):
        raise UnsupportedCaptchaError(
            f"The form would send the solution to another origin, {clean(origin_of(form.url) or form.url)}. "
            "If the solution goes elsewhere, say so with inject."
        )
    headers = request.headers.copy()
    for name in ("Content-Type", "Content-Length", "Origin"):
        headers.pop(name, None)
    if not same_origin(request.url, form.url):  # a redirect led to the page, and these are for where it began
        for name in CREDENTIALS:
            headers.pop(name, None)
    for name, value in form.headers:
        headers[name] = value
    headers["Referer"] = without_secrets(page_url)
    if form.method != "GET":
        headers["Origin"] = origin_of(page_url)
    if isinstance(request, JsonRequest):  # which would declare the form to be JSON
        request = Request(**{name: getattr(request, name) for name in Request.attributes})
    return request.replace(url=form.url, method=form.method, headers=headers, body=form.body)


def asks(page: Page, form: HtmlElement, own: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return what the form wants from a visitor, ``("text", "password")``, but for the fields named in ``own``."""
    asked = page.kept(("asked", form), lambda: list(islice(_asked(page, form), _MAX_ASKED)))
    return tuple(kind for kind, name in asked if name not in own)


def _asked(page: Page, form: HtmlElement) -> Iterator[tuple[str, str | None]]:
    """Yield the kind and the name of each control that a visitor sees and fills in."""
    for count, control in enumerate(form.iter("input", "textarea", "select")):
        if count == MAX_CONTROLS:
            page.skip(f"more than {MAX_CONTROLS} fields")
            return
        kind = _type(control) if control.tag == "input" else str(control.tag)
        if kind not in _SILENT and control.get("disabled") is None and not is_hidden(control, form):
            yield kind, control.get("name")


def _type(control: HtmlElement) -> str:
    return (control.get("type") or "text")[:_MAX_TYPE].strip().lower()


def _owner(page: Page, element: HtmlElement) -> HtmlElement | None:
    """The form of an element: by its ``form`` attribute, else the one around it."""
    if element.tag == "form":
        return element
    if element.tag in CONTROLS and (name := element.get("form")):
        named = page.by_id(name)
        return named if named is not None and named.tag == "form" else None
    return next(element.iterancestors("form"), None)
