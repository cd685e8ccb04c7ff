"""``python -m scrapy_capsolver.simulator``: serve until interrupted.

One line of JSON on standard output says where, as soon as it listens:
``{"api": "http://127.0.0.1:...", "site": "http://127.0.0.1:...", "key": "CAP-..."}``.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from .quirks import Quirk
from .server import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    seconds = float(low), float(high or low)
    if not 0 <= seconds[0] <= seconds[1] < float("inf"):
        raise ValueError(text)
    return seconds


_range.__name__ = "MIN[:MAX]"  # What argparse calls a value that is refused.


def _positive(text: str) -> float:
    number = _amount(text)
    if not number:
        raise ValueError(text)
    return number


_positive.__name__ = "positive number"


def _amount(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


_amount.__name__ = "number"


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65536:
        raise ValueError(text)
    return port


_port.__name__ = "port"


def _quirk(text: str) -> Quirk:
    try:
        return Quirk.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument(
        "--extra-host", action="append", default=[], help="one more address for the site", metavar="HOST"
    )
    parser.add_argument("--api-port", type=_port, default=0)
    parser.add_argument("--site-port", type=_port, default=0)
    parser.add_argument("--speed", type=_positive, default=1.0, help="simulated seconds in a real one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", default="CAP-SIMULATOR-0123456789")
    parser.add_argument("--balance", type=_amount, default=100.0, help="US dollars")
    parser.add_argument("--solve-seconds", type=_range, metavar="MIN[:MAX]", help="simulated seconds of every solve")
    parser.add_argument("--latency", type=_amount, default=0.05, help="real seconds for each page of the site")
    parser.add_argument(
        "--quirk",
        type=_quirk,
        action="extend",
        nargs="+",
        default=[],
        help="NAME, NAME:N, NAME/K or NAME%%P: a quirk for all occasions, the first N, each K-th, or P percent",
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end when standard input does, as it does with its other end"
    )


def _end_with_stdin(reactor: Any) -> None:
    # They import the reactor.
    from twisted.internet.protocol import Protocol  # noqa: PLC0415
    from twisted.internet.stdio import StandardIO  # noqa: PLC0415

    class Input(Protocol):
        def connectionLost(self, reason: object = None) -> None:  # noqa: N802 - Twisted's name
            if reactor.running:
                reactor.stop()

    StandardIO(Input())


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scrapy_capsolver.simulator", description=__doc__)
    add_arguments(parser)
    return serve(parser.parse_args(arguments), print_json)


def print_json(simulator: Simulator) -> None:
    line = json.dumps({"api": simulator.api_url, "site": simulator.site_url, "key": simulator.key})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def serve(options: argparse.Namespace, tell: Callable[[Simulator], None]) -> int:
    """Serve as ``options`` say until SIGINT or SIGTERM, and ``tell`` as soon as it listens; return the exit code."""
    # The simulator runs on Twisted's default reactor, which the first import installs.
    from twisted.internet import reactor as installed

    reactor: Any = installed
    simulator = Simulator(
        speed=options.speed,
        seed=options.seed,
        key=options.key,
        balance=options.balance,
        solve_seconds=options.solve_seconds,
        latency=options.latency,
        quirks=options.quirk,
        host=options.host,
        extra_hosts=options.extra_host,
        api_port=options.api_port,
        site_port=options.site_port,
    )
    failed: list[object] = []

    def give_up(failure: Any) -> None:
        failed.append(failure.value)
        reactor.stop()

    def begin() -> None:
        started: Any = simulator.start()
        started.addCallbacks(lambda _: tell(simulator), give_up)

    if options.until_stdin_closes:
        reactor.callWhenRunning(_end_with_stdin, reactor)
    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", simulator.stop)
    reactor.run()
    if failed:
        sys.stderr.write(f"{failed[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
