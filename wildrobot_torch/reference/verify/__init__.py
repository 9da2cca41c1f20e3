"""Tests of reference motion: what must hold of a dataset before anything is trained on it.

Which test finds which fault. "States" are faults in qpos or qvel from which the features were then
computed, so that both agree and only the motion can tell; the same fault in the features alone is
always found by 1A.

| fault | found by |
|---|---|
| mirrored contacts | 5 loaded foot is the lower one (recorded forces); 5 contact rates |
| wrong joint order | 1B range of the joints, floor, steps redone, support needed |
| velocities are differences of positions | 1B distance from differences, steps redone, shift |
| velocities averaged or late by a frame | 1B shift, steps redone; 1C replay |
| body-frame linear velocity taken as world | 1B distance covered, frame of the linear velocity |
| body-frame angular velocity taken as world | 1B frame of the angular velocity |
| height shifted by 5 mm or more | 1B sole heights, steps redone; 5 loaded soles on the floor |
| hanging robot | 1B sole on the floor, steps redone; 7 load, recorded support |
| robot dragged backwards | 1B distance walked ahead, slipping soles, steps redone |
| xyzw read as wxyz | 1B distance walked ahead, slipping soles, steps redone |
| support of `none` that was a harness | 1B steps redone by the servos alone |
"""
