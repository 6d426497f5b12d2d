"""What the issue on money promises to show, on real gateways: samples in every run, its own numbers with `--full`."""

from tests.faults.conftest import *  # noqa: F403 - the harness of real gateways
