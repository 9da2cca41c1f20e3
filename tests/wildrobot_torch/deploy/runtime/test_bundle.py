"""Tests of deploy/runtime/bundle.py: what is read, and everything that is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from envs.errors import UserError
from wildrobot_torch.contract import Controller
from wildrobot_torch.deploy.bundle import write_folder, zip_bytes
from wildrobot_torch.deploy.runtime.bundle import (
    CHECKSUMS,
    Bundle,
    BundleError,
    reproduce,
    safe_name,
)
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.pilot import load_policy

Files = dict[str, bytes]


@pytest.fixture
def files(bundle_zip: Path) -> Files:
    with zipfile.ZipFile(bundle_zip) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def summed(files: Files) -> Files:
    """The files with checksums that fit them."""
    stated = json.loads(files[CHECKSUMS])
    stated["files"] = {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != CHECKSUMS
    }
    return {**files, CHECKSUMS: json.dumps(stated).encode()}


def with_spec(files: Files, change: Callable[[dict], None]) -> Files:
    """The files with another contract, and checksums that fit."""
    model = onnx.load_from_string(files["policy.onnx"])
    (entry,) = (p for p in model.metadata_props if p.key == "policy_spec")
    spec = json.loads(entry.value)
    change(spec)
    entry.value = json.dumps(spec)
    return summed({**files, "policy.onnx": model.SerializeToString()})


def refused(tmp_path: Path, files: Files, words: str) -> None:
    """Both as a zip and as a folder it is refused in one line."""
    archive, folder = tmp_path / "made.zip", tmp_path / "made"
    archive.write_bytes(zip_bytes(files))
    write_folder(files, folder)
    for path in (archive, folder):
        with pytest.raises(UserError, match=words) as raised:
            Bundle.open(path)
        assert "\n" not in str(raised.value)


def test_zip_and_folder_are_read_alike(files: Files, bundle_zip: Path, tmp_path: Path) -> None:
    write_folder(files, tmp_path / "bundle")
    one, two = Bundle.open(bundle_zip), Bundle.open(tmp_path / "bundle")
    assert dict(one.files) == dict(two.files) and one.digest == two.digest
    assert one.contract.joint_names[2] == "left_knee_pitch" and one.contract.size == 184
    assert one.yaml("robot.yaml")["mass"] == pytest.approx(3.302, abs=1e-3)
    assert one.digest == hashlib.sha256(files[CHECKSUMS]).hexdigest()


def test_golden_vectors_are_reproduced(bundle_zip: Path) -> None:
    bundle = Bundle.open(bundle_zip)
    found = bundle.require_golden(1e-6)
    assert set(found) == {"trained", "polled"}
    assert max(one.observation for one in found.values()) < 1e-6
    runs = bundle.golden()
    assert all(len(run.observation) == 200 for run in runs.values())
    # Polled servos are read at times of their own, some readings are lost; trained ones are not.
    between = np.diff(runs["polled"].joint_time, axis=0)
    assert (between == 0.0).any() and np.unique(between[between > 0.0].round(4)).size > 8
    assert np.diff(runs["trained"].joint_time, axis=0) == pytest.approx(0.02)


def test_golden_vectors_show_each_mistake_of_a_runtime(bundle_zip: Path) -> None:
    bundle = Bundle.open(bundle_zip)
    contract, network, run = bundle.contract, bundle.network(), bundle.golden()["polled"]

    def apart(**changes: np.ndarray) -> float:
        return reproduce(replace(run, **changes), contract, network).observation

    assert apart() < 1e-6
    swapped = run.joint_pos.copy()
    swapped[:, [0, 4]] = swapped[:, [4, 0]]
    steps = np.arange(len(run.age))
    assert apart(joint_pos=swapped) > 1e-2  # servos of the two hips in each other's place
    assert apart(gravity=-run.gravity) > 1.0  # gravity up
    assert apart(angvel=run.angvel[:, [1, 0, 2]]) > 1e-2  # axes of the gyro
    assert apart(joint_time=np.repeat(0.02 * steps[:, None], 8, axis=1)) > 1e-3  # one clock for all
    assert apart(command=run.command[:, [1, 0, 2]]) > 0.1
    other = replace(contract, filter=0.6)
    assert reproduce(run, other, network).target > 1e-5


def test_a_difference_beyond_the_tolerance_is_refused(files: Files, tmp_path: Path) -> None:
    arrays = dict(np.load(io.BytesIO(files["golden.npz"])))
    arrays["trained.observation"] = arrays["trained.observation"].copy()
    arrays["trained.observation"][50, 3] += 1e-4
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    write_folder(summed({**files, "golden.npz": out.getvalue()}), tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"'trained'.*differ from the golden ones by 1.0e-04"):
        Bundle.open(tmp_path / "bundle").require_golden()


def test_damage_is_seen(files: Files, tmp_path: Path) -> None:
    altered = bytearray(files["policy.onnx"])
    altered[len(altered) // 2] ^= 1
    refused(tmp_path, {**files, "policy.onnx": bytes(altered)}, "policy.onnx is not the file")


@pytest.mark.parametrize("change, words", [
    (lambda f: f.pop("LICENSE"), "lacks LICENSE"),
    (lambda f: f.update({"extra.sh": b"rm"}), "extra.sh is not in"),
    (lambda f: f.pop(CHECKSUMS), "has no checksums.json"),
    (lambda f: f.update({CHECKSUMS: b"{"}), "cannot be read"),
    (lambda f: f.update({CHECKSUMS: b"[]"}), "cannot be read"),
    (lambda f: f.update({"golden.npz": f["golden.npz"][:-9]}), "golden.npz is not the file"),
    (lambda f: f.update({"safety.yaml": f["safety.yaml"] + b"\n"}), "safety.yaml is not"),
])  # fmt: skip
def test_files_must_be_those_of_the_checksums(
    files: Files, tmp_path: Path, change: Callable[[Files], object], words: str
) -> None:
    change(files)
    refused(tmp_path, files, words)


def test_another_format_of_bundle_is_refused(files: Files, tmp_path: Path) -> None:
    stated = {**json.loads(files[CHECKSUMS]), "format": 2}
    refused(tmp_path, {**files, CHECKSUMS: json.dumps(stated).encode()}, "bundle format 2")


def test_another_format_of_contract_is_refused(files: Files, tmp_path: Path) -> None:
    refused(tmp_path, with_spec(files, lambda s: s.update(format=2)), "contract format 2")


def test_another_opset_is_refused(files: Files, tmp_path: Path) -> None:
    refused(tmp_path, with_spec(files, lambda s: s.update(opset=12)), "opset 12")


def test_another_number_of_joints_is_refused(files: Files, tmp_path: Path) -> None:
    refused(tmp_path, with_spec(files, lambda s: s["joint_names"].pop()), "joint")


def test_digests_must_be_those_of_the_policy(files: Files, tmp_path: Path) -> None:
    refused(tmp_path, with_spec(files, lambda s: s.update(robot_digest="f" * 16)), "robot_digest")


def test_golden_vectors_of_another_robot_are_refused(files: Files, tmp_path: Path) -> None:
    stated = {**json.loads(files[CHECKSUMS]), "robot_digest": "f" * 16}
    mixed = with_spec({**files, CHECKSUMS: json.dumps(stated).encode()},
                      lambda s: s.update(robot_digest="f" * 16))  # fmt: skip
    write_folder(mixed, tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"golden\.npz is of robot"):
        Bundle.open(tmp_path / "bundle").golden()


@pytest.mark.parametrize("old, new, words", [
    (b"left_hip_pitch: {", b"left_hip_yaw: {", "left_hip_yaw"),
    (b"name: wildrobot", b"name: other", "'other'"),
    (b"range: [0.0, 1.396263]", b"range: [0.0, 2.0]", "other joint ranges"),
    (b"joints:", b"joints: [", "cannot be read"),
])  # fmt: skip
def test_a_robot_yaml_of_another_robot_is_refused(
    files: Files, tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    files["robot.yaml"] = files["robot.yaml"].replace(old, new)
    refused(tmp_path, summed(files), words)


@pytest.mark.parametrize("old, new, words", [
    (b"tilt_deg: 60.0", b"tilt_deg: 600.0", "tilt_deg is 600"),
    (b"torque_nm:", b"torque:", "torque"),
    (b"joint_age_s: 0.16", b"joint_age_s: .nan", "joint_age_s"),
])  # fmt: skip
def test_limits_that_make_no_sense_are_refused(
    files: Files, tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    assert old in files["safety.yaml"]
    files["safety.yaml"] = files["safety.yaml"].replace(old, new)
    refused(tmp_path, summed(files), f"safety.yaml cannot be used: .*{words}")


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a//b", "./a", "C:evil", "a\\b", "", "a/"]
)
def test_names_that_leave_the_bundle_are_refused(files: Files, tmp_path: Path, name: str) -> None:
    assert safe_name(name)
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for known, data in files.items():
            archive.writestr(known, data)
        entry = zipfile.ZipInfo("x")
        entry.filename = name  # as an attacker would, past what zipfile mends
        archive.writestr(entry, b"evil")
    with pytest.raises(BundleError, match="the name"):
        Bundle.open(path)
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


def test_links_are_refused(files: Files, tmp_path: Path) -> None:
    folder, archive = tmp_path / "made", tmp_path / "made.zip"
    write_folder(files, folder)
    (folder / "LICENSE").unlink()
    os.symlink("/etc/passwd", folder / "LICENSE")
    with pytest.raises(BundleError, match="LICENSE is a link"):
        Bundle.open(folder)
    with zipfile.ZipFile(archive, "w") as made:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            link = name == "LICENSE"
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16 if link else 0
            made.writestr(entry, b"/etc/passwd" if link else data)
    with pytest.raises(BundleError, match="LICENSE is a link"):
        Bundle.open(archive)


def test_a_file_twice_and_a_bomb_are_refused(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("LICENSE", b"other")
    with pytest.raises(BundleError, match="LICENSE is in it twice"):
        Bundle.open(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(40 * 1024 * 1024))
    assert path.stat().st_size < 100_000
    with pytest.raises(BundleError, match="It is no bundle"):
        Bundle.open(path)


def test_a_truncated_or_absent_file_is_refused(bundle_zip: Path, tmp_path: Path) -> None:
    whole = bundle_zip.read_bytes()
    path = tmp_path / "cut.zip"
    for share in (0.0, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(BundleError, match="no whole zip"):
            Bundle.open(path)
    for change in range(0, len(whole), len(whole) // 40):  # wherever a bit flips
        damaged = bytearray(whole)
        damaged[change] ^= 0x10
        path.write_bytes(bytes(damaged))
        try:
            found = Bundle.open(path)
        except UserError as error:
            assert "\n" not in str(error)
        else:  # in a zip's own notes, such as a date
            assert dict(found.files) == dict(Bundle.open(bundle_zip).files)
    with pytest.raises(BundleError, match="no bundle"):
        Bundle.open(tmp_path / "none.zip")


def test_the_runtime_drives_by_a_bundle_or_a_policy(
    files: Files, bundle_zip: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "policy.onnx"
    alone.write_bytes(files["policy.onnx"])
    one, two = load_policy(bundle_zip), load_policy(alone)
    assert one.sha256 == two.sha256 == hashlib.sha256(files["policy.onnx"]).hexdigest()
    assert one.contract.digest == two.contract.digest
    assert Bundle.open(bundle_zip).limits == SafetyLimits.load()  # the packaged robot's
    changed = with_spec(files, lambda s: s["action"].update(filter=0.9))
    alone.write_bytes(changed["policy.onnx"])
    with pytest.raises(UserError, match=r"filter is 0.9, the task .* has 0.5"):
        load_policy(alone)
    alone.unlink()
    with pytest.raises(UserError, match="no policy"):
        load_policy(alone)


def test_there_may_be_no_int8_policy(bundle_zip: Path) -> None:
    bundle = Bundle.open(bundle_zip)
    with pytest.raises(BundleError, match=r"policy_int8\.onnx"):
        bundle.network(int8=True)


def test_the_network_acts_as_the_contract_asks(bundle_zip: Path) -> None:
    bundle = Bundle.open(bundle_zip)
    controller = Controller(bundle.contract, bundle.network())
    run = bundle.golden()["trained"]
    controller.begin(run.start_targets, 0.0)
    targets = controller.act(run.readings(0), np.zeros(3))
    low, high = bundle.contract.joint_range.T
    assert targets.shape == (8,) and (targets >= low).all() and (targets <= high).all()
