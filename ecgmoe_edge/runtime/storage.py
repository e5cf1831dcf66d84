"""Bundles on disk: a folder or a zip.

A bundle is used only if every file is as its manifest describes, and it is written completely or not at all.
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
LARGEST_BUNDLE = 64 << 20  # bytes of all files; `export` writes at most about 2 MiB
MOST_FILES = 100
_LARGEST_MANIFEST = 1 << 20  # bytes
_LARGEST_DIRECTORY = 1 << 20  # bytes of the central directory of a zip
_METHODS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
)  # can be read a limited number of bytes at a time
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same bundle always gives the same bytes

# Exceptions of zipfile for damaged files; ValueError is for invalid text and for positions outside the file.
_UNREADABLE_ZIP = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, struct.error, OverflowError, LookupError),
)


@dataclass(frozen=True)
class BundleFiles:
    """Manifest and verified files of a bundle, without an engine."""

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        """The bytes of one file of the manifest.

        Raises:
            BundleError: there is no such file.
        """
        try:
            return self.contents[name]
        except KeyError:
            raise BundleError(f"{self.path} has no file {name}; it has {', '.join(sorted(self.contents))}.") from None


def open_bundle(path: str | Path) -> BundleFiles:
    """Read and verify a bundle: schema and keys of the manifest, size and sha256 of each file, no other files.

    Number and sizes of the files are checked before they are read, so a bundle takes at most `LARGEST_BUNDLE` bytes of
    memory.

    Args:
        path: a folder or a zip.

    Raises:
        BundleError: it is missing, damaged, or not a bundle.
        InputFileError: the path is neither a folder nor a regular file.
    """
    path = Path(path)
    if path.is_dir():
        return _verified(path, _folder_names(path), lambda name, size: _read_file(path, name, size))
    if is_absent(path):
        raise BundleError(f"{path} does not exist. Give the folder or the zip that `ecgmoe-edge export` wrote.")
    check_input_file(path, "bundle")
    try:
        with _LimitedFile(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            file.limits_reads = False  # the central directory has been read
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
    """Write a bundle folder, completely or not at all.

    Args:
        folder: the new folder. A folder that exists and is not a bundle is never replaced.
        manifest: the manifest; size and sha256 of each file are added here.
        files: bytes of each file, or a file to copy, by the name in the bundle. The model file and MODEL_CARD.md must
            be among them.
        overwrite: whether an existing bundle is replaced.

    Returns:
        The folder.

    Raises:
        GateFailed: the manifest contains a failed gate.
        BundleError: a file is missing, the folder cannot be replaced, or it cannot be written.
    """
    folder = Path(folder)
    if manifest.failed_gates:
        failed = "; ".join(f"{g.name}: {g.value} {g.unit}, limit {g.sense} {g.limit}" for g in manifest.failed_gates)
        raise GateFailed(f"No bundle was written, because these gates failed: {failed}.")
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
            open_bundle(scratch)  # read it back, to be sure
    except OSError as error:
        raise BundleError(
            f"{folder} could not be written: {error.strerror or error}. No partial files are left; "
            "free some space or choose another folder with -o."
        ) from error
    return folder


def pack(folder: str | Path, zip_path: str | Path) -> Path:
    """Write a bundle as one zip; the same bundle always gives the same bytes.

    Args:
        folder: the bundle; it is verified first.
        zip_path: the zip.

    Returns:
        The zip.

    Raises:
        BundleError: the bundle is invalid, or the zip cannot be written.
    """
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
    """Verify a bundle.

    Args:
        path: the bundle, for messages.
        names: names of all its files.
        read: reads a file, given its name and its size in the manifest; None as size for the manifest itself. It may
            return up to one byte more than that.
    """
    if MANIFEST_NAME not in names:
        raise BundleError(
            f"{path} has no {MANIFEST_NAME}, so it is not a bundle. Give what `ecgmoe-edge export` wrote."
        )
    manifest = decode_manifest(read(MANIFEST_NAME, None), str(path))
    if manifest.failed_gates:
        failed = ", ".join(gate.name for gate in manifest.failed_gates)
        raise BundleError(f"{path} has failed gates ({failed}); such a bundle cannot be used. Export it again.")
    if (total := sum(entry.bytes for entry in manifest.files.values())) > LARGEST_BUNDLE:
        raise BundleError(
            f"{path} needs {total:,} bytes by its manifest; a bundle has at most {LARGEST_BUNDLE:,}. Export it again."
        )
    missing = sorted(set(manifest.files) - set(names))
    if missing:
        raise BundleError(f"{path} lacks {', '.join(missing)}, which its manifest lists. Copy the whole bundle again.")
    extra = sorted(set(names) - set(manifest.files) - {MANIFEST_NAME})
    if extra:
        raise BundleError(
            f"{path} contains {', '.join(extra)}, which its manifest does not list. Remove what does not belong to it."
        )
    if manifest.model.file not in manifest.files:
        raise BundleError(f"{path} does not contain its model file {manifest.model.file}. Export it again.")
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


class _LimitedFile(io.BufferedReader):
    """A file that refuses to read a huge central directory of a zip into memory."""

    limits_reads = True

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes; BadZipFile if they are too many for a central directory."""
        if self.limits_reads and size is not None and size > _LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of files would have {size:,} bytes")
        return super().read(size)


