"""Tests of wildrobot_torch.files: whole files or none, usual permissions, no code from files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from envs.errors import UserError
from wildrobot_torch.files import atomic_write, load_tensors


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "value.bin"
    with atomic_write(path) as file:
        file.write(b"old")
    with pytest.raises(OSError, match="disk"), atomic_write(path) as file:
        file.write(b"half of the new")
        raise OSError("disk full")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "file") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(_Evil(), protocol=2)])
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint: .*file\.ckpt.*; train again") as error:
        load_tensors(path, "checkpoint", "train again")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_absent_files_and_other_content_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        load_tensors(tmp_path / "absent.ckpt", "checkpoint", "train again")
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(UserError, match="holds a list"):
        load_tensors(tmp_path / "list.ckpt", "checkpoint", "train again")
