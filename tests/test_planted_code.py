"""Code that somebody has planted in a file or folder is never run, and nobody is asked whether it may be."""

import io
import json
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import torch

import safr
from safr.attribution.score_files import read_scores
from safr.config import Regularization
from safr.data import load_data
from safr.data.archives import read_imdb_reviews, read_sst_trees
from safr.errors import InputError
from safr.experiments.grid import read_plan
from safr.model.model_card import model_card
from safr.model.pretrained_tokenizer import load_tokenizer
from safr.runs import Run
from safr.storage import CHECKSUMS_FILE, read_parquet
from safr.training import train
from safr.training.checkpoints import MANIFEST, _write_manifest
from safr.training.prepare import prepare_training
from tests import tiny
from tests.test_training import StopAfter, small_data, with_recipe
from tests.training.test_prepare import save_bert

AUTO_MAP = {
    "AutoConfig": "evil.Evil",
    "AutoModel": "evil.Evil",
    "AutoModelForSequenceClassification": "evil.Evil",
    "AutoTokenizer": ["evil.Evil", "evil.Evil"],
}
TEMPLATE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
KERNEL = "somebody/kernel"


class Bomb:
    """Makes the mark when it is read from a pickle."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


class Yes(io.StringIO):
    """A standard input on which somebody agrees to everything."""

    was_asked = False

    def readline(self, *_):
        self.was_asked = True
        return "y\n"

    read = readline


def python_code(mark):
    return f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Evil: pass\n"


def torch_pickle(mark):
    content = io.BytesIO()
    torch.save(Bomb(mark), content)
    return content.getvalue()


def plant_code(folder, mark):
    """Modules of every name that a loader could look for, and pickles."""
    (folder / "custom_generate").mkdir(exist_ok=True)
    names = (f"{folder.name}.py", "evil.py", "transformers.py", "datasets.py", "generate.py", "__init__.py")
    for name in (*names, "sitecustomize.py", "custom_generate/generate.py"):
        (folder / name).write_text(python_code(mark))
    for name in ("training_args.bin", "adapter_model.bin", "scaler.pt", "state.pkl", "vocab.pkl"):
        (folder / name).write_bytes(pickle.dumps(Bomb(mark)))


def change(path, **values):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))


def saved_model(folder, mark, **values):
    words = tiny.tokenizer()
    safr.save(tiny.model(Regularization(vmask_width=8)), folder, tokenizer=words)
    plant_code(folder, mark)
    change(folder / "config.json", auto_map=AUTO_MAP, attn_implementation=KERNEL, **values)
    return folder


def a_model(folder, mark):
    assert not hasattr(safr.load(saved_model(folder, mark)).config, "auto_map")


def a_model_of_pickles(folder, mark):
    saved_model(folder, mark)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(torch_pickle(mark))
    safr.load(folder)


def a_models_tokenizer(folder, mark):
    saved_model(folder, mark)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    load_tokenizer(folder)("a film")


def a_tokenizer_of_another_class(folder, mark):
    settings = json.loads((saved_model(folder, mark) / "config.json").read_text())["safr"]
    change(folder / "config.json", safr={name: settings[name] for name in settings if name != "sha256"})
    change(folder / "tokenizer_config.json", tokenizer_class="Evil", auto_map=AUTO_MAP, chat_template=TEMPLATE)
    load_tokenizer(folder)


def prepare(folder, mark):
    settings = with_recipe(epochs=1).changed(model=str(folder), warmup_steps=0)
    model = prepare_training(settings, small_data(), folder / "run").model
    assert model.config._attn_implementation != KERNEL


def a_base_model(folder, mark):
    save_bert(folder)
    plant_code(folder, mark)
    change(folder / "config.json", auto_map=AUTO_MAP, attn_implementation=KERNEL)
    prepare(folder, mark)


def a_base_model_of_an_unknown_type(folder, mark):
    save_bert(folder)
    plant_code(folder, mark)
    change(folder / "config.json", auto_map=AUTO_MAP, model_type="evil")
    prepare(folder, mark)


def a_base_model_of_pickles(folder, mark):
    save_bert(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(torch_pickle(mark))
    prepare(folder, mark)


def a_base_model_with_an_adapter(folder, mark):
    save_bert(folder)
    plant_code(folder, mark)
    change(folder / "adapter_config.json", base_model_name_or_path=str(folder), peft_type="LORA", auto_mapping=AUTO_MAP)
    prepare(folder, mark)


def a_data_folder(folder, mark):
    write_texts(folder / "train.csv")
    plant_code(folder, mark)
    assert len(load_data(str(folder)).train) > 2


def a_data_folder_that_datasets_reads(folder, mark):
    a_data_folder(folder, mark)
    assert len(load_data(f"hub:{folder}").train) > 2


def a_data_folder_that_asks_for_pickles(folder, mark):
    plant_code(folder, mark)
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {folder.name}\n  builder_name: pandas\n  data_files: state.pkl\n---\n"
    )
    change(folder / "dataset_infos.json", default={"builder_name": "pandas", "config_name": "default"})
    load_data(f"hub:{folder}")


def a_data_folder_of_archives(folder, mark):
    with zipfile.ZipFile(folder / "train.zip", "w") as archive:
        archive.writestr(f"../../{mark.name}", "x")
        archive.writestr("evil.pkl", pickle.dumps(Bomb(mark)))
    load_data(f"hub:{folder}")


def a_saved_data_set(folder, mark):
    table = {"text": [f"a film {number}" for number in range(20)], "label": [0, 1] * 10}
    datasets.Dataset.from_dict(table).save_to_disk(str(folder))
    plant_code(folder, mark)
    assert len(load_data(str(folder)).train) > 2


def a_data_file_of_an_unknown_ending(folder, mark):
    (folder / "train.pkl").write_bytes(pickle.dumps(Bomb(mark)))
    load_data(str(folder / "train.pkl"))


def a_table_with_a_pickled_type(folder, mark):
    keys = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Bomb(mark))}
    fields = [pyarrow.field("text", pyarrow.string(), metadata=keys), pyarrow.field("label", pyarrow.int64())]
    rows = [pyarrow.array([f"a film {number}" for number in range(20)]), pyarrow.array([0, 1] * 10)]
    pyarrow.parquet.write_table(pyarrow.table(rows, schema=pyarrow.schema(fields)), folder / "train.parquet")
    assert len(load_data(str(folder)).train) > 2
    read_parquet(folder / "train.parquet", {"label": "integer"})


def a_treebank(folder, mark):
    with zipfile.ZipFile(folder / "trees.zip", "w") as archive:
        archive.writestr(f"../../{mark.name}", "x")
        archive.writestr("trees/train.txt", pickle.dumps(Bomb(mark)))
    read_sst_trees(folder / "trees.zip")


def reviews_in_a_pickle(folder, mark):
    (folder / "reviews.tar.gz").write_bytes(pickle.dumps(Bomb(mark)))
    read_imdb_reviews(folder / "reviews.tar.gz")


def scores_with_ending(ending):
    def read(folder, mark):
        path = folder / f"scores{ending}"
        path.write_bytes(torch_pickle(mark) if ending == ".pt" else pickle.dumps(Bomb(mark)))
        read_scores(path, [], [])

    return read


def a_plan(folder, mark):
    (folder / "plan.yaml").write_text(
        f"data: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]"
    )
    read_plan(folder / "plan.yaml")


def labels_that_are_templates(folder, mark):
    words = tiny.tokenizer()
    model = tiny.model(Regularization(vmask_width=8))
    model.config.id2label = {0: TEMPLATE, 1: "{% include 'evil.py' %}"}
    safr.save(model, folder, tokenizer=words)
    assert "<class" not in model_card(folder, None)


LOADERS = [
    a_model,
    a_model_of_pickles,
    a_models_tokenizer,
    a_tokenizer_of_another_class,
    a_base_model,
    a_base_model_of_an_unknown_type,
    a_base_model_of_pickles,
    a_base_model_with_an_adapter,
    a_data_folder,
    a_data_folder_that_datasets_reads,
    a_data_folder_that_asks_for_pickles,
    a_data_folder_of_archives,
    a_saved_data_set,
    a_data_file_of_an_unknown_ending,
    a_table_with_a_pickled_type,
    a_treebank,
    reviews_in_a_pickle,
    *(scores_with_ending(ending) for ending in (".pt", ".pkl", ".npy", ".npz", ".parquet", ".jsonl")),
    a_plan,
    labels_that_are_templates,
]


def write_texts(path):
    lines = [f"a {'good' if number % 2 else 'bad'} film {number},{number % 2}" for number in range(20)]
    path.write_text("\n".join(["text,label", *lines]))


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs a loader in its folder: it succeeds or says one line, leaves no mark and asks nothing."""
    mark = tmp_path / "mark"
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def check(load, stdin, folder=tmp_path / "mine"):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "stdin", stdin)
        try:
            load(folder, mark)
        except InputError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - success is right too
        assert not mark.exists()
        assert not getattr(stdin, "was_asked", False)

    return check


