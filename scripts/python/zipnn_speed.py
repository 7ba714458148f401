"""zipnn over the chunks of a file, for tests/bench/zipnn.rs: zipnn_speed.py FILE float32|bfloat16 ROUNDS

The file is chunks, each behind its length (4 bytes, little-endian). Prints stored bytes of each chunk and, for each round
after a warm-up, the seconds of processor time for all of them. One thread. zipnn changes what it is given, so each
round gets copies, off the clock.
"""

import json
import struct
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import zipnn  # noqa: E402


def chunks_of(raw: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def main() -> None:
    chunks = chunks_of(Path(sys.argv[1]).read_bytes())
    codec = zipnn.ZipNN(input_format="byte", bytearray_dtype=sys.argv[2], threads=1)
    encode, decode = [], []
    for _ in range(int(sys.argv[3]) + 1):
        copies = [bytes(bytearray(chunk)) for chunk in chunks]
        began = time.process_time()
        stored = [codec.compress(copy) for copy in copies]
        encode.append(time.process_time() - began)
        began = time.process_time()
        back = [codec.decompress(one) for one in stored]
        decode.append(time.process_time() - began)
    if any(bytes(one) != chunk for one, chunk in zip(back, chunks, strict=True)):
        sys.exit("zipnn does not give back what it was given")
    print(json.dumps({"stored": [len(one) for one in stored], "encode": encode[1:], "decode": decode[1:]}))


if __name__ == "__main__":
    main()
