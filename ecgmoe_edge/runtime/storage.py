"""A bundle on disk: a folder or one zip, read only when every file is what the manifest says, written all or
nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ecgmoe_edge.device_profiles.formats import FORMATS
from ecgmoe_edge.durable_files import replace_file, replace_folder
from ecgmoe_edge.errors import BundleError, GateFailed
from ecgmoe_edge.input_files import check_input_file, is_absent
from ecgmoe_edge.runtime.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    check_file_name,
    decode_manifest,
    encode_manifest,
)

MODEL_CARD_NAME = "MODEL_CARD.md"
LARGEST_BUNDLE = 64 << 20  # bytes of all its files; the largest that `export` writes has 2 MiB
MOST_FILES = 100
_LARGEST_MANIFEST = 1 << 20  # bytes; a larger one is no manifest
_LARGEST_DIRECTORY = 1 << 20  # bytes of a zip's list of files
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that can be read a bounded piece at a time
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same bundle gives the same zip, byte for byte


# What zipfile raises for damage of one kind or another; ValueError is that of text and of places outside the file.
_UNREADABLE_ZIP = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, struct.error, OverflowError, LookupError),
)


@dataclass(frozen=True)
class BundleFiles:
    """A bundle's manifest and verified files, with no runtime started."""

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        """The bytes of one file that the manifest lists."""
        try:
            return self.contents[name]
        except KeyError:
            raise BundleError(f"{self.path} has no file {name}; it has {', '.join(sorted(self.contents))}.") from None


