"""Appraises calls for `admit`: what each may come to, by the prices, forecasts and counts of this worker."""

from tollkeeper.gateway.money.estimate import bound_input_tokens, estimate_input_tokens
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.stage import Exchange


class Appraiser:
    def __call__(self, exchange: Exchange) -> Appraisal:
        """By the cheap bound, a token a byte."""
        call, price = exchange.call, exchange.route.price
        bound, tokens = bound_input_tokens(call), estimate_input_tokens(call)
        cap = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
        if price is None:
            return Appraisal(tokens, 0, 0, 0)
        own = -(-bound * price.input // 1000)
        full = None if not isinstance(cap, int) else own + -(-cap * price.output // 1000)
        forecast = own + -(-min(400, cap or 400) * price.output // 1000)
        return Appraisal(tokens, 400, full, forecast, cap, price.output)

    async def exactly(self, exchange: Exchange) -> Appraisal:
        """By counting the text."""
        return self(exchange)
