/* What readers of Arrow columns, of lines and of CSV rely on. Included behind the kernel, whose functions are used here. */
#ifndef KERNEL_CHECKS_H
#define KERNEL_CHECKS_H

static void check(int holds) {
  if (!holds) abort();
}

/* ---- columns ---- */
static void check_array(const struct ArrowArray *array, const node *n) {
  volatile uint64_t sum = 0; /* so that what an array holds is read */
  (void)sum;
  int64_t rows = array->length;
  if (array->null_count)
    for (int64_t i = 0; i < (rows + 7) / 8; i++) sum += ((const uint8_t *)array->buffers[0])[i];
  if (n->kind == STRING || n->kind == LIST) {
    const int32_t *offsets = array->buffers[1];
    const uint8_t *text = n->kind == STRING ? array->buffers[2] : NULL;
    check(offsets[0] == 0);
    for (int64_t i = 0; i < rows; i++) {
      check(offsets[i + 1] >= offsets[i]);
      if (text) check(is_utf8(text + offsets[i], text + offsets[i + 1]));
    }
    if (n->kind == LIST) check(offsets[rows] == array->children[0]->length);
  } else if (n->kind != OBJECT) {
    int64_t size = n->kind == BOOLEAN ? (rows + 7) / 8 : rows * value_size(n->kind);
    for (int64_t i = 0; i < size; i++) sum += ((const uint8_t *)array->buffers[1])[i];
  }
  int64_t child = 0;
  for (int32_t i = 0; i < n->children; i++) {
    if (!has_column(&n->child[i])) continue;
    if (n->kind == OBJECT) check(array->children[child]->length == rows);
    check_array(array->children[child++], &n->child[i]);
  }
  check(child == array->n_children);
}

/* ---- text ---- */

/* Where each of the lines begins, and where the last one ends; each has to be an object of JSON and UTF-8. */
static int64_t *check_lines(const uint8_t *text, int64_t size, int64_t rows) {
  int64_t *begins = calloc((size_t)rows + 1, sizeof *begins), at = 0;
  uint8_t *padded = malloc((size_t)size + PADDING);
  memcpy(padded, text, (size_t)size);
  memset(padded + size, 0, PADDING);
  for (int64_t row = 0; row < rows; row++) {
    key_memory keys = {0};
    int spaced = 0;
    const uint8_t *end = padded[at] == '{' ? skip_value(padded + at, &keys, &spaced) : NULL;
    check(end && !spaced && *end == '\n' && end < padded + size);
    at = end + 1 - padded;
    begins[row + 1] = at;
  }
  check(at == size);
  free(padded);
  return begins;
}

/* Whether a spreadsheet would take this for a formula. */
static int begins_formula(const uint8_t *at, int64_t size) {
  static const char *const signs[] = {"=", "+", "-", "@", "\t", "\r", "\n", "\xef\xbc\x9d", "\xef\xbc\x8b",
                                      "\xef\xbc\x8d", "\xef\xbc\xa0"};
  int found = size > 0 && *at == 0;
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
    int64_t length = (int64_t)strlen(signs[i]);
    found |= length <= size && memcmp(at, signs[i], (size_t)length) == 0;
  }
  return found;
}

/* The same of CSV by RFC 4180, with as many cells in each row as there are columns. */
static int64_t *check_csv(const uint8_t *text, int64_t size, int64_t rows, int64_t columns, int is_safe) {
  int64_t *begins = calloc((size_t)rows + 1, sizeof *begins), at = 0;
  for (int64_t row = 0; row < rows; row++) {
    for (int64_t cell = 0; cell < (columns ? columns : 1); cell++) {
      if (cell) check(at < size && text[at++] == ',');
      if (at < size && text[at] == '"') {
        int64_t begin = ++at;
        for (; at + 1 < size && (text[at] != '"' || text[at + 1] == '"'); at++) at += text[at] == '"';
        check(at < size && text[at] == '"' && is_utf8(text + begin, text + at));
        if (is_safe) check(!begins_formula(text + begin, at - begin));
        at++;
      } else {
        /* Numbers, times and words. */
        for (; at < size && text[at] != ',' && text[at] != '\r'; at++)
          check((text[at] > ' ' && text[at] < 0x7f && text[at] != '"'));
      }
    }
    check(size - at >= 2 && text[at] == '\r' && text[at + 1] == '\n');
    at += 2;
    begins[row + 1] = at;
  }
  check(at == size);
  return begins;
}

