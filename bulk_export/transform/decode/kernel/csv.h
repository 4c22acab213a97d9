/* Rows of Arrow columns as CSV, by RFC 4180: byte for byte what `transform/decode/csv_rows.py` makes of them with Arrow. */
#ifndef KERNEL_CSV_H
#define KERNEL_CSV_H

#include "flat.h"

/* Whether a spreadsheet takes a cell for a formula, or skips its first character and looks at the next one. */
static int is_formula(const uint8_t *at, int64_t size) {
  if (!size) return 0;
  if (memchr("=+-@\t\r\n\0", at[0], 8)) return 1;
  /* The full-width forms of the four signs. */
  return size > 2 && at[0] == 0xef && at[1] == 0xbc && memchr("\x9d\x8b\x8d\xa0", at[2], 4);
}

static int put_csv_text(output *out, const uint8_t *at, int64_t size, int is_safe) {
  put_byte(out, '"');
  if (is_safe && is_formula(at, size)) put_byte(out, '\'');
  while (size > 0) {
    const uint8_t *quote = memchr(at, '"', (size_t)size);
    int64_t before = quote ? quote - at + 1 : size;
    int failed = output_fits(out, before + SCALAR_ROOM);
    if (failed) return failed;
    memcpy(out->text + out->size, at, (size_t)before);
    out->size += before;
    at += before;
    size -= before;
    if (quote) put_byte(out, '"');
  }
  put_byte(out, '"');
  return 0;
}

/* A list or an object as JSON, which begins with a bracket, so it is never a formula. */
static int put_csv_json(output *out, const column *c, int64_t row) {
  put_byte(out, '"');
  int64_t begin = out->size, quotes = 0;
  int failed = put_value(out, c, row);
  if (failed) return failed;
  for (int64_t i = begin; i < out->size; i++) quotes += out->text[i] == '"';
  if ((failed = output_fits(out, quotes + SCALAR_ROOM))) return failed;
  /* From the end, so that nothing is written over before it was moved. */
  int64_t from = out->size, to = out->size + quotes;
  out->size = to;
  while (from < to) {
    uint8_t byte = out->text[--from];
    out->text[--to] = byte;
    if (byte == '"') out->text[--to] = '"';
  }
  put_byte(out, '"');
  return 0;
}

/* Write one cell, for which the caller has made SCALAR_ROOM. Nothing is written of null. */
static int put_cell(output *out, const column *c, int64_t row, int is_safe) {
  int64_t at = row + c->offset;
  if (c->valid && !bit_of(c->valid, at)) return 0;
  switch (c->described->kind) {
    case STRING: {
      int64_t begin = int32_of(c->values, at), end = int32_of(c->values, at + 1);
      return put_csv_text(out, c->text + begin, end - begin, is_safe);
    }
    case TIMESTAMP: return put_timestamp(out, int64_of(c->values, at));
    case DATE: return put_date(out, int32_of(c->values, at));
    case LIST:
    case OBJECT: return put_csv_json(out, c, row);
    default: return put_value(out, c, row);
  }
}

static int put_csv_row(output *out, const column *c, int64_t row, int is_safe) {
  const node *n = c->described;
  int64_t begin = out->size;
  for (int32_t i = 0; i < n->children; i++) {
    int failed = output_fits(out, SCALAR_ROOM);
    if (failed) return failed;
    if (i) put_byte(out, ',');
    if ((failed = put_cell(out, &c->child[i], row, is_safe))) return failed;
  }
  int failed = output_fits(out, SCALAR_ROOM);
  if (failed) return failed;
  /* Readers pass over a line without anything. */
  if (out->size == begin) put_word(out, "\"\"", 2);
  put_word(out, "\r\n", 2);
  return 0;
}

#endif
