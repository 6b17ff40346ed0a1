"""What a finished run says about how to repeat it, made true for this machine."""

from __future__ import annotations

from dataclasses import replace

from geoseg.errors import GeosegError, InputMissingError
from geoseg.model.file import bundled, cached, file_sha256, find_model
from geoseg.settings import OutputSettings, PredictSettings, RunSettings, ScheduleSettings
from geoseg.stories.past import Past


def asked_then(settings: RunSettings, past: Past) -> RunSettings:
    """The old run's settings for a new one: the same result, wherever and however it is computed.

    What was chosen then (device, precision, backend, batch) is asked for now; threads, workers and memory are this
    machine's; nothing is overwritten unless the new call says so.

    Args:
        settings: as recorded.
        past: the run.
    """
    resolved = past.key.get("segment", {})
    predict = settings.predict
    pinned = {
        name: resolved[name]
        for name in ("device", "precision", "backend")
        if getattr(predict, name) == "auto" and resolved.get(name, "onnx") != "onnx"
    }
    if predict.batch_size is None and "batch" in resolved:  # a GPU chooses its kernels by the batch's shape
        pinned["batch_size"] = int(resolved["batch"])
    return replace(
        settings,
        predict=PredictSettings(**{**vars(predict), **pinned}),
        schedule=ScheduleSettings(),
        output=OutputSettings(name=past.name),
    )


def same_model(name: str, past: Past) -> str:
    """The model of the old run: by its name if that still holds the same bytes, else any at hand that does.

    Args:
        name: name or file of the model, as it was given then.
        past: the run.

    Returns:
        what `--model` takes; the name as it is where it means another model now and no other has the same bytes.

    Raises:
        InputMissingError: the name means nothing any more, and no model at hand has the same bytes.
    """
    missing: GeosegError | None = None
    try:
        if find_model(name).sha256 == past.model_sha256:
            return name
    except GeosegError as error:
        missing = error
    same = (str(path) for path in {**cached(), **bundled()}.values() if file_sha256(path) == past.model_sha256)
    found = next(same, None)
    if found is None and missing is not None:
        raise InputMissingError(
            f"the model of {past.record} ({name}, sha256 {past.model_sha256}) is not on this machine; name its file "
            f"with -m."
        ) from missing
    return found or name
