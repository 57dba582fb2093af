"""5,000 damaged and odd files: each ends in a picture or in one line that names it.

`python -m pytest -m fuzz` takes ten minutes on two cores. Batches of files go through processes of
their own (tests/fuzz.py), so that a crash, a hang and a file that takes too much memory are found
too, and the next file has its turn in a new one.
"""

import subprocess
import sys
from pathlib import Path

import fuzz
import pytest
from make_damaged import write_damaged

FILES, BATCH = 5000, 500
_SCRIPT = str(Path(fuzz.__file__))


def wrong_in(folder, first, end, command=(sys.executable, _SCRIPT)):
    """Return what is wrong with files, one text each."""
    wrong = []
    while first < end:
        until = min(first + BATCH, end)
        done = subprocess.run(
            [*command, folder, str(first), str(until)], capture_output=True, text=True
        )
        lines = done.stdout.splitlines()
        wrong += [line for line in lines if line[0] != ">"]
        begun = [int(line[2:]) for line in lines if line[0] == ">"]
        if done.returncode:
            number = begun[-1] if begun else first
            wrong.append(f"{number} ended the process with {done.returncode}:\n{done.stderr}")
        first = begun[-1] + 1 if begun else until
    return wrong


def test_the_first_files_of_the_fuzz_run(tmp_path):
    paths = [write_damaged(tmp_path, number) for number in range(40)]
    assert [(n, told) for n, path in enumerate(paths) for told in fuzz.wrong_with(n, path)] == []


_LAME = """
import os, sys
for n in range(int(sys.argv[2]), int(sys.argv[3])):
    print(">", n, flush=True)
    if n == 3: os.abort()
    if n == 5: print(n, "is wrong", flush=True)
    if n == 6: break
"""


def test_a_file_that_ends_its_process_is_told_and_the_next_has_its_turn(tmp_path):
    wrong = wrong_in(str(tmp_path), 0, 9, (sys.executable, "-c", _LAME))
    assert [text[:9] for text in wrong] == ["3 ended t", "5 is wron"]


@pytest.mark.fuzz
def test_every_file_ends_in_a_picture_or_in_one_line(tmp_path):
    wrong = wrong_in(str(tmp_path), 0, FILES)
    assert not wrong, (
        f"{len(wrong)} wrong of {FILES}. The files are in {tmp_path}; to make and take through one "
        f"of them: python tests/fuzz.py FOLDER NUMBER NUMBER+1\n" + "\n".join(wrong)
    )
