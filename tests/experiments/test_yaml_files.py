import pytest

from safr.errors import InputError
from safr.experiments.yaml_files import read_yaml


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / "file.yaml").write_text(text, encoding="utf-8")
        return read_yaml(tmp_path / "file.yaml")

    return read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("-2E+3", -2e3),
        ("1.e5", 1e5),
        ("0.5", 0.5),
        ("3", 3),
        ("'1e-6'", "1e-6"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("{a: [true, null, text]}", {"a": [True, None, "text"]}),
    ],
)
def test_values_are_those_that_people_mean(read, text, value):
    found = read(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"line 1: expected YAML \('a' is given twice\)"),
        ("!!python/object/apply:os.getcwd []", r"line 1: expected YAML \(could not determine a constructor"),
        ("x" * 100_001, "expected at most 100,000 bytes of settings, got more; split it"),
    ],
)
def test_what_is_no_plain_yaml_of_settings_gets_one_line(read, text, message):
    with pytest.raises(InputError, match=rf"^[^\n]*file\.yaml[^\n]*{message}[^\n]*$"):
        read(text)
