"""The fields of a gate's form that a person would fill in: taken from the author's own request if it has them."""

from __future__ import annotations

import base64
from dataclasses import replace
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from scrapy import Request

from scrapy_capsolver._utils.urls import same_origin
from scrapy_capsolver.errors import UnsupportedCaptchaError
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families.inject import URLENCODED, Inject, place
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy_capsolver._request.flag import Flag
    from scrapy_capsolver.families import Challenge
    from scrapy_capsolver.families.base import Family

_MAX_FIELDS = 300


def fill(challenge: Challenge, request: Request, origin: Mapping[str, Any] | None) -> Challenge:
    """Return the challenge with its form filled in from the body of the request that the author made.

    Fields are matched by name. ``origin`` is the request first made, if a redirect or an earlier solution has changed it
    since (see :func:`~scrapy_capsolver._request.state.note_origin`).
    """
    form = challenge.form
    if form is None or not form.asked:
        return challenge
    if not same_origin(origin["url"] if origin else request.url, form.url):
        return challenge  # what the author wrote for one origin goes to no other
    own = _own_fields(request, origin)
    given = {name: own[name] for name in form.asked if own.get(name)}
    if not given:
        return challenge
    empty = Request(form.url, method=form.method, headers=dict(form.headers), body=form.body)
    filled = place(empty, Inject(form={name: name for name in given}), given)
    asked = tuple(name for name in form.asked if name not in given)
    return replace(challenge, form=replace(form, url=filled.url, body=filled.body, asked=asked))


def check_filled(family: Family, challenge: Challenge, flag: Flag) -> None:
    """Raise :class:`UnsupportedCaptchaError` if the form asks for more, and the flag does not say that the spider sends it.

    A flag that names the type gets the token with the page instead, and ``inject`` says that the form is right as it is.
    """
    if flag.type is None and flag.inject is None and isinstance(family, TokenFamily) and family.unfilled(challenge):
        names = ", ".join(repr(clean(name, 40)) for name in family.unfilled(challenge)[:5])
        raise UnsupportedCaptchaError(
            f"the form of the page asks for {names}, and no request filled that in; nothing was bought. Flag the request that "
            'submits the form, or name the "type": then the page comes to the callback with the token'
        )


def _own_fields(request: Request, origin: Mapping[str, Any] | None) -> dict[str, str]:
    if origin is None:
        return fields_of((request.headers.get("Content-Type") or b"").decode("latin-1"), request.body)
    declared = origin.get("headers", {}).get("Content-Type") or [""]
    return fields_of(declared[0], base64.b64decode(origin.get("body", "")))


def fields_of(content_type: str, body: bytes) -> dict[str, str]:
    """Return the first value of each field of a form's body, urlencoded or multipart; empty for any other body."""
    kind = content_type.partition(";")[0].strip().lower()
    found: dict[str, str] = {}
    if kind == URLENCODED or (not kind and body):
        try:
            pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError:  # more fields than any form has
            return {}
        for name, value in pairs:
            found.setdefault(name, value)
    elif kind == "multipart/form-data":
        head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
        message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + body)
        for part in list(message.iter_parts())[:_MAX_FIELDS] if message.is_multipart() else ():
            named = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if isinstance(named, str) and isinstance(content, bytes) and not part.get_filename():
                found.setdefault(named, content.decode("utf-8", "replace"))
    return found
