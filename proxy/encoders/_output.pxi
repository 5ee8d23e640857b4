# Bytes on their way out: a buffer that grows, and the text that every format writes.

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

cdef enum:
    PIECE = 16384  # text is escaped piece by piece, so that reserving for the worst case stays cheap
cdef enum:
    WORST = 6  # one control character becomes \u0000


cdef class Output:
    """Collects bytes; `reserve` comes before each `put`."""

    cdef char* start
    cdef Py_ssize_t used
    cdef Py_ssize_t capacity

    def __cinit__(self, Py_ssize_t capacity):
        self.start = <char*>malloc(capacity)
        if self.start == NULL:
            raise MemoryError
        self.used = 0
        self.capacity = capacity

    def __dealloc__(self):
        free(self.start)

    cdef inline int reserve(self, Py_ssize_t size) except -1:
        """Make room for `size` more bytes."""
        if self.used + size > self.capacity:
            self.grow(size)
        return 0

    cdef int grow(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t capacity = (self.used + size) * 2
        cdef char* start = <char*>realloc(self.start, capacity)
        if start == NULL:
            raise MemoryError
        self.start = start
        self.capacity = capacity
        return 0

    cdef inline void put(self, const char* data, Py_ssize_t size) noexcept:
        memcpy(self.start + self.used, data, size)
        self.used += size

    cdef inline void put_char(self, char char) noexcept:
        self.start[self.used] = char
        self.used += 1

    cdef inline int add(self, const char* data, Py_ssize_t size) except -1:
        """Reserve and put."""
        self.reserve(size)
        self.put(data, size)
        return 0

    cdef bytes take(self):
        return PyBytes_FromStringAndSize(self.start, self.used)


cdef int check_utf8(const unsigned char* text, Py_ssize_t size) except -1:
    """Raise UnicodeDecodeError for text that isn't UTF-8 (RFC 3629)."""
    cdef Py_ssize_t position = 0
    cdef uint64_t word
    cdef int width
    while position < size:
        if size - position >= 8:
            memcpy(&word, text + position, 8)
            if not word & <uint64_t>0x8080808080808080:
                position += 8
                continue
        if text[position] < 0x80:
            position += 1
            continue
        width = sequence_width(text + position, size - position)
        if width == 0:
            raise UnicodeDecodeError("utf-8", b"", 0, 0, "invalid sequence")
        position += width
    return 0


cdef int sequence_width(const unsigned char* text, Py_ssize_t size) noexcept:
    """Number of bytes of the sequence that starts here; 0 if it isn't one."""
    cdef unsigned char first = text[0]
    cdef unsigned char low = 0x80, high = 0xBF  # of the second byte
    cdef int width
    if 0xC2 <= first <= 0xDF:
        width = 2
    elif 0xE0 <= first <= 0xEF:
        width = 3
        low = 0xA0 if first == 0xE0 else 0x80
        high = 0x9F if first == 0xED else 0xBF  # no surrogates
    elif 0xF0 <= first <= 0xF4:
        width = 4
        low = 0x90 if first == 0xF0 else 0x80
        high = 0x8F if first == 0xF4 else 0xBF  # up to U+10FFFF
    else:
        return 0
    if size < width or not low <= text[1] <= high:
        return 0
    if width > 2 and text[2] & 0xC0 != 0x80:
        return 0
    if width > 3 and text[3] & 0xC0 != 0x80:
        return 0
    return width


cdef const char* HEX = b"0123456789abcdef"
cdef char SHORT[256]  # 0: as it is; 1: \u00xx; else the letter behind the backslash


cdef void fill_short() noexcept:
    cdef int code
    for code in range(256):
        SHORT[code] = 1 if code < 32 else 0
    SHORT[c'"'] = c'"'
    SHORT[c"\\"] = c"\\"
    SHORT[8] = c"b"
    SHORT[9] = c"t"
    SHORT[10] = c"n"
    SHORT[12] = c"f"
    SHORT[13] = c"r"


fill_short()


cdef int write_string(Output out, const unsigned char* text, Py_ssize_t size) except -1:
    """Write text as a JSON string."""
    cdef Py_ssize_t piece
    check_utf8(text, size)
    out.reserve(1)
    out.put_char(c'"')
    while size > 0:
        piece = size if size < PIECE else PIECE
        out.reserve(piece * WORST + 1)
        escape(out, text, piece)
        text += piece
        size -= piece
    out.reserve(1)
    out.put_char(c'"')
    return 0


cdef void escape(Output out, const unsigned char* text, Py_ssize_t size) noexcept:
    cdef char* to = out.start + out.used
    cdef const unsigned char* end = text + size
    cdef char short
    while text < end:
        short = SHORT[text[0]]
        if short == 0:
            to[0] = text[0]
            to += 1
        elif short > 1:
            to[0] = c"\\"
            to[1] = short
            to += 2
        else:
            memcpy(to, b"\\u00", 4)
            to[4] = HEX[text[0] >> 4]
            to[5] = HEX[text[0] & 15]
            to += 6
        text += 1
    out.used = to - out.start