def open_bundle(path: str | Path) -> BundleFiles:
    """Read a bundle, folder or zip, and verify it: schema, keys, every file's size and sha256, and no file
    besides.

    Sizes and numbers of files are held to limits before anything is read: a bundle takes at most `LARGEST_BUNDLE` of
    memory. Raises BundleError, or InputFileError for a path that is no file, which say what is wrong and what to do.
    """
    path = Path(path)
    if path.is_dir():
        return _verified(path, _folder_names(path), lambda name, size: _read_file(path, name, size))
    if is_absent(path):
        raise BundleError(f"{path} does not exist. Give the folder or the zip that `ecgmoe-edge export` wrote.")
    check_input_file(path, "bundle")
    try:
        with _CarefulFile(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            file.reads_directory = False
            members = _zip_members(path, archive)
            return _verified(path, list(members), lambda name, size: _read_member(path, archive, members[name], size))
    except _UNREADABLE_ZIP as error:
        raise BundleError(
            f"{path} is neither a folder nor a zip that can be read ({error}). "
            "It is damaged or not a bundle: get it again, or export it again."
        ) from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from error


def write_bundle(
    folder: str | Path, manifest: Manifest, files: Mapping[str, bytes | Path], *, overwrite: bool = False
) -> Path:
    """Write a bundle folder; size and sha256 of each file are put into the manifest here.

    `files` maps names in the bundle to their bytes or to a file to copy; the model file and MODEL_CARD.md
    must be among them. The folder appears complete or not at all. An existing bundle is replaced only with
    `overwrite`; a folder that is not a bundle never. Raises GateFailed where the manifest holds a failed
    gate, BundleError otherwise.
    """
    folder = Path(folder)
    if manifest.failed_gates:
        said = "; ".join(f"{g.name}: {g.value} {g.unit}, limit {g.sense} {g.limit}" for g in manifest.failed_gates)
        raise GateFailed(f"No bundle was written, for these gates failed: {said}.")
    for name in files:
        check_file_name(name)
    for name in (manifest.model.file, MODEL_CARD_NAME):
        if name not in files:
            raise BundleError(f"A bundle needs the file {name}; {folder} was not written.")
    _check_target(folder, overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(folder) as scratch:
            entries = {name: _put(scratch / name, source) for name, source in sorted(files.items())}
            (scratch / MANIFEST_NAME).write_bytes(encode_manifest(msgspec.structs.replace(manifest, files=entries)))
            open_bundle(scratch)  # what was written is what will be read
    except OSError as error:
        raise BundleError(
            f"{folder} could not be written: {error.strerror or error}. Nothing was left behind; "
            "free some space or choose another folder with -o."
        ) from error
    return folder


def pack(folder: str | Path, zip_path: str | Path) -> Path:
    """One zip of a bundle folder, verified first; the same bundle gives the same bytes. Raises BundleError."""
    bundle, zip_path = open_bundle(folder), Path(zip_path)
    names = [MANIFEST_NAME, *sorted(bundle.contents)]
    try:
        zip_path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(zip_path, open_bundle) as partial, zipfile.ZipFile(partial, "w") as archive:
            for name in names:
                info = zipfile.ZipInfo(name, _ZIP_TIME)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                listed = name != MANIFEST_NAME
                archive.writestr(info, bundle.contents[name] if listed else encode_manifest(bundle.manifest))
    except OSError as error:
        raise BundleError(f"{zip_path} could not be written: {error.strerror or error}.") from error
    return zip_path


def _verified(path: Path, names: list[str], read: Callable[[str, int | None], bytes]) -> BundleFiles:
    """The bundle whose files are `names`; `read` takes a name and the size to expect."""
    if MANIFEST_NAME not in names:
        raise BundleError(
            f"{path} has no {MANIFEST_NAME}, so it is not a bundle. Give what `ecgmoe-edge export` wrote."
        )
    manifest = decode_manifest(read(MANIFEST_NAME, None), str(path))
    if manifest.failed_gates:
        failed = ", ".join(gate.name for gate in manifest.failed_gates)
        raise BundleError(f"{path} has failed gates ({failed}), and such a bundle is not run. Export it again.")
    if (total := sum(entry.bytes for entry in manifest.files.values())) > LARGEST_BUNDLE:
        raise BundleError(
            f"{path} is to hold {total:,} bytes; a bundle has at most {LARGEST_BUNDLE:,}. Export it again."
        )
    missing = sorted(set(manifest.files) - set(names))
    if missing:
        raise BundleError(f"{path} lacks {', '.join(missing)}, which its manifest lists. Copy the whole bundle again.")
    extra = sorted(set(names) - set(manifest.files) - {MANIFEST_NAME})
    if extra:
        raise BundleError(
            f"{path} holds {', '.join(extra)}, which its manifest does not list. Remove what does not belong to it."
        )
    if manifest.model.file not in manifest.files:
        raise BundleError(f"{path} names the model file {manifest.model.file} and does not list it. Export it again.")
    contents = {}
    for name, entry in manifest.files.items():
        content = read(name, entry.bytes)
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise BundleError(
                f"{path}: {name} is not the file that the manifest describes: it was changed or damaged. "
                "Do not use it; copy or export the bundle again."
            )
        contents[name] = content
    return BundleFiles(path, manifest, contents)


class _CarefulFile(io.BufferedReader):
    """A zip file that does not give its list of files whole where that would take much memory."""

    reads_directory = True

    def read(self, size: int | None = -1) -> bytes:
        """As any file's."""
        if self.reads_directory and size is not None and size > _LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of files is to have {size:,} bytes")
        return super().read(size)


def _folder_names(folder: Path) -> list[str]:
    names: list[str] = []
    try:
        for name, mode in _inside(folder, ""):
            if not stat.S_ISREG(mode):
                raise BundleError(f"{folder}: {name} is a link or a special file. A bundle holds plain files only.")
            names.append(name)
            _check_count(folder, len(names))
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return names


def _inside(folder: Path, under: str) -> Iterator[tuple[str, int]]:
    """Names, from `folder` on, and modes of what a folder holds, but for folders: those are entered."""
    with os.scandir(folder / under) as entries:
        for entry in entries:
            name = f"{under}/{entry.name}" if under else entry.name
            if entry.is_dir(follow_symlinks=False):
                _check_count(folder, name.count("/"))
                yield from _inside(folder, name)
            else:
                yield name, entry.stat(follow_symlinks=False).st_mode


def _check_count(path: Path, files: int) -> None:
    if files > MOST_FILES:
        raise BundleError(
            f"{path} holds more than {MOST_FILES} files, so it is no bundle. Name the bundle's own folder."
        )


def _read_file(folder: Path, name: str, size: int | None) -> bytes:
    limit = _LARGEST_MANIFEST if size is None else size
    try:
        with (folder / name).open("rb") as file:
            return file.read(limit + 1)  # one more than expected is enough to see that it is longer
    except OSError as error:
        raise BundleError(f"{folder / name} cannot be read: {error.strerror or error}.") from error


def _zip_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members by their name in the bundle; one folder round everything is taken off."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _check_count(path, len(infos))
    names = [info.orig_filename for info in infos]  # as the zip has it; zipfile ends a name at its first NUL
    for info in infos:
        check_file_name(f"{info.orig_filename}/x")  # any manifest is fine here, a way out of the zip is not
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise BundleError(f"{path}: {info.filename} is a link or a special file. A bundle holds plain files only.")
        if info.compress_type not in _METHODS:
            raise BundleError(f"{path}: {info.filename} is compressed in a way that bundles are not. Export it again.")
    if (total := sum(info.file_size for info in infos)) > LARGEST_BUNDLE + _LARGEST_MANIFEST:
        raise BundleError(
            f"{path} would unpack to {total:,} bytes; a bundle has at most {LARGEST_BUNDLE:,}. Do not use it."
        )
    if len(set(names)) != len(names):
        raise BundleError(f"{path} holds a file twice. It was not made by `ecgmoe-edge export`; export it again.")
    tops = {name.split("/")[0] for name in names}
    strip = len(tops) == 1 and MANIFEST_NAME not in names
    return {(name.split("/", 1)[-1] if strip else name): info for name, info in zip(names, infos, strict=True)}


def _read_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int | None) -> bytes:
    limit = _LARGEST_MANIFEST if size is None else size
    if info.file_size > limit:
        raise BundleError(f"{path}: {info.filename} is larger than the manifest says. Do not use this bundle.")
    with archive.open(info) as member:
        return member.read(limit + 1)


def _check_target(folder: Path, overwrite: bool) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder} exists and is no folder. Choose another name with -o.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleError(f"{folder} exists, holds other files and is no bundle. Choose another folder with -o.")
    if not overwrite:
        raise BundleError(f"{folder} already holds a bundle. Remove it, or choose another folder with -o.")
    if foreign := sorted(set(_folder_names(folder)) - _own_files(folder)):
        raise BundleError(
            f"{folder} holds {', '.join(foreign[:3])} besides a bundle, which would be lost. Move that away, or choose "
            "another folder with -o."
        )


def _own_files(folder: Path) -> set[str]:
    """Names of a bundle's files: those that its manifest lists, and the usual ones where that is damaged."""
    usual = {MANIFEST_NAME, MODEL_CARD_NAME, *(f"model.{name}" for name in FORMATS)}
    try:
        listed = set(decode_manifest(_read_file(folder, MANIFEST_NAME, None), str(folder)).files)
    except BundleError:
        return usual | {item.name for item in folder.iterdir() if item.name.startswith("model.")}
    return usual | listed


def _put(target: Path, source: bytes | Path) -> FileEntry:
    content = source if isinstance(source, bytes) else source.read_bytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))
