from pathlib import Path

import datasets
import pytest

from safr.data import load_data
from safr.errors import InputError

TEXTS = [f"text {number}" for number in range(20)]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path):
    """A function that writes splits of texts and ClassLabel ids as a local data set and gives its name."""

    def write(names=("no", "maybe", "yes"), **splits):
        feeling = datasets.ClassLabel(names=list(names))
        features = datasets.Features({"sentence": datasets.Value("string"), "feeling": feeling})
        (tmp_path / "mine").mkdir()
        for split, labels in splits.items():
            table = {"sentence": [f"{split} {text}" for text in TEXTS[: len(labels)]], "feeling": labels}
            datasets.Dataset.from_dict(table, features=features).to_parquet(tmp_path / "mine" / f"{split}.parquet")
        return f"hub:{tmp_path / 'mine'}"

    return write


def load(name):
    return load_data(name, text_column="sentence", label_column="feeling")


def sizes(dataset):
    return [len(split) for split in (dataset.train, dataset.dev, dataset.test)]


def test_class_labels_become_label_names_and_the_splits_stay(folder, capfd):
    name = folder(train=[2, 0] * 10, validation=[2, 0], test=[0, 2, 0])
    capfd.readouterr()  # what writing the folder printed
    dataset = load(name)
    assert dataset.label_names == ("no", "maybe", "yes")
    assert sizes(dataset) == [20, 2, 3]
    assert dataset.test == type(dataset.test)(("test text 0", "test text 1", "test text 2"), (0, 2, 0))
    assert capfd.readouterr() == ("", "")


def test_class_labels_keep_their_order_also_where_they_are_numbers(folder):
    dataset = load(folder(names=("5.0", "x", "1"), train=[2, 0] * 10, test=[2, 0, 0]))
    assert dataset.label_names == ("5", "x", "1")
    assert dataset.test.labels == (2, 0, 0)


def test_progress_bars_of_others_stay_as_they_were(folder):
    datasets.enable_progress_bars()  # the command line, where another test has run it, wants none
    load(folder(train=[2, 0] * 10))
    assert not datasets.are_progress_bars_disabled()


def test_absent_splits_are_taken_from_train(folder):
    dataset = load(folder(train=[2, 0] * 10))
    assert sizes(dataset) == [14, 2, 4]
    assert dataset.origin.endswith("; dev and test taken from train by hash")


def test_a_split_with_hidden_labels_counts_as_absent(folder):
    dataset = load(folder(train=[2, 0] * 10, validation=[2, 0], test=[-1, -1, -1]))
    assert sizes(dataset) == [16, 2, 4]
    assert dataset.cleaned == {"missing label left out": 3}


def test_a_missing_column_is_an_error_that_lists_those_there_are(folder):
    with pytest.raises(InputError, match=r"mine, train: expected a column 'text', found 'sentence', 'feeling'"):
        load_data(folder(train=[2, 0] * 10))


def test_a_data_set_without_a_training_split_is_an_error(folder):
    with pytest.raises(InputError, match=r"mine: expected a split train, found test"):
        load(folder(test=[2, 0] * 10))


def test_without_a_network_one_line_says_so():
    with pytest.raises(
        InputError, match=r"hub:nobody/nothing could not be loaded \(.*\); check the name and the"
    ) as caught:
        load_data("hub:nobody/nothing")
    assert len(str(caught.value).splitlines()) == 1


def test_plain_columns_of_a_local_folder_work_too(write):
    lines = "".join(f"text {number},{number % 2}\n" for number in range(20))
    folder = write("mine/train.csv", "text,label\n" + lines).parent
    assert load_data(f"hub:{folder}").label_names == ("0", "1")


def test_one_configuration_of_several_is_named_after_the_data_set(write):
    for name in ("films", "books"):
        lines = "".join(f"{name} {number},{number % 2}\n" for number in range(20))
        write(f"mine/{name}/train.csv", "text,label\n" + lines)
    configurations = "".join(f"- config_name: {each}\n  data_files: {each}/train.csv\n" for each in ("films", "books"))
    folder = write("mine/README.md", f"---\nconfigs:\n{configurations}---\n").parent
    assert all(text.startswith("books") for text in load_data(f"hub:{folder}:books").train.texts)
    with pytest.raises(InputError, match=r"'films', 'books'.*write hub:NAME:CONFIGURATION if it has several"):
        load_data(f"hub:{folder}")


def test_a_folder_with_a_colon_in_its_name_is_no_configuration(write):
    folder = write("mine:too/train.csv", "text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(20))).parent
    assert len(load_data(f"hub:{folder}").label_names) == 2


@pytest.fixture(params=["PATH", "hub:PATH"])
def saved(request, tmp_path):
    """A function that gives the name of a folder which `save_to_disk` writes."""

    def save(data):
        data.save_to_disk(str(tmp_path / "saved"))
        return request.param.replace("PATH", str(tmp_path / "saved"))

    datasets.disable_progress_bars()
    return save


def labelled(labels, names=("neg", "pos")):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))})
    return datasets.Dataset.from_dict({"text": [f"text {n}" for n in range(len(labels))], "label": labels}, features)


def test_a_folder_of_save_to_disk_is_read(saved):
    data = load_data(saved(labelled([1, 0] * 15)))
    assert data.label_names == ("neg", "pos")
    assert sizes(data) == [20, 4, 6]


def test_splits_of_save_to_disk_stay(saved):
    splits = {"train": labelled([1, 0] * 10), "test": labelled([1, 1, 0, -1])}
    data = load_data(saved(datasets.DatasetDict(splits)))
    assert data.test.labels == (1, 1, 0)
    assert data.cleaned == {"missing label left out": 1}


def test_a_damaged_folder_of_save_to_disk_is_refused_in_one_line(saved):
    name = saved(labelled([1, 0] * 15))
    folder = Path(name.removeprefix("hub:"))
    (folder / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"saved: not a whole folder of save_to_disk; save it again \(.*\)"):
        load_data(name)


def test_names_of_classes_are_read_from_parquet_that_datasets_wrote(tmp_path):
    labelled([1, 0] * 15, ("nan", "Nan")).to_parquet(str(tmp_path / "a.parquet"))
    assert load_data(tmp_path / "a.parquet").label_names == ("nan", "Nan")


def test_numbers_without_a_name_are_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet

    labelled([1, 0] * 15).to_parquet(str(tmp_path / "a.parquet"))
    table = parquet.read_table(tmp_path / "a.parquet")
    changed = table.set_column(1, "label", pyarrow.array([0, 1, 7] * 10)).replace_schema_metadata(table.schema.metadata)
    parquet.write_table(changed, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"row 3, column 'label': expected the number of one of 2 classes, got int 7"):
        load_data(tmp_path / "a.parquet")
