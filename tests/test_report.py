"""What a run writes for people: readable by others, whole after a kill, never in the way."""

import csv
import gc
import io
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

from util.run import draw
from util.run import report as report_module
from util.run.report import Report


def make(run_dir, start_step=0, total_steps=6000, **options):
    return Report(
        run_dir,
        title=options.pop("title", "mod_defog"),
        start_step=start_step,
        total_steps=total_steps,
        batch_size=16,
        **options,
    )


def rows_of(run_dir):
    with (run_dir / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def no_tensorboard(monkeypatch):
    """Leave TensorFlow out where it is not what is tested: the import takes seconds."""
    monkeypatch.setattr(Report, "_write_scalars", lambda self, step, values: None)


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    return {
        "cloudy": random.random((2, 48, 64, 3), np.float32),
        "opacity": random.random((2, 48, 64, 1), np.float32),
    }


# ---- log.csv ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_tensorboard")
class TestLog:
    def test_losses_and_scores_of_a_step_share_a_row(self, tmp_path):
        report = make(tmp_path)
        report.losses(10, {"loss": 0.5})
        assert [row["loss"] for row in rows_of(tmp_path)] == ["0.5"]  # at once: no kill loses it
        report.losses(20, {"loss": 0.25})
        report.scores(20, {"psnr": 17.125})
        report.losses(30, {"loss": 0.125})
        report.scores(35, {"psnr": 18.0})
        rows = rows_of(tmp_path)
        assert list(rows[0]) == ["step", "time_s", "loss", "validation_psnr"]
        assert [(r["step"], r["loss"], r["validation_psnr"]) for r in rows] == [
            ("10", "0.5", ""),
            ("20", "0.25", "17.125"),
            ("30", "0.125", ""),
            ("35", "", "18"),
        ]

    def test_float32_survives_the_text(self, tmp_path):
        value = np.float32(1) / np.float32(3)
        make(tmp_path).losses(1, {"loss": value})
        assert np.float32(rows_of(tmp_path)[0]["loss"]) == value

    def test_resume_removes_what_is_newer_than_the_checkpoint_and_half_a_line(self, tmp_path):
        report = make(tmp_path)
        for step in (10, 20, 30, 40):
            report.losses(step, {"loss": step / 100})
        with (tmp_path / "log.csv").open("a") as file:
            file.write("25,9.9,0.")
        report = make(tmp_path, start_step=25)
        assert [row["step"] for row in rows_of(tmp_path)] == ["10", "20"]
        report.losses(30, {"loss": 1.0})
        assert [(row["step"], row["loss"]) for row in rows_of(tmp_path)] == [
            ("10", "0.1"),
            ("20", "0.2"),
            ("30", "1"),
        ]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv"]

    def test_scores_of_the_restored_step_join_its_row(self, tmp_path):
        make(tmp_path).losses(10, {"loss": 0.5})
        make(tmp_path, start_step=10).scores(10, {"psnr": 20})
        (row,) = rows_of(tmp_path)
        assert (row["loss"], row["validation_psnr"]) == ("0.5", "20")

    def test_time_goes_on_over_resumes(self, tmp_path, monkeypatch):
        now = [1000.0]
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        report = make(tmp_path)
        for step in (10, 20):
            now[0] += 50
            report.losses(step, {"loss": 1})
        now[0] += 7777
        report = make(tmp_path, start_step=10)
        now[0] += 5
        report.losses(20, {"loss": 1})
        assert [float(row["time_s"]) for row in rows_of(tmp_path)] == [50, 55]

    def test_new_columns_leave_blanks_in_old_rows(self, tmp_path):
        report = make(tmp_path)
        report.losses(1, {"loss": 1})
        report.scores(1, {"psnr": 2})
        report = make(tmp_path, start_step=1)
        report.losses(2, {"loss": 3, "penalty, weighted": 4})
        first, second = rows_of(tmp_path)
        names = ["step", "time_s", "loss", "penalty, weighted", "validation_psnr"]
        assert list(first) == list(second) == names
        assert [first[name] for name in names[2:]] == ["1", "", "2"]
        assert [second[name] for name in names[2:]] == ["3", "4", ""]

    def test_a_rewrite_that_fails_keeps_the_old_file(self, tmp_path, monkeypatch, capfd):
        report = make(tmp_path)
        report.losses(1, {"loss": 1})
        before = (tmp_path / "log.csv").read_bytes()

        def full(source, target):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.replace", full)
            report.losses(2, {"loss": 1, "new": 2})
            assert (tmp_path / "log.csv").read_bytes() == before
            assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv"]
        report.losses(3, {"loss": 1, "new": 2})
        assert [row["step"] for row in rows_of(tmp_path)] == ["1", "3"]
        assert capfd.readouterr().err.count("No space left") == 1

    @pytest.mark.parametrize("damage", ["deleted", "cut", "longer"])
    def test_a_log_changed_by_another_hand_is_mended(self, tmp_path, damage):
        report, path = make(tmp_path), tmp_path / "log.csv"
        for step in (1, 2):
            report.losses(step, {"loss": step})
        if damage == "deleted":
            path.unlink()
        else:
            text = path.read_text()
            path.write_text(text[:-1] if damage == "cut" else text + "3,")
        report.losses(3, {"loss": 3})
        wanted = {"deleted": ["3"], "cut": ["1", "3"], "longer": ["1", "2", "3"]}
        assert [row["step"] for row in rows_of(tmp_path)] == wanted[damage]
        assert b"\0" not in path.read_bytes()

    def test_a_table_that_is_not_ours_is_left_alone(self, tmp_path, capfd):
        (tmp_path / "log.csv").write_text("name,price\nbread,2\n")
        report = make(tmp_path)
        report.losses(1, {"loss": 1})
        assert (tmp_path / "log.csv").read_text() == "name,price\nbread,2\n"
        assert "no column named step" in capfd.readouterr().err


# ---- pictures ---------------------------------------------------------------------------------


class TestSheet:
    def test_pixels_arrive_as_they_are(self, tmp_path, pictures):
        make(tmp_path).sheet(1200, pictures)
        with Image.open(tmp_path / "sheets" / "step-00001200.png") as picture:
            sheet = np.asarray(picture.convert("RGB")).astype(int)
        # 48 x 64 is shown 3 x as large: 144 x 192, in 2 columns and 2 rows
        assert sheet.shape[1] == 4 + 2 * (192 + 4)
        top = sheet.shape[0] - 2 * (144 + 4)
        assert 0 < top < 60
        for column, array in enumerate(pictures.values()):
            for row, picture in enumerate(array):
                y, x = top + row * 148, 4 + column * 196
                shown = sheet[y : y + 144, x : x + 192]
                assert np.abs(shown[1::3, 1::3] - picture * 255).max() <= 0.51
                assert (shown == shown[1::3, 1::3].repeat(3, 0).repeat(3, 1)).all()
        assert (sheet[:, :4] == 255)[top:].all()
        assert (sheet[:top] < 128).any()  # there is a title

    def test_latest_is_the_newest_and_old_ones_stay(self, tmp_path, pictures):
        report = make(tmp_path)
        for step in (1, 20):
            report.sheet(step, {name: array / step for name, array in pictures.items()})
        names = ["step-00000001.png", "step-00000020.png"]
        assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == names
        newest = (tmp_path / "sheets" / names[1]).read_bytes()
        assert (tmp_path / "latest.png").read_bytes() == newest
        assert (tmp_path / "sheets" / names[0]).read_bytes() != newest

    def test_at_most_eight_rows_and_any_values(self, tmp_path, capfd):
        wild = np.zeros((20, 128, 128, 1))
        wild[:, 0, 0], wild[:, 0, 1], wild[:, 0, 2], wild[:, 0, 3] = np.nan, np.inf, -7, 7
        make(tmp_path).sheet(1, {"$a_{b}$\x1b[31m {x}": wild})
        with Image.open(tmp_path / "latest.png") as picture:
            sheet = np.asarray(picture.convert("L"))
        assert 8 * 132 < sheet.shape[0] < 8 * 132 + 60
        assert sheet[sheet.shape[0] - 132, 4:8].tolist() == [0, 255, 0, 255]
        assert "failed" not in capfd.readouterr().err

    @pytest.mark.parametrize(
        "columns",
        [
            {},
            {"a": np.zeros((2, 8, 8, 3)), "b": np.zeros((1, 8, 8, 3))},
            {"a": np.zeros((2, 8, 8))},
            {"a": np.zeros((0, 8, 8, 1))},
            {"a": np.zeros((2, 8, 8, 4))},
        ],
    )
    def test_wrong_shapes_are_said_and_write_nothing(self, tmp_path, capfd, columns):
        make(tmp_path).sheet(1, columns)
        assert list(tmp_path.iterdir()) == []
        assert "drawing a picture sheet failed" in capfd.readouterr().err

    def test_ten_sheets_leave_no_figures(self, tmp_path):
        from matplotlib import _pylab_helpers
        from matplotlib.figure import Figure

        report = make(tmp_path)
        for step in range(10):
            report.sheet(step, {"a": np.zeros((1, 128, 128, 1), np.float32)})
        gc.collect()
        assert sum(isinstance(thing, Figure) for thing in gc.get_objects()) <= 1
        assert not _pylab_helpers.Gcf.figs
        assert len(list((tmp_path / "sheets").iterdir())) == 10


@pytest.mark.usefixtures("no_tensorboard")
class TestPlot:
    def panels(self, tmp_path):
        columns, rows = report_module._read_log(tmp_path / "log.csv")
        return {
            axes.get_title(loc="left"): axes for axes in draw.plot("mod_defog", columns, rows).axes
        }

    def test_a_panel_for_each_kind_of_column(self, tmp_path):
        report = make(tmp_path)
        for step in range(100, 20100, 100):
            loss = {"loss": 100 / step, "learning_rate": 1e-3, "trained_generator": 0.5}
            report.losses(step, loss)
        report.scores(20000, {"psnr": 20, "psnr_thin": 22, "ssim": 0.7})
        report.plot()
        with Image.open(tmp_path / "losses.png") as picture:
            assert picture.format == "PNG"
            assert min(picture.size) >= 600
        panels = self.panels(tmp_path)
        names = ["losses", "trained", "learning rate", "validation psnr", "validation ssim"]
        assert list(panels) == names
        assert panels["losses"].get_yscale() == "log"
        raw, mean = panels["losses"].lines
        assert raw.get_alpha() < 0.5
        assert len(raw.get_xdata()) == 200
        # a running mean of 7: the closed form in the middle of the series
        values = np.asarray(raw.get_ydata())
        assert mean.get_ydata()[100] == pytest.approx(values[97:104].mean())
        assert len(panels["validation psnr"].lines) == 2

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite(self, tmp_path, capfd, bad):
        report = make(tmp_path)
        for step in range(1, 201):
            report.losses(step, {"loss": bad if 90 < step < 110 else 1 / step, "other": bad})
        report.plot()
        assert rows_of(tmp_path)[100]["loss"] == str(float(bad))
        assert (tmp_path / "losses.png").stat().st_size > 1000
        mean = self.panels(tmp_path)["losses"].lines[1].get_ydata()
        assert np.isnan(mean[100])
        assert np.isfinite(mean[:80]).all()
        assert "failed" not in capfd.readouterr().err

    def test_least_and_greatest_of_losses_are_marked(self, tmp_path):
        report = make(tmp_path)
        for step, loss in enumerate((0.5, np.nan, 0.75, 0.25, 0.5), start=1):
            report.losses(step, {"loss_generator": loss, "learning_rate": 1})
        report.plot()
        panels = self.panels(tmp_path)
        marks = [mark.get_offsets()[0].tolist() for mark in panels["losses"].collections]
        assert marks == [[4, 0.25], [3, 0.75]]
        assert [text.get_text() for text in panels["losses"].texts] == ["0.25", "0.75"]
        assert not panels["learning rate"].collections

    def test_negative_losses_get_a_linear_axis(self, tmp_path):
        report = make(tmp_path)
        for step in (1, 2):
            report.losses(step, {"loss_critic": step - 1.5})
        assert self.panels(tmp_path)["losses"].get_yscale() == "linear"

    def test_without_a_row_there_is_no_plot(self, tmp_path, capfd):
        make(tmp_path).plot()
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr().err == ""


# ---- TensorBoard ------------------------------------------------------------------------------


def test_tensorboard_reads_the_scalars(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    make_ndarray = pytest.importorskip("tensorboard.util.tensor_util").make_ndarray
    report = make(tmp_path)
    report.losses(100, {"loss": 0.5})
    report.scores(100, {"psnr": 17})
    for _ in range(2):  # before close: a killed run has its events on disk too
        events = accumulator.EventAccumulator(
            str(tmp_path / "tensorboard"), size_guidance={accumulator.TENSORS: 0}
        ).Reload()
        assert set(events.Tags()["tensors"]) == {"loss", "validation_psnr"}
        (event,) = events.Tensors("loss")
        assert (event.step, make_ndarray(event.tensor_proto)) == (100, 0.5)
        report.close()


# ---- failing, printing ------------------------------------------------------------------------


def test_nothing_that_fails_stops_training(tmp_path, capfd, pictures):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name in ("log.csv", "losses.png", "latest.png"):
        (run_dir / name).mkdir()
    for name in ("sheets", "tensorboard"):
        (run_dir / name).write_text("in the way")
    report = make(run_dir)
    for step in range(1, 4):
        report.step(step)
        report.losses(step, {"loss": 1})
        report.scores(step, {"psnr": 1})
        report.sheet(step, pictures)
        report.plot()
    report.close()
    lines = [line for line in capfd.readouterr().err.splitlines() if "training goes on" in line]
    assert len(lines) == len(set(lines))
    for what in ("reading log.csv", "writing log.csv", "TensorBoard", "sheet", "losses.png"):
        assert sum(what in line.split(" failed in ")[0] for line in lines) == 1, what
    assert all(str(run_dir) in line for line in lines)


def test_a_missing_tensorboard_costs_only_tensorboard(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    report = make(tmp_path)
    report.losses(1, {"loss": 1})
    report.losses(2, {"loss": 1})
    assert len(rows_of(tmp_path)) == 2
    assert capfd.readouterr().err.count("TensorBoard") == 1


@pytest.fixture
def lock_of_its_own():
    """Give bars a lock for this test alone: one that fails in a bar's hands stays locked."""
    before = tqdm.get_lock()
    tqdm.set_lock(threading.RLock())
    yield
    tqdm.set_lock(before)


@pytest.mark.usefixtures("lock_of_its_own")
def test_a_closed_terminal_does_not_matter(tmp_path, monkeypatch, pictures):
    class Gone(io.StringIO):
        def isatty(self):
            return True

        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setattr(Report, "_write_scalars", lambda self, step, values: None)
    report = make(tmp_path)
    report.step(1)
    report.losses(1, {"loss": 1})
    report.say("hello")
    report.sheet(1, pictures)
    report.close()
    assert len(rows_of(tmp_path)) == 1
    assert (tmp_path / "latest.png").exists()


def test_quiet_workers_print_and_write_nothing(tmp_path, capfd, pictures):
    report = make(tmp_path / "run", quiet=True)
    report.step(1)
    report.losses(1, {"loss": 1})
    report.scores(1, {"psnr": 1})
    report.sheet(1, pictures)
    report.plot()
    report.say("hello")
    report.close()
    assert not (tmp_path / "run").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_tensorboard")
def test_plain_lines_where_there_is_no_terminal(tmp_path, monkeypatch, capfd):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    report = make(tmp_path, start_step=1100)
    for step in range(1101, 1301):
        now[0] += 0.25
        report.step(step)
        if step % 20 == 0:
            report.losses(step, {"loss": 0.12345, "learning_rate": 1e-3, "trained_critic": 1})
    report.scores(1300, {"psnr": 19.1234, "psnr_thin": 21.0})
    report.say("bad\x1b[2Jname\n.png")
    report.close()
    assert capfd.readouterr().err.splitlines() == [
        "step 1,120 of 6,000  64 pictures/s  loss 0.123  left 20 min",
        "step 1,240 of 6,000  64 pictures/s  loss 0.123  left 20 min",
        "step 1,300: validation  psnr 19.12  psnr thin 21",
        "bad?[2Jname?.png",
    ]


@pytest.mark.usefixtures("no_tensorboard")
def test_a_bar_where_there_is_a_terminal(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    report = make(tmp_path, start_step=1100, total_steps=1110)
    for step in range(1101, 1111):
        report.step(step)
        report.losses(step, {"loss": 0.12345})
    report.say("a line")
    report.close()
    report.close()
    shown = screen.getvalue()
    assert "mod_defog" in shown
    assert "step 1100 of 1110" in shown
    last = shown.rstrip().splitlines()[-1]
    assert "step 1110 of 1110" in last
    assert "pictures/s  loss 0.123" in last
    assert "a line\n" in shown
