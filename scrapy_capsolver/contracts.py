"""A contract for ``scrapy check``, whose requests know nothing of the flags that a spider gives its own."""

from __future__ import annotations

import json
from typing import Any

from scrapy.contracts import Contract

from scrapy_capsolver._request.flag import META_KEY, parse_flag
from scrapy_capsolver.errors import CaptchaConfigurationError


class CapSolverContract(Contract):
    """Flags the sample request: ``@capsolver``, or with a flag as JSON, ``@capsolver {"expect": ".product"}``.

    It adds to what ``@meta`` says, and has to stand below that. Raises
    :class:`~scrapy_capsolver.CaptchaConfigurationError` for a flag that is none, which ``scrapy check`` shows as an error
    of the callback.
    """

    name = META_KEY

    def adjust_request_args(self, args: dict[str, Any]) -> dict[str, Any]:
        args["meta"] = {**(args.get("meta") or {}), META_KEY: self._flag()}
        return args

    def _flag(self) -> object:
        text = " ".join(self.args).strip()
        if not text:
            return True
        try:
            flag = json.loads(text)
        except ValueError as error:
            raise CaptchaConfigurationError(f"@{self.name} {text[:80]}: a flag in JSON is wanted ({error})") from None
        parse_flag(flag, f"@{self.name}")
        return flag
