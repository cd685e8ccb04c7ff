from dataclasses import dataclass


@dataclass
class Product:
    name: str
    price: float
    url: str
    captcha: bool
    """Whether a captcha was solved for it."""


@dataclass
class Page:
    title: str
    status: int
    url: str
    captcha: bool
