"""The MIT-BIH Arrhythmia Database: special properties of its records, and how they are identified.

Moody and Mark, IEEE Engineering in Medicine and Biology 20(3):45-50, 2001; https://physionet.org/content/mitdb/1.0.0/.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import MappingProxyType

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.wfdb_files.header import header_file, read_header, record_path

SAME_PERSON = MappingProxyType({"201": "202"})  # 201 is in DS1, 202 in DS2
PACED = ("102", "104", "107", "217")
DOMINANT_S_RECORD = "232"  # has three quarters of the S beats in DS2; S is the most frequent class of this patient

_RATE_HZ = 360.0
_SAMPLES = 650_000
# For each record, the first 32 bits of the SHA-256 of the two signal checksums in its header.
_DIGESTS = """
    100:773a3f9d 101:ed4d152a 102:0e59ec9c 103:107d0da3 104:8b82dbf9 105:8523b142 106:4f0b50b1 107:3f9d49bf
    108:98cef224 109:9e05aadb 111:247f47b5 112:82226253 113:cfd26c1a 114:f1efaea2 115:0d3ca521 116:bc9d496f
    117:ab028b1f 118:07ff8078 119:a8530584 121:c64d7096 122:94bf6b85 123:c5188271 124:1af631b4 200:b416d4cb
    201:e4aeec23 202:58d6acb7 203:1250989a 205:ccb465bb 207:782d9e35 208:46fa5508 209:aee98087 210:480c7fff
    212:3b2288bd 213:2d12cabc 214:be5ecb3d 215:67938ae4 217:542c970d 219:3cbeb3ce 220:212cd1b1 221:c9ed71ee
    222:119b2847 223:48437ee0 228:f1fa8bcb 230:3c87d332 231:2663b521 232:e89ddac0 233:ccba3f6e 234:ad600f66
"""
RECORD_OF_DIGEST = {digest: record for record, digest in (entry.split(":") for entry in _DIGESTS.split())}


def record_of(path: Path) -> str | None:
    """The name of the recording at `path` in this database; None if it is not from this database.

    A record is identified by the rate, the length and the two 16-bit checksums in its header. With 48 records, the
    probability that another recording of this rate and length is mistaken for one of them is about 1e-8.
    """
    try:
        header = read_header(header_file(record_path(path)))
    except RecordError:
        return None
    checksums = tuple(signal.checksum for signal in header.signals if signal.checksum is not None)
    if (header.rate, header.length, header.n_signals, len(checksums)) != (_RATE_HZ, _SAMPLES, 2, 2):
        return None
    return RECORD_OF_DIGEST.get(checksum_digest(checksums))


def checksum_digest(checksums: tuple[int, ...]) -> str:
    """The key of a pair of checksums in the table of this module."""
    return hashlib.sha256(" ".join(map(str, checksums)).encode()).hexdigest()[:8]
