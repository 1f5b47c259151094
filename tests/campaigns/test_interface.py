"""Campaign: right and wrong requests that schemathesis makes from the interface's own description."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks

from tests.campaigns.servers import TOKEN

OPERATIONS = [
    ("/api/runs", "GET"),
    ("/api/texts", "GET"),
    ("/api/texts/{number}", "GET"),
    ("/api/effects", "GET"),
    ("/api/explain", "POST"),
    ("/api/what-if", "POST"),
    ("/api/predict", "POST"),
    ("/api/flip", "POST"),
    ("/api/neurons", "POST"),
    ("/api/neurons-off", "POST"),
    ("/api/neurons/{run}/{neuron}", "GET"),
    ("/api/words/{run}", "GET"),
    ("/api/words/{run}/texts", "GET"),
]
CASES = [
    (path, method, mode)
    for path, method in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or path not in ("/api/runs", "/api/effects")  # which take nothing
]
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
ACCESS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def document(live_server):
    """The interface as it describes itself."""
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{live_server.port}/openapi.json", headers=ACCESS)


@pytest.mark.slow
def test_every_operation_is_tried(document):
    assert {(path, method.upper()) for path in document for method in document[path]} == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_the_interface_is_what_it_says_it_is(document, live_server, path, method, mode, pick_size):
    tried = 0

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @settings(suppress_health_check=list(HealthCheck), max_examples=pick_size(30, 300))
    def check(case):
        nonlocal tried
        tried += 1
        case.call_and_validate(checks=CHECKS, headers=ACCESS)

    check()
    log = live_server.log.read_text()
    assert "Traceback" not in log, log
    print(f"schemathesis, {mode.value}, {method} {path}: {tried} tried, 0 failed")  # noqa: T201
