"""Fine-tuning jobs and pass-through in the OpenAPI document: their operations and bodies, for the document alone."""

from typing import Any, Final, Literal

from pydantic import Field

from tollkeeper.api.inference_operation import Json, Operation
from tollkeeper.api.inference_schemas import ModelName, Wire

_CREATED: Final = 1_790_000_000
_JOB_ID: Final = "ftjob-abc123"
_FILE_ID: Final = "file-0192f0c1a2b37c4d8e5f60718293a4b5"
_JOB: Final[Json] = {
    "name": "fine_tuning_job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,99}$"},
    "example": _JOB_ID,
}
_PAGE: Final[tuple[Json, ...]] = (
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    {
        "name": "after",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The id of the last one that is known.",
    },
)
_PASSED: Final[tuple[Json, ...]] = (
    {
        "name": "provider",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
        "example": "openai",
    },
    {
        "name": "path",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "description": "As the provider has it below its address, with its slashes as they are.",
        "example": "vector_stores",
    },
)
_RATE: Final = (
    429,
    "A rate limit of the key or of the tenant is used up, or the provider's is.",
    "rate_limit_exceeded",
)
_FAILED: Final = (502, "The provider failed, or answered with something that is no answer.", "upstream_error")
_LATE: Final = (504, "The provider did not answer in time.", "upstream_timeout")
_CONFLICT: Final = (409, "The job is over, or cannot do so now; in the provider's words.", "upstream_refused")
_NOT_OPENED: Final = (404, "No such provider, or nobody has opened this method and path of it.", "not_opened")
_OF_VENDOR: Final = (_RATE, _FAILED, _LATE)


class FineTuningJobCreate(Wire):
    model: ModelName
    training_file: str = Field(description="A file of `POST /v1/files` with the purpose `fine-tune`.")
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    method: dict[str, Any] | None = Field(None, description="As the provider has it.")


class FineTuningJobObject(Wire):
    """As the provider tells of it, with the ids of files as they are here."""

    id: str
    object: Literal["fine_tuning.job"]
    model: str
    status: str


class FineTuningJobList(Wire):
    object: Literal["list"]
    data: list[FineTuningJobObject]
    has_more: bool


class FineTuningNotes(Wire):
    """Events or checkpoints, as the provider tells of them."""

    data: list[dict[str, Any]]


class PassedBody(Wire):
    """Whatever the provider takes there, also of other types than JSON; the gateway reads nothing of it."""


_JOB_EXAMPLE: Final[Json] = {
    "id": _JOB_ID,
    "object": "fine_tuning.job",
    "created_at": _CREATED,
    "model": "gpt-4o-mini-2024-07-18",
    "status": "queued",
    "training_file": _FILE_ID,
}


def _change(word: str, summary: str, status: str) -> Operation:
    return Operation(
        name=f"{word}_fine_tuning_job",
        method="post",
        path=f"/fine_tuning/jobs/{{fine_tuning_job_id}}/{word}",
        summary=summary,
        description="At the provider where it runs.",
        answer=FineTuningJobObject,
        answer_example={**_JOB_EXAMPLE, "status": status},
        parameters=(_JOB,),
        errors=(*_OF_VENDOR, _CONFLICT),
    )


def _notes(word: str, summary: str) -> Operation:
    return Operation(
        name=f"list_fine_tuning_{word}",
        method="get",
        path=f"/fine_tuning/jobs/{{fine_tuning_job_id}}/{word}",
        summary=summary,
        description="As the provider tells of them.",
        answer=FineTuningNotes,
        answer_example={"object": "list", "data": [{"id": "ft-1"}], "has_more": False},
        parameters=(_JOB, *_PAGE),
        errors=_OF_VENDOR,
    )


def _passed(method: str) -> Operation:
    has_body = method in {"post", "put", "patch"}
    return Operation(
        name=f"pass_{method}_through",
        method=method,
        path="/providers/{provider}/{path}",
        summary=f"{method.upper()} of a path that an operator has opened",
        description=(
            "Method, path, query, body, status and bytes of the answer are passed on as they are, at a flat price per "
            "request, under the key's limits and budgets. Headers go by lists, credentials never. What is open is said by "
            "`passthrough.allow` of the provider; paths of operations that stand here are not."
        ),
        answer=None,
        answer_texts={"*/*": "(the provider's answer, of whatever type)"},
        request=PassedBody if has_body else None,
        request_example={"name": "notes"} if has_body else None,
        parameters=_PASSED,
        errors=(_NOT_OPENED, *(() if has_body else _OF_VENDOR)),
    )


BEYOND: Final = (
    Operation(
        name="create_fine_tuning_job",
        method="post",
        path="/fine_tuning/jobs",
        summary="Create a fine-tuning job",
        description=(
            "Made at the provider that the model leads to, where that has such jobs, with files that were uploaded here. "
            "It costs what `fine_tuning.per_job_usd` of the provider says; under a hard budget there is none without it."
        ),
        request=FineTuningJobCreate,
        request_example={"model": "gpt-4o-mini-2024-07-18", "training_file": _FILE_ID},
        answer=FineTuningJobObject,
        answer_example=_JOB_EXAMPLE,
    ),
    Operation(
        name="list_fine_tuning_jobs",
        method="get",
        path="/fine_tuning/jobs",
        summary="List fine-tuning jobs",
        description="Those of the key's tenant and project, the latest first, each as the provider told of it last.",
        answer=FineTuningJobList,
        answer_example={"object": "list", "data": [_JOB_EXAMPLE], "has_more": False},
        parameters=_PAGE,
        errors=((404, "`after` names none of them.", "not_found"), _RATE),
        is_call=False,
    ),
    Operation(
        name="get_fine_tuning_job",
        method="get",
        path="/fine_tuning/jobs/{fine_tuning_job_id}",
        summary="Show a fine-tuning job",
        description="As the provider tells of it now.",
        answer=FineTuningJobObject,
        answer_example=_JOB_EXAMPLE,
        parameters=(_JOB,),
        errors=_OF_VENDOR,
    ),
    _change("cancel", "Cancel a fine-tuning job", "cancelled"),
    _change("pause", "Pause a fine-tuning job", "paused"),
    _change("resume", "Go on with a fine-tuning job", "running"),
    _notes("events", "List what happened to a fine-tuning job"),
    _notes("checkpoints", "List the checkpoints of a fine-tuning job"),
    *(_passed(method) for method in ("get", "post", "put", "patch", "delete")),
)
