import base64
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from safr.errors import InputError
from safr.report import write_figures
from safr.report.run_figures import LETTER_HEIGHT, draw_deletion_curves, draw_training_history, load_curve, make_picture
from safr.runs import Run


def test_a_run_without_srs_has_its_other_figures(single_word_run, tmp_path):
    run = Run(shutil.copytree(single_word_run.folder, tmp_path / "words"))
    assert {path.name for path in write_figures(run)} == {"history.svg", "history.png", "history.pdf"}
    run.history_file.unlink()
    shutil.rmtree(run.figures_folder)
    assert write_figures(run) == []


def test_a_curve_over_seeds_is_their_mean_with_the_interval_over_seeds(baseline, safr_run):
    one, other, both = load_curve(baseline), load_curve(safr_run), load_curve(baseline, safr_run)
    assert both.full == pytest.approx((one.full + other.full) / 2)
    for low, middle, high in (("low", "deleted", "high"), ("random_low", "random", "random_high")):
        first, second = (np.array(getattr(each, middle)) for each in (one, other))
        half = 12.706 * np.abs(first - second) / 2  # Student's t with one degree of freedom
        np.testing.assert_allclose(getattr(both, middle), (first + second) / 2)
        np.testing.assert_allclose(getattr(both, low), ((first + second) / 2 - half).clip(0), rtol=1e-4)
        np.testing.assert_allclose(getattr(both, high), ((first + second) / 2 + half).clip(max=1), rtol=1e-4)


def test_the_charts_of_a_training_have_plain_names(baseline, safr_run):
    titles = [axes.get_title(loc="left") for axes in draw_training_history([baseline, safr_run]).axes]
    assert titles == ["task loss", "importance loss", "interaction loss", "accuracy on dev"]


def test_letters_of_a_picture_are_large_enough_at_its_width(baseline):
    figure = draw_deletion_curves({"baseline": [baseline]})
    picture = make_picture(figure)
    source = base64.b64decode(picture.address.partition(",")[2]).decode()
    points = float(re.search(r'width="([0-9.]+)pt"', source)[1])
    sizes = [float(size) for size in re.findall(r"font-size: ([0-9.]+)px", source)]
    assert min(sizes) * picture.width / points >= LETTER_HEIGHT


def test_figures_are_written_by_one_process_at_a_time(safr_run, tmp_path):
    run = Run(shutil.copytree(safr_run.folder, tmp_path / "run"))
    with run.lock(), ThreadPoolExecutor(1) as other:
        assert len(write_figures(run)) >= 4
        with pytest.raises(InputError, match=r"has worked on it since .*; wait until it has finished"):
            other.submit(write_figures, run).result()
    assert not list(run.folder.glob(".*"))