def _folder_names(folder: Path) -> list[str]:
    names: list[str] = []
    try:
        for name, mode in _inside(folder, ""):
            if not stat.S_ISREG(mode):
                raise BundleError(
                    f"{folder}: {name} is a link or a special file. A bundle contains only regular files."
                )
            names.append(name)
            _check_count(folder, len(names))
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return names


def _inside(folder: Path, under: str) -> Iterator[tuple[str, int]]:
    """Names relative to `folder`, and modes, of all files in its subfolder `under` and below."""
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
            f"{path} contains more than {MOST_FILES} files, so it is not a bundle. Give the bundle's own folder."
        )


def _read_file(folder: Path, name: str, size: int | None) -> bytes:
    limit = _LARGEST_MANIFEST if size is None else size
    try:
        with (folder / name).open("rb") as file:
            return file.read(limit + 1)  # one byte more shows that the file is too long
    except OSError as error:
        raise BundleError(f"{folder / name} cannot be read: {error.strerror or error}.") from error


def _zip_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members of a zip by their name in the bundle. If one folder contains everything, its name is removed."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _check_count(path, len(infos))
    names = [info.orig_filename for info in infos]  # `filename` ends at the first NUL
    for info in infos:
        check_file_name(f"{info.orig_filename}/x")  # the suffix allows the name of the manifest
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise BundleError(
                f"{path}: {info.filename} is a link or a special file. A bundle contains only regular files."
            )
        if info.compress_type not in _METHODS:
            raise BundleError(f"{path}: {info.filename} has an unsupported compression. Export it again.")
    if (total := sum(info.file_size for info in infos)) > LARGEST_BUNDLE + _LARGEST_MANIFEST:
        raise BundleError(
            f"{path} would unpack to {total:,} bytes; a bundle has at most {LARGEST_BUNDLE:,}. Do not use it."
        )
    if len(set(names)) != len(names):
        raise BundleError(f"{path} contains a file twice. It was not made by `ecgmoe-edge export`; export it again.")
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
        raise BundleError(f"{folder} exists and is not a folder. Choose another name with -o.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleError(f"{folder} exists, contains other files and is not a bundle. Choose another folder with -o.")
    if not overwrite:
        raise BundleError(f"{folder} already contains a bundle. Remove it, or choose another folder with -o.")
    if foreign := sorted(set(_folder_names(folder)) - _own_files(folder)):
        raise BundleError(
            f"{folder} contains {', '.join(foreign[:3])}, which is not part of the bundle and would be lost. Move it, "
            "or choose another folder with -o."
        )


def _own_files(folder: Path) -> set[str]:
    """Names of the files of a bundle: those in its manifest, and the usual ones."""
    usual = {MANIFEST_NAME, MODEL_CARD_NAME, *(f"model.{name}" for name in FORMATS)}
    try:
        listed = set(decode_manifest(_read_file(folder, MANIFEST_NAME, None), str(folder)).files)
    except BundleError:  # the manifest is damaged
        return usual | {item.name for item in folder.iterdir() if item.name.startswith("model.")}
    return usual | listed


def _put(target: Path, source: bytes | Path) -> FileEntry:
    content = source if isinstance(source, bytes) else source.read_bytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))
