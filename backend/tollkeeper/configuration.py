"""`tollkeeper.yaml` checked as a whole and turned into what the gateway works with.

`load_configuration` either returns a complete `Configuration` or raises `ConfigError` with every problem found; it
touches nothing but the files it reads, so `config validate`, the start and a reload use the same call.
"""

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from tollkeeper.configuration_rules import declared_budget, declared_limit, faults_of
from tollkeeper.configuration_schema import (
    ConfigurationFile,
    FileBudget,
    FileCachePolicy,
    FileGuardrailPolicy,
    FileLimit,
    FileModel,
    FilePriceAdjustment,
    FileProvider,
    json_schema,
)
from tollkeeper.contracts.cache import CacheAttachment, CachePolicy
from tollkeeper.contracts.catalog import (
    REST,
    Adjustment,
    Credential,
    DeclaredCatalog,
    ModelRoute,
    ProviderConfig,
    ProviderKind,
)
from tollkeeper.contracts.guardrails import Attachment, GuardrailPolicy
from tollkeeper.contracts.routing import Target
from tollkeeper.core.config_file import load_config_file
from tollkeeper.core.config_source import ConfigError, Node, Place, Problem, path_text
from tollkeeper.core.money import nano_from_usd
from tollkeeper.domains.cache import reading as cache_reading
from tollkeeper.domains.catalog.beyond import read_fine_tuning, read_passthrough
from tollkeeper.domains.catalog.environment import environment_catalog, vendor_names
from tollkeeper.domains.catalog.fields import OWNER, check_document, is_private_host, origin_of, read_proxy_url
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.parameters import read_capabilities, read_parameters
from tollkeeper.domains.catalog.policies import PolicyBook, PolicySource, all_targets
from tollkeeper.domains.catalog.prices import PriceList, read_price, stable_id
from tollkeeper.domains.catalog.snapshot import builtin_catalog
from tollkeeper.domains.guardrail_policies.reading import read_attachment, read_policy
from tollkeeper.domains.guardrail_policies.schemas import DeclaredGuardrail
from tollkeeper.domains.guardrail_policies.starters import STARTERS
from tollkeeper.domains.limits.schemas import DeclaredRule
from tollkeeper.gateway.guard_trial import GuardTrial

__all__ = ["ConfigError", "Configuration", "Problem", "json_schema", "load_configuration", "read_declared"]

log = structlog.get_logger(__name__)

_HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "missing": "is required: add it",
        "string_type": "expected text: put the value in quotes",
        "secret_type": "expected text: put the value in quotes",
        "model_type": "expected a mapping (name: value)",
        "dict_type": "expected a mapping (name: value)",
        "tuple_type": "expected a list (- item)",
        "too_short": "the list is empty: add at least one item",
    }
)
_NAME_PATTERN_HINT: Final = "a name has letters, digits and . _ - (a model's also : / @ +), and no spaces"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A valid configuration file. `settings` holds the scalars it sets, `places` where each stands."""

    catalog: DeclaredCatalog = field(default_factory=DeclaredCatalog)
    rules: tuple[DeclaredRule, ...] = ()
    policies: tuple[PolicySource, ...] = ()
    policy_places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    guardrails: tuple[Attachment, ...] = ()
    guardrail_policies: tuple[DeclaredGuardrail, ...] = ()
    caches: tuple[CacheAttachment, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[Problem, ...] = ()


def load_configuration(path: Path, environ: Mapping[str, str], *, kinds: Sequence[ProviderKind]) -> Configuration:
    """Read, check and convert the file at `path`; `kinds` are the provider kinds this gateway can talk to.

    Raises `ConfigError` holding every problem, each with file, line and what to do. No message quotes a secret.
    """
    tree = load_config_file(path, environ)
    try:
        file = ConfigurationFile.model_validate(tree.plain())
    except ValidationError as error:
        raise ConfigError(_problems(error.errors(include_url=False), tree)) from None
    check = _Check(file, tree, kinds, environ, path.parent)
    check.run()
    if check.problems:
        raise ConfigError(check.problems)
    return Configuration(
        catalog=check.catalog(),
        rules=check.rules(),
        policies=check.policies(),
        policy_places=check.policy_places(),
        guardrails=check.guardrails(),
        guardrail_policies=check.guardrail_policies(),
        caches=check.caches(),
        settings=MappingProxyType(file.settings.model_dump(exclude_unset=True) if file.settings else {}),
        places=MappingProxyType({name: str(tree.find(("settings", name)).place) for name in _set_names(tree)}),
        warnings=tuple(check.warnings),
    )


def read_declared(
    path: Path | None, environ: Mapping[str, str], *, kinds: Sequence[ProviderKind], price_list: PriceList
) -> Declared:
    """What file and environment declare, for the start and for each reload. Raises `ConfigError`.

    A file that names providers decides alone which vendors are reached; without, the environment's keys do.
    """
    configuration = load_configuration(path, environ, kinds=kinds) if path is not None else Configuration()
    for warning in configuration.warnings:
        log.warning("configuration_doubtful", problem=str(warning))
    file = configuration.catalog
    environment = DeclaredCatalog() if file.providers else environment_catalog(environ, kinds, price_list)
    return Declared(
        file,
        environment,
        configuration.rules,
        configuration.policies,
        configuration.policy_places,
        configuration.guardrails,
        configuration.guardrail_policies,
        configuration.caches,
    )


def _set_names(tree: Node) -> Iterator[str]:
    settings = tree.find(("settings",))
    if settings is not tree and isinstance(settings.value, dict):
        yield from settings.value


def _problems(errors: Sequence[ErrorDetails], tree: Node) -> list[Problem]:
    """In the order of the lines, without the complaint that a list is empty once its only items were refused."""
    inner = {details["loc"][:length] for details in errors for length in range(len(details["loc"]))}
    told = [
        _problem(details, tree) for details in errors if details["type"] != "too_short" or details["loc"] not in inner
    ]
    return sorted(told, key=lambda problem: (problem.place.file, problem.place.line) if problem.place else ("", 0))


def _problem(details: ErrorDetails, tree: Node) -> Problem:
    """A validation error in the operator's words. `details["input"]` is never used: it may be a secret."""
    path = details["loc"]
    kind = details["type"]
    if kind == "extra_forbidden":
        message = f"is not a known setting{_did_you_mean(str(path[-1]), _known_names())}: correct or remove it"
    elif kind == "string_pattern_mismatch":
        message = _NAME_PATTERN_HINT
    else:
        message = _HINTS.get(kind, details["msg"].removeprefix("Value error, "))
    return Problem(tree.find(path).place, path_text(path), message)


def _known_names() -> list[str]:
    schema = json_schema()
    names = set(schema["properties"])
    for definition in schema["$defs"].values():
        names.update(definition.get("properties", {}))
    return sorted(names)


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


