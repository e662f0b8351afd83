"""What runs a network: torch, from its tensors, or ONNX Runtime, from its export. One protocol.

A backend maps the levels of pictures to probabilities; all else (reading sound, drawing, resizing)
is done before, by the functions that drew the training pictures. Neither is imported before a model
is opened, so that listening through ONNX Runtime needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from spectro.errors import MissingExtraError, ModelError
from spectro.models.card import CARD, TENSORS, ModelCard, read_card, shortened
from spectro.models.runtime import onnx_runtime
from spectro.plumbing import extras
from spectro.plumbing.files import sha256_of

__all__ = [
    "FILES",
    "Answer",
    "Backend",
    "BackendName",
    "OnnxBackend",
    "TorchBackend",
    "is_run",
    "open_backend",
]

Levels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
BackendName = Literal["auto", "torch", "onnx", "int8"]

FILES = {"onnx": "model.onnx", "int8": "model.int8.onnx"}
_MAX_BYTES = 1 << 31  # of an export; protobuf takes no more
_ROUNDING = 1e-3  # by which the sum of probabilities may exceed 1


class Answer(NamedTuple):
    """What a network makes of pictures.

    Attributes
    ----------
    probabilities : np.ndarray [shape=(n, classes)], float32
        Each row sums to one.
    known : np.ndarray [shape=(n,)], bool
        False where the sound is none that the network was trained on.
    """

    probabilities: Probabilities
    known: npt.NDArray[np.bool_]


class Backend(Protocol):
    """A network that can be asked.

    Attributes
    ----------
    card : ModelCard
        What it is, and how its pictures are drawn.
    """

    card: ModelCard

    def __call__(self, levels: Levels) -> Answer:
        """Ask about pictures.

        Parameters
        ----------
        levels : np.ndarray [shape=(n, height, width, 3)], uint8
            Of :func:`spectro.pictures.spectrogram.network_levels`.

        Returns
        -------
        Answer
        """
        ...


class TorchBackend:
    """The network as torch runs it, on the CPU.

    Parameters
    ----------
    folder : str or Path
        Model folder with ``model.safetensors``.

    Raises
    ------
    ModelError
        If it cannot be loaded.
    """

    def __init__(self, folder: str | Path) -> None:
        read_card(folder)  # a bad one is told before seconds are spent on importing torch
        try:
            from spectro.models.folder import load_model
        except ModuleNotFoundError as error:
            raise extras.explained(error, "running a network with torch") from None

        self._network, self.card = load_model(folder)

    def __call__(self, levels: Levels) -> Answer:
        """Ask about pictures; see :class:`Backend`."""
        import torch

        from spectro.models.folder import predict

        pixels = levels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        asked = torch.from_numpy(np.ascontiguousarray(pixels))
        found = predict(self._network, self.card, asked)
        probabilities = found.probabilities.numpy()
        return Answer(probabilities, self.card.known(levels, probabilities, found.energy.numpy()))


class OnnxBackend:
    """The network as ONNX Runtime runs it, on one thread that does not spin while it waits.

    Parameters
    ----------
    folder : str or Path
        Model folder with an export (:mod:`spectro.models.exports.float32`).
    name : str
        Which file of it: "model.onnx" or "model.int8.onnx".

    Raises
    ------
    ModelError
        If there is none, it cannot be loaded, or it was exported from another model.
    MissingExtraError
        If ONNX Runtime is not installed.
    """

    def __init__(self, folder: str | Path, name: str = FILES["onnx"]) -> None:
        self.card = read_card(folder)
        self._path = Path(folder) / name
        self._session = _open_session(self._path)
        _check_export(self._session, self.card, self._path)

    def __call__(self, levels: Levels) -> Answer:
        """Ask about pictures; see :class:`Backend`."""
        try:
            probabilities, *energy = self._session.run(None, {"levels": levels})
        except Exception as error:  # ONNX Runtime's errors have no common class but this
            raise ModelError(
                f"{self._path}: cannot be run ({shortened(error)}); export the model again"
            ) from None
        shape = len(levels), len(self.card.labels)
        if not _are_probabilities(probabilities, shape) or any(
            one.shape != shape[:1] or np.isnan(one).any() for one in energy
        ):
            raise ModelError(
                f"{self._path}: does not answer with probabilities of the classes; export the "
                "model again"
            )
        return Answer(probabilities, self.card.known(levels, probabilities, *energy))


def open_backend(folder: str | Path, name: BackendName = "auto") -> Backend:
    """Open a model folder with what is installed, or with what was asked for.

    Parameters
    ----------
    folder : str or Path
        Model folder; or a run, whose folds' networks are then averaged
        (:class:`spectro.listening.averaging.RunBackend`).
    name : "auto", "torch", "onnx" or "int8"
        "auto" takes the export where there is one, which starts and runs sooner, else torch
        (:func:`spectro.listening.choice.choose_backend`).

    Returns
    -------
    Backend

    Raises
    ------
    ConfigError
        If `name` is none of these.
    ModelError
        If the folder holds no such model, or a damaged one.
    MissingExtraError
        If what is needed is not installed.
    """
    from spectro.listening.choice import choose_backend

    name = choose_backend(folder, name)
    if is_run(folder):
        from spectro.listening.averaging import RunBackend

        return RunBackend(folder, name)
    if name == "torch":
        return TorchBackend(folder)
    return OnnxBackend(folder, FILES[name])


def is_run(folder: str | Path) -> bool:
    """Tell whether a folder is a run, and not a model folder."""
    return (Path(folder) / "run.json").is_file() and not (Path(folder) / CARD).is_file()


def _open_session(path: Path) -> Any:
    """Load an export from its bytes alone: it can name no other file."""
    try:
        onnxruntime = onnx_runtime()
    except ImportError:
        raise MissingExtraError("onnx", f"{path.name} without torch") from None
    if not path.is_file():
        raise ModelError(
            f"{path}: is not there; export the model where it was trained (spectro export), or run "
            "it with torch: pip install 'spectro[train]'"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{path}: is longer than {_MAX_BYTES:,} bytes; export the model again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common class but this
        raise ModelError(
            f"{path}: cannot be loaded ({shortened(error)}); export the model again"
        ) from None


def _are_probabilities(found: npt.NDArray[Any], shape: tuple[int, int]) -> bool:
    """Tell whether each row of an answer may be probabilities of classes that exclude each other.

    They need not sum to one: what is none of the classes may have the rest.
    """
    if found.shape != shape or found.dtype != np.float32:
        return False
    return bool((found >= 0).all() and (found.sum(axis=1) <= 1 + _ROUNDING).all())  # nan is neither


def _check_export(session: Any, card: ModelCard, path: Path) -> None:
    """Compare what an export says of itself with the card beside it."""
    height, width = (card.size, card.size) if card.size else card.spectrogram.shape
    by_energy = card.unknown is not None and card.unknown.method == "energy"
    given = [("probabilities", [len(card.labels)]), *([("energy", [])] if by_energy else [])]
    found = [(each.name, each.shape[1:]) for each in session.get_outputs()]
    asked = [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()]
    wanted = [("levels", "tensor(uint8)", [height, width, 3])]
    kept = _about(session)
    of_card = asked == wanted and found == given and _is_of(kept, card)
    if not of_card or not _is_of_tensors(_about(session, "tensors"), path.with_name(TENSORS)):
        raise ModelError(f"{path}: was not exported from this model; export the model again")


def _about(session: Any, name: str = "spectro") -> str:
    """Return what an export says of itself, as the card; nothing where it holds no such text."""
    try:
        return str(session.get_modelmeta().custom_metadata_map.get(name, ""))
    except UnicodeDecodeError:
        return ""


def _is_of_tensors(digits: str, path: Path) -> bool:
    """Tell whether the tensors beside an export are those that it was made of, if both say."""
    if not digits or not path.is_file():
        return True
    return sha256_of(path) == digits


def _is_of(text: str, card: ModelCard) -> bool:
    """Tell whether the card in an export says the same of network, pictures and answers."""
    try:
        return ModelCard.from_json(text).same_answers(card)
    except Exception:  # whatever is in it, it is not this card
        return False
