"""`wildrobot page`: write a web page that drives a policy in the browser."""

from __future__ import annotations

import argparse

from wildrobot_torch.deploy.page.build import build_page
from wildrobot_torch.files import WALKING_POLICY


def main(options: argparse.Namespace) -> int:
    """0 when the page was written."""
    sizes = build_page(options.policy or WALKING_POLICY, options.out)
    print(
        f"wrote {options.out}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB; show it "
        f"with `python -m http.server -d {options.out}` at http://localhost:8000"
    )
    return 0
