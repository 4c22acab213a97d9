/* JSON values into columns. What does not fit its column is left over; what only the exact way can judge is declined. */
#ifndef KERNEL_VALUES_H
#define KERNEL_VALUES_H

#include "doubles.h"
#include "extra.h"

/* A value of another type than described: its column gets null, and `_extra` the value. */
static int take_misfit(node *n, reader *r) {
  if (n->flags & REDACTED) return DECLINED;
  n->misfits++;
  int failed = append_null(n);
  return failed ? failed : leave_value(r);
}

/* ---- strings ---- */

/* Append the string at r->at, without its escapes, to the text of a column. The caller closes the row. */
static int put_string(node *n, reader *r) {
  const uint8_t *at = r->at + 1;
  int64_t begin = n->text_size, size = begin;
  mask not_ascii = 0;
  for (;;) {
    n->text_size = size;
    int failed = text_fits(n, 2 * VECTOR);
    if (failed) return failed;
    vector bytes = load(at);
    mask found = stops(bytes);
    store(n->text + size, bytes);
    if (LIKELY(found)) {
      int before = first_byte(found);
      not_ascii |= wide(bytes) & in_front(found);
      at += before;
      size += before;
      if (LIKELY(*at == '"')) break;
      int length;
      int32_t code = *at == '\\' ? escaped(at, &length) : -1;
      if (code < 0) return DECLINED;
      size = put_utf8(n->text + size, code) - n->text;
      at += length;
      continue;
    }
    not_ascii |= wide(bytes);
    at += VECTOR;
    size += VECTOR;
  }
  /* An escape gives whole characters, so the text is well-formed exactly where the bytes around escapes are. */
  if (UNLIKELY(not_ascii) && !is_utf8(n->text + begin, n->text + size)) return DECLINED;
  n->text_size = size;
  r->at = at + 1;
  return 0;
}

static int take_string(node *n, reader *r) {
  int failed = row_fits(n);
  if (!failed) failed = put_string(n, r);
  if (!failed) end_row(n, n->text_size);
  return failed;
}

/* Append the pseudonym of the scalar at r->at to the text of a column. The caller closes the row. Returns 1 for null. */
static int put_pseudonym(node *n, reader *r) {
  int64_t begin = n->text_size, size;
  const uint8_t *token = r->at;
  int failed;
  if (*token == '{' || *token == '[') return DECLINED;
  if (*token == '"') {
    if ((failed = put_string(n, r))) return failed;
    token = n->text + begin;
    size = n->text_size - begin;
  } else {
    r->at = *token == 'n' || *token == 't' || *token == 'f' ? skip_word(token) : skip_number(token);
    if (!r->at) return DECLINED;
    if (*token == 'n') return 1;
    size = r->at - token;
  }
  uint8_t digits[2 * SHA_SIZE];
  hmac_hex(r->key, token, size, digits);
  n->text_size = begin;
  if ((failed = text_fits(n, sizeof digits))) return failed;
  memcpy(n->text + begin, digits, sizeof digits);
  n->text_size += (int64_t)sizeof digits;
  return 0;
}

static int take_pseudonym(node *n, reader *r) {
  int failed = row_fits(n);
  if (!failed) failed = put_pseudonym(n, r);
  if (failed == 1) return append_null(n);
  if (!failed) end_row(n, n->text_size);
  return failed;
}

/* ---- numbers ---- */
static int take_integer(node *n, reader *r) {
  const uint8_t *at = r->at, *end = skip_number(at);
  if (!end) return DECLINED;
  int negative = *at == '-';
  const uint8_t *digits = at + negative;
  uint64_t value = 0;
  int fits = end - digits <= 19 && !(negative && *digits == '0');
  for (const uint8_t *digit = digits; digit < end && fits; digit++) {
    fits = is_digit(*digit);
    value = value * 10 + (uint64_t)(*digit - '0');
  }
  if (!fits || value > (uint64_t)INT64_MAX + (uint64_t)negative) return take_misfit(n, r);
  int failed = row_fits(n);
  if (failed) return failed;
  value = negative ? 0 - value : value;
  set_value(n, &value);
  r->at = end;
  return 0;
}

