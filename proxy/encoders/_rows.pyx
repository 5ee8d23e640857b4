# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""DataRow messages to JSON and CSV, bytes to bytes: the compiled twin of rows.py.

Every length that the server sends is held against the message before it is believed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

include "_output.pxi"
include "_cell.pxi"
include "_array.pxi"

cdef enum:
    HEADER = 5  # type byte and length
cdef enum:
    PREFIX = 7  # header and number of cells
cdef enum:
    NULL_SIZE = -1


cdef inline int read_int4(const unsigned char* text) noexcept:
    return <int>(<unsigned int>text[0] << 24 | text[1] << 16 | text[2] << 8 | text[3])


cdef inline int read_int2(const unsigned char* text) noexcept:
    return text[0] << 8 | text[1]


cdef inline Py_ssize_t message_end(const unsigned char* data, Py_ssize_t at, Py_ssize_t size):
    """Where the DataRow at `at` ends; -1 if there's none, or not the whole of it."""
    cdef Py_ssize_t end
    if size - at < HEADER or data[at] != c"D":
        return -1
    end = at + 1 + read_int4(data + at + 1)
    return end if at + HEADER <= end <= size else -1


def scan_rows(bytes data, Py_ssize_t start, Py_ssize_t max_rows, Py_ssize_t max_bytes):
    """Walk a run of complete DataRow messages; rows.py says more."""
    cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = start, kept = start, rows = 0, end
    cdef bint is_open = True
    while True:
        end = message_end(text, at, size)
        if end < 0:
            return at, kept, rows
        if is_open and rows < max_rows and end - start <= max_bytes:
            rows += 1
            kept = end
        else:
            is_open = False
        at = end


cdef class Stitcher:
    """Stitches the rows of one RowDescription."""

    cdef int count
    cdef bint is_csv
    cdef Cell* cells
    cdef tuple prefixes
    cdef bytes closing
    cdef bytes null

    def __cinit__(self, tuple prefixes, tuple cells, bytes closing, bytes null, bint is_csv):
        cdef int place
        self.count = len(prefixes)
        self.prefixes, self.closing, self.null = prefixes, closing, null
        self.is_csv = is_csv
        self.cells = <Cell*>malloc((self.count + 1) * sizeof(Cell))
        if self.cells == NULL:
            raise MemoryError
        for place in range(self.count):
            kind, element, delimiter = cells[place]
            self.cells[place] = Cell(kind, element, ord(delimiter))

    def __dealloc__(self):
        free(self.cells)

    def stitch(self, bytes messages):
        """Encode a run of complete DataRow messages.

        Raises ValueError for malformed ones, UnicodeDecodeError for text that isn't UTF-8.
        """
        cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(messages)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(messages), at = 0, end
        cdef Output out = Output(size * 2 + 256)
        while at < size:
            end = message_end(data, at, size)
            if end < at + PREFIX or read_int2(data + at + HEADER) != self.count:
                raise ValueError("a malformed DataRow")
            self.stitch_row(out, data + at + PREFIX, data + end)
            at = end
        return out.take()

    cdef int stitch_row(
        self, Output out, const unsigned char* text, const unsigned char* end
    ) except -1:
        cdef int place, size
        for place in range(self.count):
            if end - text < 4:
                raise ValueError("a malformed DataRow")
            size = read_int4(text)
            text += 4
            self.add(out, <bytes>self.prefixes[place])
            if size == NULL_SIZE:
                self.add(out, self.null)
                continue
            if size < 0 or size > end - text:
                raise ValueError("a malformed DataRow")
            if self.is_csv:
                self.stitch_csv_cell(out, self.cells[place].kind, text, size)
            else:
                write_json_cell(out, &self.cells[place], self.cells[place].kind, text, size)
            text += size
        if text != end:
            raise ValueError("a malformed DataRow")
        return self.add(out, self.closing)

    cdef inline int add(self, Output out, bytes data) except -1:
        return out.add(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int stitch_csv_cell(
        self, Output out, int kind, const unsigned char* text, Py_ssize_t size
    ) except -1:
        cdef Py_ssize_t start = out.used
        if kind == BOOL:
            write_bool(out, text, size)
            return self.tell_from_null(out, start)
        if kind == MOMENT and moment_size(text, size):
            out.reserve(size + 3)
            put_moment(out, text, size)
            return self.tell_from_null(out, start)
        check_utf8(text, size)
        if not self.needs_quotes(text, size):
            return out.add(<const char*>text, size)
        return write_csv_quoted(out, text, size)

    cdef bint needs_quotes(self, const unsigned char* text, Py_ssize_t size) noexcept:
        cdef Py_ssize_t at
        if size == 0 or is_blank(text[0]) or is_blank(text[size - 1]):
            return True
        for at in range(size):
            if CSV_SPECIAL[text[at]]:
                return True
        if size == 2 and memcmp(text, b"\\.", 2) == 0:  # COPY before 17 takes it for the end
            return True
        return self.is_null_text(<const char*>text, size)

    cdef inline bint is_null_text(self, const char* text, Py_ssize_t size) noexcept:
        if size != PyBytes_GET_SIZE(self.null):
            return False
        return memcmp(text, PyBytes_AS_STRING(self.null), size) == 0

    cdef int tell_from_null(self, Output out, Py_ssize_t start) except -1:
        """Put quotes around what was written last, if it looks like NULL."""
        cdef Py_ssize_t size = out.used - start
        if not self.is_null_text(out.start + start, size):
            return 0
        out.used = start
        return write_csv_quoted(
            out, <const unsigned char*>PyBytes_AS_STRING(self.null), size
        )


cdef char CSV_SPECIAL[256]


cdef void fill_special() noexcept:
    cdef int code
    for code in range(256):
        CSV_SPECIAL[code] = 0
    CSV_SPECIAL[c'"'] = CSV_SPECIAL[c","] = CSV_SPECIAL[c"\r"] = CSV_SPECIAL[c"\n"] = 1


fill_special()


cdef inline bint is_blank(unsigned char char) noexcept:
    return char == 32 or 9 <= char <= 13


cdef int write_csv_quoted(Output out, const unsigned char* text, Py_ssize_t size) except -1:
    cdef Py_ssize_t at
    out.reserve(size * 2 + 2)
    out.put_char(c'"')
    for at in range(size):
        if text[at] == c'"':
            out.put_char(c'"')
        out.put_char(text[at])
    out.put_char(c'"')
    return 0
