"""Pages of any size that are made to be slow: for ``python -m benchmarks parse``, and for the tests that count what is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

V2 = "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"
TURNSTILE = "0x4AAAAAAADnPIDROrmt1Wwj"
WIDGET = f'<div class="g-recaptcha" data-sitekey="{V2}"></div>'
WORDS = (
    "captcha turnstile sitekey geetest awswaf.com gokuprops captcha-delivery.com px-captcha funcaptcha h-captcha mtcaptcha "
    "eflectorjwt _cf_chl_opt /orchestrate/ arkoselabs fc-token incapsula kpsdk sucuri anubis reference cf-error-details "
)


def repeat(unit: str, size: int, before: str = "", after: str = "") -> str:
    return before + unit * max(1, (size - len(before) - len(after)) // len(unit)) + after


def _many(unit: str, before: str = WIDGET, after: str = "") -> Callable[[int], str]:
    return lambda size: repeat(unit, size, before, after)


def _numbered(unit: Callable[[int], str], before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + "".join(map(unit, range(size // len(unit(1000))))) + after


def _script(unit: str, name: str = "grecaptcha.render(") -> Callable[[int], str]:
    piece = f"<script>{name}{unit * (60_000 // len(unit))}</script>"
    return lambda size: repeat(piece, size, WIDGET)


GENERATORS: dict[str, Callable[[int], str]] = {
    "attributes of one tag": _numbered(lambda n: f" a{n:x}", f'<div data-sitekey="{V2}"', "></div>"),
    "attributes with values of one tag": _numbered(lambda n: f" a{n:x}='>'", f'<div data-sitekey="{V2}"', "></div>"),
    "250 attributes in many tags": _many(f"<br {' '.join(f'a{n}' for n in range(250))}>"),
    "16 attributes in many tags": _many("<br a b c d e f g h i j k l m n o p>"),
    "new names of attributes": _numbered(lambda n: f"<br x{n}=1>", WIDGET),
    "attributes of html and body": _numbered(lambda n: f"<html a{n}><body b{n}>", WIDGET),
    "attributes with key": _numbered(lambda n: f"<i a{n}key=123456789012>", WIDGET),
    "attributes with key in one tag": _numbered(lambda n: f" a{n}key=1234567890123", f"{WIDGET}<i", ">"),
    "keykeykey": _many("key"),
    "nested forms": _many("<form><div><input name=a>", WIDGET, WIDGET),
    "nested fieldsets": _many("<fieldset disabled>", f"<form>{WIDGET}", "<input name=a>" * 300),
    "nested divs": _many("<div>", WIDGET, WIDGET),
    "nested divs, end tags of others": _many("</span>", WIDGET + "<div>" * 1500),
    "nested divs, end tags of p": _many("</p>", WIDGET + "<div>" * 250),
    "nested bold": _many("<b><i><p>", WIDGET),
    "nested tables": _many("<table><tr><td>", WIDGET),
    "nested templates": _many("<template><div>", WIDGET),
    "nested selects": _many("<select><optgroup>", f"<form>{WIDGET}"),
    "options": _many("<option>a", f"<form>{WIDGET}<select name=a>"),
    "options that are selected": _many("<option selected>a", f"<form>{WIDGET}<select name=a multiple>"),
    "inputs": _many("<input name=a value=b>", f"<form>{WIDGET}"),
    "inputs that name the form": _many("<p><input form=f name=a>", f"<form id=f>{WIDGET}</form>"),
    "hidden value": lambda size: f"<form>{WIDGET}<input type=hidden name=a value='{'é%' * (size // 3)}'></form>",
    "textarea": lambda size: f"<form>{WIDGET}<textarea name=a>{'&amp;<a' * (size // 7)}</textarea></form>",
    "entities": _many("&amp;"),
    "long entities": _many("&CounterClockwiseContourIntegral;&#x1f600;"),
    "broken entities": _many("&notin&#xfffffff;&a"),
    "unclosed quotes": _many('<a b="'),
    "unclosed quotes of both kinds": _many("<a b=\"<a c='"),
    "less-than signs": _many("<"),
    "names without end": _many("<a"),
    "slashes in a tag": _many("/a", f"{WIDGET}<br ", ">"),
    "equals signs": _many("="),
    "greater-than signs": _many(">"),
    "comments": _many("<!-- x -->"),
    "open comments": _many("<!--"),
    "dashes in a comment": _many("->", f"{WIDGET}<!--", "-->"),
    "CDATA": _many("<![CDATA["),
    "processing instructions": _many("<?x>"),
    "doctypes": _many("<!doctype html>"),
    "end tags": _many("</a>"),
    "odd tags": _many("<br a\"b='c'd=e>"),
    "self-closing scripts": _many("<script/>"),
    "scripts without content": _many("<script></script>"),
    "scripts with a source": _many(f'<script src="/recaptcha/api.js?render={V2}"></script>'),
    "scripts in comments in scripts": _many("<script><!--<script></script>"),
    "styles": _many("<style>a{b:c}</style>"),
    "titles": _many("<title>captcha</title>"),
    "iframes": _many(f'<iframe src="https://www.google.com/recaptcha/api2/anchor?k={V2}"></iframe>'),
    "iframes with long addresses": _many(f'<iframe src="https://www.google.com/{"a/../" * 1000}?k={V2}"></iframe>'),
    "iframes of Turnstile": _many(f'<iframe src="https://challenges.cloudflare.com/a/{TURNSTILE}/b"></iframe>'),
    "widgets": _many(WIDGET),
    "widgets of Turnstile": _many(f'<div class="cf-turnstile" data-sitekey="{TURNSTILE}"></div>'),
    "classes": lambda size: f"<div data-sitekey={V2} class='{'h-captcha ' * (size // 10)}'></div>captcha",
    "elements with classes": _many('<p class="h-captcha-x mtcaptcha-x cf-error-code-x">captcha</p>'),
    "the same id": _many("<i id=x></i>", f"<script>grecaptcha.render('x',{{sitekey:'{V2}'}})</script>"),
    "many ids": _numbered(lambda n: f"<i id=x{n}></i>", f"<script>grecaptcha.render('y',{{sitekey:'{V2}'}})</script>"),
    "data: address": lambda size: f"<img src='data:image/png;base64,{'A' * size}'>{WIDGET}",
    "escaped data: address": lambda size: f"<img src='data:image/png,{'%41' * (size // 3)}'>{WIDGET}",
    "JSON in a script": lambda size: f'<script type="application/json">{"[{}]," * (size // 5)}</script>{WIDGET}',
    "JSON in code": _script("{'a':[1,2,'b']},", "grecaptcha.render({"),
    "regular expressions": _script("=/[a]b/"),
    "slashes": _script("=/["),
    "divisions": _script("a/b<c"),
    "templates": _script("`${a}`"),
    "backslashes": _script("\\", "grecaptcha.render(`"),
    "stars": _script("*a", "grecaptcha.render(/*"),
    "identifiers": _script("grecaptcha   "),
    "calls": _script("grecaptcha.execute(k,{action:a});"),
    "assignments": _script("k='x',", "grecaptcha.execute(k);"),
    "properties": _script("conf={a:b};", "grecaptcha.execute(conf.key);"),
    "scripts that load scripts": _script("'//a/b.js?c',", ""),
    "addresses of AWS": _script("'https://a.awswaf.com/b/", "AwsWafCaptcha.renderCaptcha("),
    "objects of DataDome": _many("<script>dd={a:1}</script>", "captcha-delivery.com"),
    "tokens of BotDeflector": _script(f"eyJ{'a' * 60}.", "botDeflectorJwtToken='"),
    "keys of MTCaptcha": _script("'MTPublic-abcd',", "mtcaptcha="),
    "calls of GeeTest": _many(f"<script>initGeetest({{gt:'{'a' * 32}'}},function(c){{c.appendTo('#x')}})</script>"),
    "words": _many(WORDS),
    "words but for their ends": _many(" ".join(word[:-1] for word in WORDS.split())),
    "site keys": _many(f"{V2} "),
    "beginnings of site keys": _many("6L!"),
    "blanks": _many(" \t\n"),
    "blanks in a tag": _many(" ", f"{WIDGET}<br ", "a>"),
    "base addresses": _many("<base href='http://a/'>"),
    "NUL": _many("\0"),
    "controls": _many("\x01\x7f"),
    "characters of three bytes": _many("漢字"),
    "surrogates as entities": _many("&#xD800;"),
}
"""Each gives a page of about so many characters."""

ENCODED: dict[str, Callable[[int], tuple[bytes, str]]] = {
    "invalid UTF-8": lambda size: (WIDGET.encode() + b"\xff\x80" * (size // 2), "text/html; charset=utf-8"),
    "invalid windows-1252": lambda size: (WIDGET.encode() + b"\x81" * size, "text/html; charset=windows-1252"),
    "meta that names another charset": lambda size: (
        b"<meta charset=windows-1255>" + WIDGET.encode() + b"\xff" * size, "text/html",
    ),
    "UTF-16": lambda size: ((WIDGET + "a" * (size // 2)).encode("utf-16"), "text/html; charset=utf-16"),
    "invalid UTF-16": lambda size: (WIDGET.encode("utf-16") + b"\x00\xd8" * (size // 2), "text/html; charset=utf-16"),
    "UTF-32": lambda size: ((WIDGET + "a" * (size // 4)).encode("utf-32"), "text/html; charset=utf-32"),
    "invalid GB18030": lambda size: (WIDGET.encode() + b"\xff" * size, "text/html; charset=gb18030"),
    "Shift_JIS": lambda size: (WIDGET.encode() + "漢字".encode("shift_jis") * (size // 4), "text/html; charset=shift_jis"),
    "escapes of ISO-2022-JP": lambda size: (WIDGET.encode() + b"\x1b$B!!\x1b(B" * (size // 8), "text/html; charset=iso-2022-jp"),
    "UTF-7": lambda size: (WIDGET.encode() + b"+AAA-" * (size // 5), "text/html; charset=utf-7"),
    "random bytes": lambda size: (WIDGET.encode() + bytes((n * n * 31 + n // 7) % 256 for n in range(size)), "text/html"),
}  # fmt: skip
"""Likewise, as (bytes, Content-Type)."""


def page_of(name: str, size: int) -> tuple[bytes, str]:
    """Return the page of this name as (bytes, Content-Type)."""
    if name in ENCODED:
        return ENCODED[name](size)
    return GENERATORS[name](size).encode("utf-8", "replace"), "text/html"
