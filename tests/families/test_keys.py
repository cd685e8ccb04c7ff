"""Where pages keep their site keys and options, beside the documented attributes and calls."""

from __future__ import annotations

import pytest
from scrapy.http import HtmlResponse

from scrapy_capsolver.families import Challenge, detect

KEY = "6LdTEST0" + "a" * 32
TURNSTILE = "0x4AAAAAAATESTaaaaaaaaaa"
API = "https://www.google.com/recaptcha/api.js"
FORM = '<form method="post" action="/send"><input name="email"><div id="box"></div><button>Go</button></form>'


def page(head: str, body: str = FORM) -> HtmlResponse:
    html = f"<html><head><title>t</title>{head}</head><body><h1>Contact</h1>{body}</body></html>"
    return HtmlResponse("https://shop.example/contact", body=html.encode(), encoding="utf-8")


def named(response: HtmlResponse, family: str, **fields: object) -> Challenge:
    """Return what a flag with a type of ``family`` and these fields finds."""
    (found,) = detect(response, fields=fields, only=family)
    return found


RENDER = f'<script src="{API}?render=explicit"></script>'


@pytest.mark.parametrize(
    "script",
    [
        f'var $k="{KEY}";grecaptcha.render("box",{{sitekey:$k}})',
        f'let k_1 = \'{KEY}\'; grecaptcha.render("box", {{"sitekey": k_1}})',
        f'var conf={{siteKey:"{KEY}"}};grecaptcha.render("box",{{sitekey:conf.siteKey}})',
        f'window.conf={{"siteKey":"{KEY}"}};grecaptcha.render("box",{{sitekey:window.conf.siteKey}})',
        f'var conf={{}};conf.siteKey="{KEY}";grecaptcha.render("box",{{sitekey:conf.siteKey}})',
        f'var conf={{"site-key":"{KEY}"}};grecaptcha.render("box",{{sitekey:conf["site-key"]}})',
        f'const c={{a:{{key:"{KEY}"}}}};grecaptcha.render("box",{{sitekey:c.a.key}})',
        f'this.key="{KEY}";grecaptcha.render("box",{{sitekey:this.key,size:"invisible"}})',
    ],
    ids=["dollar", "underscore", "dotted", "window", "assigned", "bracketed", "nested", "this"],
)
def test_a_key_in_a_variable(script: str) -> None:
    found = named(page(RENDER + f"<script>{script}</script>"), "recaptcha_v2")
    assert found.params["websiteKey"] == KEY


def test_the_object_that_is_named_counts() -> None:
    """Two objects have a property of one name: the one in the call is read."""
    script = f'var a={{key:"6LdOTHER{"b" * 32}"}}, b={{key:"{KEY}"}};grecaptcha.render("box",{{sitekey:b.key}})'
    assert (
        named(page(RENDER + f"<script>b={{key:'{KEY}'}};{script}</script>"), "recaptcha_v2").params["websiteKey"] == KEY
    )


@pytest.mark.parametrize(
    "call",
    [
        f'var conf={{key:"{KEY}"}};grecaptcha.execute(conf.key,{{action:"contact"}})',
        f'var a="contact";grecaptcha.execute("{KEY}",{{action:a}})',
        f'var contact="not this";grecaptcha.execute("{KEY}",{{action:"contact"}})',
        f'var o={{act:"contact"}};grecaptcha.execute("{KEY}",{{action:o.act}})',
    ],
    ids=["dotted key", "variable", "literal", "dotted action"],
)
def test_an_action_of_v3(call: str) -> None:
    found = named(page(f'<script src="{API}?render={KEY}"></script><script>{call}</script>'), "recaptcha_v3")
    assert (found.params["websiteKey"], found.params["pageAction"]) == (KEY, "contact")


