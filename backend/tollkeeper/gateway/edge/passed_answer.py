"""Writes an answer that is passed on: the vendor's status and bytes, our request id and figures beside them."""

from collections.abc import Mapping

from tollkeeper.contracts.chat import Reply
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway.edge.answer import Answer, known_value, pairs
from tollkeeper.gateway.edge.limits import Body
from tollkeeper.gateway.passed import Passed
from tollkeeper.gateway.stage import Ending, Outcome


class PassedAnswer(Answer):
    """Our own refusals, which come before the vendor's answer, are in the dialect of the exchange; later ones cut it."""

    _status = 200

    async def write(self, reply: Reply) -> Outcome:
        assert isinstance(reply, Passed)
        await self._start(reply.status, reply.headers)
        error: TollkeeperError | None = None
        for chunk in reply.primed:
            await self._send({"type": "http.response.body", "body": chunk.native or b"", "more_body": True})
        if reply.rest is not None:
            async for batch in reply.rest:
                for chunk in batch:
                    error = error or chunk.error
                    if chunk.native:
                        await self._send({"type": "http.response.body", "body": chunk.native, "more_body": True})
        if error is not None:
            return self._cut(error)
        self.is_over = True
        await self._send({"type": "http.response.body", "body": b""})
        return Outcome(Ending.DONE if reply.status < 400 else Ending.FAILED, reply.status, reply.failure)

    async def refuse(self, error: TollkeeperError, body: Body | None = None) -> Outcome:
        if self.is_begun and not self.is_over:
            return self._cut(error)
        return await super().refuse(error, body)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.is_begun, self._status = True, status
        first = b"".join([b"%b: %b\r\n" % (known_value(name), known_value(value)) for name, value in headers.items()])
        await self._send({"type": "http.response.start", "status": status, "headers": pairs(self._head(first))})

    def _cut(self, error: TollkeeperError) -> Outcome:
        """No end: whoever reads must not take it for whole. A server without the word for it cuts what is unfinished."""
        self.is_over = True
        if self._wire is not None:
            self._wire.cut()
        return Outcome(Ending.FAILED, self._status, error)
