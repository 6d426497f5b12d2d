"""What goes out for a call at one target: the request as that vendor takes it, or why none can be made."""

from collections.abc import Mapping

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.course import Way
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.money.cuttable import can_cut
from tollkeeper.gateway.money.hold import Hold
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.prompt_marks import with_marks
from tollkeeper.gateway.provider import Failure, FailureClass, Provider, UpstreamRequest
from tollkeeper.gateway.stage import Exchange


class NotMade(Exception):
    """Nothing was sent. `is_of_target`: because of the target, not of the call."""

    def __init__(self, failure: Failure, *, is_of_target: bool = False) -> None:
        super().__init__(failure.error.code)
        self.failure = failure
        self.is_of_target = is_of_target


def prepare(
    providers: Mapping[str, Provider], exchange: Exchange, way: Way, hold: Hold | None, *, is_last: bool
) -> tuple[Provider, Call, VendorDialect, UpstreamRequest, list[str], bool]:
    """The provider, the call as it is asked for there, in what dialect, its request, what of it the vendor does not
    see, and whether its answer is watched.
    """
    target, config, call = way.target, way.config, exchange.call
    provider = providers.get(config.kind)
    if provider is None:
        error = UpstreamError(f"The provider kind '{config.kind}' is not known to this gateway.", should_retry=False)
        raise NotMade(Failure(FailureClass.SERVER, error))
    # Near a limit less is held than the worst case: then the answer is watched, also one that is wanted whole.
    is_watched = hold is not None and not hold.is_full and can_cut(provider, config, call, target)
    sent = _streamed(call) if is_watched and not call.is_stream else call
    try:
        dialect = provider.dialect(config, sent, target)
        if sent.needs_native is not None and not _has_native(sent, sent.needs_native, dialect):
            raise _unsupported(sent.needs_native, target)
        if exchange.wants_marks and getattr(dialect, "TAKES_MARKS", False):
            sent = with_marks(sent, dialect.NAME)
        if exchange.salt is not None and _is_salted(provider, config, sent):
            # A server's memory of prompts tells by its speed what others have asked: each tenant has one of its own.
            sent = sent.replace(cache_salt=exchange.salt())
        prepared = provider.prepare(config, sent, target)
        dropped = _dropped(exchange, sent, prepared, dialect)
        request = UpstreamRequest(
            method="POST",
            url=provider.url(config, prepared, target),
            headers=_carried(provider, config, prepared, exchange.headers),
            body=dialect.write_call(prepared),
            config=config,
            deadline=exchange.deadline,
            is_stream=sent.is_stream,
            credential=way.credential,
            secret_headers=provider.headers(way.credential),
            outlives_cancel=True,
        )
    except BadRequest as error:
        kind = FailureClass.REQUEST if is_last else FailureClass.SERVER
        raise NotMade(Failure(kind, error)) from None
    except UpstreamError as error:
        raise NotMade(Failure(FailureClass.SERVER, error)) from None
    return provider, sent, dialect, request, dropped, is_watched


def _dropped(exchange: Exchange, sent: Call, prepared: Call, dialect: VendorDialect) -> list[str]:
    """Which of the caller's fields the vendor does not see. Refused where the model's operator wants nothing left out."""
    dropped = dropped_fields(sent, prepared) if prepared.body is not sent.body else []
    if sent.names:
        dropped = [sent.names.get(name, name) for name in dropped]
    if sent.unexpressed and (sent.dialect != dialect.NAME or sent.native is None):
        dropped += sent.unexpressed
    if dropped and exchange.route.parameters.refuses_dropped:
        raise BadRequest(
            f"'{dropped[0]}' has no meaning to the provider of this model, and nothing is left out in silence here. Leave "
            "it out yourself.",
            code="unsupported_parameter",
            param=dropped[0],
        )
    return dropped


def _is_salted(provider: Provider, config: ProviderConfig, call: Call) -> bool:
    # Of providers that share what they keep of prompts between all that ask them.
    salts = getattr(provider, "salts", None)
    return salts is not None and salts(config, call)


def _streamed(call: Call) -> Call:
    streamed = call.replace(stream=True)
    streamed.is_stream = True
    return streamed


def _carried(
    provider: Provider, config: ProviderConfig, call: Call, headers: Mapping[bytes, bytes]
) -> Mapping[str, str]:
    """What the provider wants in its headers, of its own and of the caller's.

    The caller's word on the version of a dialect counts where its own document goes out in it.
    """
    fixed = provider.fixed_headers(config, call)
    if not provider.caller_headers:
        return fixed
    carried = _of_caller(provider, headers)
    return {**carried, **fixed} if call.native is None else {**fixed, **carried}


def _of_caller(provider: Provider, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name: value.decode("latin-1")
        for name in provider.caller_headers
        if (value := headers.get(name.encode("ascii"))) is not None
    }


def _has_native(call: Call, path: str, dialect: VendorDialect) -> bool:
    """Whether the vendor gets what `path` names: from the caller's own document, or where the canonical body has it too."""
    return call.dialect == dialect.NAME and (call.native is not None or path.startswith("tool"))


def _unsupported(path: str, target: Target) -> BadRequest:
    return BadRequest(
        f"'{path}' asks for what the provider of the model '{target.model}' does not have in this API. "
        "Leave it out, or ask for a model whose provider speaks this API itself.",
        code="unsupported_parameter",
        param=path,
    )
