"""The house keeps its floors: who may import whom, read from the source with `ast`.

Between rooms imports go strictly down; within a room anything goes that is no circle. Scripts
import each other never, and util never imports configure.py.
"""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

GROUND = "start say files interrupt task settings"  # the files of util itself: one room
FLOORS = {
    1: GROUND,
    2: "pictures networks run",
    3: "samples measure restore",
    4: "train use prepare",
    5: "command serve",
}
FLOOR = {f"util.{room}": floor for floor, rooms in FLOORS.items() for room in rooms.split()}
SCRIPT_FLOOR, TOP = 6, {"cloud_removal": 7, "server": 8}

# What runs code or makes objects out of files.
BANNED_MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BANNED_CALLS = {"eval", "exec"}
# But for what a process gives to one that it has started itself, by a pipe that nobody else has.
HANDED_OVER = {"util/samples/processes.py": {"pickle"}}


def module_name(path):
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PROGRAM = {module_name(p): p for p in [*PROJECT.glob("*.py"), *PROJECT.glob("util/**/*.py")]}
PACKAGES = {module_name(p.parent / "__init__.py") for p in PROJECT.glob("util/**/__init__.py")}
SCRIPTS = {name for name in PROGRAM if "." not in name and name not in ("util", "configure")}
EVERYTHING = sorted(
    [*PROGRAM.values(), *PROJECT.glob("tests/**/*.py"), *PROJECT.glob("benchmarks/**/*.py")]
)


