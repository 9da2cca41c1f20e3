"""wildrobot_torch.cli.main: verbs, and how programs end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.errors import RunError, UserError
from wildrobot_torch.cli.main import USES, VERBS, main, run


def _python(script: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, check=False, **options
    )


USED = [["reference", f"{use}=FILE"] for use in USES]


def test_help_lists_each_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 32
    for verb in VERBS:
        assert any(line.split()[:1] == [verb] for line in lines)


@pytest.mark.parametrize("words", [[verb] for verb in VERBS] + USED)
def test_each_verb_has_a_short_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: wildrobot {words[0]}") and len(lines) <= 60
    assert len(words) == 1 or words[1].partition("=")[0] in lines[0]


def test_help_and_misspelt_options_import_nothing_heavy() -> None:
    done = _python(
        "import sys; from wildrobot_torch.cli.main import USES, VERBS, main\n"
        "codes = [main(words) for words in ([], ['evaluate', '--hlep'], *([v, '--help'] for v in"
        " VERBS), *(['reference', use + '=x', '--help'] for use in USES))]\n"
        "assert codes == [0, 2] + [0] * (len(codes) - 2), codes\n"
        "assert not {'torch', 'mujoco', 'numpy'} & set(sys.modules)",
        stdout=subprocess.PIPE,
    )
    assert done.returncode == 0, done.stderr


def test_a_misspelt_verb_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evalute"]) == 2
    error = capsys.readouterr().err
    assert "did you mean evaluate?" in error and error.count("\n") == 1


def _raises(error: BaseException) -> Callable[[list[str]], int]:
    def program(_: list[str]) -> int:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x is 0;\n allowed: 1"), 2),
        (RunError("diverged"), 1),
        (FileNotFoundError(2, "No such file or directory", "given/a.npz"), 2),
        (IsADirectoryError(21, "Is a directory", "given"), 2),
        (PermissionError(13, "Permission denied", "given/a.npz/.draft"), 2),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_raises(error), ["--out=given/a.npz"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and printed.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shapes differ"),
        RuntimeError("a bug"),
        FileNotFoundError(2, "No such file or directory", "elsewhere/b.npz"),
        OSError(28, "No space left on device", "given/a.npz"),
        BrokenPipeError(32, "Broken pipe"),
    ],
)
def test_a_defect_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        run(_raises(error), ["--out=given/a.npz"])
    assert raised.value is error


def test_an_interrupt_is_130() -> None:
    assert run(_raises(KeyboardInterrupt()), []) == 130


def test_hyphens_are_read_as_underscores() -> None:
    words: list[str] = []

    def program(given: list[str]) -> int:
        words.extend(given)
        return 0

    run(program, ["--held-out=a-b", "--num-envs", "c-d", "--run.env-steps", "-1"])
    assert words == ["--held_out=a-b", "--num_envs", "c-d", "--run.env_steps", "-1"]


def test_output_that_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    script = "import sys; from wildrobot_torch.cli.main import main; sys.exit(main(['--help']))"
    done = _python(script, stdout=write)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""
