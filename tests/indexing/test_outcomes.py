"""What a worker answers is taken only if it can be an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from synthetic import DIMENSION, make_photo

from facecli.indexing.outcomes import FileTask, Fresh, read_result
from facecli.pipeline.results import fresh


def test_an_embedding_of_unit_length_is_taken_and_no_other(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    task = FileTask(photo.file, None)
    assert isinstance(read_result(task, fresh(photo), DIMENSION), Fresh)
    for factor in (0.0, 0.5, 2.0, np.nan, np.inf):
        forged = replace(photo, embeddings=photo.embeddings * np.float32(factor))
        with pytest.raises(ValueError, match=r"not finite|not of unit length"):
            read_result(task, fresh(forged), DIMENSION)