def imports(source, package=""):
    """Return the names of all modules that a source imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(part for part in (package if node.level else "", node.module) if part)
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def imports_of(name):
    """Return which modules of the program a module imports."""
    package = name if name in PACKAGES else name.rpartition(".")[0]
    return imports(PROGRAM[name].read_text(encoding="utf-8"), package) & PROGRAM.keys() - PACKAGES


def room_of(name):
    """Return the room that a module lies in: "samples" for util.samples.keys."""
    room = name.split(".")[1]
    return "ground" if room in GROUND.split() else room


def floor_of(name):
    if name.startswith("util."):
        return FLOOR[".".join(name.split(".")[:2])]
    return TOP.get(name, SCRIPT_FLOOR)


def dangers(source):
    """Return what a source uses of the things that are banned, as text."""
    found = {name for name in imports(source) if name.split(".")[0] in BANNED_MODULES}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and ast.unparse(called.value) == "builtins":
            called = ast.Name(called.attr)
        if isinstance(called, ast.Name) and called.id in BANNED_CALLS:
            found.add(f"{called.id}()")
        for keyword in node.keywords:
            if ast.unparse(keyword) == "allow_pickle=True" and "load" in ast.unparse(node.func):
                found.add(ast.unparse(keyword))
    return found


def test_the_readers_see_what_they_should():
    source = "import a.b\ndef f():\n    from util import keys\n    from .x import y\n"
    assert imports(source, "util") >= {"a.b", "util", "util.keys", "util.x", "util.x.y"}
    wicked = "import pickle\neval('1')\nbuiltins.exec('')\nnp.load(f, allow_pickle=True)\n"
    assert dangers(wicked) == {"pickle", "eval()", "exec()", "allow_pickle=True"}
    assert dangers("model.eval()\nnp.load(f, allow_pickle=False)\n'pickle'\n") == set()
    assert {"mod_defog", "util.train.loop", "configure"} <= PROGRAM.keys()
    assert "util.samples.batches" in imports_of("util.train.loop")


MODULES = sorted(name for name in PROGRAM.keys() - PACKAGES if name.startswith("util."))


@pytest.mark.parametrize("name", MODULES)
def test_every_room_has_its_floor(name):
    assert ".".join(name.split(".")[:2]) in FLOOR, (
        f"{room_of(name)} has no floor: put it into FLOORS in {Path(__file__).name}, and into "
        "docs/house.md"
    )


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_every_room_says_what_it_is_for(name):
    tree = ast.parse(PROGRAM[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if name != "util":
        assert len(tree.body) == 1, "the files of a room are imported by their own names"


@pytest.mark.parametrize("name", sorted(PROGRAM.keys() - PACKAGES))
def test_imports_go_strictly_down_between_rooms(name):
    if name == "configure":
        assert imports_of(name) == {"util.settings"}
        return
    wrong = {
        other
        for other in imports_of(name) - {"configure"}
        if floor_of(other) >= floor_of(name)
        and not (name.startswith("util.") and room_of(other) == room_of(name))
    }
    assert not wrong, (
        f"{name} is on floor {floor_of(name)} and imports {wrong} from above or beside"
    )


def test_imports_never_go_round():
    left = {name: imports_of(name) for name in PROGRAM}
    while free := {name for name, wanted in left.items() if not wanted & left.keys()}:
        for name in free:
            del left[name]
    assert not left, f"these import each other in a circle: {sorted(left)}"


@pytest.mark.parametrize("name", sorted(SCRIPTS - TOP.keys()))
def test_scripts_do_not_import_each_other(name):
    assert not imports_of(name) & SCRIPTS


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_scripts_hear_ctrl_c_before_they_import_anything(name):
    """Real signals are sent to two of them only, in test_processes."""
    first, last = (
        ast.parse(PROGRAM[name].read_text(encoding="utf-8")).body[place] for place in (1, -1)
    )
    assert ast.unparse(first.test) == ast.unparse(last.test) == "__name__ == '__main__'"
    wanted = ["from util import interrupt", "interrupt.listen()"]
    assert [ast.unparse(line) for line in first.body] == wanted
    assert ast.unparse(last).splitlines()[-1].strip().startswith("command.")


@pytest.mark.parametrize("name", MODULES)
def test_util_does_not_know_configure(name):
    assert "configure" not in imports_of(name)


# What exists once, by the calls that nobody else may make.
ONCE = {
    "util.say": {"print", "tqdm.write", "os.write", "sys.stderr.write", "sys.stdout.write"},
    "util.files": {"os.replace", "os.rename", "os.link", "tempfile.mkstemp", "uuid4"},
}
# They rename what is there already and make no temporary file.
MOVES = {"util.run.checkpoint": {"os.replace"}, "util.run.history": {"os.rename"}}


def calls(source):
    """Return the names of everything that a source calls, as they are written."""
    return {ast.unparse(n.func) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)}


@pytest.mark.parametrize("name", MODULES)
def test_people_are_spoken_to_and_files_are_replaced_in_one_place(name):
    made = calls(PROGRAM[name].read_text(encoding="utf-8"))
    for owner, only_there in ONCE.items():
        if name != owner:
            assert not made & only_there - MOVES.get(name, set())


def test_those_places_do_make_these_calls():
    for owner, only_there in {**ONCE, **MOVES}.items():
        assert calls(PROGRAM[owner].read_text(encoding="utf-8")) & only_there


@pytest.mark.parametrize(
    ("package", "owner"),
    [
        ("rasterio", "util.pictures.gdal"),
        *[(n, "util.serve.libraries") for n in ("werkzeug", "waitress", "pillow_heif")],
    ],
)
def test_what_is_optional_is_imported_in_one_place(package, owner):
    sources = {name: path.read_text(encoding="utf-8") for name, path in PROGRAM.items()}
    found = {n: {i.split(".")[0] for i in imports(source)} for n, source in sources.items()}
    assert {name for name, wanted in found.items() if package in wanted} == {owner}
    assert package not in (PROJECT / "requirements.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MODULES)
def test_no_file_is_longer_than_360_lines(name):
    assert len(PROGRAM[name].read_text(encoding="utf-8").splitlines()) <= 360


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda p: p.relative_to(PROJECT).as_posix())
def test_nothing_runs_text_or_unpickles(path):
    allowed = HANDED_OVER.get(path.relative_to(PROJECT).as_posix(), set())
    assert dangers(path.read_text(encoding="utf-8")) == allowed
