# SPDX-License-Identifier: GPL-2.0
"""What is on a screenshot: screenshot.py FILE.png BACKGROUND COLOUR=PIXELS...

BACKGROUND is the colour of its left upper corner, and of most of it; of each COLOUR, as RRGGBB, so many pixels are there at
least. A line that is a pixel and a half wide has few pixels of its very colour, so what is near counts, too."""
import struct
import sys
import zlib


def pixels(path):
    """Width, height, and the rows as bytes of RGB (PNG specification, chapters 4 and 9; 8 bits, no interlace)."""
    with open(path, "rb") as file:
        content = file.read()
    at, data, shape = 8, b"", None
    while at < len(content):
        (length,) = struct.unpack(">I", content[at:at + 4])
        kind, body = content[at + 4:at + 8], content[at + 8:at + 8 + length]
        if kind == b"IHDR":
            shape = struct.unpack(">IIBBBBB", body)
        if kind == b"IDAT":
            data += body
        at += 12 + length
    width, height, depth, colour, _, _, interlace = shape
    assert depth == 8 and colour in (2, 6) and interlace == 0, shape
    step = 3 if colour == 2 else 4
    raw, stride = zlib.decompress(data), width * step
    rows, above = [], bytearray(stride)
    for y in range(height):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if kind else 0):
            left = row[i - step] if i >= step else 0
            corner = above[i - step] if i >= step else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = above[i]
            elif kind == 3:
                guess = (left + above[i]) // 2
            else:
                p = left + above[i] - corner
                guess = min((left, above[i], corner), key=lambda value: abs(p - value))
            row[i] = (row[i] + guess) & 255
        rows.append(bytes(row) if step == 3 else b"".join(bytes(row[i:i + 3]) for i in range(0, stride, 4)))
        above = row
    return width, height, rows


def main():
    width, height, rows = pixels(sys.argv[1])
    counts = {}
    for row in rows:
        for x in range(0, len(row), 3):
            colour = row[x:x + 3]
            counts[colour] = counts.get(colour, 0) + 1
    background = bytes.fromhex(sys.argv[2])
    assert rows[0][:3] == background, f"the corner is {rows[0][:3].hex()}"
    share = counts.get(background, 0) / (width * height)
    assert 0.5 < share < 0.99, f"{share:.3f} of it are background"
    for word in sys.argv[3:]:
        colour, least = word.split("=")
        wanted = bytes.fromhex(colour)
        there = sum(n for seen, n in counts.items() if all(abs(a - b) <= 24 for a, b in zip(seen, wanted)))
        assert there >= int(least), f"{there} pixels are {colour}, and not {least}"
    print(f"{width}x{height}, {len(counts)} colours")


main()
