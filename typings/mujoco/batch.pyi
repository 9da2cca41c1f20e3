# MuJoCo's bindings are compiled and carry no types; to the checker every name in them is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
