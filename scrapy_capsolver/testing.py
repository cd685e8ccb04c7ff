"""The simulator in a process of its own, with a handle: what the fixtures of the pytest plugin give.

For other test runners::

    from scrapy_capsolver.testing import running_simulator

    with running_simulator() as simulator:
        ...
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OPTIONS: dict[str, Any] = {"quirks": [], "speed": 1.0, "balance": 100.0, "solve_seconds": (0.1, 0.3), "latency": 0.0}
_SECONDS = 30  # for an answer of a process on this machine


class RunningSimulator:
    """A CapSolver that runs in another process. Its methods talk to it over HTTP, which takes a millisecond or so."""

    def __init__(self, api_url: str, site_url: str, key: str) -> None:
        self.api_url = api_url
        self.site_url = site_url
        self.key = key
        self.site = GatedSite(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} api_url={self.api_url!r} site_url={self.site_url!r}>"

    @property
    def settings(self) -> dict[str, Any]:
        """Scrapy's settings for a crawl that solves its captchas here."""
        return {
            "ADDONS": {"scrapy_capsolver.Addon": 500},
            "CAPSOLVER_API_URL": self.api_url,
            "CAPSOLVER_API_KEY": self.key,
        }

    @property
    def arguments(self) -> list[str]:
        """The same for a crawl in another process: arguments for ``scrapy crawl``, ``runspider``, ``shell``."""
        words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.settings.items()}
        return [argument for name, value in words.items() for argument in ("-s", f"{name}={value}")]

    def state(self) -> dict[str, Any]:
        """All that the simulator counts: calls of the API, tasks, money, tokens, pages of the site."""
        state: dict[str, Any] = self._ask("state")
        return state

    def tasks(self) -> list[dict[str, Any]]:
        """The tasks in the order of their creation: ``id``, ``type``, ``status``, the ``fields`` as they came, and more."""
        tasks: list[dict[str, Any]] = self._ask("tasks")
        return tasks

    def configure(
        self,
        *,
        quirks: Iterable[str] | None = None,
        speed: float | None = None,
        balance: float | None = None,
        solve_seconds: tuple[float, float] | None = None,
        latency: float | None = None,
    ) -> None:
        """Change what is given, until the end of the test. Raises ValueError for what the simulator does not take.

        Args:
            quirks: faults, as ``python -m scrapy_capsolver.simulator --help`` says: ``["solve-failed:2"]``.
            speed: simulated seconds in a real one.
            balance: US dollars.
            solve_seconds: least and greatest, in simulated seconds.
            latency: of the site, in real seconds.
        """
        values = {
            "quirks": None if quirks is None else list(quirks),
            "speed": speed,
            "balance": balance,
            "solve_seconds": solve_seconds,
            "latency": latency,
        }
        self._ask("configure", {name: value for name, value in values.items() if value is not None})

    def reset(self) -> None:
        """Forget all tasks, tokens and counts. The configuration stays."""
        self._ask("reset", {})

    def restore(self) -> None:
        """As it was at the start."""
        self.configure(**_OPTIONS)
        self.reset()

    def _ask(self, control: str, values: dict[str, Any] | None = None) -> Any:
        body = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(f"{self.api_url}/_simulator/{control}", data=body)  # noqa: S310 - http on loopback
        # Whatever proxy the environment names, it is not for this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["error"]) from None


class GatedSite:
    """A shop with captchas in front of its products. ``python -m scrapy_capsolver.simulator`` serves the same."""

    def __init__(self, simulator: RunningSimulator) -> None:
        self._simulator = simulator
        self.url = simulator.site_url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def page(self, gate: str, number: int = 1) -> str:
        """Address of a product's page behind a captcha: ``gate`` is the first part of its path.

        Such as ``recaptcha-v2``, ``turnstile``, ``cloudflare``, ``image``, or ``free`` for none; the index page of the
        site lists them all. The page behind says ``Product <number>`` in an element of class ``product``.
        """
        return f"{self.url}/{gate}/{number}"

    def state(self) -> dict[str, Any]:
        """What the site counts: ``requests``, pages ``gated`` that were given out by family, ``gates_shown``, ``refused``."""
        state: dict[str, Any] = self._simulator.state()["site"]
        return state


@contextmanager
def running_simulator(*arguments: str) -> Iterator[RunningSimulator]:
    """Run one for the time of the block. ``arguments`` are of ``python -m scrapy_capsolver.simulator``.

    Raises RuntimeError with what it says where it does not start.
    """
    options = ["--latency", str(_OPTIONS["latency"]), "--solve-seconds", "{}:{}".format(*_OPTIONS["solve_seconds"])]
    process = subprocess.Popen(  # noqa: S603 - this package's own
        [sys.executable, "-m", "scrapy_capsolver.simulator", "--until-stdin-closes", *options, *arguments],
        stdin=subprocess.PIPE,  # which closes when this process ends, in whatever way
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the simulator did not start: {process.stderr.read().strip()}")
        where = json.loads(line)
        yield RunningSimulator(where["api"], where["site"], where["key"])
    finally:
        process.terminate()
        process.communicate()