@pytest.mark.filterwarnings("ignore::UserWarning:safr", "ignore::FutureWarning")
@pytest.mark.parametrize("agrees", [True, False], ids=["y", "closed"])
@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
def test_planted_code_is_never_run_and_nobody_is_asked(load, agrees, check):
    stdin = Yes()
    if not agrees:
        stdin.close()
    check(load, stdin)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(with_recipe(epochs=2), small_data(), folder, callbacks=[StopAfter(1)])
    return folder


@pytest.mark.parametrize("has_manifest", [True, False])
@pytest.mark.parametrize("pickled", [pickle.dumps, lambda bomb: torch_pickle(bomb.mark)], ids=["pickle", "torch"])
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model.bin"])
def test_planted_code_in_a_checkpoint_is_never_run(name, pickled, has_manifest, stopped, check):
    """Whoever can write the checkpoint can write its manifest too, so that a checksum proves nothing."""

    def resume(folder, mark):
        shutil.copytree(stopped, folder, dirs_exist_ok=True)
        (checkpoint,) = (folder / "checkpoints").iterdir()
        for other in ("training_args.bin", "scaler.pt", name):
            (checkpoint / other).write_bytes(pickled(Bomb(mark)))
        if name == "pytorch_model.bin":
            (checkpoint / "model.safetensors").unlink()
        (checkpoint / MANIFEST).unlink()
        if has_manifest:
            _write_manifest(checkpoint)
        with pytest.warns(UserWarning, match=r"can't be used .*; training starts again"):
            train(with_recipe(epochs=2), small_data(), folder, resume=True)

    check(resume, Yes())


def test_planted_code_in_a_run_is_never_run(safr_run, check):
    def read(folder, mark):
        run = Run(Path(shutil.copytree(safr_run.folder, folder, dirs_exist_ok=True)))
        (run.folder / CHECKSUMS_FILE).unlink()
        plant_code(run.folder, mark)
        plant_code(run.model_folder, mark)
        change(run.model_folder / "config.json", auto_map=AUTO_MAP, attn_implementation=KERNEL)
        run.load_model()

    check(read, Yes())


def test_the_planted_code_would_leave_its_mark(tmp_path):
    mark = tmp_path / "mark"
    for run in (
        lambda: exec(python_code(mark)),
        lambda: pickle.loads(pickle.dumps(Bomb(mark))),
        lambda: torch.load(io.BytesIO(torch_pickle(mark)), weights_only=False),
    ):
        assert not mark.exists()
        run()
        mark.unlink()
