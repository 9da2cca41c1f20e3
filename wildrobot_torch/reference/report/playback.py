"""What a dataset holds of one clip, beside the clip: for films that show both."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.generate import clip_hash


@dataclass(frozen=True)
class Playback:
    """T frames of a clip's segments, one segment after the other, `ctrl_dt` apart."""

    qpos: Tensor
    """(T, nq): what the simulated robot did."""
    clip: Tensor
    """(T, nq): what the clip does at the same frames."""
    captions: tuple[str, ...]
    """T lines: segment, tier and time in the clip."""


def playback(dataset: ReferenceDataset, clip: Clip, robot: RobotSpec) -> Playback:
    """The accepted motion of one clip and the clip itself, frame by frame.

    Raises:
        DatasetError: nothing of the clip is in the dataset, or it is not the clip that was
            followed.
    """
    mine = [i for i, name in enumerate(dataset.segment_clip) if name == clip.name]
    if not mine:
        names = sorted(set(dataset.segment_clip))
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise DatasetError(f"nothing of clip {clip.name!r} is in the reference; it holds {shown}")
    clip = clip.resample(1.0 / dataset.ctrl_dt)
    # The harness may have followed another clip of the same name.
    followed = clip_hash(clip)
    mine = [i for i in mine if dataset.manifest["segments"][i]["clip_sha256"] == followed]
    if not mine:
        raise DatasetError(
            f"clip {clip.name!r} is not the one that the reference was made from: same name, "
            "other motion; give the file that was followed"
        )
    states = clip_states(clip, robot)[0]
    mine.sort(key=lambda i: dataset.manifest["segments"][i]["clip_frame"])
    done, rows, captions = [], [], []
    for number, i in enumerate(mine, start=1):
        first, length = int(dataset.segment_start[i]), int(dataset.segment_length[i])
        at = int(dataset.manifest["segments"][i]["clip_frame"])
        done += range(first, first + length)
        rows += range(at, at + length)
        about = f"{number}/{len(mine)}, tier {dataset.segment_tier[i]}"
        captions += [f"{about}\n{k * dataset.ctrl_dt:5.2f} s" for k in range(at, at + length)]
    return Playback(dataset.qpos[done], states[rows], tuple(captions))
