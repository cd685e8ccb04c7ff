"""Where a page of the gated site takes the captcha's solution from, and what it answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from . import pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .pages import Page
    from .visit import Visit

# The hidden field that ties a form to the session it was shown in.
FORM_ID = "gate_id"


# What a visitor handed in: form fields by name.
Solution = dict[str, str]


class Placement:
    """How a visitor hands in a solution. ``styles`` are the values of ``?style=`` that mean something here."""

    styles: frozenset[str] = frozenset()

    def solution(self, visit: Visit) -> Solution:
        """Return what the request carries for the gate's fields, without those that are empty."""
        raise NotImplementedError

    def well_formed(self, visit: Visit) -> bool:
        """Tell whether what surrounds the solution is right; if not, the solution is not even looked at."""
        return True

    def refused(self, visit: Visit, reason: str) -> Page:
        """Return the page that shows the captcha: here, without a form around it."""
        gate = visit.gate
        return pages.interstitial(gate.widget(visit), head=gate.head(visit), status=403)

    def passed(self, visit: Visit) -> Page:
        return pages.product(visit.number, visit.place)


class InForm(Placement):
    """The usual gate: a form that has the widget, a hidden field of the session, and a button."""

    styles = frozenset({"widget", "get-form", "multipart", "no-form", "ok"})

    def solution(self, visit: Visit) -> Solution:
        return _of_gate(visit, _sent(visit))

    def well_formed(self, visit: Visit) -> bool:
        return "no-form" in visit.styles or _sent(visit).get(FORM_ID) == _form_id(visit)

    def refused(self, visit: Visit, reason: str) -> Page:
        gate = visit.gate
        if "no-form" in visit.styles:
            return super().refused(visit, reason)
        if "widget" in visit.styles:
            box = '<input type="text" name="q" placeholder="What are you looking for?">\n'
            return pages.article(_form(visit, box), head=gate.head(visit))
        return pages.interstitial(_form(visit), head=gate.head(visit), status=200 if "ok" in visit.styles else 403)

    def passed(self, visit: Visit) -> Page:
        query = _sent(visit).get("q", "") if "widget" in visit.styles else None
        return pages.product(visit.number, visit.place, query=query)


class Rejecting(InForm):
    """A gate that takes the solution, uses it up, and lets nobody pass."""


class InPost(Placement):
    """The solution among the fields of the spider's own form request; the others are shown on the product's page."""

    def solution(self, visit: Visit) -> Solution:
        return _of_gate(visit, visit.form)

    def passed(self, visit: Visit) -> Page:
        own = {name: value for name, value in visit.form.items() if name not in visit.gate.fields}
        return pages.product(visit.number, visit.place, fields=own)


class InJson(Placement):
    """The solution as ``{"captcha": {"token": ...}}`` in a posted JSON object. ``?style=json`` refuses in JSON too.

    A solution of several fields has their names in place of ``token``.
    """

    styles = frozenset({"json"})

    def solution(self, visit: Visit) -> Solution:
        captcha = visit.json.get("captcha") if visit.method == "POST" else None
        if not isinstance(captcha, dict):
            return {}
        texts = {name: value for name, value in captcha.items() if isinstance(value, str)}
        return _under_one_name(visit, texts, "token")

    def refused(self, visit: Visit, reason: str) -> Page:
        if "json" not in visit.styles:
            return super().refused(visit, reason)
        captcha = {"kind": visit.gate.name, "sitekey": visit.gate.site_key}
        return pages.json_page({"error": "captcha required", "reason": reason, "captcha": captcha}, status=403)

    def passed(self, visit: Visit) -> Page:
        own = {name: value for name, value in visit.json.items() if name != "captcha"}
        return pages.json_page({"product": pages.product_json(visit.number), "fields": own})


class InHeader(Placement):
    """The solution in the request header ``X-Captcha-Token``.

    A solution of several fields is in as many headers, such as ``X-Captcha-Lot-Number`` for ``lot_number``.
    """

    def solution(self, visit: Visit) -> Solution:
        names = {name: f"x-captcha-{name.replace('_', '-')}" for name in visit.gate.fields} | {"": "x-captcha-token"}
        return _under_one_name(visit, {name: visit.header(header) or "" for name, header in names.items()}, "")


