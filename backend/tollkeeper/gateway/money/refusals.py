"""What a refused call is told, and the rate-limit headers of one that is not: OpenAI's words and formats."""

from collections.abc import Mapping, Sequence
from typing import Final

from tollkeeper.contracts.money import Budget, Limit, Unit
from tollkeeper.core.errors import DependencyUnavailable, InsufficientQuota, RateLimited, TollkeeperError
from tollkeeper.gateway.money.admission_batch import Code, Verdict
from tollkeeper.gateway.money.terms import Place, is_of_provider

_RETRY_SECONDS: Final = 1.0
_NOUNS: Final = {
    Unit.REQUESTS: "requests",
    Unit.INPUT_TOKENS: "input tokens",
    Unit.OUTPUT_TOKENS: "output tokens",
    Unit.TOTAL_TOKENS: "tokens",
}


_HEADERS: Final = {
    what: tuple(f"x-ratelimit-{word}-{what}" for word in ("limit", "remaining", "reset"))
    for what in ("requests", "tokens")
}


class TokensLimited(RateLimited):
    type = "tokens"


class BudgetUnavailable(DependencyUnavailable):
    """What is left of a hard budget cannot be told at the moment."""

    code = "budget_unavailable"


def budget_unavailable() -> BudgetUnavailable:
    return BudgetUnavailable(
        "What is left of a budget cannot be checked at the moment, so the call is not made. Try again shortly.",
        retry_after_seconds=_RETRY_SECONDS,
    )


def refuse(verdict: Verdict, places: Sequence[Place]) -> TollkeeperError:
    """`places`: those of the batch, which the verdict numbers."""
    place = places[verdict.place - 1]
    if verdict.code == Code.BUDGET:
        return out_of_budget(place)
    return too_fast(place, verdict.wait_us, headers_of(verdict, places))


def out_of_budget(place: Place) -> InsufficientQuota:
    assert isinstance(place.rule, Budget)
    error = _out_of_budget(place, place.rule)
    error.is_of_provider = is_of_provider(place)
    return error


def too_fast(place: Place, wait_us: int, headers: Mapping[str, str]) -> RateLimited:
    assert isinstance(place.rule, Limit)
    error = _too_fast(place, place.rule, wait_us, headers)
    error.is_of_provider = is_of_provider(place)
    return error


def _out_of_budget(place: Place, budget: Budget) -> InsufficientQuota:
    return InsufficientQuota(
        f"You exceeded your current quota: the budget of this {_noun(place)} is used up, or what is left of it does not "
        "cover this call. Ask an administrator, or wait for the next window.",
        status=budget.refusal_status,
    )


def _too_fast(place: Place, limit: Limit, wait_us: int, headers: Mapping[str, str]) -> RateLimited:
    if limit.unit is Unit.PARALLEL:
        return RateLimited(
            f"Rate limit reached for this {_noun(place)}: {place.one} calls at once. Please try again when one has ended.",
            retry_after_seconds=wait_us / 1_000_000,
            headers=headers,
        )
    kind = RateLimited if limit.unit is Unit.REQUESTS else TokensLimited
    return kind(
        f"Rate limit reached for this {_noun(place)}: {place.two} {_NOUNS[limit.unit]} per {limit.period}. "
        f"Please try again in {format_duration(wait_us)}.",
        retry_after_seconds=wait_us / 1_000_000,
        headers=headers,
    )


def headers_of(verdict: Verdict, places: Sequence[Place]) -> dict[str, str]:
    headers: dict[str, str] = {}
    if verdict.requests_place:
        write_headers(
            headers, "requests", places[verdict.requests_place - 1], verdict.requests_left, verdict.requests_reset_us
        )
    if verdict.tokens_place:
        write_headers(headers, "tokens", places[verdict.tokens_place - 1], verdict.tokens_left, verdict.tokens_reset_us)
    return headers


def write_headers(headers: dict[str, str], what: str, place: Place, left: int, reset_us: int) -> None:
    limit, remaining, reset = _HEADERS[what]
    headers[limit] = str(place.two)
    headers[remaining] = str(left)
    headers[reset] = format_duration(reset_us)


def format_duration(us: int) -> str:
    """As OpenAI writes them, a Go duration: `12ms`, `1.5s`, `6m0s`. Rounded up to milliseconds."""
    ms = -(-us // 1000)
    if ms < 1000:
        return f"{ms}ms"
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{seconds}.{ms:03d}".rstrip("0") + "s" if ms else f"{seconds}s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail


def _noun(place: Place) -> str:
    assert place.rule is not None
    return place.rule.scope.kind.replace("_", " ")