/* ---- the rows of a batch as lines and as CSV ---- */
static int64_t size_of_description(const node *n) {
  int64_t size = NODE_HEADER + n->key_size;
  for (int32_t i = 0; i < n->children; i++) size += size_of_description(&n->child[i]);
  return size;
}

/* Describe the columns that an array of records has. */
static uint8_t *describe(const node *n, uint8_t *at) {
  int32_t columns = 0, name_size = n->key_size - 3;
  for (int32_t i = 0; i < n->children; i++) columns += has_column(&n->child[i]);
  const uint8_t header[NODE_HEADER] = {n->kind, 0, name_size & 0xff, (uint8_t)(name_size >> 8), columns & 0xff,
                                       (uint8_t)(columns >> 8)};
  memcpy(at, header, NODE_HEADER);
  memcpy(at + NODE_HEADER, n->key + 1, (size_t)name_size);
  at += NODE_HEADER + name_size;
  for (int32_t i = 0; i < n->children; i++)
    if (has_column(&n->child[i])) at = describe(&n->child[i], at);
  return at;
}

enum form { LINES, CSV, SAFE_CSV, FORMS };

static int64_t write_rows(enum form form, const schema *sc, const struct ArrowArray *batch, uint8_t **text) {
  int may_fail = allocations_until_failure > 0;
  int64_t size = form == LINES ? kernel_flat(sc, batch, text) : kernel_csv(sc, batch, form == SAFE_CSV, text);
  check(size >= 0 || size == DECLINED || (size == NO_MEMORY && may_fail));
  return size;
}

/* A batch from row `first` on is written as these rows of the whole are, whether Arrow says so of it or of its columns. */
static void check_part(enum form form, const schema *sc, const struct ArrowArray *batch, int64_t first,
                       const uint8_t *expected, int64_t expected_size) {
  struct ArrowArray *columns = malloc((size_t)batch->n_children * sizeof *columns + 1);
  struct ArrowArray **children = malloc((size_t)batch->n_children * sizeof *children + 1);
  for (int64_t i = 0; i < batch->n_children; i++) {
    children[i] = &columns[i];
    columns[i] = *batch->children[i];
    columns[i].offset += first;
    columns[i].length -= first;
  }
  for (int of_columns = 0; of_columns < 2; of_columns++) {
    struct ArrowArray part = *batch;
    uint8_t *text = NULL;
    part.length -= first;
    if (of_columns) part.children = children;
    else part.offset += first;
    check(write_rows(form, sc, &part, &text) == expected_size && memcmp(text, expected, (size_t)expected_size) == 0);
    kernel_free(text);
  }
  free(children);
  free(columns);
}

/* Write a batch in every form, with allocations that fail if they are to. Returns the lines, or NULL. */
static uint8_t *check_rows(const schema *sc, const struct ArrowArray *batch, int64_t *lines_size) {
  uint8_t *lines = NULL;
  for (enum form form = LINES; form < FORMS; form++) {
    uint8_t *text = NULL;
    int64_t rows = batch->length, size = write_rows(form, sc, batch, &text), left = allocations_until_failure;
    if (size < 0) continue;
    allocations_until_failure = 0;
    int64_t *begins = form == LINES ? check_lines(text, size, rows)
                                    : check_csv(text, size, rows, batch->n_children, form == SAFE_CSV);
    const int64_t firsts[] = {0, rows / 2, rows};
    for (int i = 0; i < 3; i++) check_part(form, sc, batch, firsts[i], text + begins[firsts[i]], size - begins[firsts[i]]);
    allocations_until_failure = left;
    free(begins);
    if (form == LINES) {
      lines = text;
      *lines_size = size;
    } else {
      kernel_free(text);
    }
  }
  return lines;
}

#endif
