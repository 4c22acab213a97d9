/* Rows of Arrow columns as JSON objects, a line each: byte for byte what Python's orjson makes of them. */
#ifndef KERNEL_FLAT_H
#define KERNEL_FLAT_H

#include "values.h"

/* ---- the text that grows ---- */
typedef struct { uint8_t *text; int64_t size, capacity; } output;

/* A scalar other than a text, or what is written of a text at a time, takes less than half of this room. */
enum { SCALAR_ROOM = 64 };

static int grow_output(output *out, int64_t more) {
  int64_t capacity = out->capacity ? out->capacity : 1 << 16;
  while (capacity < out->size + more) capacity *= 2;
  if (!grown(&out->text, capacity)) return NO_MEMORY;
  out->capacity = capacity;
  return 0;
}
static inline int output_fits(output *out, int64_t more) {
  return LIKELY(out->size + more <= out->capacity) ? 0 : grow_output(out, more);
}

/* The functions below write where there is room already. */
static inline void put_byte(output *out, uint8_t byte) { out->text[out->size++] = byte; }
static inline void put_word(output *out, const char *word, int64_t size) {
  memcpy(out->text + out->size, word, (size_t)size);
  out->size += size;
}

/* The lowest `digits` decimal digits of a number. */
static inline void put_digits(output *out, uint64_t value, int digits) {
  for (int i = digits - 1; i >= 0; i--, value /= 10) out->text[out->size + i] = (uint8_t)('0' + value % 10);
  out->size += digits;
}

static inline void put_number(output *out, uint64_t value) {
  int digits = 1;
  for (uint64_t rest = value; rest > 9; rest /= 10) digits++;
  put_digits(out, value, digits);
}

static void put_integer(output *out, int64_t value) {
  if (value < 0) put_byte(out, '-');
  put_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* ---- times ---- */
enum { DAYS_FROM_YEAR_0_TO_1970 = 719468, DAYS_OF_400_YEARS = 146097 };

/* A day in the proleptic Gregorian calendar. Years are counted from March, so that a leap day is the last of its year. */
static int put_date(output *out, int64_t day) {
  if (day < FIRST_DAY || day > LAST_DAY) return DECLINED;
  uint32_t since = (uint32_t)(day + DAYS_FROM_YEAR_0_TO_1970), of_era = since % DAYS_OF_400_YEARS;
  uint32_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  uint32_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  uint32_t from_march = (5 * of_year + 2) / 153, month = from_march < 10 ? from_march + 3 : from_march - 9;
  put_digits(out, since / DAYS_OF_400_YEARS * 400 + year_of_era + (month <= 2), 4);
  put_byte(out, '-');
  put_digits(out, month, 2);
  put_byte(out, '-');
  put_digits(out, of_year - (153 * from_march + 2) / 5 + 1, 2);
  return 0;
}

/* Microseconds since 1970, without a fraction where it is zero. */
static int put_timestamp(output *out, int64_t value) {
  int64_t day = value / DAY, of_day = value % DAY;
  if (of_day < 0) {
    of_day += DAY;
    day--;
  }
  if (put_date(out, day)) return DECLINED;
  uint32_t fraction = (uint32_t)(of_day % MICROSECONDS), second = (uint32_t)(of_day / MICROSECONDS);
  put_byte(out, 'T');
  put_digits(out, second / 3600, 2);
  put_byte(out, ':');
  put_digits(out, second / 60 % 60, 2);
  put_byte(out, ':');
  put_digits(out, second % 60, 2);
  if (fraction) {
    put_byte(out, '.');
    put_digits(out, fraction, 6);
  }
  put_byte(out, 'Z');
  return 0;
}

/* ---- doubles ----
 * The shortest decimal that is read as the same double, and of those the one nearest to it.
 *
 * A double of at least 1e-5 and below 2^53 is mantissa / 2^shift, with a mantissa below 2^53 and a shift of at most 69.
 * Seventeen digits always suffice, so at most 21 decimals are needed; twice the mantissa times 10^21 has 124 bits, so
 * everything is exact. A decimal is read as the double if it is less than half the distance of two doubles away from
 * it. (One just as far away has more decimals than the double itself, which is found before. Below a power of two that
 * distance is smaller, but those of this range are integers or have at most 12 digits, so they are found exactly.)
 *
 * Other doubles are declined, except zeros: orjson has changed how it writes exponents.
 */
static int put_double(output *out, double value) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  if (bits >> 63) put_byte(out, '-');
  bits &= INT64_MAX;
  memcpy(&value, &bits, 8);
  if (!bits) {
    put_word(out, "0.0", 3);
    return 0;
  }
#if defined(__SIZEOF_INT128__)
  typedef unsigned __int128 wide_number;
  if (!(value >= 1e-5 && value < 9007199254740992.0)) return DECLINED;
  uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52, nearest = 0;
  /* In units of half the distance of two doubles, of which 2^shift make one. */
  int shift = 1023 + 52 + 1 - (int)(bits >> 52), decimals = 0;
  wide_number one = (wide_number)1 << shift, scaled = (wide_number)mantissa * 2, allowed = 1;
  for (;; decimals++, scaled *= 10, allowed *= 10) {
    wide_number rest = scaled & (one - 1);
    nearest = (uint64_t)(scaled >> shift);
    int up = rest > one / 2 || (rest == one / 2 && (nearest & 1));
    wide_number distance = up ? one - rest : rest;
    nearest += (uint64_t)up;
    if (distance < allowed) break;
  }
  uint64_t power = 1;
  for (int i = 0; i < decimals && i < 19; i++) power *= 10;
  /* With more than 19 decimals the value is below one, as the number of digits is at most 17. */
  put_number(out, decimals > 19 ? 0 : nearest / power);
  put_byte(out, '.');
  put_digits(out, decimals > 19 ? nearest : nearest % power, decimals ? decimals : 1);
  return 0;
#else
  return DECLINED;
#endif
}

