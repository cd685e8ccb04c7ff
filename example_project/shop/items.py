from dataclasses import dataclass


@dataclass
class Product:
    name: str
    price: float
    url: str
    captcha: bool
    """Whether it stands behind a captcha."""


@dataclass
class Page:
    title: str
    status: int
    url: str
    captcha: bool
