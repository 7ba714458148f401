"""Random operations on files of a mount, each compared with a twin: a copy of what the bytes must be.

Usage: twin.py FOLDER STATE --seed N --round N --operations N. The twins are plain files in STATE (on the disk below), so
that the next round, after the mount was sealed and made again, goes on where this one ended: first every file is
read whole and compared, in the way that the round's number picks (read, mmap, small pieces out of order), then updated.

Nothing is compared with what the mount said before, only with the twin: a sealed file that lost or kept too much is
found by its first bytes. The same seed and round give the same operations.
"""

import argparse
import ctypes
import mmap
import os
import pathlib
import random
import sys

# Name and largest size: one that is smaller than a chunk, one of a few chunks, one of many.
FILES = (("small", 48 << 10), ("medium", 3 << 20), ("large", 40 << 20))
LARGEST_PIECE = 256 << 10
PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
LIBC = ctypes.CDLL(None, use_errno=True)


class Difference(Exception):
    """The mount's bytes are not the twin's."""


def first_difference(left: bytes, right: bytes) -> int:
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high) // 2
        if left[low:middle + 1] == right[low:middle + 1]:
            low = middle + 1
        else:
            high = middle
    return low


def expect(what: str, got: bytes, want: bytes, offset: int) -> None:
    if got != want:
        at = first_difference(got, want)
        raise Difference(f"{what}: {len(got)} bytes instead of {len(want)}, first difference at byte {offset + at}: "
                         f"{got[at:at + 8].hex(' ')} instead of {want[at:at + 8].hex(' ')}")


def pwrite_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def pread_all(fd: int, length: int, offset: int) -> bytes:
    """Up to `length` bytes, fewer only at the end of the file."""
    pieces = []
    while length:
        piece = os.pread(fd, length, offset)
        if not piece:
            break
        pieces.append(piece)
        length, offset = length - len(piece), offset + len(piece)
    return b"".join(pieces)


