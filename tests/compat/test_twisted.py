"""What a Twisted that moves its private modules means for the plugin."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys
import twisted.web.client as client
from twisted.internet import asyncioreactor

asyncioreactor.install()
# As in a Twisted that has moved what it does not document: its own code has it elsewhere.
private = {name for name in vars(client) if name.startswith("_") and not name.startswith("__")}
sys.modules["twisted.web._newclient"] = None
for name in ("_newConnection", "_putConnection", "_removeConnection"):
    setattr(client.HTTPConnectionPool, name + "_moved", getattr(client.HTTPConnectionPool, name))


class Gone:
    def __getattr__(self, name):
        if name in private:
            raise ImportError(name)
        return getattr(client, name)


sys.modules["twisted.web.client"] = Gone()

import importlib, pkgutil
import scrapy_capsolver

for module in pkgutil.walk_packages(scrapy_capsolver.__path__, "scrapy_capsolver."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)

from twisted.internet import defer, task
from scrapy_capsolver.api.client import CapSolverClient
from scrapy_capsolver.simulator import Simulator


async def main(reactor):
    simulator = Simulator(balance=3.0)
    await simulator.start()
    api = CapSolverClient(api_key=simulator.key, api_url=simulator.api_url, reactor=reactor)
    balance = await api.get_balance()
    await api.close()
    await simulator.stop()
    print(balance.usd)


task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
"""


def test_a_twisted_that_moves_what_is_private() -> None:
    """All modules can be imported, and a request reaches CapSolver."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CODE], check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "3.0"), done.stderr
