"""Where solutions go: parse_inject and place."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.policy import HTTP
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scrapy import FormRequest, Request
from scrapy.http import JsonRequest

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families import Inject, parse_inject
from scrapy_capsolver.families import place as place_values
from scrapy_capsolver.families._page.multipart import boundary_of, encode, set_part
from scrapy_capsolver.families.inject import MAIN

URL = "https://shop.example/p"
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}


def callback(response):
    pass


def place(request, inject, value):
    return place_values(request, inject, {MAIN: value, "other": "not this one"})


# parse_inject


def test_all_places_at_once():
    given = {"form": "answer", "json": "a.b.0.c", "header": "X-Captcha", "query": "token", "cookie": "seen"}
    assert parse_inject(given) == Inject(**given)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ["None"]),
        ("form", ["'form'", "form", "json", "header", "query"]),
        ([], ["list"]),
        ({}, ["empty"]),
        ({"froms": "a"}, ["'froms'", 'did you mean "form"?']),
        ({"Header": "a"}, ['did you mean "header"?']),
        ({"cookies": "a"}, ["'cookies'", '"query"', 'did you mean "cookie"?']),
        ({"cookie": "a b"}, ["a b", "name of a cookie"]),
        ({"cookie": "a=b"}, ["name of a cookie"]),
        ({"form": {}}, ['"form" is an object of 0', "1 to 32"]),
        ({"form": {str(n): "a" for n in range(33)}}, ["object of 33"]),
        ({"form": {"a": ""}}, ["'' for 'a'", "key of a value", '{"form": {"name in the request": "key"}}']),
        ({"form": {"a": 1}}, ["1 for 'a'"]),
        ({"form": {"a": None}}, ["None for 'a'"]),
        ({"form": {"a": {"b": "c"}}}, ["dict for 'a'"]),
        ({"form": {"a": "k\n"}}, ["key of a value"]),
        ({"form": {"a": "k" * 257}}, ["key of a value"]),
        ({"form": {"": "k"}}, ["''", "printable name"]),
        ({"form": {1: "k"}}, ["1", "printable name"]),
        ({"header": {"Host": "k"}}, ["Host"]),
        ({"json": {"a..b": "k"}}, ["dots"]),
        ({1: "a"}, ["1"]),
        ({"form": ""}, ["form", "''"]),
        ({"form": None}, ["None"]),
        ({"form": 3}, ["3"]),
        ({"form": "a\r\nb"}, ["printable"]),
        ({"form": "x" * 300}, ["256"]),
        ({"header": "X Y"}, ["X Y", "name of a header"]),
        ({"header": "X:Y"}, ["name of a header"]),
        ({"header": "Host"}, ["Host"]),
        ({"header": "content-length"}, ["content-length"]),
        ({"header": "Cookie"}, ["Cookie", 'there is "cookie"']),
        ({"json": "a..b"}, ["a..b", "dots"]),
        ({"json": "."}, ["dots"]),
        ({"json": ".".join("a" * 33)}, ["32"]),
    ],
)
def test_wrong_inject(value, words):
    with pytest.raises(CaptchaConfigurationError) as caught:
        parse_inject(value)
    assert str(caught.value).startswith("inject:")
    for word in words:
        assert word in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["form", "json", "header", "query", "cookie"]) | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_an_inject_or_a_clear_error(value):
    try:
        message = ""
        inject = parse_inject(value)
        assert {name: dict(inject.names(name)) for name in value} == {
            name: {given: MAIN} if isinstance(given, str) else given for name, given in value.items()
        }
        assert set(inject.keys) == {key for name in value for key in inject.names(name).values()}
    except CaptchaConfigurationError as error:
        message = error.message
    assert not message or (message.startswith("inject: ") and len(message) < 400)


NAME = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8).filter(
    lambda name: name.lower() not in {"te", "host", "cookie", "expect", "trailer", "upgrade"}
)
OBJECTS = st.dictionaries(
    st.sampled_from(["form", "json", "header", "query", "cookie"]),
    NAME | st.dictionaries(NAME, NAME, min_size=1, max_size=4),
    min_size=1,
)


@settings(max_examples=100, deadline=None)
@given(OBJECTS)
def test_names_and_objects_are_read_as_they_are_given(value):
    given_before = json.dumps(value)
    inject = parse_inject(value)
    assert inject == Inject(**value)
    assert json.dumps(value) == given_before
    value.clear()
    assert inject.keys  # it has its own copy


# place: several values


def test_each_name_takes_its_value():
    inject = Inject(form={"a": "lot", "b": "pass"}, header="X-Main", query={"q": "lot"}, cookie={"c": "pass"})
    placed = place_values(
        Request(URL, method="POST", headers=URLENCODED, body=b"a=&x=1"), inject, {MAIN: "m", "lot": "1", "pass": "2"}
    )
    assert placed.body == b"a=1&x=1&b=2"
    assert placed.url == f"{URL}?q=1"
    assert placed.headers[b"X-Main"] == b"m"
    assert placed.cookies == [{"name": "c", "value": "2"}]
    placed = place_values(
        Request(URL, method="POST", body=b'{"c": {"x": 1}}'), Inject(json={"c.a": "a", "b": "b"}), {"a": "1", "b": "2"}
    )
    assert json.loads(placed.body) == {"c": {"x": 1, "a": "1"}, "b": "2"}


@pytest.mark.parametrize("kind", ["form", "json", "header", "query", "cookie"])
def test_a_value_that_the_solution_lacks(kind):
    for value, words in [
        ({"n": "lots"}, 'no "lots"; it has "lot", "type"$'),
        ("n", 'no main value; it has "lot", "type"$'),
    ]:
        with pytest.raises(UnsolvableCaptchaError, match=words) as caught:
            place_values(Request(URL, method="POST"), Inject(**{kind: value}), {"lot": "secret", "type": "secret"})
        assert "secret" not in str(caught.value)
    with pytest.raises(UnsolvableCaptchaError, match="it is empty"):
        place_values(Request(URL), Inject(query={"n": "k"}), {})


def test_keys_in_messages_are_cleaned_and_counted():
    with pytest.raises(UnsolvableCaptchaError) as caught:
        place_values(Request(URL), Inject(query={"n": "k"}), {f"{n}\r\n{'x' * 500}": "v" for n in range(100)})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200


# place: cookies


def test_cookie():
    request = Request(URL, cookies={"a": "1", "seen": "old"})
    placed = place(request, Inject(cookie="seen"), "v.1")
    assert placed.cookies == [{"name": "a", "value": "1"}, {"name": "seen", "value": "v.1"}]
    assert request.cookies == {"a": "1", "seen": "old"}
    assert (placed.url, placed.body) == (URL, b"")


@pytest.mark.parametrize("value", ["a b", "a;b=1", "a\r\nX: 1", 'a"', "é", "", "a,b", "x" * 4097])
def test_a_value_that_no_cookie_can_hold(value):
    with pytest.raises(UnsolvableCaptchaError, match="cannot travel in the cookie seen") as caught:
        place(Request(URL), Inject(cookie="seen"), value)
    assert len(value) < 3 or value not in str(caught.value)


# place: what stays


def test_the_request_keeps_all_that_is_not_replaced_and_is_not_changed():
    request = Request(
        URL,
        callback=callback,
        errback=callback,
        method="POST",
        body=b"a=1",
        headers={**URLENCODED, "X-A": "1"},
        cookies={"c": "1"},
        meta={"m": [1]},
        cb_kwargs={"k": 2},
        flags=["f"],
        priority=3,
    )
    before = {name: getattr(request, name) for name in request.attributes}
    headers = request.headers.copy()
    placed = place(request, Inject(form="t", header="X-T", query="q"), "v")
    assert {name: getattr(request, name) for name in request.attributes} == before
    assert request.headers == headers
    after = {name: getattr(placed, name) for name in placed.attributes}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"url", "body", "headers"}
    assert placed.callback is placed.errback is callback
    assert placed.headers[b"X-A"] == b"1"
    assert not placed.dont_filter


# place: query and form on GET


@pytest.mark.parametrize("inject", [Inject(query="t"), Inject(form="t")])
@pytest.mark.parametrize(
    ("url", "placed"),
    [
        (URL, f"{URL}?t=v+%26"),
        (f"{URL}?b=&a=%FF&c+d=1&b=2#f", f"{URL}?b=&a=%FF&c+d=1&b=2&t=v+%26#f"),
        (f"{URL}?a=1&t=old&b=2&%74=older", f"{URL}?a=1&t=v+%26&b=2"),
        (f"{URL}?t", f"{URL}?t=v+%26"),
    ],
)
def test_query(inject, url, placed):
    request = place(Request(url), inject, "v &")
    assert request.url == placed
    assert request.body == b""


def test_query_of_a_post_leaves_the_body_alone():
    request = place(FormRequest(URL, formdata={"a": "1"}), Inject(query="t"), "v")
    assert (request.url, request.body, request.method) == (f"{URL}?t=v", b"a=1", "POST")


# place: urlencoded bodies


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_form_without_a_body(method):
    request = place(Request(URL, method=method), Inject(form="g-recaptcha-response"), "v/+")
    assert request.body == b"g-recaptcha-response=v%2F%2B"
    assert request.headers[b"Content-Type"] == b"application/x-www-form-urlencoded"


def test_form_replaces_the_field_in_its_place():
    request = Request(URL, method="POST", headers=URLENCODED, body=b"a=1&t=&b=%FF&a=2&t=x&c")
    assert place(request, Inject(form="t"), "v").body == b"a=1&t=v&b=%FF&a=2&c"


def test_a_length_given_by_hand_does_not_outlive_its_body():
    request = Request(URL, method="POST", headers={**URLENCODED, "Content-Length": "3"}, body=b"a=1")
    assert b"Content-Length" not in place(request, Inject(form="t"), "v").headers
    assert b"Content-Length" in place(request, Inject(header="X"), "v").headers


def test_a_body_without_a_content_type():
    assert place(Request(URL, method="POST", body=b"a=1"), Inject(form="t"), "v").body == b"a=1&t=v"
    for body in (b'{"a": 1}', b" [1]", b"<a/>", b'"a"'):
        with pytest.raises(UnsupportedCaptchaError, match="json"):
            place(Request(URL, method="POST", body=body), Inject(form="t"), "v")


@pytest.mark.parametrize("request_", [JsonRequest(URL, data={"a": 1}), JsonRequest(URL, method="POST")])
def test_form_in_a_json_body_says_what_to_do(request_):
    with pytest.raises(UnsupportedCaptchaError, match=r'inject \{"json"'):
        place(request_, Inject(form="t"), "v")


FIELDS = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=8)
NAMES = st.text(min_size=1, max_size=8).filter(str.isprintable)


@settings(max_examples=200, deadline=None)
@given(FIELDS, NAMES, st.text(max_size=20))
def test_form_keeps_all_other_fields(fields, name, value):
    assume(all(key or text for key, text in fields))
    request = Request(URL, method="POST", headers=URLENCODED, body=urlencode(fields))
    placed = parse_qsl(place(request, Inject(form=name), value).body.decode(), keep_blank_values=True)
    assert [pair for pair in placed if pair[0] != name] == [pair for pair in fields if pair[0] != name]
    assert [pair for pair in placed if pair[0] == name] == [(name, value)]
    again = place(place(request, Inject(form=name), value), Inject(form=name), value)
    assert again.body == place(request, Inject(form=name), value).body


@settings(max_examples=100, deadline=None)
@given(FIELDS, NAMES, st.text(max_size=20))
def test_query_keeps_all_other_parameters(fields, name, value):
    assume(all(key or text for key, text in fields))
    url = place(Request(f"{URL}?{urlencode(fields)}"), Inject(query=name), value).url
    placed = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert [pair for pair in placed if pair[0] != name] == [pair for pair in fields if pair[0] != name]
    assert [pair for pair in placed if pair[0] == name] == [(name, value)]


# place: multipart


def parts_of(request):
    head = b"Content-Type: " + request.headers[b"Content-Type"] + b"\r\n\r\n"
    parts = message_from_bytes(head + request.body, policy=HTTP).get_payload()
    return [(part.get_param("name", header="content-disposition"), part.get_payload(decode=True)) for part in parts]


def multipart(*pairs):
    content_type, body = encode(pairs)
    return Request(URL, method="POST", headers={"Content-Type": content_type}, body=body)


def test_multipart_appends_and_replaces():
    request = multipart(("a", "1"), ("t", ""), ("b", "x\r\ny"), ("t", "2"))
    assert parts_of(place(request, Inject(form="t"), "v")) == [("a", b"1"), ("t", b"v"), ("b", b"x\r\ny")]
    appended = place(multipart(("a", "1")), Inject(form="t"), "v")
    assert parts_of(appended) == [("a", b"1"), ("t", b"v")]
    assert appended.body.endswith(b"--\r\n")


def test_multipart_keeps_other_parts_and_the_surroundings_byte_by_byte():
    body = (
        b'preamble\r\n--B\r\nContent-Type: image/png\r\nContent-Disposition: form-data; filename="t"; name=f\r\n\r\n'
        b"\xff\0\r\n--B\r\ncontent-disposition: form-data; name=t\r\n\r\nold\r\n--B--\r\nepilogue"
    )
    placed = set_part(body, b"B", "t", "new")
    assert placed == body.replace(
        b"content-disposition: form-data; name=t\r\n\r\nold", b'Content-Disposition: form-data; name="t"\r\n\r\nnew'
    )


def test_multipart_without_a_body():
    headers = {"Content-Type": 'multipart/form-data; boundary="b 1"'}
    request = place(Request(URL, method="POST", headers=headers), Inject(form="t"), "v")
    assert request.body == b'--b 1\r\nContent-Disposition: form-data; name="t"\r\n\r\nv\r\n--b 1--\r\n'


@pytest.mark.parametrize("body", [b"a=1", b"--B\r\n\r\nunfinished", b"--Bx--"])
def test_multipart_that_is_none(body):
    request = Request(URL, method="POST", headers={"Content-Type": "multipart/form-data; boundary=B"}, body=body)
    if body == b"--Bx--":
        body = body.replace(b"x", b"")
    with pytest.raises(UnsupportedCaptchaError):
        place(request, Inject(form="t"), "v")


def test_multipart_value_with_the_boundary():
    with pytest.raises(UnsupportedCaptchaError) as caught:
        set_part(b"", b"secret", "t", "a secret")
    assert "a secret" not in str(caught.value)


def test_multipart_without_a_boundary():
    request = Request(URL, method="POST", headers={"Content-Type": "multipart/form-data"}, body=b"x")
    with pytest.raises(UnsupportedCaptchaError):
        place(request, Inject(form="t"), "v")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=5), NAMES, st.text(max_size=30))
def test_multipart_of_any_fields(fields, name, value):
    content_type, body = encode(fields)
    boundary = boundary_of(content_type)
    placed = set_part(body, boundary, name, value)
    contents = placed.split(b"--" + boundary)[1:-1]
    assert (
        contents.count(
            b'\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (name.replace('"', "%22").encode(), value.encode())
        )
        == 1
    )
    assert len(contents) == sum(other != name for other, _ in fields) + 1


def test_multipart_file_inputs():
    _, body = encode([("f", ""), ("a", "1\n2")], files={"f"})
    assert b'name="f"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n\r\n' in body
    assert b"1\r\n2" in body


# place: JSON


@pytest.mark.parametrize(
    ("body", "path", "result"),
    [
        (b"", "t", {"t": "v"}),
        (b"{}", "a.b.c", {"a": {"b": {"c": "v"}}}),
        (b'{"a": {"t": 1, "x": 2.5}, "n": null}', "a.t", {"a": {"t": "v", "x": 2.5}, "n": None}),
        (b'{"a": [{"c": 1}, 2]}', "a.0.c", {"a": [{"c": "v"}, 2]}),
        (b'{"a": [1]}', "a.1", {"a": [1, "v"]}),
        (b'{"a": [1]}', "a.1.b", {"a": [1, {"b": "v"}]}),
        (b'{"a": null}', "a.b", {"a": {"b": "v"}}),
        (b'{"a": {}}', "a.0", {"a": {"0": "v"}}),
        (b"[]", "0", ["v"]),
        ('{"ü": "é"}'.encode("utf-16"), "t", {"ü": "é", "t": "v"}),
    ],
)
def test_json(body, path, result):
    request = place(Request(URL, method="POST", body=body), Inject(json=path), "v")
    assert json.loads(request.body) == result
    assert request.headers[b"Content-Type"] == b"application/json"


def test_json_keeps_the_content_type():
    request = Request(URL, method="POST", body=b"{}", headers={"Content-Type": "application/vnd.api+json"})
    assert place(request, Inject(json="t"), "v").headers[b"Content-Type"] == b"application/vnd.api+json"
    placed = place(JsonRequest(URL, data={"a": 1}), Inject(json="t"), "v")
    assert json.loads(placed.body) == {"a": 1, "t": "v"}
    assert isinstance(placed, JsonRequest)


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        (b"a=1", "t", "is no JSON"),
        (b"\xff\xff\xff", "t", "is no JSON"),
        (b"[" * 100_000, "t", "is no JSON"),
        (b"1", "t", "the whole is neither"),
        (b'{"a": "s"}', "a.b", '"a" is neither'),
        (b'{"a": {"b": 1}}', "a.b.c", '"a.b" is neither'),
        (b'{"a": [1]}', "a.x", "list of 1"),
        (b'{"a": [1]}', "a.2", "list of 1"),
        (b'{"a": [1]}', "a.-1", "list of 1"),
        (b'{"a": [1]}', "a.²", "list of 1"),
        (b'{"a": [1]}', "a." + "9" * 5000, "list of 1"),
    ],
)
def test_json_without_such_a_place(body, path, words):
    with pytest.raises(UnsupportedCaptchaError, match=words):
        place(Request(URL, method="POST", body=body), Inject(json=path), "v")


KEYS = st.text(min_size=1, max_size=4).filter(lambda key: "." not in key)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=3), st.lists(KEYS, min_size=1, max_size=4), st.text(max_size=10))
def test_json_at_any_path(document, path, value):
    # NaN is no JSON, and unequal to itself.
    assume("NaN" not in json.dumps(document))
    assume("Infinity" not in json.dumps(document))
    request = Request(URL, method="POST", body=json.dumps(document))
    try:
        placed = json.loads(place(request, Inject(json=".".join(path)), value).body)
    except UnsupportedCaptchaError:
        return
    node = placed
    for step in path:
        node = node[int(step)] if isinstance(node, list) else node[step]
    assert node == value
    assert {k: v for k, v in placed.items() if k != path[0]} == {k: v for k, v in document.items() if k != path[0]}


# place: headers


def test_header():
    assert place(Request(URL), Inject(header="X-Captcha"), "a b").headers[b"X-Captcha"] == b"a b"
    assert place(Request(URL, headers={"X-C": "old"}), Inject(header="x-c"), "v").headers.getlist("X-C") == [b"v"]


@pytest.mark.parametrize("value", ["a\r\nX: 1", "a\n", "é", "", " a", "a ", "a\0", "a\x7f", "\u2028"])
def test_a_value_that_no_header_can_hold(value):
    with pytest.raises(UnsolvableCaptchaError, match="cannot travel in the header X-Captcha") as caught:
        place(Request(URL), Inject(header="X-Captcha"), value)
    assert not value.strip() or value not in str(caught.value)