@pytest.mark.parametrize(
    "attributes",
    [
        'type="rocketlazyloadscript" data-rocket-src="{url}"',
        'type="litespeed/javascript" data-src="{url}"',
        'type="18b0dcf36143c7280f48ec99-text/javascript" src="{url}"',
        'type="text/plain" data-cookieconsent="necessary" src="{url}"',
        'type="text/plain" data-category="functional" data-src="{url}"',
        'type="text/plain" data-borlabs-cookie-script-blocker-src="{url}"',
        'type="text/plain" data-usercentrics="Google reCAPTCHA" src="{url}"',
        'type="fs-consent" fs-consent-categories="essential" src="{url}"',
        'src="{url}"',
    ],
)
def test_a_loader_that_is_held_back(attributes: str) -> None:
    """Optimisers and consent managers give a script another type, and often another attribute for its address."""
    loader = f"<script {attributes.format(url=f'{API}?render={KEY}')}></script>"
    kind = attributes.split(" ", maxsplit=1)[0] if "type" in attributes else ""
    held = f'<script {kind} data-category="x">grecaptcha.execute("{KEY}",{{action:"contact"}})</script>'
    found = named(page(loader + held), "recaptcha_v3")
    assert (found.params["websiteKey"], found.params["pageAction"]) == (KEY, "contact")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/ld+json", "text/template", "text/x-handlebars", "text/plain"]
)
def test_data_is_no_code(kind: str) -> None:
    script = f'<script type="{kind}">grecaptcha.render("box",{{sitekey:"{KEY}"}})</script>'
    assert detect(page(script), only="recaptcha_v2") == []


@pytest.mark.parametrize(
    "script",
    [
        f"var s=document.createElement('script');s.src='{API}?render={KEY}';document.head.appendChild(s)",
        f's.src="//www.google.com/recaptcha/api.js?render={KEY}"',
        f'load("https:\\/\\/www.google.com\\/recaptcha\\/api.js?render={KEY}&amp;hl=de")',
        f"import(`https://www.recaptcha.net/recaptcha/api.js?render={KEY}`)",
    ],
)
def test_a_loader_that_a_script_injects(script: str) -> None:
    assert named(page(f"<script>{script}</script>"), "recaptcha_v3").params["websiteKey"] == KEY


def test_the_flag_s_key_with_an_injected_loader() -> None:
    found = named(page(f"<script>s.src='{API}'</script>"), "recaptcha_v2", websiteKey=KEY)
    assert found.params["websiteKey"] == KEY


@pytest.mark.parametrize(
    "place",
    [
        f'<script>var conf={{"recaptchaSiteKey":"{KEY}","theme":"light"}};</script><div class="g-recaptcha" id="x"></div>',
        f'<input type="hidden" id="recaptcha_public" value="{KEY}">',
        f'<meta name="recaptcha-site" content="{KEY}">',
        f'<div id="captcha" data-options=\'{{"sitekey":"{KEY}"}}\'></div>',
        f'<script type="application/json" id="settings">{{"captcha":{{"key":"{KEY}"}}}}</script>',
    ],
    ids=["config", "input", "meta", "data attribute", "json"],
)
def test_the_only_key_of_a_page_with_a_loader(place: str) -> None:
    """For a named type it is taken. A bare ``True`` solves nothing: no captcha is seen to stand in the way."""
    response = page(RENDER + place)
    assert named(response, "recaptcha_v2").params["websiteKey"] == KEY
    assert not any(one.blocked for one in detect(response))


def test_no_key_is_taken_where_two_are_possible() -> None:
    other = "6LdOTHER" + "b" * 32
    assert detect(page(RENDER + f'<meta content="{KEY}"><meta content="{other}">'), only="recaptcha_v2") == []


@pytest.mark.parametrize("version", [2, 3])
def test_the_type_of_the_flag_decides_the_version(version: int) -> None:
    """The page shows the key in an attribute, as both versions may: the author's type and key count."""
    response = page(RENDER, FORM.replace('id="box"', f'class="shop" data-sitekey="{KEY}"'))
    assert named(response, f"recaptcha_v{version}", websiteKey=KEY).params["websiteKey"] == KEY