/* ---- strings ---- */
static void put_escape(output *out, uint8_t c) {
  const char *found = strchr("\"\\\b\f\n\r\t", c);
  put_byte(out, '\\');
  if (c && found) {
    put_byte(out, (uint8_t)"\"\\bfnrt"[found - "\"\\\b\f\n\r\t"]);
    return;
  }
  put_word(out, "u00", 3);
  put_byte(out, (uint8_t)"0123456789abcdef"[c >> 4]);
  put_byte(out, (uint8_t)"0123456789abcdef"[c & 15]);
}

/* A text in quotes. Behind it, up to `readable`, there may be bytes of other texts. */
static int put_quoted(output *out, const uint8_t *at, int64_t size, const uint8_t *readable) {
  put_byte(out, '"');
  while (size > 0) {
    int failed = output_fits(out, SCALAR_ROOM);
    if (failed) return failed;
    uint8_t last[VECTOR] = {0};
    int is_whole = readable - at >= VECTOR;
    if (UNLIKELY(!is_whole)) memcpy(last, at, (size_t)size);
    vector bytes = load(is_whole ? at : last);
    mask found = stops(bytes);
    store(out->text + out->size, bytes);
    int64_t before = found ? first_byte(found) : VECTOR;
    if (before >= size) {
      out->size += size;
      break;
    }
    out->size += before;
    at += before;
    size -= before;
    if (found) {
      put_escape(out, *at++);
      size--;
    }
  }
  put_byte(out, '"');
  return 0;
}

/* ---- columns ---- */
typedef struct column {
  const node *described;
  struct column *child;
  int64_t offset;
  const uint8_t *valid, *values; /* valid is NULL where nothing is null */
  const uint8_t *text, *text_end;
} column;

static inline int bit_of(const uint8_t *bits, int64_t at) { return bits[at >> 3] >> (at & 7) & 1; }
static inline int64_t int32_of(const uint8_t *values, int64_t at) {
  int32_t value;
  memcpy(&value, values + 4 * at, 4);
  return value;
}
static inline int64_t int64_of(const uint8_t *values, int64_t at) {
  int64_t value;
  memcpy(&value, values + 8 * at, 8);
  return value;
}

