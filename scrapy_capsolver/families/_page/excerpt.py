"""What is read of a page that is too large to be read whole: its start, its end, and the surroundings of some words."""

from __future__ import annotations

from collections.abc import Callable

Measure = Callable[[bytes], int]

WORDS = (b"sitekey", b"turnstile", b"captcha", b"geetest")
"""What stands near a captcha in pages of any size, in lower case. Gates that have other words are small pages."""

_AROUND = 16 * 1024  # bytes on either side of a word
_MAX_OF_WORD = 2  # from the start, and as many from the end
_MAX_PLACES = 8
_MAX_AHEAD = 1024 * 1024  # bytes
# What begins and what ends a stretch without tags.
_TEXT_ONLY = ((b"<script", b"</script"), (b"<style", b"</style"), (b"<textarea", b"</textarea"), (b"<!--", b"-->"))


def excerpt(page: bytes, most: int, measure: Measure, size: int) -> tuple[bytes, ...]:
    """Return parts of ``page``, in their order, that measure no more than ``most`` together; ``size`` is its own measure.

    Half of what may be read is the start, a quarter is the end, and a quarter are surroundings of words.
    """
    # A quarter more than what is expected is measured first: all of it would take most of the time.
    half = len(page) * most * 5 // size // 8
    end = _span(page, 0, half, most // 2, measure, keep=0.0)[1]
    last = _span(page, max(end, len(page) - half // 2), len(page), most // 4, measure, keep=1.0)[0]
    lowered = page.lower()
    parts = [page[:end]]
    places = _places(lowered, end, last)
    for place in places:
        start, stop = max(end, place - _AROUND), min(last, place + _AROUND)
        if place < start:  # it was read with the one before
            continue
        keep = (place - start) / (stop - start)
        start, stop = _span(page, start, stop, most // 4 // len(places), measure, keep=keep)
        if (start := _tags_from(lowered, start)) < stop:
            parts.append(page[start:stop])
            end = stop
    parts.append(page[_tags_from(lowered, last) :])
    return tuple(part for part in parts if part)


def middle(part: bytes, most: int, measure: Measure) -> bytes:
    """Return as much of the middle of ``part`` as measures no more than ``most``."""
    start, end = _span(part, 0, len(part), most, measure, keep=0.5)
    return part[_tags_from(part.lower(), start) if start else 0 : end]


def _span(page: bytes, start: int, end: int, most: int, measure: Measure, *, keep: float) -> tuple[int, int]:
    """Return a part of this span that measures no more than ``most``."""
    while (size := measure(page[start:end])) > most:
        cut = (end - start) - int((end - start) * min(max(most / size, 0.25), 0.75))
        start += int(cut * keep)
        end -= cut - int(cut * keep)
    return start, end


def _places(lowered: bytes, start: int, end: int) -> list[int]:
    """Return where the words stand in this span: each at its first places and its last, apart from one another."""
    spans = dict.fromkeys(WORDS, (start, end))
    apart: list[int] = []
    for _ in range(_MAX_OF_WORD):
        for word, (first, last) in spans.items():
            far = lowered.rfind(word, first, last)
            near = lowered.find(word, first, last) if far >= 0 else -1  # which is slower
            spans[word] = (near + _AROUND, far - _AROUND) if far >= 0 else (end, end)
            for place in (near, far):
                if place >= 0 and len(apart) < _MAX_PLACES and all(abs(place - other) >= _AROUND for other in apart):
                    apart.append(place)
    return sorted(apart)


def _tags_from(lowered: bytes, start: int) -> int:
    """Return where from ``start`` on the first tag begins that is none in a script, a style, a text field or a comment."""
    for opening, closing in _TEXT_ONLY:
        if lowered.rfind(closing, start, start + _MAX_AHEAD) < 0:  # which is quicker
            continue
        closed = lowered.find(closing, start)
        if lowered.find(opening, start, closed) < 0:
            start = closed
    found = lowered.find(b"<", start)
    return found if found >= 0 else len(lowered)
