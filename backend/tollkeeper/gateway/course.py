"""The way of one call through its plan: which target and credential comes next, and what came of those before.

It sends nothing and waits for nothing: `dispatch` asks it, sends, and tells it what happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.routing import DEFAULT_BREAKER, DEFAULT_RETRY, FallbackKind, Target
from tollkeeper.core.errors import NoTargetAvailable, RateLimited, TollkeeperError, UpstreamError
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.routing.health import QUARANTINED
from tollkeeper.gateway.stage import Attempt, Exchange

_NO_CREDENTIAL: Final[tuple[Credential | None, ...]] = (None,)
# What another target may do better.
MOVES_ON: Final = frozenset({FailureClass.CREDENTIAL, FailureClass.RATE, FailureClass.SERVER, FailureClass.TIMEOUT})
# What another credential of the same target may do better.
_ROTATES: Final = frozenset({FailureClass.CREDENTIAL, FailureClass.RATE})
# A gate's word for it.
BREAKER_OPEN: Final = "breaker_open"
_PAUSED: Final = "paused"
_AUTHENTICATION: Final = "upstream_authentication"
# Of a credential that is spared, by the code it was refused with: status and what the caller is told.
_REFUSED: Final = {
    "upstream_quota": (503, "The gateway's account at the provider was out of credit a moment ago."),
    "upstream_identity_unavailable": (503, "The service that gives the gateway's credential was away a moment ago."),
    "upstream_configuration": (502, "The provider's credential is not configured rightly."),
}
_FALLBACKS: Final = {
    FailureClass.CONTEXT_WINDOW: FallbackKind.CONTEXT_WINDOW,
    FailureClass.CONTENT_POLICY: FallbackKind.CONTENT_POLICY,
}


@dataclass(slots=True, eq=False)  # not frozen: made for every attempt, and freezing doubles its price
class Way:
    """A target with one of its provider's credentials. `attempt`: what was sent there last, None: nothing."""

    target: Target
    config: ProviderConfig
    credential: Credential | None
    attempt: Attempt | None = None
    sends: int = 0


@dataclass(frozen=True, slots=True)
class Skip:
    """Why nothing was sent to a target, and in how many seconds it may be asked again."""

    target: Target
    reason: str
    seconds: float