/* Look an array over, and its children. Returns where the next columns go, or NULL if it is not as described. */
static column *read_column(const node *n, const struct ArrowArray *array, column *c, column *free_columns) {
  int64_t buffers = n->kind == OBJECT ? 1 : n->kind == STRING ? 3 : 2;
  if (array->n_buffers != buffers || array->n_children != n->children || array->dictionary) return NULL;
  *c = (column){.described = n, .child = free_columns, .offset = array->offset, .valid = array->buffers[0]};
  if (buffers > 1) c->values = array->buffers[1];
  if (buffers > 2) c->text = array->buffers[2] ? array->buffers[2] : (const void *)"";
  /* Where there are no rows there may be no buffer, and nothing is read. */
  if (buffers > 1 && array->length && !c->values) return NULL;
  if (buffers > 2) c->text_end = c->text + (array->length ? int32_of(c->values, array->offset + array->length) : 0);
  free_columns += n->children;
  for (int32_t i = 0; i < n->children && free_columns; i++)
    free_columns = read_column(&n->child[i], array->children[i], &c->child[i], free_columns);
  return free_columns;
}

static int put_value(output *out, const column *c, int64_t row);

static int put_object(output *out, const column *c, int64_t row) {
  const node *n = c->described;
  put_byte(out, '{');
  for (int32_t i = 0; i < n->children; i++) {
    const node *member = &n->child[i];
    int failed = output_fits(out, member->key_size + VECTOR + SCALAR_ROOM);
    if (failed) return failed;
    if (i) put_byte(out, ',');
    for (int32_t at = 0; at < member->key_size; at += VECTOR) store(out->text + out->size + at, load(member->key + at));
    out->size += member->key_size;
    if ((failed = put_value(out, &c->child[i], row))) return failed;
  }
  int failed = output_fits(out, SCALAR_ROOM);
  if (failed) return failed;
  put_byte(out, '}');
  return 0;
}

static int put_list(output *out, const column *c, int64_t row) {
  int64_t begin = int32_of(c->values, row), end = int32_of(c->values, row + 1);
  put_byte(out, '[');
  for (int64_t i = begin; i < end; i++) {
    int failed = output_fits(out, SCALAR_ROOM);
    if (failed) return failed;
    if (i > begin) put_byte(out, ',');
    if ((failed = put_value(out, c->child, i))) return failed;
  }
  int failed = output_fits(out, SCALAR_ROOM);
  if (failed) return failed;
  put_byte(out, ']');
  return 0;
}

/* Write one value, for which the caller has made SCALAR_ROOM. Enough of it is left for what follows the value. */
static int put_value(output *out, const column *c, int64_t row) {
  int failed = 0;
  row += c->offset;
  if (c->valid && !bit_of(c->valid, row)) {
    put_word(out, "null", 4);
    return 0;
  }
  switch (c->described->kind) {
    case STRING: {
      int64_t begin = int32_of(c->values, row), end = int32_of(c->values, row + 1);
      failed = put_quoted(out, c->text + begin, end - begin, c->text_end);
      break;
    }
    case BOOLEAN:
      if (bit_of(c->values, row)) put_word(out, "true", 4);
      else put_word(out, "false", 5);
      return 0;
    case INTEGER: put_integer(out, int64_of(c->values, row)); return 0;
    case NUMBER: {
      double value;
      memcpy(&value, c->values + 8 * row, 8);
      return put_double(out, value);
    }
    case TIMESTAMP:
    case DATE:
      put_byte(out, '"');
      failed = c->described->kind == DATE ? put_date(out, int32_of(c->values, row))
                                          : put_timestamp(out, int64_of(c->values, row));
      put_byte(out, '"');
      return failed;
    case LIST: failed = put_list(out, c, row); break;
    case OBJECT: failed = put_object(out, c, row); break;
    default: return DECLINED;
  }
  return failed;
}

#endif
