"""What ``application.yaml`` may say: a model for each section, every name and path checked before any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..hashing.recipes import learns_from_labels
from .document import read_document
from .explanations import Misplaced, did_you_mean, problems_of
from .fields import FileOrFolder, Folder, Retrain, output, path_of
from .hashers import check_hasher, hasher_names

__all__ = [
    "ClassifierSection",
    "Configuration",
    "DataSection",
    "EmbedderSection",
    "EvaluationSection",
    "ExportsSection",
    "HasherSection",
    "IndexSection",
    "KnnSection",
    "read_configuration",
]


class _Section(BaseModel):
    # Strict: 25 is no text and "25" no number. Paths are checked by hand and are Path objects already.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


class DataSection(_Section):
    """What is collected: one of ``images``, ``texts``, ``words``."""

    images: Folder | None = None
    texts: FileOrFolder | None = None
    words: str | None = None
    labels: str | None = None
    limit: int | None = Field(default=None, ge=1)

    @field_validator("words", "labels", mode="after")
    @classmethod
    def _file(cls, value: str | None, info: ValidationInfo) -> str | None:
        """A word that stands for something, or a file's absolute path."""
        meanings = {"words": ("vocabulary",), "labels": ("folder", "none")}[info.field_name or ""]
        if value is None or value in meanings:
            return value
        path = path_of(value, info)
        if not path.is_file():
            words = " or ".join(f"'{word}'" for word in meanings)
            raise ValueError(f"{info.field_name} must be {words} or a file, got {value!r}: there is no file {path}")
        return str(path)

    @model_validator(mode="after")
    def _one_kind(self) -> DataSection:
        given = [name for name in ("images", "texts", "words") if getattr(self, name) is not None]
        if len(given) != 1:
            raise Misplaced([((), f"data needs one of images, texts, words, got {', '.join(given) or 'none'}")])
        if self.limit is not None and (given == ["images"] or (self.texts is not None and self.texts.is_dir())):
            raise Misplaced([(("limit",), "limit goes with words and with a file of texts, not with a folder")])
        if self.labels == "folder" and not self.source_is_folder:
            raise Misplaced([(("labels",), "labels: folder needs a folder of images or texts")])
        return self

    @property
    def kind(self) -> Literal["images", "texts", "words"]:
        """Which of the three was given."""
        return "images" if self.images is not None else "texts" if self.texts is not None else "words"

    @property
    def source_is_folder(self) -> bool:
        """Whether the items are files in a folder."""
        return self.images is not None or (self.texts is not None and self.texts.is_dir())

    @property
    def label_from(self) -> str | None:
        """As ``Collection.sync`` takes it: by default a folder's items have the names of their sub-folders."""
        if self.labels is None:
            return "folder" if self.source_is_folder else None
        return None if self.labels == "none" else self.labels


_EMBEDDER_OF = {"images": "efficientnet-lite0", "texts": "minilm", "words": "glove"}


class EmbedderSection(_Section):
    """What turns items into vectors: a name as ``simskip.embedding.load`` takes it, and its options."""

    name: str = Field(min_length=1)
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str, info: ValidationInfo) -> str:
        from ..embedding import names

        known = names()
        families = dict(each.split(":") for each in known if ":" in each)  # "onnx" -> "PATH"
        family, colon, rest = name.partition(":")
        if colon and family in families and rest:
            if families[family] != "PATH":
                return name
            path = path_of(rest, info)
            if not path.exists():
                raise ValueError(f"there is no model {rest!r} (looked at {path})")
            return f"{family}:{path}"
        if name not in known and path_of(name, info).is_file():
            return str(path_of(name, info))
        if name not in known or colon:
            raise ValueError(f"there is no embedder {name!r}{did_you_mean(name, known)}")
        return name


class ClassifierSection(_Section):
    """A classifier of the vectors, for search within the likely classes; see ``VectorClassifier``."""

    hidden: list[Annotated[int, Field(ge=1)]] = []
    epochs: int | None = Field(default=None, ge=1)
    validation_fraction: float = Field(default=0.1, ge=0, le=0.5)
    random_state: int = Field(default=0, ge=0)
    retrain: Retrain = 0.2


class HasherSection(_Section):
    """What turns vectors into codes, and when it is trained again."""

    name: str = "neighbors"
    bits: int = Field(default=64, ge=1, le=4096)
    hold_out: int = Field(default=1000, ge=0)
    retrain: Retrain = 0.2
    parameters: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = hasher_names()
        if name not in known:
            raise ValueError(f"there is no hasher {name!r}{did_you_mean(name, known)}")
        return name

    @model_validator(mode="after")
    def _parameters(self) -> HasherSection:
        mistakes = check_hasher(self.name, self.bits, self.parameters)
        if mistakes:
            raise Misplaced([(("parameters", *location), message) for location, message in mistakes])
        return self


class IndexSection(_Section):
    """How the collection will be searched; the evaluation judges exactly this, beside the codes alone."""

    rerank: int | None = Field(default=10, ge=1)
    scoring: Literal["codes", "asymmetric"] = "codes"


_METRICS = ("recall", "map", "precision", "memory", "time")


class EvaluationSection(_Section):
    """What the codes cost: the held-out items ask, the others answer."""

    k: int = Field(default=25, ge=1)
    queries: int = Field(default=1000, ge=1)
    metrics: list[Literal["recall", "map", "precision", "memory", "time"]] = Field(
        default=["recall", "map", "memory", "time"], min_length=1
    )
    baselines: bool = True
    min_recall: float = Field(default=0.95, ge=0, le=1)


