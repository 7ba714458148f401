"""The disk as it was, made again from the log of its writes (tests/disk/log.rs).

A cut is a place in the log, a size of its file at a record's end. `prefix` is the disk with all writes before it, as if
each had been durable at once. `torn` is the disk with all writes before the last flush, which are durable, and of the
writes after it any: each is there, not there, or there in some of its sectors.
"""

import bisect
import mmap
import pathlib
import random
import struct

import disks

HEADER = struct.Struct("<QQQ")
WRITE, FLUSH = 1, 2
SECTOR = 512


class DiskLog:
    """The records of a finished recording."""

    def __init__(self, path: pathlib.Path):
        self.file = open(path, "rb")
        self.bytes = memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))
        # Of each record: where it ends in the log, its kind, where on the disk, where its bytes begin and end.
        self.records, self.ends, at = [], [], 0
        while at < len(self.bytes):
            kind, offset, length = HEADER.unpack_from(self.bytes, at)
            begin = at + HEADER.size
            at = begin + length
            if kind not in (WRITE, FLUSH) or at > len(self.bytes):
                raise ValueError(f"{path}: no record at {begin - HEADER.size}")
            self.records.append((kind, offset, begin, at))
            self.ends.append(at)

    def upto(self, position: int) -> int:
        """How many records end at or before `position`."""
        return bisect.bisect_right(self.ends, position)

    def last_flush(self, count: int) -> int:
        """How many of the first `count` records are durable: those before the last flush among them."""
        while count and self.records[count - 1][0] != FLUSH:
            count -= 1
        return count

    def writes(self, first: int, end: int):
        """(offset on the disk, bytes) of the writes among these records."""
        return ((offset, self.bytes[begin:stop]) for kind, offset, begin, stop in self.records[first:end] if kind == WRITE)


class Images:
    """Makes images from an empty one, cut after cut; cuts must not go back."""

    def __init__(self, log: DiskLog, base: pathlib.Path, durable: pathlib.Path):
        self.log, self.durable, self.done = log, durable, 0
        disks.copy_sparse(base, durable)

    def make(self, out: pathlib.Path, position: int, torn: random.Random | None) -> int:
        """The disk at `position` into `out`; returns how many writes after the last flush were at risk."""
        count = self.log.upto(position)
        flushed = self.log.last_flush(count)
        with open(self.durable, "r+b", buffering=0) as disk:
            for offset, data in self.log.writes(self.done, flushed):
                put(disk, offset, data)
        self.done = max(self.done, flushed)
        disks.copy_sparse(self.durable, out)
        risky = list(self.log.writes(flushed, count))
        with open(out, "r+b", buffering=0) as disk:
            for offset, data in risky:
                for start, piece in survivors(data, torn):
                    put(disk, offset + start, piece)
        return len(risky)


def survivors(data: memoryview, torn: random.Random | None):
    """What of a write reached the disk: all of it, or by `torn` all, nothing, or some of its sectors."""
    fate = torn.random() if torn else 0
    if fate < 0.4:
        yield 0, data
    elif fate < 0.7:
        for start in range(0, len(data), SECTOR):
            if torn.random() < 0.5:
                yield start, data[start:start + SECTOR]


def put(disk, offset: int, data: memoryview) -> None:
    disk.seek(offset)
    while data:
        data = data[disk.write(data):]
