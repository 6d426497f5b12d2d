"""The days of the request log."""

from typing import Final

from tollkeeper.db.days import Days

DAYS: Final = Days("request_logs", "create_request_log_partition")
