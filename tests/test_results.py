"""docs/results.md is what docs/results.py makes of docs/results/, and no table lacks its head."""

import importlib.util
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
TABLES = sorted((DOCS / "results").glob("*.csv"))

_spec = importlib.util.spec_from_file_location("docs_results", DOCS / "results.py")
results = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(results)

HEAD = {
    "section": "Speed",
    "title": "How fast",
    "commit": "0123abc, 4567def",
    "date": "2026-11-21",
    "command": "python a.py",
}


def head_of(**changes):
    return "".join(f"# {key}: {text}\n" for key, text in {**HEAD, **changes}.items() if text)


@pytest.fixture
def table(tmp_path):
    """Return a function that reads a text as a table."""

    def read(text):
        file = tmp_path / "one.csv"
        file.write_text(text, encoding="utf-8")
        return results.read(file)

    return read


@pytest.fixture
def copy(tmp_path):
    """Return a copy of all that the script reads and writes, and a function that runs it there."""
    for name in ("results.py", "results.md"):
        shutil.copy(DOCS / name, tmp_path)
    shutil.copytree(DOCS / "results", tmp_path / "results")

    def run(*arguments):
        command = [sys.executable, str(tmp_path / "results.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return tmp_path, run


# --- the tables as they are ---------------------------------------------------------------------


def test_the_page_is_what_the_tables_say():
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results.page()


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_each_head_is_complete_and_each_table_once_in_the_page(path):
    head = results.read(path).head
    assert set(HEAD) <= set(head)
    assert all(date.fromisoformat(day) for day in head["date"].split(" to "))
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert page.count(f"\n### {head['title']}\n") == 1
    for picture in re.findall(r"\((.+)\)", head.get("picture", "")):
        assert (DOCS / picture).is_file()


def test_the_figures_of_the_readme_are_in_the_page():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert "(docs/results.md)" in readme
    figures = re.compile(r"(?<![\w.])\d*\.\d+(?![\w.]|/)")
    tables = "\n".join(line for line in readme.splitlines() if line.startswith("| "))
    claimed = set(figures.findall(tables)) | set(re.findall(r"([\d.]+) dB", readme))
    assert len(claimed) > 10
    page = figures.findall((DOCS / "results.md").read_text(encoding="utf-8"))
    assert claimed <= set(page)


# --- the script ---------------------------------------------------------------------------------


def test_a_changed_cell_fails_the_check_until_the_page_is_written_anew(copy):
    folder, run = copy
    assert run("--check") == (0, "")
    changed = folder / "results" / TABLES[0].name
    text = changed.read_text(encoding="utf-8")
    changed.write_text(text.rstrip("\n") + "9\n", encoding="utf-8")
    before = (folder / "results.md").read_bytes()
    status, said = run("--check")
    assert status == 1
    assert "python docs/results.py" in said
    assert (folder / "results.md").read_bytes() == before  # a check writes nothing
    assert run() == (0, "")
    row = " | ".join(results.read(changed).rows[-1])
    assert row.endswith("9")
    assert row in (folder / "results.md").read_text(encoding="utf-8")
    assert run("--check") == (0, "")


def test_a_changed_head_and_a_lost_page_fail_the_check(copy):
    folder, run = copy
    changed = folder / "results" / TABLES[-1].name
    text = changed.read_text(encoding="utf-8")
    changed.write_text(text.replace("# date: 20", "# date: 19", 1), encoding="utf-8")
    assert run("--check")[0] == 1
    changed.write_text(text, encoding="utf-8")
    assert run("--check")[0] == 0
    (folder / "results.md").unlink()
    assert run("--check")[0] == 1


def test_a_table_that_is_dropped_in_stands_at_the_place_of_its_name(copy):
    folder, run = copy
    (folder / "results" / "000_new.csv").write_text(head_of() + "a,b\n1,2\n", encoding="utf-8")
    assert run() == (0, "")
    page = (folder / "results.md").read_text(encoding="utf-8")
    first = page.index("## Speed\n\n### How fast\n")
    assert first < page.index(results.read(TABLES[0]).head["title"])


def test_a_mistake_is_named_with_its_file_and_nothing_is_written(copy):
    folder, run = copy
    before = (folder / "results.md").read_bytes()
    (folder / "results" / "000_new.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for arguments in ((), ("--check",)):
        status, said = run(*arguments)
        assert status == 1
        assert said.startswith("000_new.csv: its head lacks section, title")
    assert (folder / "results.md").read_bytes() == before
    assert run("--chek")[0] == 2


def test_a_table_becomes_markdown(table):
    text = head_of(
        text="First line,\n#     and second.", picture="![a](b.png)", note="One.\n# note: Two."
    )
    found = results.markdown(table(text + ',"a, b"\nx|y,\n'))
    assert found == (
        "### How fast\n\nFirst line, and second.\n\n![a](b.png)\n\n"
        "Measured at `0123abc`, `4567def`, 2026-11-21, by\n\n    python a.py\n\n"
        "|  | a, b |\n|---|---|\n| x\\|y |  |\n\n- One.\n- Two.\n"
    )


@pytest.mark.parametrize("key", HEAD)
@pytest.mark.parametrize("text", [None, " "])
def test_a_head_without_one_of_its_lines_is_refused(table, key, text):
    with pytest.raises(ValueError, match=rf"one\.csv: its head lacks {key}$"):
        table(head_of(**{key: text}) + "a,b\n1,2\n")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (head_of(commit="last week") + "a\n1\n", "commit"),
        (head_of(commit="0123abc,4567def") + "a\n1\n", "commit"),
        (head_of(date="21 November") + "a\n1\n", "date"),
        (head_of(colour="blue") + "a\n1\n", "colour"),
        (head_of(title="a\n# title: b") + "a\n1\n", "twice"),
        ("#    goes on\n" + head_of() + "a\n1\n", "from nothing"),
        (head_of() + "a,b\n1\n", "as many cells"),
        (head_of() + "a,b\n", "as many cells"),
        (head_of(), "as many cells"),
    ],
)
def test_mistakes_are_refused(table, text, mistake):
    with pytest.raises(ValueError, match=mistake):
        table(text)