/* A number fits if its double is written as the same decimal; the others would lose what was sent. */
static int take_number(node *n, reader *r) {
  enum { LONGEST = 40 }; /* longer ones are misfits to the exact way, whatever they say */
  const uint8_t *at = r->at, *end = skip_number(at);
  if (!end) return DECLINED;
  uint64_t negative = *at == '-', bits;
  if (end - at > LONGEST) return take_misfit(n, r);
  enum fit fit = find_double(at + negative, end, &bits);
  if (UNLIKELY(fit != FITS)) return fit == MISFITS ? take_misfit(n, r) : DECLINED;
  int failed = row_fits(n);
  if (failed) return failed;
  bits |= negative << 63;
  set_value(n, &bits);
  r->at = end;
  return 0;
}

/* ---- times, as RFC 3339 writes them ---- */
static const int64_t MICROSECONDS = 1000000, DAY = 86400000000, FIRST_DAY = -719162, LAST_DAY = 2932896;

/* The value of `count` digits, or -1. */
static inline int digits_at(const uint8_t *at, int count) {
  int value = 0;
  for (int i = 0; i < count; i++) {
    if (!is_digit(at[i])) return -1;
    value = value * 10 + (at[i] - '0');
  }
  return value;
}

/* Days since 1970 of YYYY-MM-DD. False for what is no day of the years 1 to 9999. */
static int read_day(const uint8_t *at, int64_t *days) {
  static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  static const int16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  int year = digits_at(at, 4);
  if (year < 1 || at[4] != '-') return 0;
  int month = digits_at(at + 5, 2);
  if (month < 1 || month > 12 || at[7] != '-') return 0;
  int day = digits_at(at + 8, 2), is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (day < 1 || day > lengths[month - 1] + (month == 2 && is_leap)) return 0;
  int64_t past = year - 1;
  *days = FIRST_DAY + past * 365 + past / 4 - past / 100 + past / 400 + before[month - 1] + (month > 2 && is_leap) + day - 1;
  return 1;
}

/* The instant of a text that goes from `at` to `end`, in microseconds since 1970; *is_utc where it is written in UTC.
 * False for what is none, and for what microseconds of the years 1 to 9999 cannot hold. */
static int read_instant(const uint8_t *at, const uint8_t *end, int64_t *instant, int *is_utc) {
  int64_t days, fraction = 0;
  if (end - at < 20 || !read_day(at, &days) || (at[10] | 0x20) != 't') return 0;
  int hour = digits_at(at + 11, 2), minute = digits_at(at + 14, 2), second = digits_at(at + 17, 2);
  if (at[13] != ':' || at[16] != ':' || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
    return 0;
  at += 19;
  if (*at == '.') {
    int64_t unit = MICROSECONDS;
    const uint8_t *digit = ++at;
    for (; is_digit(*digit); digit++) {
      unit /= 10;
      if (unit == 0 && *digit != '0') return 0;
      fraction += unit * (*digit - '0');
    }
    if (digit == at) return 0;
    at = digit;
  }
  int64_t offset = 0;
  if ((*at | 0x20) == 'z') {
    at++;
    *is_utc = 1;
  } else {
    if (*at != '+' && *at != '-') return 0;
    int hours = digits_at(at + 1, 2), minutes = at[3] == ':' ? digits_at(at + 4, 2) : -1;
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return 0;
    offset = (hours * 60 + minutes) * 60 * (*at == '-' ? -1 : 1);
    *is_utc = offset == 0;
    at += 6;
  }
  *instant = days * DAY + ((hour * 60 + minute) * 60 + second - offset) * MICROSECONDS + fraction;
  return at == end && *instant >= FIRST_DAY * DAY && *instant < (LAST_DAY + 1) * DAY;
}

static int take_time(node *n, reader *r) {
  const uint8_t *begin = r->at + 1, *end = skip_string(begin);
  if (!end) return DECLINED;
  end--;
  int64_t days, instant;
  int is_utc, failed, fits;
  /* An escape could hide any character, so no form of a time is looked for behind one. */
  if (memchr(begin, '\\', (size_t)(end - begin))) return DECLINED;
  if (end - begin == 10) {
    fits = read_day(begin, &days);
    instant = fits ? days * DAY : 0;
  } else {
    fits = read_instant(begin, end, &instant, &is_utc);
    if (n->kind == DATE && fits) {
      fits = is_utc && instant % DAY == 0;
      days = instant / DAY;
    }
  }
  if (!fits) return take_misfit(n, r);
  if ((failed = row_fits(n))) return failed;
  int32_t day = n->kind == DATE ? (int32_t)days : 0;
  set_value(n, n->kind == DATE ? (const void *)&day : (const void *)&instant);
  r->at = end + 1;
  return 0;
}

#endif
