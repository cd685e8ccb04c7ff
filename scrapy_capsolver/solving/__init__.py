"""From a task to a solution: attempts, polling, deadlines, prices.

Runs on Twisted alone: its coroutines await Deferreds and are driven by ``Deferred.fromCoroutine``, so that they work on
any reactor and cancellation is Twisted's. The middleware is the bridge to what Scrapy awaits.
"""
