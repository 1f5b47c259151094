import logging

import pytest

from safr.explorer import defects
from safr.explorer.defects import report_defect


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(defects, "_places", {})


def fail(text):
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        report_defect(error)


def test_a_defect_is_told_once_with_its_traceback_and_then_counted(caplog, monkeypatch):
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            fail("first")
        assert [record.exc_info is not None for record in caplog.records] == [True]
        monkeypatch.setattr(defects, "REPEAT_SECONDS", 0.0)
        fail("again")
    assert "again: 100 times" in caplog.messages[-1]
    assert caplog.records[-1].exc_info is None


def test_an_error_without_a_place_is_told(caplog):
    report_defect(RuntimeError("of the event loop"))
    assert len(caplog.records) == 1


def test_defects_without_end_do_not_fill_the_terminal(caplog, monkeypatch):
    monkeypatch.setattr(defects, "MAX_DEFECTS", 0)
    fail("one too many")
    assert not caplog.records
