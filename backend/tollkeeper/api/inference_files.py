"""OpenAI's Files and Batch APIs in the OpenAPI document: their operations and bodies, for the document alone."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from tollkeeper.api.inference_operation import Json, Operation
from tollkeeper.api.inference_schemas import Wire

_CREATED: Final = 1_790_000_000
_FILE_ID: Final = "file-0192f0c1a2b37c4d8e5f60718293a4b5"
_OUTPUT_ID: Final = "file-0192f0c1a2b37c4d8e5f60718293a4b6"
_BATCH_ID: Final = "batch_0192f0c1a2b37c4d8e5f60718293a4b5"
_FILE_PATTERN: Final = "^file-[0-9a-f]{32}$"
_FILE: Final[Json] = {
    "name": "file_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": _FILE_PATTERN},
    "example": _FILE_ID,
}
_BATCH: Final[Json] = {
    "name": "batch_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^batch_[0-9a-f]{32}$"},
    "example": _BATCH_ID,
}
_BUSY: Final = (409, "A batch that is not over reads it.", "file_in_use")
_OVER: Final = (409, "The batch is over.", "batch_is_over")
_UNKNOWN: Final = (404, "`after` names none of them.", "not_found")


class FileUpload(Wire):
    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    purpose: Literal["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]


class FileObject(Wire):
    id: str = Field(pattern=_FILE_PATTERN)
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]


class FileList(Wire):
    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(Wire):
    id: str
    object: Literal["file"]
    deleted: Literal[True]


class BatchCreate(Wire):
    input_file_id: str = Field(description="A file of the purpose `batch`: one request a line.", pattern=_FILE_PATTERN)
    endpoint: Literal[
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/generations",
        "/v1/messages",
        "/v1/moderations",
        "/v1/rerank",
        "/v1/responses",
    ]
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = Field(None, description="At most 16 texts of 512 characters.")
    output_expires_after: dict[str, Any] | None = Field(
        None, description="`anchor` is `created_at`, `seconds` from 3,600 to 2,592,000."
    )


class BatchError(Wire):
    code: str
    message: str
    line: int | None = Field(description="Counted from 1.")
    param: str | None


class BatchErrors(Wire):
    object: Literal["list"]
    data: list[BatchError]


class BatchCounts(Wire):
    total: int
    completed: int
    failed: int


class BatchObject(Wire):
    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchCounts
    metadata: dict[str, str] | None


class BatchList(Wire):
    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


_FILE_EXAMPLE: Final[Json] = {
    "id": _FILE_ID,
    "object": "file",
    "bytes": 1024,
    "created_at": _CREATED,
    "expires_at": _CREATED + 2_592_000,
    "filename": "requests.jsonl",
    "purpose": "batch",
    "status": "processed",
}
_BATCH_EXAMPLE: Final[Json] = {
    "id": _BATCH_ID,
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "model": "simulated",
    "errors": None,
    "input_file_id": _FILE_ID,
    "completion_window": "24h",
    "status": "completed",
    "output_file_id": _OUTPUT_ID,
    "error_file_id": None,
    "created_at": _CREATED,
    "in_progress_at": _CREATED + 1,
    "expires_at": _CREATED + 86_400,
    "finalizing_at": _CREATED + 60,
    "completed_at": _CREATED + 61,
    "failed_at": None,
    "expired_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "request_counts": {"total": 3, "completed": 3, "failed": 0},
    "metadata": None,
}


def _page(example: Json) -> Json:
    ids = {"first_id": example["id"], "last_id": example["id"]}
    return {"object": "list", "data": [example], **ids, "has_more": False}


def _limit(most: int, usual: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": usual}
    return {"name": "limit", "in": "query", "schema": schema}


_AFTER: Final[Json] = {
    "name": "after",
    "in": "query",
    "schema": {"type": "string"},
    "description": "The id of the last one that is known.",
}
FILES: Final = (
    Operation(
        name="create_file",
        method="post",
        path="/files",
        summary="Upload a file",
        description=(
            "Kept sealed, for keys of the same tenant, project and environment. `expires_after[anchor]` and "
            "`expires_after[seconds]` say for how long; files for batches are kept for `TOLLKEEPER_BATCH_FILE_DAYS` "
            "otherwise, all others until they are deleted."
        ),
        request=FileUpload,
        request_example={"file": "{}", "purpose": "batch"},
        request_types=("multipart/form-data",),
        answer=FileObject,
        answer_example=_FILE_EXAMPLE,
        is_call=False,
    ),
    Operation(
        name="list_files",
        method="get",
        path="/files",
        summary="List files",
        description="Those that the key may see, the latest first.",
        answer=FileList,
        answer_example=_page(_FILE_EXAMPLE),
        parameters=(
            _limit(10_000, 10_000),
            _AFTER,
            {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"], "default": "desc"}},
            {"name": "purpose", "in": "query", "schema": {"type": "string"}},
        ),
        errors=(_UNKNOWN,),
        is_call=False,
    ),
    Operation(
        name="get_file",
        method="get",
        path="/files/{file_id}",
        summary="Show a file",
        description="What it is; its bytes are at `/content`.",
        answer=FileObject,
        answer_example=_FILE_EXAMPLE,
        parameters=(_FILE,),
        is_call=False,
    ),
    Operation(
        name="delete_file",
        method="delete",
        path="/files/{file_id}",
        summary="Delete a file",
        description="At once and for good, unless a batch that is not over reads it.",
        answer=FileDeleted,
        answer_example={"id": _FILE_ID, "object": "file", "deleted": True},
        parameters=(_FILE,),
        errors=(_BUSY,),
        is_call=False,
    ),
    Operation(
        name="get_file_content",
        method="get",
        path="/files/{file_id}/content",
        summary="Read a file",
        description="Its bytes as they were uploaded.",
        answer=None,
        answer_texts={"application/octet-stream": '{"custom_id": "request-1"}'},
        parameters=(_FILE,),
        is_call=False,
    ),
    Operation(
        name="create_batch",
        method="post",
        path="/batches",
        summary="Create a batch",
        description=(
            "Each line of the input is `{custom_id, method: POST, url, body}`, `url` the batch's endpoint, all of them for "
            "one model. Every request is made as the key that created the batch, under its limits and budgets, and is "
            "charged at the model's batch rate where it has one. A limit makes the batch wait; a budget that is used up "
            "fails what is left."
        ),
        request=BatchCreate,
        request_example={
            "input_file_id": _FILE_ID,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
        answer=BatchObject,
        answer_example=_BATCH_EXAMPLE,
        is_call=False,
    ),
    Operation(
        name="list_batches",
        method="get",
        path="/batches",
        summary="List batches",
        description="Those that the key may see, the latest first.",
        answer=BatchList,
        answer_example=_page(_BATCH_EXAMPLE),
        parameters=(_limit(100, 20), _AFTER),
        errors=(_UNKNOWN,),
        is_call=False,
    ),
    Operation(
        name="get_batch",
        method="get",
        path="/batches/{batch_id}",
        summary="Show a batch",
        description="Its state, how many of its requests are done, its files once it is over.",
        answer=BatchObject,
        answer_example=_BATCH_EXAMPLE,
        parameters=(_BATCH,),
        is_call=False,
    ),
    Operation(
        name="cancel_batch",
        method="post",
        path="/batches/{batch_id}/cancel",
        summary="Cancel a batch",
        description="Within seconds nothing more is called. What has been answered is in its output file.",
        answer=BatchObject,
        answer_example={**_BATCH_EXAMPLE, "status": "cancelling", "completed_at": None, "cancelling_at": _CREATED + 30},
        parameters=(_BATCH,),
        errors=(_OVER,),
        is_call=False,
    ),
)