@pytest.mark.parametrize(
    "attributes",
    [
        'data-recaptcha-version="enterprise" data-recaptcha-key-type="score" data-recaptcha-action="sign_in"',
        'data-key-type="score" data-action="sign_in"',
        'data-version="v3" data-action="sign_in"',
    ],
)
def test_a_score_key_in_attributes_is_of_v3(attributes: str) -> None:
    field = '<input type="hidden" name="my_recaptcha_token" value="">'
    body = f'<form method="post"><div data-sitekey="{KEY}" {attributes}></div>{field}<button>Go</button></form>'
    found = named(page(f'<script src="{API}?render=explicit"></script>', body), "recaptcha_v3")
    assert (found.params["pageAction"], found.field) == ("sign_in", "my_recaptcha_token")
    assert ("Enterprise" in found.type) == ("enterprise" in attributes)


@pytest.mark.parametrize(
    "script",
    [
        f'var $k="{TURNSTILE}";turnstile.render("#box",{{sitekey:$k,action:"login"}})',
        f'var c={{key:"{TURNSTILE}",act:"login"}};turnstile.render("#box",{{sitekey:c.key,action:c["act"]}})',
    ],
)
def test_turnstile_in_variables(script: str) -> None:
    head = '<script src="https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit"></script>'
    found = named(page(f"{head}<script>{script}</script>"), "turnstile")
    assert (found.params["websiteKey"], found.params["metadata"]) == (TURNSTILE, {"action": "login"})


def test_the_only_turnstile_key_of_a_page() -> None:
    script = f"s.src='https://challenges.cloudflare.com/turnstile/v0/api.js';var conf={{token:'{TURNSTILE}'}}"
    assert named(page(f"<script>{script}</script>"), "turnstile").params["websiteKey"] == TURNSTILE


WALLS = {
    "perimeterx": "<script>window._pxAppId='PXabcd1234';s.src='/abcd1234/captcha/captcha.js?a=c&m=0'</script>",
    "imperva": '<iframe src="/_Incapsula_Resource?SWUDNSAI=31&incident_id=4">Request unsuccessful.</iframe>',
    "kasada": '<script>window.KPSDK={};KPSDK.now=Date.now;KPSDK.scriptStart=KPSDK.now()</script><script src="/ips.js"></script>',
    "akamai": "<H1>Access Denied</H1><p>Reference #18.2d351ab8.1557333295.a4e16ab https://errors.edgesuite.net/18.2d351ab8</p>",
    "f5": "<p>The requested URL was rejected. Please consult with your administrator.</p><p>Your support ID is: 1</p>",
    "sucuri": "<h1>Sucuri WebSite Firewall - Access Denied</h1>",
    "anubis": '<script id="anubis_challenge" type="application/json">{}</script>',
}


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("name", sorted(WALLS))
def test_walls_are_named(name: str, status: int) -> None:
    """What CapSolver does not solve is recognised at any status, and refused by name before anything is paid."""
    response = page("", WALLS[name]).replace(status=status)
    (found,) = detect(response)
    assert (found.family, found.blocked) == (name, True)
    assert "not solvable by CapSolver" in found.refusal


@pytest.mark.parametrize("name", sorted(WALLS))
def test_an_article_about_a_wall_is_none(name: str) -> None:
    article = (
        "<article><p>" + "How these walls work. " * 100 + "</p><p>Incapsula, KPSDK, Sucuri, px-captcha</p></article>"
    )
    assert not any(one.blocked for one in detect(page("", article + WALLS[name])))


@pytest.mark.parametrize(
    "page_text", ["Please confirm that you are human.", "We have noticed unusual traffic from your network."]
)
def test_a_gate_within_the_site_s_layout(page_text: str) -> None:
    """Navigation, header and footer say nothing; the text asks for proof, and the form for nothing but the captcha."""
    menu = "<nav>" + "".join(f'<a href="/c/{n}">Category number {n}</a> ' for n in range(60)) + "</nav>"
    footer = "<footer>" + "Imprint and terms. " * 60 + "</footer>"
    form = f'<form method="post"><div class="g-recaptcha" data-sitekey="{KEY}"></div><button>Continue</button></form>'
    assert detect(page(RENDER, menu + f"<p>{page_text}</p>" + form + footer))[0].blocked
    assert not detect(page(RENDER, menu + "<p>Vote for the shop of the year.</p>" + form + footer))[0].blocked
    asking = form.replace("<button>", '<input name="email"><button>')
    assert not detect(page(RENDER, menu + f"<p>{page_text}</p>" + asking + footer))[0].blocked
