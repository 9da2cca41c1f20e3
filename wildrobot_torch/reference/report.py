"""The account of a reference generation, as markdown."""

from __future__ import annotations

from wildrobot_torch.reference.generate import Generation


def clip_table(generation: Generation) -> str:
    """Markdown table: a row per clip, what went in, what was accepted, how, and why not more."""
    rows = [
        "| clip | in s | accepted s | segments | survival | v m/s | load mg | harness force p95 mg "
        "| torque p95 mgh | joint error rad | slip p95 m/s | first rejection |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {c.name} | {c.seconds_in:.2f} | {c.seconds_accepted:.2f} | {c.num_segments} "
        f"| {c.survival:.0%} | {c.speed:.3f} | {c.load_mean:.2f} | {c.force_share:.3f} "
        f"| {c.torque_share:.3f} | {c.joint_error:.3f} | {c.slip:.3f} | {c.first_failure} |"
        for c in generation.clips
    ]
    return "\n".join(rows)


def rejection_table(generation: Generation) -> str:
    """Markdown table: how many stretches each gate rejected."""
    rows = ["| gate | rejected stretches |", "|---|---|"]
    rows += [f"| {name} | {count} |" for name, count in generation.rejections.items()]
    return "\n".join(rows)


def summary(generation: Generation) -> str:
    """One line: seconds accepted of seconds in, segments, clips."""
    total = sum(clip.seconds_in for clip in generation.clips)
    segments = sum(clip.num_segments for clip in generation.clips)
    used = sum(clip.num_segments > 0 for clip in generation.clips)
    return (
        f"accepted {generation.seconds_accepted:.1f} s of {total:.1f} s in {segments} segments "
        f"from {used} of {len(generation.clips)} clips; {generation.windows} windows judged"
    )


def markdown(generation: Generation) -> str:
    """The whole account: summary, dataset, clips, rejections, gates."""
    parts = ["# Reference motion", summary(generation)]
    dataset = generation.dataset
    if dataset is not None:
        parts.append(
            f"Content {dataset.content_hash[:16]}, robot {dataset.robot_digest}, features "
            f"{dataset.amp_layout.digest}, {dataset.num_frames} frames of {dataset.ctrl_dt:g} s, "
            f"physics {dataset.manifest['config']['physics']}."
        )
    parts += ["## Clips", clip_table(generation)]
    parts += ["## Rejections", rejection_table(generation)]
    if dataset is not None:
        parts += ["## Segments", _segment_table(generation)]
    return "\n\n".join(parts) + "\n"


def _segment_table(generation: Generation) -> str:
    dataset = generation.dataset
    assert dataset is not None
    columns = ("load_mean", "force_share_p90", "torque_share_p95", "pitch_p95", "roll_p95",
               "slip_share", "double_share", "alternation", "tracking_rms")  # fmt: skip
    rows = [
        "| clip | s | v m/s | weight | tier | " + " | ".join(columns) + " |",
        "|" + "---|" * (5 + len(columns)),
    ]
    for i, segment in enumerate(dataset.manifest["segments"]):
        values = (segment["metrics"][name] for name in columns)
        cells = ("-" if value is None else f"{value:.3f}" for value in values)
        rows.append(
            f"| {dataset.segment_clip[i]} | {segment['frames'] * dataset.ctrl_dt:.2f} "
            f"| {float(dataset.segment_velocity[i]):.3f} | {float(dataset.segment_weight[i]):.2f} "
            f"| {dataset.segment_tier[i]} | " + " | ".join(cells) + " |"
        )
    return "\n".join(rows)
