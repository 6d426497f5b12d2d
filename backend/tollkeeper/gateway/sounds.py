"""How long a sound file lasts, from its container: read, never decoded. Pure.

What a file says of its own length is believed where its size agrees; the frames of an MP3 are counted one by one, as a
decoder would. Everything else is bounded by its size, at the poorest speech anybody sends.
"""

from typing import Final

# The poorest speech that is sent as MP3 or Opus, and the usual: bytes a second.
LEAST_BYTES: Final = 750
USUAL_BYTES: Final = 8_000
# Beyond so many frames (28 minutes) the rest is told from the mean of those counted.
_MOST_FRAMES: Final = 65_536
_TAIL_BYTES: Final = 65_536
# Of a container that are looked at: files have a dozen, those that are made to be looked at have millions.
_MOST_PARTS: Final = 4_096
# Lossless and raw sound has no more than this: 8 channels of 32 bits at 192 kHz.
_MOST_BYTES: Final = 6_144_000
_MOST_LOSSY_BYTES: Final = 192_000

_BITRATES: Final = {
    # MPEG-1 and the others, layer III (ISO 11172-3 and 13818-3), kbit/s by index.
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}

Length = tuple[int, int] | None


def sound_length(content: bytes, start: int, end: int) -> tuple[int, int, bool]:
    """Of the file at `content[start:end]`, in milliseconds: the likely length and the most it can be; whether it told."""
    data = memoryview(content)[start:end]
    size = len(data)
    head = bytes(data[:64])
    found: Length = None
    if head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE":
        found = _wav(data)
    elif head[:4] == b"fLaC":
        found = _flac(head, size)
    elif head[:4] == b"OggS":
        found = _ogg(data)
    elif head[4:8] == b"ftyp":
        found = _mp4(data)
    elif head[:3] == b"ID3" or (size > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        found = _mp3(content, start, end)
    if found is not None:
        return (*found, True)
    return size * 1000 // USUAL_BYTES, size * 1000 // LEAST_BYTES + 1, False


def _wav(data: memoryview) -> Length:
    """By the bytes that are there, whatever the header says of their number: streams write 0 or the largest."""
    place, size = 12, len(data)
    for _ in range(_MOST_PARTS):
        if place + 8 > size:
            break
        kind, length = bytes(data[place : place + 4]), int.from_bytes(data[place + 4 : place + 8], "little")
        if kind == b"fmt ":
            fields = bytes(data[place + 8 : place + 24])
            if len(fields) < 16:
                return None
            rate, per_second = int.from_bytes(fields[4:8], "little"), int.from_bytes(fields[8:12], "little")
            align = int.from_bytes(fields[12:14], "little")
            # Plain samples have no other rate than this; compressed ones only the one they claim.
            if fields[:2] in {b"\x01\x00", b"\x03\x00"}:
                per_second = rate * align
            if not LEAST_BYTES <= per_second <= _MOST_BYTES:
                return None
            exact = size * 1000 // per_second + 1
            return exact, exact
        place += 8 + length + (length & 1)
    return None


def _flac(head: bytes, size: int) -> Length:
    """STREAMINFO is the first block: sample rate in 20 bits, number of samples in 36."""
    if len(head) < 26 or head[4] & 0x7F != 0:
        return None
    packed = int.from_bytes(head[18:26])
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    samples = packed & 0xFFFFFFFFF
    if not rate or not samples:
        return None
    return _agreed(samples * 1000 // rate + 1, size, rate * channels * (bits + 7) // 8)


def _ogg(data: memoryview) -> Length:
    """The position of the last page, in samples: Opus counts 48,000 a second, Vorbis as its header says."""
    head = bytes(data[:128])
    if (at := head.find(b"OpusHead")) >= 0:
        rate = 48_000
    elif (at := head.find(b"\x01vorbis")) >= 0:
        rate = int.from_bytes(head[at + 12 : at + 16], "little")
    else:
        return None
    tail = bytes(data[-_TAIL_BYTES:])
    last = tail.rfind(b"OggS")
    position = int.from_bytes(tail[last + 6 : last + 14], "little", signed=True) if last >= 0 else -1
    if not 8_000 <= rate <= 192_000 or position <= 0:
        return None
    return _agreed(position * 1000 // rate + 1, len(data), _MOST_LOSSY_BYTES)


def _mp4(data: memoryview) -> Length:
    """`moov` → `mvhd`: a time scale and a duration in it."""
    moov = _box(data, 0, len(data), b"moov")
    mvhd = None if moov is None else _box(data, *moov, b"mvhd")
    if mvhd is None:
        return None
    fields = bytes(data[mvhd[0] : mvhd[1]][:32])
    if len(fields) < 32:
        return None
    scale, duration = (fields[20:24], fields[24:32]) if fields[0] == 1 else (fields[12:16], fields[16:20])
    per_second, length = int.from_bytes(scale), int.from_bytes(duration)
    if not per_second or not length:
        return None
    return _agreed(length * 1000 // per_second + 1, len(data), _MOST_LOSSY_BYTES)


def _box(data: memoryview, place: int, end: int, name: bytes) -> tuple[int, int] | None:
    for _ in range(_MOST_PARTS):
        if place + 8 > end:
            break
        length, start = int.from_bytes(data[place : place + 4]), place + 8
        if length == 1 and place + 16 <= end:
            length, start = int.from_bytes(data[place + 8 : place + 16]), place + 16
        stop = end if length == 0 else place + length
        if stop < start or stop > end:
            return None
        if bytes(data[place + 4 : place + 8]) == name:
            return start, stop
        place = stop
    return None


def _agreed(milliseconds: int, size: int, most_bytes_a_second: int) -> Length:
    """A length so short for the size that no such file exists was made up, or is of something else."""
    if size * 1000 > milliseconds * most_bytes_a_second + _TAIL_BYTES * 1000:
        return None
    return milliseconds, milliseconds


def _mp3(data: bytes, start: int, end: int) -> Length:
    """No view here: to index one takes twice as long, and this is the one loop over a file."""
    place = start
    if data.startswith(b"ID3", start) and end - start >= 10:
        size = data[start + 6 : start + 10]
        place += 10 + ((size[0] & 0x7F) << 21 | (size[1] & 0x7F) << 14 | (size[2] & 0x7F) << 7 | size[3] & 0x7F)
    begin, microseconds, frames = place, 0, 0
    last, known = end - 4, _FRAMES
    while place <= last and frames < _MOST_FRAMES and data[place] == 0xFF:
        frame = known.get(data[place + 1] << 8 | data[place + 2])
        if frame is None:
            break
        place += frame[0]
        microseconds += frame[1]
        frames += 1
    rest = max(end - place, 0)
    if frames < _MOST_FRAMES and rest * 2 > end - begin:
        # Hardly a sound at all, or one in a dress that we do not know.
        return None
    usual = microseconds // 1000 + 1
    if frames == _MOST_FRAMES:
        usual += rest * microseconds // (place - begin) // 1000
    # What is no frame: tags, a cover, or what only a decoder finds that looks for the next one.
    return usual, usual if rest <= 128 else usual + rest * 1000 // LEAST_BYTES + 1


def _frames() -> dict[int, tuple[int, int]]:
    """The two bytes that tell a frame of layer III apart → its bytes and its microseconds."""
    found: dict[int, tuple[int, int]] = {}
    for version, rates in _RATES.items():
        is_first = version == 3
        samples = 1_152 if is_first else 576
        for protection in (0, 1):
            first = 0xE0 | version << 3 | 1 << 1 | protection
            for rate_index, rate in enumerate(rates):
                for index, kilobits in enumerate(_BITRATES[is_first]):
                    for padding in (0, 1):
                        for private in (0, 1):
                            second = index << 4 | rate_index << 2 | padding << 1 | private
                            length = samples // 8 * kilobits * 1000 // rate + padding
                            if kilobits:
                                found[first << 8 | second] = (length, samples * 1_000_000 // rate)
    return found


_FRAMES: Final = _frames()
