"""What differs between captchas: one module a family, behind one protocol (:class:`Family`).

A new family is a module with a class that keeps the protocol, and its place in :data:`registry.FAMILIES`.
"""

from scrapy_capsolver.families._page.page import Page
from scrapy_capsolver.families.base import Challenge, Family, FormSubmission, SolutionKind, TaskType
from scrapy_capsolver.families.fields import check_fields
from scrapy_capsolver.families.inject import Inject, parse_inject, place
from scrapy_capsolver.families.registry import FAMILIES, PRICES, check_type, detect, family, family_of
from scrapy_capsolver.families.retired import RETIRED

__all__ = [
    "FAMILIES",
    "PRICES",
    "RETIRED",
    "Challenge",
    "Family",
    "FormSubmission",
    "Inject",
    "Page",
    "SolutionKind",
    "TaskType",
    "check_fields",
    "check_type",
    "detect",
    "family",
    "family_of",
    "parse_inject",
    "place",
]
