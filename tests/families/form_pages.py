"""Pages with forms, written and generated, for the comparison with a browser."""

from __future__ import annotations

from hypothesis import strategies as st

WRITTEN: dict[str, str] = {
    "plain": "<form method=post action=/s><input name=a value=1><button name=b value=2>Go</button></form>",
    "get": '<form action="/s?old=1#top"><input name=q value="x y"><button>Go</button></form>',
    "get nothing": "<form action=/s><button>Go</button></form>",
    "no action": "<form method=post><input name=a value=1><button>Go</button></form>",
    "empty action": '<form method=post action=" "><input name=a value=1><button>Go</button></form>',
    "base": '<base href="/deep/er/"><form method=post action=s><input name=a><button>Go</button></form>',
    "button without value": "<form method=post action=/s><input name=a value=1><button type=submit name=submit>Go</button></form>",
    "submit without value": "<form method=post action=/s><input type=submit name=go></form>",
    "submit empty value": '<form method=post action=/s><input type=submit name=go value=""></form>',
    "input button": "<form method=post action=/s><input type=button name=c value=C><input type=reset name=r value=R><input type=submit name=s value=S></form>",
    "second button": "<form method=post action=/s><button name=b value=1>A</button><button name=b value=2>B</button></form>",
    "button types": "<form method=post action=/s><button type=button name=x value=1>A</button><button type=odd name=y value=2>B</button></form>",
    "disabled button": "<form method=post action=/s><button disabled name=x value=1>A</button><button name=y value=2>B</button></form>",
    "image": "<form method=post action=/s><input type=image name=i alt=Go></form>",
    "image no name": "<form method=post action=/s><input name=a value=1><input type=image alt=Go></form>",
    "formaction": '<form method=get action=/x enctype=multipart/form-data><input name=a value=1><button formaction=/s formmethod=post formenctype="application/x-www-form-urlencoded">Go</button></form>',
    "formenctype": "<form method=post action=/s><input name=a value=1><button formenctype=multipart/form-data>Go</button></form>",
    "placeholder option": '<form method=post action=/s><select name=c><option value="" selected disabled>Choose</option><option value=1>1</option></select><button>Go</button></form>',
    "first option disabled": "<form method=post action=/s><select name=c><option disabled>A<option> b  c </option></select><button>Go</button></form>",
    "optgroup disabled": "<form method=post action=/s><select name=c><optgroup disabled label=x><option selected>A</option></optgroup><optgroup label=y><option>B</option></optgroup></select><button>Go</button></form>",
    "select size": "<form method=post action=/s><select name=c size=3><option>A<option>B</select><button>Go</button></form>",
    "select multiple": "<form method=post action=/s><select name=c multiple><option selected>A<option>B<option selected value=c>C</select><button>Go</button></form>",
    "two selected": "<form method=post action=/s><select name=c><option selected>A<option selected>B<option>C</select><button>Go</button></form>",
    "no options": "<form method=post action=/s><select name=c></select><button>Go</button></form>",
    "noscript": "<form method=post action=/s><noscript><input name=n value=1><textarea name=m>x</textarea></noscript><button name=go value=1>Go</button></form>",
    "template": "<form method=post action=/s><template><input name=n value=1></template><button name=go value=1>Go</button></form>",
    "textarea newline": "<form method=post action=/s><textarea name=t>\nline</textarea><textarea name=u>\n\nx\r\ny</textarea><button>Go</button></form>",
    "fieldset": "<form method=post action=/s><fieldset disabled><legend><input name=l value=1></legend><input name=f value=2><legend><input name=m value=3></legend></fieldset><button>Go</button></form>",
    "fieldset nested": "<form method=post action=/s><fieldset disabled><fieldset><legend><input name=l value=1></legend></fieldset></fieldset><input name=e value=1><button>Go</button></form>",
    "charset field": '<form method=post action=/s><input type=hidden name="_charset_"><input type=hidden name=_CHARSET_ value=x><input name=_charset_ value=y><button>Go</button></form>',
    "accept-charset": '<form method=post action=/s accept-charset="odd windows-1252"><input type=hidden name=_charset_><input name=a value="é€你"><button>Go</button></form>',
    "umlauts": '<form method=post action=/s><input name="ä" value="é€你~*-._ +&=%"><button>Go</button></form>',
    "umlauts in a query": '<form action=/s><input name="ä" value="é€你~*-._ +&=%"><button>Go</button></form>',
    "form attribute": "<input name=before form=f value=0><form id=f method=post action=/s><input name=a value=1><input name=other form=g value=2><button>Go</button></form><input name=after form=f value=3>",
    "radios": "<form method=post action=/s><input type=radio name=r value=1 checked><input type=radio name=r value=2 checked><input type=radio name=q value=3><button>Go</button></form>",
    "checkboxes": '<form method=post action=/s><input type=checkbox name=c checked><input type=checkbox name=c value="" checked><input type=checkbox name=d><button>Go</button></form>',
    "file": "<form method=post action=/s enctype=multipart/form-data><input type=file name=f><input name=a value='x\"y'><button>Go</button></form>",
    "file urlencoded": "<form method=post action=/s><input type=file name=f><input name=a value=1><button>Go</button></form>",
    "text/plain": "<form method=post action=/s enctype=text/plain><input name=a value='1 2'><textarea name=b>x\ny</textarea><button>Go</button></form>",
    "datalist": "<form method=post action=/s><datalist id=d><option>A</option><input name=i value=1></datalist><input name=a list=d value=2><button>Go</button></form>",
    "sanitized": "<form method=post action=/s><input type=email name=e value=' a@b '><input type=url name=u value=' http://x '><input type=number name=n value=abc><input type=number name=m value=1.5e3><input type=color name=c value=junk><input type=color name=k value=#ABCDEF><input type=date name=d value=2026-1-1><input type=time name=t value=10:30><button>Go</button></form>",
    "range": "<form method=post action=/s><input type=range name=a><input type=range name=b min=1 max=4><input type=range name=c value=250><input type=range name=d min=0 max=10 step=3 value=5><button>Go</button></form>",
    "dirname": "<form method=post action=/s><input name=a dirname=a.dir value=1><div dir=rtl><textarea name=b dirname=b.dir>x</textarea></div><button>Go</button></form>",
    "names": "<form method=post action=/s><input value=1><input name='' value=2><input name='a\nb' value='c\nd'><input type=hidden name=h value='c\nd'><button>Go</button></form>",
    "readonly and hidden": "<form method=post action=/s><input name=a readonly value=1><div hidden><input name=b value=2></div><input name=c style='display:none' value=3><button>Go</button></form>",
    "order": "<form method=post action=/s><button name=b value=1>Go</button><input name=z value=1><select name=y><option>1</select><input name=x value=1></form>",
    "upper case": "<FORM METHOD=POST ACTION=/s ENCTYPE=MULTIPART/FORM-DATA><INPUT TYPE=TEXT NAME=A VALUE=1><INPUT TYPE=CHECKBOX NAME=B CHECKED><BUTTON>Go</BUTTON></FORM>",
    "odd method": "<form method=put action=/s><input name=a value=1><button>Go</button></form>",
    "no button": "<form method=post action=/s><input name=a value=1></form>",
}
"""Bodies of pages by what they are about."""

