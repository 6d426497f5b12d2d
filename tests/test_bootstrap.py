"""`./tollkeeper` on its own: a copy of it in an empty folder, with an installer that notes what it is asked."""

import ast
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "tollkeeper").read_text()
DEADLINE_SECONDS = 60.0
# Makes the environment's Python a program that says what it was started with.
INSTALLER = """#!/bin/sh
echo "uv $@" >> {log}
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"
printf '#!/bin/sh\\necho "python $@"\\necho "PYTHONPATH=$PYTHONPATH"\\n' > "$UV_PROJECT_ENVIRONMENT/bin/python"
chmod +x "$UV_PROJECT_ENVIRONMENT/bin/python"
"""


@dataclass
class Clone:
    """A fresh clone, a PATH with nothing but what a test puts there, and a log of every program that was started."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "clone"

    @property
    def programs(self) -> Path:
        return self.folder / "programs"

    def add_program(self, name: str, script: str) -> Path:
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def calls(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(self.root / "tollkeeper"), *words],
            cwd=self.folder,
            env={
                "PATH": f"{self.programs}:/usr/bin:/bin",
                "PYTHONPATH": str(self.folder / "modules"),
                **self.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*words) as process:
            out, error = process.communicate(timeout=DEADLINE_SECONDS)
        return subprocess.CompletedProcess(words, process.returncode, out, error)


@pytest.fixture
def bare(tmp_path: Path) -> Clone:
    """Neither uv nor pip."""
    clone = Clone(tmp_path)
    for folder in (clone.root, clone.programs, tmp_path / "modules"):
        folder.mkdir()
    for name in ("tollkeeper", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, clone.root)
    for name in ("uv", "npm", "pip", "pip3"):
        clone.add_program(name, f"#!/bin/sh\necho '{name}' \"$@\" >> {tmp_path / 'log'}\nexit 1\n")
    (tmp_path / "modules" / "pip.py").write_text("raise SystemExit(1)\n")
    return clone


@pytest.fixture
def clone(bare: Clone) -> Clone:
    installer = bare.add_program("installer", INSTALLER.format(log=bare.folder / "log"))
    bare.environment["TOLLKEEPER_UV"] = str(installer)
    return bare


def test_it_needs_the_standard_library_alone() -> None:
    tree = ast.parse(SOURCE)
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names


@pytest.mark.parametrize("minor", [8, 11])
def test_it_can_be_read_by_its_oldest_python_and_by_older_ones_that_are_refused(minor: int) -> None:
    ast.parse(SOURCE, feature_version=(3, minor))


def test_old_python_is_told_which_one_is_needed() -> None:
    code = (
        "import sys\nsys.version_info, sys.version = (3, 10, 4), '3.10.4 (main)'\n"
        f"exec(compile(open({str(ROOT / 'tollkeeper')!r}).read(), 'tollkeeper', 'exec'), {{'__name__': '__main__'}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "tollkeeper: needs Python 3.11 or newer; this is 3.10.4\n"


def test_installer_is_pinned_by_hash_for_each_platform() -> None:
    hashes = re.findall(r"^[0-9a-f]{64}$", SOURCE, re.MULTILINE)
    assert len(hashes) == len(set(hashes)) > 10
    assert re.search(r'^UV_VERSION = "\d+\.\d+\.\d+"$', SOURCE, re.MULTILINE)


def test_first_start_installs_the_lock_and_hands_over(clone: Clone) -> None:
    done = clone.run("serve", "--port", "1")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["python -m tollkeeper serve --port 1", f"PYTHONPATH={clone.root / 'backend'}"]
    [call] = clone.calls()
    assert call.startswith("uv sync --frozen --no-install-project --no-python-downloads")
    assert "--no-dev" in call
    assert "installed." in done.stderr


def test_packages_are_compiled_once_and_the_systems_authorities_are_trusted(clone: Clone) -> None:
    log = clone.folder / "log"
    script = INSTALLER.format(log=log).removeprefix("#!/bin/sh\n")
    wanted = 'echo "compile=$UV_COMPILE_BYTECODE system=$UV_SYSTEM_CERTS"'
    clone.add_program("installer", f"#!/bin/sh\n{wanted} >> {log}\n{script}")
    authorities = clone.folder / "authorities.pem"
    authorities.write_text("")
    clone.environment["SSL_CERT_FILE"] = str(authorities)
    clone.run("serve")
    assert clone.calls()[0] == "compile=1 system=true"


def test_second_start_starts_no_other_program(clone: Clone) -> None:
    clone.run("serve")
    before = clone.calls()
    done = clone.run("serve")
    assert done.stdout.startswith("python -m tollkeeper serve")
    assert done.stderr == ""
    assert clone.calls() == before


@pytest.mark.parametrize(
    ("words", "handed_over"),
    [
        ([], "-m tollkeeper --help"),
        (["keys", "list"], "-m tollkeeper keys list"),
        (["test", "tests/api"], "-m tests.gate test tests/api"),
        (["check"], "-m tests.gate check"),
        (["bench", "--quick"], "-m bench --quick"),
    ],
)
def test_each_word_goes_where_it_belongs(clone: Clone, words: list[str], handed_over: str) -> None:
    assert clone.run(*words).stdout.splitlines()[0] == f"python {handed_over}"
    is_development = words[:1] in (["test"], ["check"], ["bench"])
    assert ("--all-groups" in clone.calls()[0]) is is_development


def test_the_local_model_is_installed_where_it_is_asked_for(clone: Clone) -> None:
    clone.run("bench", "--quick")
    clone.run("bench", "cache")
    clone.run("bench", "cache")
    clone.environment["TOLLKEEPER_EXTRAS"] = "embed"
    clone.run("serve")
    assert ["--extra embed" in call for call in clone.calls()] == [False, True]


def test_what_development_installed_serves_as_well(clone: Clone) -> None:
    clone.run("check")
    clone.run("serve")
    assert len(clone.calls()) == 1


def test_development_is_added_to_what_serves(clone: Clone) -> None:
    clone.run("serve")
    clone.run("check")
    assert len(clone.calls()) == 2


def test_changed_lock_is_installed_again(clone: Clone) -> None:
    clone.run("serve")
    with (clone.root / "uv.lock").open("a") as lock:
        lock.write("\n# renewed\n")
    clone.run("serve")
    assert len(clone.calls()) == 2


def test_two_first_starts_at_once_share_one_installation(clone: Clone) -> None:
    entered, may_go_on = clone.folder / "entered", clone.folder / "may-go-on"
    slow = f"#!/bin/sh\ntouch {entered}\nwhile [ ! -e {may_go_on} ]; do sleep 0.02; done\n"
    clone.add_program("installer", slow + INSTALLER.format(log=clone.folder / "log").removeprefix("#!/bin/sh\n"))
    first = clone.start("serve")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not entered.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = clone.start("keys")
    assert second.stderr is not None
    assert "waiting for another start that is installing" in second.stderr.readline()
    may_go_on.touch()
    outputs = [process.communicate(timeout=DEADLINE_SECONDS)[0] for process in (first, second)]
    assert [output.splitlines()[0] for output in outputs] == ["python -m tollkeeper serve", "python -m tollkeeper keys"]
    assert len(clone.calls()) == 1


def test_installation_that_failed_is_tried_again(clone: Clone) -> None:
    working = (clone.programs / "installer").read_text()
    clone.add_program("installer", "#!/bin/sh\nexit 2\n")
    failed = clone.run("serve")
    assert failed.returncode == 1
    assert "the packages could not be installed" in failed.stderr
    assert "Traceback" not in failed.stderr
    clone.add_program("installer", working)
    assert clone.run("serve").returncode == 0


def test_folder_that_cannot_be_written_is_told(clone: Clone) -> None:
    (clone.root / ".cache").write_text("in the way")
    done = clone.run("serve")
    assert done.returncode == 1
    assert f"cannot write to {clone.root}" in done.stderr
    assert "Clone the repository into a folder that you own" in done.stderr
    assert "Traceback" not in done.stderr


def test_machine_without_pip_and_uv_is_told_what_to_install(bare: Clone) -> None:
    done = bare.run("serve")
    assert done.returncode == 1
    assert "needs pip or uv" in done.stderr
    assert "apt install python3-pip" in done.stderr
    assert "Traceback" not in done.stderr


def test_pip_fetches_the_installer_by_hash_into_the_clone(bare: Clone) -> None:
    log = bare.folder / "log"
    (bare.folder / "modules" / "pip.py").write_text(
        "import os, pathlib, sys\n"
        "if '--version' not in sys.argv:\n"
        f"    open({str(log)!r}, 'a').write('pip ' + ' '.join(sys.argv[1:]) + ' PIP_USER=' + os.environ['PIP_USER'] + '\\n')\n"
        "    target = pathlib.Path(sys.argv[sys.argv.index('--target') + 1], 'bin', 'uv')\n"
        "    target.parent.mkdir(parents=True)\n"
        f"    target.write_text({INSTALLER.format(log=log)!r})\n"
        "    target.chmod(0o755)\n"
    )
    assert bare.run("serve").stdout.startswith("python -m tollkeeper serve")
    on_path, pip, uv = bare.calls()
    assert on_path == "uv --version"
    assert "--require-hashes" in pip
    assert "--only-binary :all:" in pip
    assert f"--target {bare.root}/.cache/" in pip
    assert pip.endswith("PIP_USER=0")
    assert uv.startswith("uv sync --frozen")
    wanted = (bare.root / ".cache" / "uv.txt").read_text()
    assert re.match(r"uv==\d+\.\d+\.\d+ --hash=sha256:[0-9a-f]{64} ", wanted)


def test_pip_that_fails_is_explained(bare: Clone) -> None:
    (bare.folder / "modules" / "pip.py").write_text("import sys\nraise SystemExit('--version' not in sys.argv)\n")
    done = bare.run("serve")
    assert done.returncode == 1
    assert "pip could not fetch the installer" in done.stderr
    assert not list((bare.root / ".cache").glob("uv-*[0-9]"))


@pytest.mark.parametrize(("version", "is_used"), [("right", True), ("0.0.1", False)])
def test_uv_on_the_path_is_used_when_it_is_the_pinned_one(bare: Clone, version: str, is_used: bool) -> None:
    pinned = re.search(r'^UV_VERSION = "(.*)"$', SOURCE, re.MULTILINE)
    assert pinned is not None
    shown = pinned[1] if version == "right" else version
    script = INSTALLER.format(log=bare.folder / "log").removeprefix("#!/bin/sh\n")
    bare.add_program("uv", f'#!/bin/sh\nif [ "$1" = --version ]; then echo "uv {shown}"; exit; fi\n{script}')
    assert (bare.run("serve").returncode == 0) is is_used


@pytest.fixture
def with_console(clone: Clone) -> Clone:
    (clone.root / "frontend").mkdir()
    (clone.root / "frontend" / "package.json").write_text("{}")
    return clone


def test_without_npm_the_gateway_runs_and_says_so_once(with_console: Clone) -> None:
    (with_console.programs / "npm").unlink()
    with_console.environment["PATH"] = str(_without_npm(with_console))
    done = with_console.run("serve")
    assert done.stdout.startswith("python -m tollkeeper serve")
    assert done.stderr.count("npm is not installed, so the console is not built") == 1


def test_console_that_cannot_be_built_does_not_stop_the_start(with_console: Clone) -> None:
    done = with_console.run("serve")
    assert done.returncode == 0
    assert "the console could not be built; the gateway runs without it" in done.stderr


def test_console_is_built_once_and_again_when_its_sources_change(with_console: Clone) -> None:
    dist = with_console.root / "backend" / "tollkeeper" / "console" / "dist"
    log = with_console.folder / "log"
    with_console.add_program("npm", f'#!/bin/sh\necho "npm $@" >> {log}\nmkdir -p {dist}\n')

    def builds() -> int:
        return with_console.calls().count("npm run build")

    with_console.run("serve")
    with_console.run("serve")
    assert builds() == 1
    (with_console.root / "frontend" / "index.html").write_text("new")
    with_console.run("serve")
    assert builds() == 2
    with_console.run("keys")
    with_console.environment["TOLLKEEPER_SKIP_CONSOLE_BUILD"] = "1"
    (with_console.root / "frontend" / "index.html").write_text("newer")
    with_console.run("serve")
    assert builds() == 2


def test_a_test_of_the_console_or_a_word_about_it_builds_nothing(with_console: Clone) -> None:
    dist = with_console.root / "backend" / "tollkeeper" / "console" / "dist"
    log = with_console.folder / "log"
    with_console.add_program("npm", f'#!/bin/sh\necho "npm $@" >> {log}\nmkdir -p {dist}\n')
    frontend = with_console.root / "frontend"
    with_console.run("console", "build")
    (frontend / "README.md").write_text("new")
    (frontend / "KeysPage.test.tsx").write_text("new")
    for folder in ("node_modules", "e2e"):
        (frontend / folder).mkdir()
        (frontend / folder / "index.js").write_text("new")
    with_console.run("console", "build")
    assert [call for call in with_console.calls() if call.startswith("npm ")] == [
        "npm ci --omit=dev --no-audit --no-fund",
        "npm run build",
    ]


def test_packages_that_the_checks_installed_are_not_installed_again(with_console: Clone) -> None:
    dist = with_console.root / "backend" / "tollkeeper" / "console" / "dist"
    log = with_console.folder / "log"
    with_console.add_program("npm", f'#!/bin/sh\necho "npm $@" >> {log}\nmkdir -p {dist}\n')
    frontend = with_console.root / "frontend"
    (frontend / "node_modules").mkdir()
    for path in (frontend / "package-lock.json", frontend / "node_modules" / ".lock"):
        path.write_text("{}")
    with_console.run("serve")
    assert [call for call in with_console.calls() if call.startswith("npm ")] == ["npm run build"]


def _without_npm(clone: Clone) -> Path:
    """What the stand-ins themselves need, and nothing else."""
    folder = clone.folder / "few"
    folder.mkdir()
    for name in ("sh", "mkdir", "chmod", "printf", "env"):
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    for program in clone.programs.iterdir():
        (folder / program.name).symlink_to(program)
    return folder