class _Check:
    """What must hold between values, and the conversion of a file that holds."""

    def __init__(
        self,
        file: ConfigurationFile,
        tree: Node,
        kinds: Sequence[ProviderKind],
        environ: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._file = file
        self._tree = tree
        self._kinds = {kind.kind: kind for kind in kinds}
        self._from_environment = frozenset(() if file.providers else vendor_names(environ, kinds))
        self._folder = folder
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def run(self) -> None:
        self._unique("providers", [provider.name.lower() for provider in self._file.providers])
        self._unique("models", [model.name for model in self._file.models])
        for index, provider in enumerate(self._file.providers):
            self._provider(provider, ("providers", index))
        known = sorted({provider.name for provider in self._file.providers} | self._from_environment | {"simulated"})
        for index, model in enumerate(self._file.models):
            for position, target in enumerate(model.targets):
                if target.provider not in known:
                    message = (
                        f"no provider of this name is in the file{_did_you_mean(target.provider, known)}: "
                        f"known are {', '.join(known)}"
                    )
                    self._problem(("models", index, "targets", position, "provider"), message)

        self._policies(known)
        self._guardrails()
        self._unique("cache", [policy.name.lower() for policy in self._file.cache])
        seen: dict[UUID, int] = {}
        for index, adjustment in enumerate(self._file.price_adjustments):
            if (first := seen.setdefault(_adjustment_id(adjustment), index)) != index:
                other = self._place(("price_adjustments", first))
                self._problem(("price_adjustments", index), f"covers the same calls as the one at {other}: remove one")

        sections: dict[str, Sequence[FileLimit | FileBudget]] = {
            "limits": self._file.limits,
            "budgets": self._file.budgets,
        }
        for section, rules in sections.items():
            self._unique(section, [f"{rule.tenant or ''}/{rule.name}" for rule in rules])
            for index, rule in enumerate(rules):
                for path, message in faults_of(rule):
                    self._problem((section, index, *path), message)

    def _policies(self, providers: Sequence[str]) -> None:
        """Names of the file alone: what is stored may be gone when the file is read again."""
        self._unique("route_policies", [policy.name.lower() for policy in self._file.route_policies])
        sources = self.policies()
        models = (*(_convert_model(model) for model in self._file.models), *builtin_catalog().models)
        book = PolicyBook(sources, models, providers)
        for index, source in enumerate(sources):
            for fault in book.resolve(source)[1]:
                self._problem(("route_policies", index, *fault.path), fault.message)
        names = sorted(source.name for source in sources)
        for index, model in enumerate(self._file.models):
            if model.policy is not None and model.policy not in names:
                hint = _did_you_mean(model.policy, names)
                self._problem(("models", index, "policy"), f"no policy of this name is in the file{hint}")
            elif model.policy is not None and not model.name.endswith("*"):
                source = next(one for one in sources if one.name == model.policy)
                if any(target.model == REST for target in all_targets(book.resolve(source)[0])):
                    message = (
                        f"leads to {REST}, which is what a * at the end of a name stands for: {model.name} has none"
                    )
                    self._problem(("models", index, "policy"), message)

    def _guardrails(self) -> None:
        """A rule's settings are its own: it says what is wrong with them."""
        self._unique("guardrails", [policy.name.lower() for policy in self._file.guardrails])
        for index, policy in enumerate(self._file.guardrails):
            shipped = 0 if policy.starter is None else len(STARTERS[policy.starter])
            for place, message in GuardTrial().faults(self._guardrail(policy)):
                path = ("rules", place - shipped) if place >= shipped else ("starter",)
                self._problem(("guardrails", index, *path), message)

    @staticmethod
    def _guardrail(policy: FileGuardrailPolicy) -> GuardrailPolicy:
        # Its content is its version: what is compiled of it is kept by both.
        digest = hashlib.sha256(policy.model_dump_json().encode()).digest()
        version = int.from_bytes(digest[:6], "big")
        return read_policy(policy, policy.name, stable_id("guardrail_policy", policy.name), version, of_file=True)

    def guardrails(self) -> tuple[Attachment, ...]:
        return tuple(
            read_attachment(self._guardrail(policy), attach)
            for policy in self._file.guardrails
            for attach in policy.attach
        )

    def guardrail_policies(self) -> tuple[DeclaredGuardrail, ...]:
        return tuple(
            DeclaredGuardrail(
                stable_id("guardrail_policy", policy.name),
                policy.name,
                policy,
                policy.attach,
                str(self._place(("guardrails", index))),
            )
            for index, policy in enumerate(self._file.guardrails)
        )

    def caches(self) -> tuple[CacheAttachment, ...]:
        return tuple(
            cache_reading.read_attachment(_convert_cache(policy), attach)
            for policy in self._file.cache
            for attach in policy.attach
        )

    def policies(self) -> tuple[PolicySource, ...]:
        return tuple(
            PolicySource(policy.name, policy, stable_id("route_policy", policy.name), is_managed_by_file=True)
            for policy in self._file.route_policies
        )

    def policy_places(self) -> Mapping[str, str]:
        return self._places("route_policies", [policy.name for policy in self._file.route_policies])

    def rules(self) -> tuple[DeclaredRule, ...]:
        return (
            *(
                declared_limit(limit, str(self._place(("limits", index))))
                for index, limit in enumerate(self._file.limits)
            ),
            *(
                declared_budget(budget, str(self._place(("budgets", index))))
                for index, budget in enumerate(self._file.budgets)
            ),
        )

    def catalog(self) -> DeclaredCatalog:
        adjustments = tuple(_convert_adjustment(one) for one in self._file.price_adjustments)
        return DeclaredCatalog(
            providers=tuple(self._convert_provider(provider) for provider in self._file.providers),
            models=tuple(_convert_model(model) for model in self._file.models),
            adjustments=adjustments,
            provider_places=self._places("providers", [provider.name for provider in self._file.providers]),
            model_places=self._places("models", [model.name for model in self._file.models]),
            adjustment_places=MappingProxyType(
                {one.id: str(self._place(("price_adjustments", index))) for index, one in enumerate(adjustments)}
            ),
        )

    def _place(self, path: tuple[str | int, ...]) -> Place:
        return self._tree.find(path).place

    def _places(self, section: str, names: Sequence[str]) -> Mapping[str, str]:
        return MappingProxyType({name: str(self._place((section, index))) for index, name in enumerate(names)})

    def _problem(self, path: tuple[str | int, ...], message: str) -> None:
        self.problems.append(Problem(self._place(path), path_text(path), message))

    def _unique(self, section: str, names: Sequence[str], field_name: str = "name") -> None:
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            if name in first:
                other = self._place((section, first[name], field_name))
                self._problem((section, index, field_name), f"the same name stands at {other}: rename one of the two")
            first.setdefault(name, index)

    def _provider(self, provider: FileProvider, path: tuple[str | int, ...]) -> None:
        kind = self._kinds.get(provider.kind)
        if kind is None:
            known = sorted(self._kinds)
            hint = _did_you_mean(provider.kind, known)
            self._problem((*path, "kind"), f"is not a known kind{hint}: known are {', '.join(known)}")
            return
        if provider.name.lower() == "simulated" and provider.kind != "simulated":
            self._problem((*path, "name"), "this name belongs to the built-in simulated provider: choose another")
        self._address(provider, kind, path)
        self._credentials(provider, kind, path)
        if provider.proxy is not None:
            try:
                read_proxy_url(provider.proxy.get_secret_value())
            except ValueError as error:
                self._problem((*path, "proxy"), str(error))
        if provider.ca_bundle is not None and not (self._folder / provider.ca_bundle).is_file():
            self._problem(
                (*path, "ca_bundle"), "the file does not exist: the path is relative to the configuration file"
            )

    def _address(self, provider: FileProvider, kind: ProviderKind, path: tuple[str | int, ...]) -> None:
        if provider.base_url is None:
            if kind.needs_base_url:
                self._problem(path, f"base_url is required for {kind.kind}: add the address calls go to")
            return
        if is_private_host(provider.base_url):
            if not provider.allow_private_address:
                message = (
                    "is a loopback or private address, which is refused: "
                    "add allow_private_address: true if calls may go there"
                )
                self._problem((*path, "base_url"), message)
        elif provider.base_url.startswith("http://"):
            place = self._place((*path, "base_url"))
            message = "sends keys and prompts without encryption: use https:// unless the network is yours"
            self.warnings.append(Problem(place, path_text((*path, "base_url")), message))

    def _credentials(self, provider: FileProvider, kind: ProviderKind, path: tuple[str | int, ...]) -> None:
        if provider.api_key is not None and provider.credentials:
            self._problem((*path, "credentials"), "use api_key or credentials, not both")
        if provider.api_key is not None:
            self._document(provider, kind, provider.api_key, (*path, "api_key"))
        for index, credential in enumerate(provider.credentials):
            self._document(provider, kind, credential.api_key, (*path, "credentials", index, "api_key"))
        names = [credential.name for credential in provider.credentials]
        for index, name in enumerate(names):
            if name in names[:index]:
                self._problem((*path, "credentials", index, "name"), "the same name is used twice: rename one")
        if kind.needs_credential and not any(_secrets(provider)):
            variable = kind.env_var or "VAR"
            self._problem(path, f"{kind.title} needs a key: add api_key: ${{{variable}}}")

    def _document(
        self, provider: FileProvider, kind: ProviderKind, secret: SecretStr, path: tuple[str | int, ...]
    ) -> None:
        try:
            check_document(
                kind,
                secret.get_secret_value(),
                is_file_managed=True,
                allows_any_host=provider.allow_private_address,
            )
        except ValueError as error:
            self._problem(path, str(error))

    def _convert_provider(self, provider: FileProvider) -> ProviderConfig:
        base_url = provider.base_url or self._kinds[provider.kind].base_url
        origins = frozenset({origin_of(base_url)} if base_url else ())
        ca_bundle = provider.ca_bundle
        return ProviderConfig(
            id=stable_id("provider", provider.name),
            name=provider.name,
            kind=provider.kind,
            base_url=base_url,
            credentials=tuple(
                Credential(stable_id("credential", provider.name, name), secret, origins)
                for name, secret in _named_secrets(provider)
            ),
            # Who leaves out the address of a server that runs beside us has allowed it.
            allow_private_address=provider.allow_private_address
            or (provider.base_url is None and base_url is not None and is_private_host(base_url)),
            proxy_url=read_proxy_url(provider.proxy.get_secret_value()) if provider.proxy else None,
            ca_bundle=str((self._folder / ca_bundle).resolve()) if ca_bundle else None,
            headers=MappingProxyType({name: value.get_secret_value() for name, value in provider.headers.items()}),
            options=MappingProxyType(_json_values(provider.options)),
            connect_seconds=provider.timeouts.connect,
            first_byte_seconds=provider.timeouts.first_byte,
            idle_seconds=provider.timeouts.idle,
            total_seconds=provider.timeouts.total,
            passthrough=read_passthrough(provider.passthrough),
            fine_tuning_nano=read_fine_tuning(provider.fine_tuning),
            is_managed_by_file=True,
        )


def _named_secrets(provider: FileProvider) -> Iterator[tuple[str, str]]:
    declared: list[tuple[str, SecretStr]] = [(one.name, one.api_key) for one in provider.credentials]
    if provider.api_key is not None:
        declared.append(("default", provider.api_key))
    for name, secret in declared:
        # `${KEY:-}` with nothing set is the same as no key.
        if secret.get_secret_value():
            yield name, secret.get_secret_value()


def _secrets(provider: FileProvider) -> Iterator[str]:
    return (secret for _, secret in _named_secrets(provider))


def _convert_model(model: FileModel) -> ModelRoute:
    return ModelRoute(
        id=stable_id("model", model.name),
        name=model.name,
        targets=tuple(Target(target.provider, target.model, target.weight) for target in model.targets),
        strategy=model.strategy,
        price=read_price(model.price, "file", model.name) if model.price else None,
        blocks_unpriced=model.unpriced == "block",
        owned_by=model.owned_by or (model.targets[0].provider if model.targets else OWNER),
        policy_name=model.policy,
        is_managed_by_file=True,
        max_output_tokens=model.max_output_tokens,
        context_tokens=model.context_tokens,
        capabilities=read_capabilities(model.capabilities),
        parameters=read_parameters(model.drop_params, model.defaults, model.overrides),
    )


def _convert_cache(policy: FileCachePolicy) -> CachePolicy:
    version = int.from_bytes(hashlib.sha256(policy.model_dump_json().encode()).digest()[:6], "big")
    return cache_reading.read_policy(policy, policy.name, stable_id("cache_policy", policy.name), version, of_file=True)


def _adjustment_id(adjustment: FilePriceAdjustment) -> UUID:
    return stable_id("adjustment", adjustment.tenant_id.hex, adjustment.provider or "", adjustment.model or "")


def _convert_adjustment(adjustment: FilePriceAdjustment) -> Adjustment:
    return Adjustment(
        id=_adjustment_id(adjustment),
        tenant_id=adjustment.tenant_id,
        factor_millionths=int(adjustment.factor * 1_000_000),
        request_nano=nano_from_usd(adjustment.per_request_usd),
        provider=adjustment.provider,
        model=adjustment.model,
    )


def _json_values(value: Any) -> Any:
    """Options are handed to JSON: decimals of the file become numbers there."""
    if isinstance(value, dict):
        return {key: _json_values(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(child) for child in value]
    return float(value) if isinstance(value, Decimal) else value
