"""Settings of the process: frozen, read once at the start from flags, environment (`TOLLKEEPER_*`) and `.env`.

Objects (providers, models, prices) are not settings: they live in `tollkeeper.yaml` or in the database.
"""

import re
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB: Final = 1024 * 1024
# As a browser sends it: lower case, without a path. `*` and `null` are none.
_ORIGIN: Final = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")


class Settings(BaseSettings):
    """One field per scalar setting; each reads `TOLLKEEPER_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="TOLLKEEPER_",
        env_file=".env",
        env_file_encoding="utf-8",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
    )

    # Listening
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes.")
    public_url: str | None = Field(None, description="Origin that callers use, when a proxy stands in front.")
    trusted_proxies: str = Field("", description="Addresses whose X-Forwarded-* headers are believed, comma separated.")
    allowed_hosts: str = Field(
        "*", description="Host names the gateway answers to, comma separated; * is any, *.name is every name below."
    )
    tls_certificate: Path | None = Field(None, description="Certificate chain (PEM); with tls_key turns TLS on.")
    tls_key: Path | None = Field(None, description="Private key (PEM).")
    tls_minimum_version: Literal["1.2", "1.3"] = Field("1.2", description="Lowest TLS version the listener accepts.")

    # Files and stores
    data_dir: Path = Field(Path(".data"), description="Journal, objects and the embedded servers' data.")
    config: Path | None = Field(None, description="Path of tollkeeper.yaml.")
    database_url: SecretStr | None = Field(None, description="PostgreSQL; unset starts the embedded one.")
    database_direct_url: SecretStr | None = Field(
        None, description="PostgreSQL without a pooler, for LISTEN and migrations."
    )
    migrate_at_start: bool = Field(
        False, description="Apply pending migrations at the start, as the embedded case does."
    )
    database_pool_size: int = Field(10, ge=1, le=200, description="Connections per worker.")
    database_lookup_ms: int = Field(
        100,
        ge=10,
        le=10_000,
        description="How long a call waits for a fresh look at its key; ten times as long for a key never seen before.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis 6.2+ or Valkey, a cluster as redis+cluster://one:6379,two:6379; unset starts the embedded one.",
    )
    objects_url: str | None = Field(None, description="Object store (s3://…); unset is a folder of data_dir.")
    master_key: SecretStr | None = Field(
        None, description="Root of every secret of ours; generated only with the embedded database."
    )
    master_key_file: Path | None = Field(
        None, description="File that holds the master key, closed to others; instead of master_key."
    )
    master_keys_previous: SecretStr | None = Field(
        None, description="Other master keys that are still known, comma separated; see `tollkeeper secrets`."
    )
    master_keys_previous_file: Path | None = Field(
        None, description="File with other master keys that are still known, one a line, closed to others."
    )

    # First start
    init_api_key: SecretStr | None = Field(None, description="The first key, created if absent.")
    init_admin_email: str | None = Field(None, description="The first administrator, created if absent.")
    init_admin_password: SecretStr | None = Field(None, description="The first administrator's password.")

    # Logs and observation
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level logged.")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, else JSON.")
    access_log: bool = Field(True, description="One line per inference call.")

    # Limits of the request path
    max_body_bytes: int = Field(32 * MIB, ge=1024, description="Largest request body of an inference call.")
    max_control_body_bytes: int = Field(1 * MIB, ge=1024, description="Largest request body of the control plane.")
    max_json_depth: int = Field(128, ge=8, le=1000, description="Deepest JSON accepted.")
    stale_key_seconds: float = Field(3600, ge=0, description="How long known keys work while PostgreSQL is gone.")
    key_cache_seconds: float = Field(60, gt=0, description="Longest time a key is trusted without a new look.")
    key_cache_size: int = Field(10_000, ge=10, description="Keys held in memory per worker.")
    commit_after_seconds: float = Field(10, gt=0, description="When a silent stream is answered with 200 and comments.")
    keepalive_comment_seconds: float = Field(10, gt=0, description="Pause between SSE comments while waiting.")
    upstream_connect_seconds: float = Field(5, gt=0, description="Deadline to connect to a provider.")
    upstream_first_byte_seconds: float = Field(60, gt=0, description="Deadline for a provider's first byte.")
    upstream_idle_seconds: float = Field(30, gt=0, description="Longest silence of a provider inside an answer.")
    upstream_total_seconds: float = Field(600, gt=0, description="Longest a call may take in all.")
    upstream_proxy: str | None = Field(None, description="HTTP(S) proxy for calls to providers and identity providers.")
    upstream_ca_bundle: Path | None = Field(
        None, description="CA certificates (PEM) trusted for providers and identity providers."
    )
    max_running_calls: int = Field(
        4_096, ge=1, le=100_000, description="Inference calls that a worker serves at once; others wait."
    )
    max_waiting_calls: int = Field(
        1_024, ge=0, le=100_000, description="Inference calls that wait for others to end; more are refused."
    )
    max_wait_seconds: float = Field(
        10, gt=0, le=600, description="Longest wait of a call for others to end, before it is refused."
    )
    drain_seconds: float = Field(30, ge=0, description="How long running calls may finish after SIGTERM.")
    default_requests_per_minute: int = Field(
        0, ge=0, description="Rate of a key without a limit of its own; 0 is unlimited."
    )
    uncapped_calls: Literal["apply_cap", "require_cap"] = Field(
        "apply_cap",
        description="Calls under a hard budget whose answer has no known end: give it one and say so, or refuse the call.",
    )
    applied_cap_tokens: int = Field(
        16_384, ge=1_024, le=1_000_000, description="The longest answer of a call that apply_cap gives an end."
    )

    # Journal
    journal_sync: Literal["process", "power"] = Field(
        "process", description="process survives kill -9; power adds a grouped fsync."
    )
    journal_max_bytes: int = Field(1024 * MIB, ge=MIB, description="Journal on disk before priced calls are refused.")
    usage_retention_days: int = Field(400, ge=1, description="Days of usage rows kept.")

    # Answers given again under an Idempotency-Key
    kept_answer_max_bytes: int = Field(
        1 * MIB,
        ge=0,
        le=16 * MIB,
        description="Largest answer kept for a day to be given again under its Idempotency-Key; 0 keeps none.",
    )

    # Cache
    cache_memory_bytes: int = Field(
        32 * MIB,
        ge=0,
        le=16_384 * MIB,
        description="Answers that each worker keeps in memory to be given again; 0: none.",
    )
    cache_tenant_bytes: int = Field(
        256 * MIB, ge=MIB, description="Answers that Redis keeps of one tenant to be given again."
    )
    cache_vector_bytes: int = Field(
        128 * MIB,
        ge=MIB,
        description="Bytes that questions and their vectors may take up in each worker, once a policy gives by meaning.",
    )

    # Request log
    event_stream_seconds: float = Field(
        15.0,
        ge=0,
        le=300,
        description="How long a stream of events to the console lasts before it proves again who listens.",
    )
    request_log_retention_days: int = Field(30, ge=1, le=3650, description="Days that the log of calls is kept.")
    request_log_sample: float = Field(
        1, ge=0, le=1, description="Share of the calls that went well of which a log is kept; of the others all are."
    )

    # Stored answers of the Responses API
    stored_response_days: int = Field(
        30, ge=0, le=3650, description="Days that answers of the Responses API are kept; 0 keeps none."
    )
    stored_response_max_bytes: int = Field(
        4 * MIB, ge=1024, le=64 * MIB, description="Largest answer that is kept, with the input of its own turn."
    )

    # Files and batches
    file_max_bytes: int = Field(200 * MIB, ge=1024, le=1024 * MIB, description="Largest file that can be uploaded.")
    file_quota_bytes: int = Field(
        10_240 * MIB, ge=1024, description="What the files of one tenant may take up together."
    )
    batch_file_days: int = Field(
        30, ge=1, le=3650, description="Days that files of batches are kept whose uploader did not say how long."
    )
    batch_jobs: int = Field(6, ge=0, le=64, description="Batches that one worker runs at a time; 0 runs none here.")
    batch_calls: int = Field(8, ge=1, le=256, description="Calls of one batch that are under way at a time.")
    batch_tenant_calls: int = Field(
        16, ge=1, le=1024, description="Calls of all batches of one tenant that one worker has under way at a time."
    )

    # Jobs
    jobs_in_process: bool = Field(True, description="Run background jobs inside the gateway.")

    # Sessions
    session_minutes: int = Field(15, ge=1, le=15, description="Life of an access token.")
    session_days: int = Field(14, ge=1, le=90, description="Life of a refresh session.")
    session_idle_minutes: int = Field(
        1440, ge=5, le=43_200, description="A session unused for this long ends; a day lets people come back tomorrow."
    )
    step_up_seconds: int = Field(
        300, ge=60, le=3600, description="How recent a sign-in must be to change credentials and roles."
    )

    self_registration: bool = Field(False, description="Let anybody make an account and a tenant of their own.")
    cors_origins: str = Field(
        "",
        description="Origins of consoles hosted elsewhere that may call the control plane, exact, comma separated.",
    )

    # Mail
    mail_url: SecretStr | None = Field(
        None,
        description="SMTP server, smtp:// with STARTTLS or smtps://; without one, links are shown instead of mailed.",
    )
    mail_from: str | None = Field(None, description="Sender of mails, as in Tollkeeper <no-reply@example.com>.")

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, text: str) -> str:
        for origin in _listed(text):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; write it as in https://console.example.com, without a path")
        return text

    @property
    def listed_origins(self) -> frozenset[str]:
        """`cors_origins`, as browsers write them."""
        return frozenset(_listed(self.cors_origins))

    @property
    def is_database_embedded(self) -> bool:
        return self.database_url is None

    @property
    def is_redis_embedded(self) -> bool:
        return self.redis_url is None

    @property
    def origin(self) -> str:
        """`scheme://host[:port]` as callers reach us; the one place that banner, snippets and docs take it from."""
        return self.origin_at(self.port)

    def origin_at(self, port: int) -> str:
        """The origin when the port was left to the system (`--port 0`)."""
        if self.public_url:
            return self.public_url.rstrip("/")
        scheme = "https" if self.tls_certificate else "http"
        host = "localhost" if self.host in {"0.0.0.0", "::", "127.0.0.1"} else self.host  # noqa: S104 - compared, not bound
        return f"{scheme}://{host}:{port}"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
