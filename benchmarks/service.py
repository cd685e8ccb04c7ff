"""A simulator in a process of its own, and crawls against it, each in a process of its own: two cores are enough.

``python -m benchmarks.service '{...}'`` is that process, with the simulator's options, and ``known`` for how many tokens
are good on each host without a solve: the floor of the comparison needs them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")


def known_token(number: int, host: str) -> str:
    return f"known-beforehand-{number}@{host}"


class Service:
    """A running simulator. ``solve_seconds`` are simulated; ``speed`` of them pass in a real one."""

    def __init__(
        self, *, solve_seconds: tuple[float, float], speed: float = 1.0, latency: float = 0.05, **more: Any
    ) -> None:
        self.solve_seconds, self.speed = solve_seconds, speed
        self.hosts = HOSTS if more.pop("five_hosts", False) else HOSTS[:1]
        config = {"solve_seconds": solve_seconds, "speed": speed, "latency": latency, "balance": 1e6, **more}
        command = [sys.executable, "-m", "benchmarks.service", json.dumps({**config, "extra_hosts": self.hosts[1:]})]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.where: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.port = self.where["site"].rpartition(":")[2]

    def get(self, name: str) -> Any:
        with urllib.request.urlopen(f"{self.where['api']}/_simulator/{name}") as response:
            return json.load(response)

    def post(self, name: str, value: Any) -> Any:
        request = urllib.request.Request(f"{self.where['api']}/_simulator/{name}", json.dumps(value).encode())
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def crawl(self, contender: str, settings: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
        """One crawl from a fresh start of the simulator; see :mod:`benchmarks.crawl` for the keys."""
        self.post("reset", {})
        config = {
            "contender": contender,
            "settings": settings or {},
            "api": self.where["api"],
            "key": self.where["key"],
            "speed": self.speed,
            "solve_seconds": self.solve_seconds,
            "sites": [f"http://{host}:{self.port}" for host in self.hosts],
            **config,
        }
        command = [sys.executable, "-m", "benchmarks.crawl", json.dumps(config)]
        result: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        return result


@contextmanager
def service(**options: Any) -> Iterator[Service]:
    running = Service(**options)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.communicate()


def main() -> None:
    from twisted.internet import reactor as installed

    from scrapy_capsolver.simulator import Simulator
    from scrapy_capsolver.simulator.tokens import Binding

    reactor: Any = installed
    config: dict[str, Any] = json.loads(sys.argv[1])
    known = config.pop("known", 0)

    class Generous(Simulator):
        """Accepts some tokens that nobody has paid for."""

        def reset(self) -> dict[str, Any]:
            state = super().reset()
            for host in self.site_hosts:
                bound = Binding("recaptcha-v2", self.site_keys["recaptcha-v2"], host)
                for number in range(known):
                    self.tokens.issue(bound, known_token(number, host), float("inf"))
            return state

    simulator = Generous(**config)

    def begin(_: object) -> None:
        told = {"api": simulator.api_url, "site": simulator.site_url, "key": simulator.key}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    reactor.callWhenRunning(lambda: simulator.start().addCallback(begin))
    reactor.addSystemEventTrigger("before", "shutdown", simulator.stop)
    reactor.run()


if __name__ == "__main__":
    main()