class Course:
    __slots__ = (
        "_at",
        "_config",
        "_credentials",
        "_dead",
        "_exchange",
        "_kinds",
        "_left_out",
        "_next",
        "_target",
        "_targets",
        "breaker",
        "failures",
        "is_last_resort",
        "retry",
        "skips",
    )

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        policy = exchange.route.policy
        if policy is None:
            self.retry, self.breaker = DEFAULT_RETRY, DEFAULT_BREAKER
        else:
            self.retry, self.breaker = policy.retry, policy.breaker
        self._targets = exchange.plan
        self._next = 0
        self._enter()
        # Most calls need none of these, and five containers would cost as much as all the rest here.
        self.failures: Sequence[tuple[Way, Failure]] = ()
        self.skips: Sequence[Skip] = ()
        # Credentials that were refused in this call.
        self._dead: Sequence[UUID] = ()
        # Fallbacks that were taken.
        self._kinds: Sequence[FallbackKind] = ()
        # What an open breaker kept from being tried.
        self._left_out: Sequence[Way] = ()
        # A lone way is not left out for another: it is asked at once as what is asked when nothing else is left.
        self.is_last_resort = len(self._targets) == 1 and len(self._credentials) == 1

    @property
    def has_more_targets(self) -> bool:
        return self._next < len(self._targets)

    def next(self) -> Way | None:
        while True:
            if self._at < len(self._credentials):
                credential = self._credentials[self._at]
                self._at += 1
                if credential is None or credential.id not in self._dead:
                    return Way(self._target, self._config, credential)
            elif self._next < len(self._targets):
                self._enter()
            else:
                if not self.is_last_resort or not self._left_out:
                    return None
                way, *self._left_out = self._left_out
                return way

    def mark(self) -> tuple[int, int]:
        """Where it stands, for `back`: among the same targets."""
        return self._next, self._at

    def back(self, mark: tuple[int, int]) -> None:
        self._next = mark[0] - 1
        self._enter()
        self._at = mark[1]

    def restart(self) -> Way | None:
        """When nothing else is left: the first of those that were left out, now as what is asked in its place."""
        if self.is_last_resort or not self._left_out:
            return None
        self.is_last_resort = True
        again = [way.target for way in self._left_out]
        self.skips = [skip for skip in self.skips if skip.target not in again]
        return self.next()

    def note(self, way: Way, failure: Failure) -> None:
        self.failures = (*self.failures, (way, failure))
        if failure.kind is FailureClass.CREDENTIAL and way.credential is not None:
            self._dead = (*self._dead, way.credential.id)

    def failed(self, way: Way, failure: Failure) -> None:
        """Go on to what may do better; raises the failure's error where nothing can."""
        self.note(way, failure)
        kind = failure.kind
        if kind in _ROTATES:
            return
        if kind in MOVES_ON:
            self._at = len(self._credentials)
            return
        targets = self._take_fallback(kind)
        if not targets:
            raise failure.error
        self._targets = targets
        self._next = 0
        self._enter()

    def skip(self, way: Way, reason: str, seconds: float) -> None:
        self.skips = (*self.skips, Skip(way.target, reason, seconds))
        if not self.is_last_resort and reason == BREAKER_OPEN:
            self._left_out = (*self._left_out, way)

    def leave_target(self) -> None:
        """None of its other credentials would do better."""
        self._at = len(self._credentials)

    def conclude(self) -> TollkeeperError:
        """One target: its own error. Several: each one's reason, and the shortest wait any of them asked for."""
        if self.failures and len(self._exchange.plan) == 1 and not self._kinds:
            return self.failures[-1][1].error
        if len(self._exchange.plan) == 1 and not self._kinds and (error := _of_lone(self.skips)) is not None:
            return error
        told = [_of_failure(way.target, failure) for way, failure in self.failures]
        told += [_of_skip(skip) for skip in self.skips]
        # A target that was tried more than once says the same each time, most often.
        told = [one for place, one in enumerate(told) if one not in told[:place]]
        waits = [failure.retry_after_seconds for _, failure in self.failures if failure.retry_after_seconds is not None]
        waits += [skip.seconds for skip in self.skips if skip.seconds > 0]
        reasons = "; ".join(f"{one['target']}: {one['reason']}" for one in told)
        return NoTargetAvailable(
            f"No target could serve this call. {reasons}.",
            retry_after_seconds=min(waits, default=None),
            details={"targets": told},
        )

    def _enter(self) -> None:
        self._target = target = self._targets[self._next]
        self._config = config = self._exchange.snapshot.providers[target.provider]
        self._credentials: Sequence[Credential | None] = config.credentials or _NO_CREDENTIAL
        self._next += 1
        self._at = 0

    def _take_fallback(self, kind: FailureClass) -> tuple[Target, ...]:
        fallback = _FALLBACKS.get(kind)
        if fallback is None or fallback in self._kinds:
            return ()
        self._kinds = (*self._kinds, fallback)
        return self._exchange.fallbacks.get(fallback, ())


def _of_failure(target: Target, failure: Failure) -> dict[str, str]:
    error = failure.error
    return {"target": f"{target.provider}/{target.model}", "reason": f"{error.status} {error.code}"}


def _of_lone(skips: Sequence[Skip]) -> TollkeeperError | None:
    """What the only target would say again, where it said so a moment ago."""
    reasons = {skip.reason for skip in skips}
    if reasons == {_PAUSED}:
        seconds = min(skip.seconds for skip in skips)
        return RateLimited("The provider is at its rate limit; try again later.", retry_after_seconds=seconds)
    if reasons and all(reason.startswith(QUARANTINED) for reason in reasons):
        return _of_quarantine({reason.removeprefix(QUARANTINED).removeprefix(": ") for reason in reasons}, skips)
    return None


def _of_quarantine(codes: set[str], skips: Sequence[Skip]) -> UpstreamError:
    """Of several credentials that are refused for different reasons, the one about a refused secret counts."""
    code = codes.pop() if len(codes) == 1 else ""
    status, message = _REFUSED.get(code, (0, ""))
    if not status:
        return UpstreamError(
            "The provider refused the gateway's own credential a moment ago. Tell the operator; your key is fine.",
            code=_AUTHENTICATION,
            should_retry=False,
        )
    is_passing = code == "upstream_identity_unavailable"
    return UpstreamError(
        f"{message} Tell the operator.",
        status=status,
        code=code,
        should_retry=None if is_passing else False,
        retry_after_seconds=min(skip.seconds for skip in skips) if is_passing else None,
    )


def _of_skip(skip: Skip) -> dict[str, str]:
    return {"target": f"{skip.target.provider}/{skip.target.model}", "reason": skip.reason}
