"""Files and fine-tuning jobs of OpenAI's, in memory: what was uploaded and asked for can be looked at, and nothing is tuned."""

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.vendors.places import Ask

_JOBS: Final = re.compile(
    r"/(?:openai/)?(?:v1/)?fine_tuning/jobs(?:/([^/]+)(?:/(cancel|pause|resume|events|checkpoints))?)?"
)
_FILES: Final = re.compile(r"/(?:openai/)?(?:v1/)?files(?:/([^/]+))?")
_STATUS: Final = {"cancel": "cancelled", "pause": "paused", "resume": "running"}
_MOST: Final = 1_000

Document = dict[str, Any]


class TuningShop:
    """Of one simulator; the oldest are forgotten."""

    def __init__(self) -> None:
        self._files: dict[str, Document] = {}
        self._jobs: dict[str, Document] = {}

    def find(self, ask: Ask, method: str) -> Callable[[bytes], Document] | None:
        """What answers a request, given its body; None: the path is about something else."""
        found = _FILES.fullmatch(ask.path)
        if found is not None:
            return self._upload if found[1] is None and method == "POST" else partial(self._file, found[1] or "")
        found = _JOBS.fullmatch(ask.path)
        if found is None:
            return None
        name, action = found[1], found[2]
        if name is None:
            return self._create if method == "POST" else self._list
        if method == "GET" and action in {None, "events", "checkpoints"}:
            return partial(self._show, name, action, ask.query)
        return partial(self._change, name, action or "")

    def _upload(self, body: bytes) -> Document:
        purpose = re.search(rb'name="purpose"\r\n\r\n([a-z-]+)\r\n', body)
        if purpose is None or purpose[1] != b"fine-tune":
            raise Refusal(400, "The purpose of a file for fine-tuning is 'fine-tune'.", param="purpose")
        name = f"file-vendor{len(self._files)}"
        self._files[name] = {
            "id": name,
            "object": "file",
            "bytes": len(body),
            "created_at": int(time.time()),
            "filename": "train.jsonl",
            "purpose": "fine-tune",
            "status": "processed",
        }
        _forget(self._files)
        return self._files[name]

    def _file(self, name: str, _body: bytes) -> Document:
        return _known(self._files, name, "file")

    def _create(self, body: bytes) -> Document:
        asked = _read(body)
        for field in ("training_file", "validation_file"):
            if (file := asked.get(field)) is not None and file not in self._files:
                raise Refusal(400, f"invalid {field}: {file}", param=field, code="invalid_training_file")
        name = f"ftjob-simulated{len(self._jobs)}"
        self._jobs[name] = {
            "id": name,
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "error": None,
            "estimated_finish": None,
            "fine_tuned_model": None,
            "finished_at": None,
            "hyperparameters": {"n_epochs": "auto"},
            "integrations": [],
            "metadata": asked.get("metadata"),
            "method": asked.get("method") or {"type": "supervised", "supervised": {}},
            "model": asked.get("model"),
            "organization_id": "org-simulated",
            "result_files": [],
            "seed": asked.get("seed") or 7,
            "status": "queued",
            "trained_tokens": None,
            "training_file": asked.get("training_file"),
            "validation_file": asked.get("validation_file"),
        }
        _forget(self._jobs)
        return self._jobs[name]

    def _list(self, _body: bytes) -> Document:
        return {"object": "list", "data": list(self._jobs.values())[::-1], "has_more": False}

    def _show(self, name: str, action: str | None, query: str, _body: bytes) -> Document:
        job = _known(self._jobs, name, "fine tune")
        if action is None:
            return job
        limit = int(parse_qs(query).get("limit", ["20"])[-1])
        entry = {"events": self._event, "checkpoints": self._checkpoint}[action](job)
        return {"object": "list", "data": [entry][:limit], "has_more": False, "first_id": None, "last_id": None}

    def _change(self, name: str, action: str, _body: bytes) -> Document:
        job = _known(self._jobs, name, "fine tune")
        if action not in _STATUS:
            raise Refusal(405, "Not allowed here.", code="method_not_allowed")
        job["status"] = _STATUS[action]
        return job

    def _event(self, job: Document) -> Document:
        return {
            "id": f"ftevent-{job['id']}",
            "object": "fine_tuning.job.event",
            "created_at": job["created_at"],
            "level": "info",
            "message": f"Created fine-tuning job: {job['id']}",
            "type": "message",
            "data": {},
        }

    def _checkpoint(self, job: Document) -> Document:
        return {
            "id": f"ftckpt-{job['id']}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": job["created_at"],
            "fine_tuned_model_checkpoint": f"ft:{job['model']}:ckpt-step-1",
            "fine_tuning_job_id": job["id"],
            "metrics": {"step": 1, "train_loss": 0.5},
            "step_number": 1,
        }


def _known(kept: dict[str, Document], name: str, kind: str) -> Document:
    found = kept.get(name)
    if found is None:
        raise Refusal(404, f"Could not find {kind}: {name}", code="not_found")
    return found


def _forget(kept: dict[str, Document]) -> None:
    if len(kept) > _MOST:
        del kept[next(iter(kept))]


def _read(body: bytes) -> Document:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError:
        asked = None
    if not isinstance(asked, dict):
        raise Refusal(400, "The body is no JSON object.", code="invalid_json")
    return asked
