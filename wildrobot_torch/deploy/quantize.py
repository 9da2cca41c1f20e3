"""An exported policy with int8 weights, and whether it still walks.

The weights of the three layers become int8 with a scale for each output; the layers' inputs are
quantised as they come. Normaliser, clip and activations stay float.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from wildrobot_torch.evaluation.outcomes import HOME_HOLD
from wildrobot_torch.evaluation.suite import columns_of, run_suite
from wildrobot_torch.evaluation.suites import Suite

MOST_LOST = 0.02
"""Success that an int8 policy may lose against the float one."""


@dataclass(frozen=True)
class Int8:
    """What int8 does to a policy's success."""

    episodes: int
    success: float
    """Of the float policy, over all episodes of the suite, 0 to 1."""
    int8_success: float

    @property
    def passes(self) -> bool:
        """Whether it loses at most `MOST_LOST`."""
        return self.success - self.int8_success <= MOST_LOST + 1e-9


def quantize(policy: Path, out: Path) -> None:
    """Write the policy with int8 weights, and with the same contract."""
    source = onnx.load(str(policy))
    with TemporaryDirectory() as folder, _silent():
        folded = Path(folder) / "folded.onnx"
        options = onnxruntime.SessionOptions()
        # A symmetric policy's weights are made of shared ones in the graph; fold them first.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(policy), options, providers=["CPUExecutionProvider"])
        model = onnx.load(str(folded))
        del model.graph.value_info[:]  # of shapes that change
        # Seven bits: on a processor with AVX2 and without VNNI products of eight overflow.
        quantize_dynamic(
            model, out, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8,
            per_channel=True, reduce_range=True,
        )  # fmt: skip
    made = onnx.load(str(out))
    del made.opset_import[:]
    made.opset_import.extend(source.opset_import)
    del made.metadata_props[:]
    made.metadata_props.extend(source.metadata_props)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, str(out))


def compare(
    policy: Path, int8: Path, suite: Suite, say: Callable[[str], None], workers: int = 1
) -> Int8:
    """Success of both in a suite, on the same robots, starts and noise; in so many processes."""
    without = replace(suite, entries=tuple(replace(e, home_hold=False) for e in suite.entries))
    columns = [c for c in columns_of([policy, int8]) if c.name != HOME_HOLD]
    result = run_suite(without, columns, workers=workers, say=say)
    found = [
        [bool(success) for e in result.entries for success in e.outcomes[c.name].success]
        for c in columns
    ]
    return Int8(len(found[0]), *(float(np.mean(one)) for one in found))


def inference_time(policy: Path, repeats: int = 4000) -> float:
    """Median time of one inference on one thread [s]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(policy), options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    observation = {source.name: np.zeros((1, source.shape[1]), dtype=np.float32)}
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        session.run(None, observation)
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


@contextmanager
def _silent() -> Iterator[None]:
    """Without the quantiser's advice about models that this is none of."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