class Twin:
    """One file and what its bytes must be."""

    def __init__(self, path: pathlib.Path, twin: pathlib.Path, limit: int, rng: random.Random):
        self.path, self.twin, self.limit, self.rng = path, twin, limit, rng
        self.want = bytearray(twin.read_bytes()) if twin.exists() else bytearray()
        self.fd = -1

    def open(self, flags: int = 0) -> None:
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | flags, 0o644)

    def close(self) -> None:
        os.close(self.fd)
        self.fd = -1

    def data(self, length: int) -> bytes:
        """Some bytes that compress, some that do not, some zeros."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return bytes(length)
        if kind == 1:
            return (self.rng.randbytes(61) * (length // 61 + 1))[:length]
        return self.rng.randbytes(length)

    def range_within(self, end: int) -> tuple[int, int]:
        """An offset and a length that end at `end` at most; often aligned, as programs do it."""
        offset = self.rng.randrange(end + 1)
        if self.rng.random() < 0.4:
            offset -= offset % 4096
        return offset, self.rng.randrange(min(LARGEST_PIECE, end - offset) + 1)

    def put(self, offset: int, data: bytes) -> None:
        if offset > len(self.want):
            self.want.extend(bytes(offset - len(self.want)))
        self.want[offset:offset + len(data)] = data

    def write(self) -> None:
        offset, length = self.range_within(self.limit)
        if length:
            data = self.data(length)
            pwrite_all(self.fd, data, offset)
            self.put(offset, data)

    def append(self) -> None:
        data = self.data(min(self.rng.randrange(1, 20_000), self.limit - len(self.want)))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
        os.close(fd)
        self.want.extend(data)

    def read(self) -> None:
        offset, length = self.range_within(self.limit)
        expect(f"read {length} at {offset}", pread_all(self.fd, length, offset),
               bytes(self.want[offset:offset + length]), offset)

    def mapped_read(self) -> None:
        if self.want:
            offset, length = self.range_within(len(self.want))
            with mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) as view:
                expect(f"mapped read {length} at {offset}", view[offset:offset + length],
                       bytes(self.want[offset:offset + length]), offset)

    def mapped_write(self) -> None:
        if self.want:
            offset, length = self.range_within(len(self.want))
            data = self.data(length)
            with mmap.mmap(self.fd, 0) as view:
                view[offset:offset + length] = data
                if self.rng.random() < 0.2:
                    view.flush()
            self.want[offset:offset + length] = data

    def truncate(self) -> None:
        size = self.rng.randrange(self.limit + 1)
        if self.rng.random() < 0.5:
            os.ftruncate(self.fd, size)
        else:
            os.truncate(self.path, size)
        if size < len(self.want):
            del self.want[size:]
        else:
            self.want.extend(bytes(size - len(self.want)))

    def fallocate(self) -> None:
        offset, length = self.range_within(self.limit)
        if length:
            os.posix_fallocate(self.fd, offset, length)
            self.want.extend(bytes(max(0, offset + length - len(self.want))))

    def punch(self) -> None:
        offset, length = self.range_within(len(self.want))
        if length:
            done = LIBC.fallocate(self.fd, PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(length))
            if done != 0:
                raise OSError(ctypes.get_errno(), "fallocate(PUNCH_HOLE)", str(self.path))
            self.want[offset:offset + length] = bytes(length)

    def copy_range(self) -> None:
        source, length = self.range_within(len(self.want))
        target = self.rng.randrange(self.limit + 1)
        length = min(length, self.limit - target, abs(target - source))
        while length:
            done = os.copy_file_range(self.fd, self.fd, length, source, target)
            if not done:
                raise Difference(f"copy_file_range from {source} stopped {length} bytes early")
            self.put(target, bytes(self.want[source:source + done]))
            source, target, length = source + done, target + done, length - done

    def reopen(self) -> None:
        self.close()
        empty = self.rng.random() < 0.02
        self.open(os.O_TRUNC if empty else 0)
        if empty:
            self.want.clear()

    def sync(self) -> None:
        os.fsync(self.fd) if self.rng.random() < 0.5 else os.fdatasync(self.fd)

    def size(self) -> None:
        for got in (os.fstat(self.fd).st_size, os.stat(self.path).st_size, os.lseek(self.fd, 0, os.SEEK_END)):
            if got != len(self.want):
                raise Difference(f"size {got} instead of {len(self.want)}")

    OPERATIONS = ((write, 20), (read, 20), (append, 4), (mapped_read, 8), (mapped_write, 8), (truncate, 2),
                  (fallocate, 2), (punch, 4), (copy_range, 4), (reopen, 3), (sync, 0.3), (size, 5))

    def step(self) -> None:
        names, weights = zip(*self.OPERATIONS)
        self.rng.choices(names, weights)[0](self)

    def compare(self, way: int) -> None:
        """The whole file, by plain reads, by a mapping, or by pieces out of order."""
        self.size()
        if way == 1 and self.want:
            with mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) as view:
                expect("whole file, mapped", view[:], bytes(self.want), 0)
        elif way == 2:
            offsets = list(range(0, len(self.want), 50_001))
            self.rng.shuffle(offsets)
            for offset in offsets:
                expect("piece", pread_all(self.fd, 50_001, offset), bytes(self.want[offset:offset + 50_001]), offset)
        else:
            expect("whole file", pread_all(self.fd, self.limit + 1, 0), bytes(self.want), 0)


def run(twin: Twin, round_number: int, operations: int) -> None:
    """One round: compare what the last one left, work, compare, keep the twin."""
    if not os.path.exists(twin.path) and twin.twin.exists():
        raise Difference("the file is gone")
    twin.open()
    twin.compare(round_number % 3)
    for _ in range(operations):
        twin.step()
    twin.compare(0)
    twin.close()
    twin.twin.write_bytes(twin.want)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("state", type=pathlib.Path)
    for name in ("--seed", "--round", "--operations"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    args.state.mkdir(exist_ok=True)
    for name, limit in FILES:
        rng = random.Random(f"{args.seed}/{args.round}/{name}")
        twin = Twin(args.folder / name, args.state / name, limit, rng)
        try:
            run(twin, args.round, args.operations // len(FILES))
        except (Difference, OSError) as error:
            (args.state / f"{name}.expected").write_bytes(twin.want)
            sys.exit(f"{twin.path}, round {args.round}: {error}")


if __name__ == "__main__":
    main()