_names = st.sampled_from(["a", "b", "c[]", "d.e", "ä", "submit", "_charset_", "x y", ""])
_values = st.text(st.sampled_from("ab1 éß€你~*-._+&=%'<>\n#;/?"), max_size=8)
_flags = st.sampled_from(
    ["", "", "", " disabled", " readonly", " required", " checked", " hidden", " multiple", " selected"]
)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _input(name: str, kind: str, value: str | None, flag: str) -> str:
    given = "" if value is None else f' value="{_escape(value)}"'
    return f'<input name="{_escape(name)}" type="{kind}"{given}{flag}>'


_inputs = st.builds(
    _input,
    _names,
    st.sampled_from(
        [
            "text",
            "hidden",
            "search",
            "tel",
            "password",
            "email",
            "url",
            "number",
            "color",
            "date",
            "range",
            "checkbox",
            "radio",
            "button",
            "reset",
            "submit",
            "file",
            "odd",
        ]
    ),
    st.none() | _values,
    _flags,
)
_buttons = st.builds(
    lambda name, kind, value, flag: f'<button name="{_escape(name)}" type="{kind}"{value}{flag}>Go</button>',
    _names,
    st.sampled_from(["submit", "button", "reset", ""]),
    st.sampled_from(["", ' value="1"', ' value=""']),
    st.sampled_from(["", "", " disabled"]),
)
_textareas = st.builds(
    lambda name, text, flag: f'<textarea name="{_escape(name)}"{flag}>{_escape(text)}</textarea>',
    _names,
    _values,
    _flags,
)
_options = st.builds(
    lambda value, text, flag: f"<option{value}{flag}>{_escape(text)}</option>",
    st.sampled_from(["", ' value="v"', ' value=""']),
    _values,
    st.sampled_from(["", "", " selected", " disabled", " selected disabled"]),
)
_groups = st.builds(
    lambda options, flag: f"<optgroup label=g{flag}>{''.join(options)}</optgroup>",
    st.lists(_options, max_size=3),
    st.sampled_from(["", " disabled"]),
)
_selects = st.builds(
    lambda name, options, flag, size: f'<select name="{_escape(name)}"{flag}{size}>{"".join(options)}</select>',
    _names,
    st.lists(_options | _groups, max_size=4),
    _flags,
    st.sampled_from(["", "", " size=1", " size=3", " size=0"]),
)
_controls = _inputs | _buttons | _textareas | _selects
_boxes = st.recursive(
    _controls,
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag[0]}{tag[1]}>{''.join(parts)}</{tag[0]}>",
        st.sampled_from(
            [
                ("div", ""),
                ("fieldset", ""),
                ("fieldset", " disabled"),
                ("template", ""),
                ("noscript", ""),
                ("legend", ""),
                ("label", ""),
            ]
        ),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)
FORMS = st.builds(
    lambda method, enctype, charset, parts: (
        f'<form id=f method="{method}"{enctype}{charset} action="/s?p=1">{"".join(parts)}<input type=submit id=last></form>'
    ),
    st.sampled_from(["post", "post", "get"]),
    st.sampled_from(["", "", ' enctype="multipart/form-data"', ' enctype="text/plain"']),
    st.sampled_from(["", "", ' accept-charset="windows-1252"', ' accept-charset="odd, utf-8"']),
    st.lists(_boxes, max_size=6),
)
"""Bodies of pages with one form each."""
