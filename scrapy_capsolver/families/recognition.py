"""Tasks that read pictures: the flag says which, and the answer is for the spider, or goes where ``inject`` says.

Sources: docs.capsolver.com/guide/recognition/ReCaptchaClassification , .../AwsWafClassification , .../VisionEngine
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scrapy_capsolver.errors import CaptchaConfigurationError, UnsolvableCaptchaError, UnsupportedCaptchaError
from scrapy_capsolver.families._page.elements import describe
from scrapy_capsolver.families._page.forms import form_of
from scrapy_capsolver.families._page.images import MAX_IMAGES, encoded, given, given_list, locate, selected
from scrapy_capsolver.families._page.submission import submission
from scrapy_capsolver.families._page.text import clean
from scrapy_capsolver.families._page.verdict import verdict
from scrapy_capsolver.families.base import Challenge, SolutionKind, TaskType
from scrapy_capsolver.families.inject import Inject, named
from scrapy_capsolver.families.solution import read_answer
from scrapy_capsolver.families.token import TokenFamily

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scrapy_capsolver.families._page.page import Page

QUESTION_SELECTOR = "questionSelector"
_MAX_QUESTION = 500

# In a challenge's params: the image that belongs here must be fetched first.
_TO_FETCH = ""


class Recognition(TokenFamily):
    """Base class of the families whose task is made of images."""

    kind = SolutionKind.ANSWER
    field = ""  # every site has its own name for it
    images: tuple[str, ...]
    """The task's fields that hold images, in the order in which they are fetched."""
    main_keys: tuple[str, ...] = ()
    """Keys of the solution: the first that is there has the main value."""

    @property
    def type_name(self) -> str:
        return next(iter(self.types))

    def sources(self, fields: Mapping[str, Any]) -> Mapping[str, str]:
        """Which of the flag's own keys selects the images of which field."""
        return {"selector": self.images[0]}

    def count(self, fields: Mapping[str, Any]) -> int | None:
        """How many images there must be in a field that holds several; None where any number up to nine will do."""
        return None

    def check(self, fields: Mapping[str, Any]) -> None:
        """Raise :class:`CaptchaConfigurationError` where these fields cannot make a task."""

    def detect(self, page: Page, fields: Mapping[str, Any]) -> Challenge | None:
        """Gated where the page has an element that the flag's ``selector`` selects. A page alone never says so.

        Raises :class:`CaptchaConfigurationError` for a selector that is none, and :class:`UnsupportedCaptchaError`
        where the images that it selects cannot be had.
        """
        css = fields.get("selector")
        needed = self.types[self.type_name].given
        if css is None or not all(fields.get(name) or f"{name}Selector" in fields for name in needed):
            return None
        found = selected(page, css, "selector")
        if not found:
            return None
        fields = {**fields, **self._asked(page, fields)}
        element = found[0][0]
        form = form_of(page, element)
        blocked, why = verdict(page, form, anchored=page.is_live(element), spare=1)
        params, fetch = self._read(page, fields)
        if "question" in fields:
            params["question"] = fields["question"]
        return Challenge(
            family=self.name,
            type=self.type_name,
            url=page.url,
            params=params,
            reasons=(f"element {clean(describe(element))} matches {clean(css)}", why),
            blocked=blocked,
            form=submission(page, form) if form is not None else None,
            fetch=fetch,
        )

    def prepare(self, challenge: Challenge) -> Challenge:
        """With the flag's images as CapSolver wants them. Raises :class:`CaptchaConfigurationError` where they are none."""
        params = dict(challenge.params)
        for name in self.images:
            value = params.get(name)
            if name not in params or (
                challenge.fetch and _TO_FETCH in (value if isinstance(value, list) else (value,))
            ):
                continue  # or it is the page's, which was looked at already
            if self.types[self.type_name].kinds.get(name) is list:
                params[name] = given_list(value, name)
                wanted = self.count(params)
                if wanted is not None and len(params[name]) != wanted:
                    raise CaptchaConfigurationError(f"{name}: {len(params[name])} were given; {self._wants(wanted)}")
            else:
                params[name] = given(value, name)
        self.check(params)
        return replace(challenge, params=params)

    def task(self, challenge: Challenge, fetched: Sequence[bytes], after: str) -> dict[str, Any]:
        """With the images that had to be fetched in their places."""
        task = super().task(challenge, fetched, after)
        contents = iter(fetched)
        for name in self.images:
            value = task.get(name)
            if isinstance(value, list):
                task[name] = [encoded(next(contents, None)) if image == _TO_FETCH else image for image in value]
            elif value == _TO_FETCH:
                task[name] = encoded(next(contents, None))
        return task

    def value(self, solution: Mapping[str, Any]) -> str:
        text = self.main(solution)
        if text is not None:
            return text
        raise UnsolvableCaptchaError(
            f"CapSolver's solution has nothing in {' or '.join(self.main_keys)} that a request can carry; "
            f'{named(solution)}. Leave inject out, and response.meta["capsolver_solution"] has it'
        )

    def main(self, solution: Mapping[str, Any]) -> str | None:
        return read_answer(solution, self.main_keys)

    def places(self, challenge: Challenge, inject: Inject | None) -> Inject:
        """Nowhere, where the flag does not say: the answer is for the spider's own code."""
        return inject or Inject()

    def _asked(self, page: Page, fields: Mapping[str, Any]) -> dict[str, str]:
        """The question as the page has it, where the flag says in what place and not which it is."""
        css = fields.get(QUESTION_SELECTOR)
        if css is None or "question" in fields:
            return {}
        if not isinstance(css, str) or not css.strip():
            raise CaptchaConfigurationError(
                f'{QUESTION_SELECTOR}: allowed is a CSS selector, "#captcha::attr(data-question)"'
            )
        found = next(iter(page.select(css, 1)), "")
        text = " ".join((found if isinstance(found, str) else found.text_content())[:_MAX_QUESTION].split())
        if not text:
            raise UnsupportedCaptchaError(f"{QUESTION_SELECTOR} {clean(css)!r} selects no text on the page")
        return {"question": text}

    def _read(self, page: Page, fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """(params, addresses to fetch) of the images. What the flag brings is not looked for on the page."""
        params: dict[str, Any] = {name: fields[name] for name in self.images if name in fields}
        fetch: list[str] = []
        for key, name in self.sources(fields).items():
            if name in params or fields.get(key) is None:
                continue
            found = selected(page, fields[key], key)
            if not found:
                raise UnsupportedCaptchaError(f"{key} {clean(fields[key])!r} selects nothing on the page")
            several = self.types[self.type_name].kinds.get(name) is list
            wanted = self.count(fields) if several else None
            if several and (len(found) > MAX_IMAGES or wanted not in {None, len(found)}):
                raise UnsupportedCaptchaError(
                    f"{key} {clean(fields[key])!r} selects {len(found)} images; {self._wants(wanted)}"
                )
            images = []
            for _, source in found if several else found[:1]:
                address, image = locate(page, source)
                images.append(image or _TO_FETCH)
                fetch += [address] if address else []
            params[name] = images if several else images[0]
        return params, tuple(fetch)

    def _wants(self, wanted: int | None) -> str:
        return f"{self.type_name} takes {wanted if wanted is not None else f'up to {MAX_IMAGES}'} here"


class RecaptchaClassification(Recognition):
    """Which tiles of a reCAPTCHA v2 picture show what is asked for.

    Questions are Google's labels (``/m/0k4j``, cars); CapSolver knows 17 of them, adds some, and refuses others.
    """

    name = "recaptcha_v2_classification"
    images = ("image",)
    main_keys = ("objects",)
    solution_keys = frozenset({"type", "size", "objects", "hasObject"})
    types: Mapping[str, TaskType] = {
        "ReCaptchaV2Classification": TaskType(
            required=frozenset({"image", "question"}),
            optional=frozenset({"websiteURL", "websiteKey"}),
            shown_by=frozenset({"selector", "image"}),
            given=frozenset({"question"}),
            own=frozenset({"selector", QUESTION_SELECTOR}),
            price=0.4,
        )
    }


class AwsWafClassification(Recognition):
    """The puzzles of AWS WAF: nine pictures for a ``aws:grid:...`` question, one for any other."""

    name = "aws_waf_classification"
    images = ("images",)
    main_keys = ("objects", "box", "distance")
    solution_keys = frozenset({"objects", "box", "distance"})
    types: Mapping[str, TaskType] = {
        "AwsWafClassification": TaskType(
            required=frozenset({"images", "question"}),
            optional=frozenset({"websiteURL"}),
            shown_by=frozenset({"selector", "images"}),
            given=frozenset({"question"}),
            kinds={"images": list},
            own=frozenset({"selector", QUESTION_SELECTOR}),
            price=0.4,
        )
    }

    def count(self, fields: Mapping[str, Any]) -> int | None:
        return 9 if str(fields.get("question")).startswith("aws:grid:") else 1


class VisionEngine(Recognition):
    """Sliders, rotated pictures and others, by ``module``. What a solution holds depends on it."""

    name = "vision_engine"
    images = ("image", "imageBackground")
    main_keys = ("distance", "angle", "text", "objects", "box")
    types: Mapping[str, TaskType] = {
        "VisionEngine": TaskType(
            required=frozenset({"module", "image"}),
            optional=frozenset({"imageBackground", "question", "websiteURL"}),
            shown_by=frozenset({"selector", "image"}),
            given=frozenset({"module"}),
            own=frozenset({"selector", "backgroundSelector", QUESTION_SELECTOR}),
            price=0.4,
        )
    }

    def sources(self, fields: Mapping[str, Any]) -> Mapping[str, str]:
        return {"selector": "image", "backgroundSelector": "imageBackground"}

    def check(self, fields: Mapping[str, Any]) -> None:
        """CapSolver's page lists more as required than its own examples give; these two are needed without doubt."""
        module = fields.get("module")
        if module == "slider_1" and "imageBackground" not in fields:
            raise CaptchaConfigurationError(
                'imageBackground: VisionEngine needs it for the module slider_1; give it, or "backgroundSelector", which '
                "says where it is on the page"
            )
        if module == "shein" and not fields.get("question"):
            raise CaptchaConfigurationError("question: VisionEngine needs it for the module shein")
