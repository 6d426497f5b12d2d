"""Several workers behind one port, and TLS on it."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.calls import Caller
from tests.faults.gateway import Gateway, eventually
from tests.faults.lines import Line, lines_to_all

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-workers")]


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    alternatives = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def call_totals(line: Line) -> float:
    """All finished calls, over all workers, as the worker behind this line tells it."""
    status, body = await line.ask("GET", "/metrics")
    assert status == 200
    return sum(
        sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == "tollkeeper_requests_total"
    )


async def test_metrics_of_either_worker_show_the_sum_of_both(new_gateway: Callable[..., Gateway]) -> None:
    gateway = new_gateway(workers=2)
    async with lines_to_all(gateway) as lines:
        first, second = lines.values()
        for _ in range(3):
            assert (await first.chat(gateway.key, "up-ok", "sum"))[0] == 200
        for _ in range(4):
            assert (await second.chat(gateway.key, "up-ok", "sum"))[0] == 200
        assert (await second.chat(gateway.key, "absent", "sum"))[0] == 404

        async def agrees() -> bool:
            return [await call_totals(first), await call_totals(second)] == [8, 8]

        await eventually(agrees, seconds=5, what="both workers show the sum of both")


async def test_tls_on_the_listener(new_gateway: Callable[..., Gateway], new_folder: Callable[[], Path]) -> None:
    certificate, key = make_certificate(new_folder())
    environment = {"TOLLKEEPER_TLS_CERTIFICATE": str(certificate), "TOLLKEEPER_TLS_KEY": str(key)}
    gateway = new_gateway(environment={**environment, "TOLLKEEPER_TLS_MINIMUM_VERSION": "1.3"})
    gateway.scheme = "https"
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with Caller(gateway.origin, gateway.key, tls=trusting) as caller:
        assert (await caller.call()).is_whole
        assert (await caller.call("up-stream5x5", is_stream=True)).is_whole
    too_old = ssl.create_default_context(cafile=str(certificate))
    too_old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with Caller(gateway.origin, gateway.key, tls=too_old) as caller:
        assert (await caller.call()).status is None
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{gateway.port}/health/live")
