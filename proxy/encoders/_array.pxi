# Array text, such as {1,NULL,"a b"}, token by token: no recursion, whatever the dimensions.


cdef int write_array(
    Output out, Cell* cell, const unsigned char* text, Py_ssize_t size
) except -1:
    """Write an array as JSON; explicit bounds, as in [0:1]={1,2}, are dropped."""
    cdef const unsigned char* end = text + size
    cdef const unsigned char* start
    if size and text[0] == c"[":
        start = <const unsigned char*>memchr(text, c"=", size)
        if start == NULL:
            raise ValueError("bounds without an array")
        text = start + 1
    while text < end:
        if text[0] == c'"':
            text = write_quoted_element(out, cell, text + 1, end)
            continue
        out.reserve(1)
        if text[0] == c"{":
            out.put_char(c"[")
        elif text[0] == c"}":
            out.put_char(c"]")
        elif text[0] == cell.delimiter:
            out.put_char(c",")
        else:
            start = text
            while text < end and not is_punctuation(text[0], cell.delimiter):
                text += 1
            write_element(out, cell, start, text - start)
            continue
        text += 1
    return 0


cdef inline bint is_punctuation(unsigned char char, char delimiter) noexcept:
    return char == c"{" or char == c"}" or char == c'"' or char == <unsigned char>delimiter


cdef int write_element(
    Output out, Cell* cell, const unsigned char* text, Py_ssize_t size
) except -1:
    """Write an element that stands without quotes, so NULL is null."""
    if size == 4 and fits(text, size, b"NULL", 4):
        return out.add(b"null", 4)
    return write_json_cell(out, cell, cell.element, text, size)


cdef const unsigned char* write_quoted_element(
    Output out, Cell* cell, const unsigned char* text, const unsigned char* end
) except NULL:
    """Write an element in quotes; returns what comes behind them."""
    cdef const unsigned char* close = text
    cdef Py_ssize_t escapes = 0
    while close < end and close[0] != c'"':
        if close[0] == c"\\":
            escapes += 1
            close += 1
        close += 1
    if close >= end:
        raise ValueError("an element without an end")
    if escapes == 0:
        write_json_cell(out, cell, cell.element, text, close - text)
    else:
        write_escaped_element(out, cell, text, close)
    return close + 1


cdef int write_escaped_element(
    Output out, Cell* cell, const unsigned char* text, const unsigned char* close
) except -1:
    cdef Output plain = Output(close - text)
    while text < close:
        if text[0] == c"\\":
            text += 1
        plain.put_char(text[0])
        text += 1
    return write_json_cell(
        out, cell, cell.element, <const unsigned char*>plain.start, plain.used
    )
