"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

from scrapy_capsolver.solving.ledger import NANO

FAMILIES = {
    "recaptcha_v2": "reCAPTCHA v2",
    "recaptcha_v3": "reCAPTCHA v3",
    "turnstile": "Turnstile",
    "cloudflare_challenge": "Cloudflare challenge",
    "datadome": "DataDome",
    "aws_waf": "AWS WAF",
    "geetest": "GeeTest",
    "mtcaptcha": "MTCaptcha",
    "botdeflector": "BotDeflector",
    "image_to_text": "Image to text",
    "recaptcha_v2_classification": "reCAPTCHA images",
    "aws_waf_classification": "AWS WAF images",
    "vision_engine": "VisionEngine",
    "raw": "Other task types",
    "hcaptcha": "hCaptcha",
    "funcaptcha": "FunCaptcha",
    "perimeterx": "PerimeterX",
    "imperva": "Imperva",
    "kasada": "Kasada",
    "akamai": "Akamai",
    "f5": "F5",
    "sucuri": "Sucuri",
    "anubis": "Anubis",
}


def plain(text: str) -> str:
    """Text that anybody may have written, without what would move a cursor, turn its direction, or hide."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)


def family_name(family: str) -> str:
    return FAMILIES.get(family) or plain(family) or "all"


def usd(nano: int) -> str:
    """USD to the nano-dollar, with 4 decimals at least."""
    text = f"{Decimal(nano) / NANO:,.9f}"
    return text[:-5] + text[-5:].rstrip("0")


def whole(number: float) -> str:
    return f"{number:,.0f}"


def seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def share(part: float, all_of_it: float) -> str:
    return f"{100 * part / all_of_it:.1f} %" if all_of_it else "-"


def moment(unix: float) -> str:
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(unix: float, *, with_day: bool) -> str:
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%d %b %H:%M" if with_day else "%H:%M:%S")


def duration(value: float) -> str:
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h" if value < 172800 else f"{value / 86400:.1f} days"
