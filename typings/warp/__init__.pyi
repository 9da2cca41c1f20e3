# Warp's own stubs describe Python; its kernels are another language in Python's syntax.
from typing import Any

def __getattr__(name: str) -> Any: ...
