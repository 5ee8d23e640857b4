# One value in Postgres text format, by its type.

cdef enum Kind:  # as proxy/encoders/kind.py numbers them
    TEXT = 0
    VERBATIM = 1
    QUOTED = 2
    NUMBER = 3
    BOOL = 4
    JSON = 5
    BYTEA = 6
    MOMENT = 7
    ARRAY = 8

cdef const char* BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


cdef struct Cell:
    int kind
    int element  # kind of an array's elements
    char delimiter


cdef inline bint is_digit(unsigned char char) noexcept:
    return c"0" <= char <= c"9"


cdef int write_json_cell(
    Output out, Cell* cell, int kind, const unsigned char* text, Py_ssize_t size
) except -1:
    """Write one value as JSON."""
    if kind == VERBATIM:
        out.add(<const char*>text, size)
    elif kind == TEXT:
        write_string(out, text, size)
    elif kind == QUOTED:
        write_quoted(out, text, size)
    elif kind == NUMBER:
        if size and is_digit(text[size - 1]):
            out.add(<const char*>text, size)
        else:
            write_quoted(out, text, size)  # NaN, Infinity, -Infinity
    elif kind == BOOL:
        write_bool(out, text, size)
    elif kind == MOMENT:
        write_moment(out, text, size)
    elif kind == JSON:
        write_document(out, text, size)
    elif kind == BYTEA:
        write_bytea(out, text, size)
    else:
        write_array(out, cell, text, size)
    return 0


cdef int write_quoted(Output out, const unsigned char* text, Py_ssize_t size) except -1:
    out.reserve(size + 2)
    out.put_char(c'"')
    out.put(<const char*>text, size)
    out.put_char(c'"')
    return 0


cdef int write_bool(Output out, const unsigned char* text, Py_ssize_t size) except -1:
    if size == 1 and text[0] == c"t":
        return out.add(b"true", 4)
    return out.add(b"false", 5)


cdef int write_document(Output out, const unsigned char* text, Py_ssize_t size) except -1:
    """Embed a json value; raw line breaks stand only between its tokens."""
    cdef Py_ssize_t position
    cdef char* to
    check_utf8(text, size)
    out.reserve(size)
    to = out.start + out.used
    for position in range(size):
        to[position] = c" " if text[position] == 10 or text[position] == 13 else text[position]
    out.used += size
    return 0


cdef int write_moment(Output out, const unsigned char* text, Py_ssize_t size) except -1:
    """Write a timestamp or a timetz in ISO 8601; as text where that has no form for it."""
    cdef Py_ssize_t length = moment_size(text, size)
    if length == 0:
        return write_string(out, text, size)
    out.reserve(size + 5)
    out.put_char(c'"')
    put_moment(out, text, size)
    out.put_char(c'"')
    return 0


cdef void put_moment(Output out, const unsigned char* text, Py_ssize_t size) noexcept:
    out.put(<const char*>text, size)
    if size > 10 and text[10] == c" ":
        out.start[out.used - size + 10] = c"T"
    if text[size - 3] == c"+" or text[size - 3] == c"-":
        out.put(b":00", 3)


cdef Py_ssize_t moment_size(const unsigned char* text, Py_ssize_t size) noexcept:
    """`size` if the whole is a moment of the shape that ISO 8601 knows, else 0."""
    cdef Py_ssize_t at = 0
    if fits(text, size, b"0000-00-00 ", 11):
        at = 11
    if not fits(text + at, size - at, b"00:00:00", 8):
        return 0
    at += 8
    if at < size and text[at] == c".":
        at += 1
        if at == size or not is_digit(text[at]):
            return 0
        while at < size and is_digit(text[at]):
            at += 1
    if at < size and (text[at] == c"+" or text[at] == c"-"):
        if not fits(text + at + 1, size - at - 1, b"00", 2):
            return 0
        at += 3
        if fits(text + at, size - at, b":00", 3):
            at += 3
    return size if at == size else 0


cdef bint fits(
    const unsigned char* text, Py_ssize_t size, const char* shape, Py_ssize_t length
) noexcept:
    """Whether `text` begins as `shape` does, where 0 stands for any digit."""
    cdef Py_ssize_t at
    if size < length:
        return False
    for at in range(length):
        if shape[at] == c"0":
            if not is_digit(text[at]):
                return False
        elif text[at] != <unsigned char>shape[at]:
            return False
    return True


cdef int write_bytea(Output out, const unsigned char* text, Py_ssize_t size) except -1:
    """Write bytes as base64, from the hex or the escape format of bytea_output."""
    cdef Output data = Output(size + 1)
    if size >= 2 and text[0] == c"\\" and text[1] == c"x":
        read_hex(data, text + 2, size - 2)
    else:
        read_escapes(data, text, size)
    out.reserve((data.used + 2) // 3 * 4 + 2)
    out.put_char(c'"')
    put_base64(out, <const unsigned char*>data.start, data.used)
    out.put_char(c'"')
    return 0


cdef int read_hex(Output data, const unsigned char* text, Py_ssize_t size) except -1:
    cdef Py_ssize_t at
    cdef int high, low
    if size % 2:
        raise ValueError("half a byte")
    for at in range(0, size, 2):
        high, low = hex_value(text[at]), hex_value(text[at + 1])
        if high < 0 or low < 0:
            raise ValueError("not a hexadecimal digit")
        data.put_char(<char>(high << 4 | low))
    return 0


cdef int hex_value(unsigned char char) noexcept:
    if is_digit(char):
        return char - c"0"
    if c"a" <= char <= c"f":
        return char - c"a" + 10
    if c"A" <= char <= c"F":
        return char - c"A" + 10
    return -1


cdef int read_escapes(Output data, const unsigned char* text, Py_ssize_t size) except -1:
    cdef Py_ssize_t at = 0
    cdef int code
    while at < size:
        if text[at] == c"\\" and at + 1 < size and text[at + 1] == c"\\":
            data.put_char(c"\\")
            at += 2
        elif text[at] == c"\\" and is_octal(text + at + 1, size - at - 1):
            code = (text[at + 1] - c"0") * 64 + (text[at + 2] - c"0") * 8 + text[at + 3] - c"0"
            if code > 255:
                raise ValueError("not a byte")
            data.put_char(<char>code)
            at += 4
        else:
            data.put_char(text[at])
            at += 1
    return 0


cdef bint is_octal(const unsigned char* text, Py_ssize_t size) noexcept:
    cdef int at
    if size < 3:
        return False
    for at in range(3):
        if not c"0" <= text[at] <= c"7":
            return False
    return True


cdef void put_base64(Output out, const unsigned char* data, Py_ssize_t size) noexcept:
    cdef char* to = out.start + out.used
    cdef unsigned int word
    while size >= 3:
        word = data[0] << 16 | data[1] << 8 | data[2]
        to[0], to[1] = BASE64[word >> 18], BASE64[word >> 12 & 63]
        to[2], to[3] = BASE64[word >> 6 & 63], BASE64[word & 63]
        to += 4
        data += 3
        size -= 3
    if size:
        word = data[0] << 16 | (data[1] << 8 if size == 2 else 0)
        to[0], to[1] = BASE64[word >> 18], BASE64[word >> 12 & 63]
        to[2] = BASE64[word >> 6 & 63] if size == 2 else c"="
        to[3] = c"="
        to += 4
    out.used = to - out.start
