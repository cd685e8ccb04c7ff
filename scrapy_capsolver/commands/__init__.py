"""``scrapy capsolver``: what can be asked of the plugin, and of CapSolver, from a shell.

Every ``scrapy`` command imports this module, so it imports nothing that Scrapy has not imported by then. A subcommand is a
module of this package, imported when it is asked for: its docstring is its help, ``add_arguments(parser)`` says what it
takes, and ``run(settings, arguments)`` does it and gives the exit code.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.commands import ScrapyCommand

if TYPE_CHECKING:
    from types import ModuleType

SUBCOMMANDS = {
    "check": "Is everything set up? Settings, key, balance, place among the middlewares",
    "detect": "Tell which captcha a page or an HTML file shows, and how to flag it; costs nothing",
    "solve": "Get past the captcha of one page, and tell what that took; costs one solve",
    "balance": "The account's balance and packages",
    "report": "Shows what captchas cost and what came of them: from a report of a crawl, or from the ledger of a store",
    "simulate": "Run a CapSolver and a captcha-gated shop on this machine",
}
"""Names of the modules, and the first lines of their docstrings (without the full stop)."""

_EPILOG = """\
scrapy capsolver SUBCOMMAND --help tells more. Each takes --json, and Scrapy's own
options, such as -s NAME=VALUE. The exit code is 0, 1 where something is wrong, or
2 where the command was called the wrong way.
"""


class Command(ScrapyCommand):
    """Hands over to a subcommand."""

    requires_crawler_process = False
    # What happens is told by the subcommands themselves. ``-L INFO`` shows the log as well.
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}
    _subcommand: ModuleType
    _outer_parser: argparse.ArgumentParser
    _formatter: type[argparse.HelpFormatter]

    def syntax(self) -> str:
        return "SUBCOMMAND [options]"

    def short_desc(self) -> str:
        return "Check the set-up, detect and solve captchas, simulate CapSolver"

    def long_desc(self) -> str:
        width = max(map(len, SUBCOMMANDS))
        return "\n".join(f"  {name:<{width}}  {what}" for name, what in SUBCOMMANDS.items())

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.formatter_class = self._formatter = _with_lines_kept(parser.formatter_class)
        parser.epilog = _EPILOG
        self._outer_parser = parser
        parser.add_argument("subcommand", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        name, *rest = [*opts.subcommand, *args] or [""]
        if not name:
            self._outer_parser.print_help()
            self._outer_parser.exit(2)
        if name not in SUBCOMMANDS:
            self._outer_parser.error(f"there is no subcommand {name!r}: they are {', '.join(SUBCOMMANDS)}")
        self._subcommand = import_module(f"{__name__}.{name}")
        given = vars(self._parser(name).parse_args(rest))
        before, after = opts.set, given.pop("set")
        for key, value in given.items():
            if value or not getattr(opts, key, None):  # Scrapy's options may stand before the subcommand, or after
                setattr(opts, key, value)
        opts.set = before + after
        super().process_options([], opts)

    def _parser(self, name: str) -> argparse.ArgumentParser:
        short, _, description = (self._subcommand.__doc__ or "").partition("\n")
        parser = argparse.ArgumentParser(
            prog=f"scrapy capsolver {name}",
            description=f"{short}\n{description.rstrip()}",
            # A subcommand may have its own words for --json.
            conflict_handler="resolve",
        )
        parser.color = False  # type: ignore[attr-defined,unused-ignore]  # Python 3.14's, which Scrapy's format knows nothing of
        parser.add_argument("--json", action="store_true", help="write the outcome as JSON")
        self._subcommand.add_arguments(parser)
        parser.usage = parser.format_usage().removeprefix("usage: ").strip().replace("%", "%%")
        parser.formatter_class = self._formatter
        super().add_options(parser)
        return parser

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        from scrapy_capsolver.commands._console import plain_errors  # noqa: PLC0415 - not for `scrapy list`

        with plain_errors():
            self.exitcode = self._subcommand.run(self.settings, opts)


def _with_lines_kept(formatter: Any) -> type[argparse.HelpFormatter]:
    """Return Scrapy's own way to write help, but one that keeps the lines of examples."""
    if issubclass(argparse.RawDescriptionHelpFormatter, formatter):
        return argparse.RawDescriptionHelpFormatter
    return type("HelpFormatter", (formatter, argparse.RawDescriptionHelpFormatter), {})