class KnnSection(_Section):
    """The table of every item's nearest items."""

    k: int = Field(default=25, ge=1)
    path: Annotated[Path, output(".npz")] | None = None


class ExportsSection(_Section):
    """Files to write; folders are made, files are replaced."""

    parquet: Annotated[Path, output(".parquet")] | None = None
    hasher: Annotated[Path, output(".safetensors")] | None = None
    codes: Annotated[Path, output(".npy")] | None = None
    knn: KnnSection | None = None
    report: list[Annotated[Path, output(".html", ".json", ".csv")]] = []

    @field_validator("knn", mode="before")
    @classmethod
    def _only_k(cls, value: Any) -> Any:
        return {"k": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("report", mode="before")
    @classmethod
    def _one_report(cls, value: Any) -> Any:
        return [] if value is None else value if isinstance(value, list) else [value]


class Configuration(_Section):
    """An application; see the README for an example.

    Attributes
    ----------
    path, folder : Path
        The file, and where it lies: relative paths in it begin there.
    """

    data: DataSection
    collection: Annotated[Path, output()]
    embedder: EmbedderSection
    classifier: ClassifierSection | None = None
    hasher: HasherSection | None = HasherSection()
    index: IndexSection = IndexSection()
    evaluation: EvaluationSection | None = None
    exports: ExportsSection = ExportsSection()
    threads: int | None = Field(default=None, ge=1, le=1024)
    _path: Path = PrivateAttr(default=Path("application.yaml"))

    @property
    def path(self) -> Path:
        return self._path

    @property
    def folder(self) -> Path:
        return self._path.parent

    def _embeds(self) -> str | None:
        """What the embedder takes, as far as its name tells."""
        from ..embedding import names

        name, colon, _ = self.embedder.name.partition(":")
        for kind in ("images", "text"):
            if name + colon in {
                known.partition(":")[0] + colon for known in names(kind) if (":" in known) == bool(colon)
            }:
                return kind
        return None

    @field_validator("embedder", mode="before")
    @classmethod
    def _only_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("classifier", "evaluation", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """A heading with nothing below it, or true: as usual; false: not at all."""
        return {} if value is True or value is None else None if value is False else value

    @field_validator("hasher", mode="before")
    @classmethod
    def _only_a_hasher(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else {} if value is None else None if value is False else value

    @model_validator(mode="after")
    def _fits_together(self) -> Configuration:
        mistakes: list[tuple[tuple[Any, ...], str]] = []
        labelled = self.data.label_from is not None
        embeds = self._embeds()
        if embeds is not None and embeds != ("images" if self.data.kind == "images" else "text"):
            message = f"{self.embedder.name} embeds {embeds}, but data has {self.data.kind}"
            mistakes.append((("embedder",), message))
        if self.hasher is not None and learns_from_labels(self.hasher.name) and not labelled:
            message = f"the hasher '{self.hasher.name}' learns from labels: give data.labels, or choose 'neighbors'"
            mistakes.append((("hasher",), message))
        if self.classifier is not None and not labelled:
            mistakes.append((("classifier",), "a classifier learns from labels: give data.labels"))
        if self.hasher is None:
            for name, given in (
                ("evaluation", self.evaluation),
                (("exports", "hasher"), self.exports.hasher),
                (("exports", "codes"), self.exports.codes),
            ):
                if given is not None:
                    location = (name,) if isinstance(name, str) else name
                    mistakes.append((location, f"{location[-1]} needs a hasher"))
        elif self.evaluation is not None and self.hasher.hold_out == 0:
            mistakes.append((("evaluation",), "an evaluation needs items that the hasher has not seen: hold_out is 0"))
        if self.exports.report and self.evaluation is None:
            mistakes.append((("exports", "report"), "a report needs the section 'evaluation'"))
        if mistakes:
            raise Misplaced(mistakes)
        return self


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Read and check an application's file.

    Parameters
    ----------
    path : path
        A YAML file; relative paths in it begin at its folder.

    Returns
    -------
    Configuration

    Raises
    ------
    ConfigurationError
        With all problems, each with its line and column: names that are not known (and what was probably meant),
        wrong types, paths that do not exist, sections that do not fit together.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> Path("words.txt").write_text("paris\\nrome\\n")
    11
    >>> _ = Path("application.yaml").write_text("data: {words: words.txt}\\nhasher: {bits: 32}\\n")
    >>> configuration = read_configuration("application.yaml")
    >>> configuration.hasher.bits, configuration.collection.name
    (32, 'application.db')
    """
    document = read_document(path)
    file = Path(path).absolute()
    given = dict(document.value)
    _fill_in(given, file)
    try:
        configuration = Configuration.model_validate(given, context={"folder": file.parent})
    except ValidationError as error:
        raise document.error([*document.problems, *problems_of(error, Configuration, document)]) from None
    if document.problems:
        raise document.error(document.problems)
    configuration._path = file
    return configuration


def _fill_in(given: dict[str, Any], file: Path) -> None:
    """What the file left out and can be told from the rest: the collection's name and the usual embedder."""
    if given.get("collection") is None:
        given["collection"] = file.with_suffix(".db").name
    if given.get("embedder") is None:
        data = given["data"] if isinstance(given.get("data"), dict) else {}
        kinds = [_EMBEDDER_OF[name] for name in _EMBEDDER_OF if data.get(name) is not None]
        given["embedder"] = {"name": kinds[0] if kinds else "efficientnet-lite0"}
    for name in ("index", "exports"):
        if name in given and given[name] is None:  # a heading with nothing below it
            del given[name]
