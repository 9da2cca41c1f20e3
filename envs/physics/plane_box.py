"""Contacts between a box and a plane, the same as in MuJoCo.

MuJoCo keeps the corners between the box's centre and the plane, four at most. MuJoCo Warp keeps
every corner below the plane. A foot plate that is pressed in deeper than it is thick then has up to
eight contacts in place of four, and other forces. This filter drops the corners that MuJoCo drops.
"""

from __future__ import annotations

from typing import Any

import warp as wp
from mujoco_warp import GeomType

_PLANE, _BOX = int(GeomType.PLANE), int(GeomType.BOX)


@wp.kernel
def _drop_upper_corners(
    geom_type: wp.array[int],
    geom_xpos: wp.array2d[wp.vec3],
    contact_geom: wp.array[wp.vec2i],
    contact_worldid: wp.array[int],
    contact_dist: wp.array[float],
    contact_pos: wp.array[wp.vec3],
    contact_frame: wp.array[wp.mat33],
    nacon: wp.array[int],
    contact_type: wp.array[int],
):
    contact = wp.tid()
    if contact >= wp.min(nacon[0], contact_type.shape[0]):
        return
    geoms = contact_geom[contact]
    if geom_type[geoms[0]] != _PLANE or geom_type[geoms[1]] != _BOX:
        return
    normal = wp.vec3(
        contact_frame[contact][0, 0], contact_frame[contact][0, 1], contact_frame[contact][0, 2]
    )
    # The contact lies half the distance above the corner.
    corner = contact_pos[contact] + 0.5 * contact_dist[contact] * normal
    centre = geom_xpos[contact_worldid[contact], geoms[1]]
    if wp.dot(corner - centre, normal) > 0.0:
        contact_type[contact] = 0


def drop_upper_corners(m: Any, d: Any) -> None:
    """Drop the corners beyond the box's centre; a `Model.callback.contactfilter`.

    Args:
        m: mujoco_warp.Model.
        d: mujoco_warp.Data; `contact.type` of such contacts becomes 0, which is no contact.
    """
    contact = d.contact
    wp.launch(
        _drop_upper_corners,
        dim=d.naconmax,
        inputs=[
            m.geom_type,
            d.geom_xpos,
            contact.geom,
            contact.worldid,
            contact.dist,
            contact.pos,
            contact.frame,
            d.nacon,
        ],
        outputs=[contact.type],
    )