class InQuery(Placement):
    """The solution in the query parameter ``captcha``, or, of several fields, in parameters of their names."""

    def solution(self, visit: Visit) -> Solution:
        return _under_one_name(visit, visit.query, "captcha")


class AtGate(InForm):
    """A page apart, to which a gated page redirects, and which then redirects back with a cookie.

    ``?style=thanks`` says thank you in place of redirecting; ``?style=forbidden`` shows the form with status 403.
    """

    styles = frozenset({"thanks", "forbidden", "multipart"})

    def refused(self, visit: Visit, reason: str) -> Page:
        status = 403 if "forbidden" in visit.styles else 200
        return pages.interstitial(_form(visit), head=visit.gate.head(visit), status=status)

    def passed(self, visit: Visit) -> Page:
        if "thanks" in visit.styles:
            page = pages.document("Thank you", "<h1>Thank you</h1>\n<p>You may go on now.</p>")
        else:
            page = redirect(_local(visit.query.get("next", "/")))
        page.headers.append(("Set-Cookie", f"{VERIFIED_COOKIE}={verified(visit)}; Path=/; HttpOnly"))
        return page


VERIFIED_COOKIE = "verified"


def verified(visit: Visit) -> str:
    """Return the value of the cookie that says that this session passed this gate."""
    return visit.secret("verified", visit.gate.name)


def to_gate(visit: Visit) -> Page:
    """Send the visitor to the gate that is a page of its own."""
    target = {"next": visit.path} | ({"style": ",".join(sorted(visit.styles))} if visit.styles else {})
    return redirect(f"/gate/{visit.gate.name}?{urlencode(target)}")


def redirect(address: str) -> Page:
    page = pages.document("Elsewhere", pages.navigation([(address, "This way")]), status=302)
    page.headers.append(("Location", address))
    return page


# Placements by the first segment of the path; a path that begins with a gate's name is IN_FORM.
IN_FORM = InForm()
AT_GATE = AtGate()
REJECTING = Rejecting()
PLACEMENTS: dict[str, Placement] = {
    "reject": REJECTING,
    "post": InPost(),
    "json": InJson(),
    "header": InHeader(),
    "query": InQuery(),
}


def _sent(visit: Visit) -> dict[str, str]:
    """Return the fields that the visitor sent by the method of the page's form."""
    return visit.query if visit.styles & {"get-form", "no-form"} else visit.form


def _of_gate(visit: Visit, sent: Mapping[str, str]) -> Solution:
    return {name: sent[name] for name in visit.gate.fields if sent.get(name)}


def _under_one_name(visit: Visit, sent: Mapping[str, str], name: str) -> Solution:
    """Return the gate's fields, where a gate of one field has it under that name."""
    fields = visit.gate.fields
    if len(fields) != 1:
        return _of_gate(visit, sent)
    return {fields[0]: sent[name]} if sent.get(name) else {}


def _form_id(visit: Visit) -> str:
    return visit.secret("form", visit.path)


def _form(visit: Visit, before: str = "") -> str:
    gate, styles = visit.gate, visit.styles
    by_get = "get-form" in styles
    inner = [before + pages.hidden(FORM_ID, _form_id(visit))]
    if by_get:
        # A GET form's fields replace the query of its action, so the style must be one of them.
        inner.append(pages.hidden("style", visit.query["style"]))
    inner += [gate.widget(visit), gate.submit(visit)]
    kept = {name: value for name, value in visit.query.items() if name in {"style", "next"}}
    action = visit.path + (f"?{urlencode(kept)}" if kept and not by_get else "")
    return pages.form(
        "\n".join(inner), action=action, method="GET" if by_get else "POST", multipart="multipart" in styles
    )


def _local(address: str) -> str:
    """Return the address if it is a path on this site, else the index, so that a link cannot lead astray."""
    if not address.startswith("/") or address.startswith("//") or "\\" in address:
        return "/"
    return quote(address, safe="/?&=%,+-._~:@")
