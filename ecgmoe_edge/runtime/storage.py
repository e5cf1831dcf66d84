"""A bundle on disk: a folder or one zip, read only when every file is what the manifest says, written all or
nothing.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ecgmoe_edge.errors import BundleError, GateFailed
from ecgmoe_edge.runtime.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    check_file_name,
    decode_manifest,
    encode_manifest,
)

MODEL_CARD_NAME = "MODEL_CARD.md"
_LARGEST_MANIFEST = 16 << 20  # bytes; a larger one is no manifest
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same bundle gives the same zip, byte for byte


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

    Raises BundleError, which says what is wrong and what to do.
    """
    path = Path(path)
    if path.is_dir():
        return _verified(path, _folder_names(path), lambda name, size: _read_file(path, name, size))
    if not path.exists():
        raise BundleError(f"{path} does not exist. Give the folder or the zip that `ecgmoe-edge export` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _zip_members(path, archive)
            return _verified(path, list(members), lambda name, size: _read_member(path, archive, members[name], size))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(
            f"{path} is neither a folder nor a zip that can be read ({error}). "
            "It is damaged or not a bundle: get it anew, or export it again."
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
    missing = sorted(set(manifest.files) - set(names))
    if missing:
        raise BundleError(f"{path} lacks {', '.join(missing)}, which its manifest lists. Copy the whole bundle again.")
    extra = sorted(set(names) - set(manifest.files) - {MANIFEST_NAME})
    if extra:
        raise BundleError(
            f"{path} holds {', '.join(extra)}, which its manifest does not list. Remove what does not belong to it."
        )
    if manifest.model.file not in manifest.files:
        raise BundleError(f"{path} names the model file {manifest.model.file} and does not list it. Export it anew.")
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


def _folder_names(folder: Path) -> list[str]:
    names = []
    for item in folder.rglob("*"):
        mode = item.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        name = item.relative_to(folder).as_posix()
        if not stat.S_ISREG(mode):
            raise BundleError(f"{folder}: {name} is a link or a special file. A bundle holds plain files only.")
        names.append(name)
    return names


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
    names = [info.filename for info in infos]
    for name in names:
        check_file_name(f"{name}/x")  # any manifest is fine here, a way out of the zip is not
    if len(set(names)) != len(names):
        raise BundleError(f"{path} holds a file twice. It was not made by `ecgmoe-edge export`; export it anew.")
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


def _put(target: Path, source: bytes | Path) -> FileEntry:
    content = source if isinstance(source, bytes) else source.read_bytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))
