/* What no column takes: canonical JSON for `_extra`, and counts of names that nobody described.
 *
 * The text is the one that the exact way writes: members that have a column first, in the order of the description, then
 * the others by name; no white space; strings with the escapes that JSON demands and no others.
 */
#ifndef KERNEL_EXTRA_H
#define KERNEL_EXTRA_H

#include "columns.h"
#include "hash.h"
#include "text.h"

/* A piece of an object of `_extra`: a name, and where the text of its value is. */
typedef struct {
  int32_t order;        /* position in the description or in a list; NOT_DESCRIBED sorts by name */
  int32_t name_size;
  const uint8_t *name;  /* in the page, as it is written there; NULL for an element of a list */
  int64_t at, size;     /* in `scratch` */
} leftover;

enum { NOT_DESCRIBED = INT32_MAX, MOST_UNKNOWN = 64, LONGEST_NAME = 200 };

/* How often a name was met that nobody described, by the object it was met in. */
typedef struct {
  int32_t parent;       /* index of the node of the object */
  int32_t name_size;
  int64_t count, count_before;
  uint8_t name[LONGEST_NAME];
} unknown_name;

typedef struct {
  const uint8_t *at;            /* the position in the page */
  leftover *leftovers;
  int32_t leftover_count, leftover_capacity;
  uint8_t *scratch;             /* texts of the record at hand */
  int64_t scratch_size, scratch_capacity;
  int64_t left_at, left_size;   /* what the value just read left over; a size of 0 for nothing */
  unknown_name *unknown;
  int32_t unknown_count, unknown_before;
  const hmac_key *key;
} reader;

static int scratch_fits(reader *r, int64_t more) {
  if (LIKELY(r->scratch_size + more <= r->scratch_capacity)) return 0;
  int64_t capacity = r->scratch_capacity ? r->scratch_capacity : 4096;
  while (capacity < r->scratch_size + more) capacity *= 2;
  if (!grown(&r->scratch, capacity)) return NO_MEMORY;
  r->scratch_capacity = capacity;
  return 0;
}

static int put_bytes(reader *r, const void *bytes, int64_t size) {
  int failed = scratch_fits(r, size);
  if (failed) return failed;
  memcpy(r->scratch + r->scratch_size, bytes, (size_t)size);
  r->scratch_size += size;
  return 0;
}

/* Copy a string with its quotes; r->at is on the opening one. */
static int copy_string(reader *r) {
  const uint8_t *from = r->at, *end = skip_string(from + 1);
  if (!end) return DECLINED;
  /* No escape gets longer by more than `\u0000` for itself, and none is longer than what it replaces. */
  int failed = scratch_fits(r, end - from + 8);
  if (failed) return failed;
  uint8_t *out = r->scratch + r->scratch_size;
  *out++ = *from++;
  while (from < end) {
    if (*from != '\\') { *out++ = *from++; continue; }
    int size;
    int32_t code = escaped(from, &size);
    if (code < 0) return DECLINED; /* half of a surrogate pair */
    from += size;
    const char *named = code == '"' ? "\\\"" : code == '\\' ? "\\\\" : code == '\b' ? "\\b" : code == '\f' ? "\\f"
                      : code == '\n' ? "\\n" : code == '\r' ? "\\r" : code == '\t' ? "\\t" : NULL;
    if (named) {
      *out++ = (uint8_t)named[0];
      *out++ = (uint8_t)named[1];
    } else if (code < 0x20) {
      memcpy(out, "\\u00", 4);
      out[4] = (uint8_t)"0123456789abcdef"[code >> 4];
      out[5] = (uint8_t)"0123456789abcdef"[code & 15];
      out += 6;
    } else {
      out = put_utf8(out, code);
    }
  }
  r->scratch_size = out - r->scratch;
  r->at = end;
  return 0;
}

static int copy_value(reader *r, int depth) {
  const uint8_t *begin = r->at;
  if (*begin == '"') return copy_string(r);
  if (*begin != '{' && *begin != '[') {
    const uint8_t *end = *begin == 'n' || *begin == 't' || *begin == 'f' ? skip_word(begin) : skip_number(begin);
    if (!end) return DECLINED;
    r->at = end;
    return put_bytes(r, begin, end - begin);
  }
  if (depth == DEEPEST) return DECLINED;
  uint8_t closing = (uint8_t)(*begin + 2);
  int failed = put_bytes(r, begin, 1);
  r->at = skip_space(begin + 1);
  while (!failed && *r->at != closing) {
    if (closing == '}') {
      if (*r->at != '"') return DECLINED;
      if ((failed = copy_string(r))) return failed;
      r->at = skip_space(r->at);
      if (*r->at != ':') return DECLINED;
      if ((failed = put_bytes(r, ":", 1))) return failed;
      r->at = skip_space(r->at + 1);
    }
    if ((failed = copy_value(r, depth + 1))) return failed;
    r->at = skip_space(r->at);
    if (*r->at == ',') {
      failed = put_bytes(r, ",", 1);
      r->at = skip_space(r->at + 1);
      if (*r->at == closing) return DECLINED;
    } else if (*r->at != closing) {
      return DECLINED;
    }
  }
  if (failed) return failed;
  r->at++;
  return put_bytes(r, &closing, 1);
}

/* Keep the value at r->at as what is left over of it. */
static int leave_value(reader *r) {
  int64_t at = r->scratch_size;
  int failed = copy_value(r, 0);
  r->left_at = at;
  r->left_size = r->scratch_size - at;
  return failed;
}

static int add_leftover(reader *r, int32_t order, const uint8_t *name, int32_t name_size) {
  if (r->leftover_count == r->leftover_capacity) {
    int32_t capacity = r->leftover_capacity ? 2 * r->leftover_capacity : 64;
    leftover *larger = realloc(r->leftovers, (size_t)capacity * sizeof *larger);
    if (!larger) return NO_MEMORY;
    r->leftovers = larger;
    r->leftover_capacity = capacity;
  }
  r->leftovers[r->leftover_count++] = (leftover){order, name_size, name, r->left_at, r->left_size};
  return 0;
}

static int compare_leftovers(const leftover *left, const leftover *right) {
  if (left->order != right->order) return left->order < right->order ? -1 : 1;
  if (left->order != NOT_DESCRIBED) return 0;
  int32_t size = left->name_size < right->name_size ? left->name_size : right->name_size;
  int compared = memcmp(left->name, right->name, (size_t)size);
  return compared ? compared : left->name_size - right->name_size;
}

/* Sort the pieces from `first` on. DECLINED where a name stands twice. */
static int sort_leftovers(reader *r, int32_t first) {
  leftover *pieces = r->leftovers;
  for (int32_t i = first + 1; i < r->leftover_count; i++) {
    leftover piece = pieces[i];
    int32_t j = i;
    for (; j > first; j--) {
      int compared = compare_leftovers(&pieces[j - 1], &piece);
      if (compared == 0) return DECLINED;
      if (compared < 0) break;
      pieces[j] = pieces[j - 1];
    }
    pieces[j] = piece;
  }
  return 0;
}

/* Write the pieces from `first` on as members of an object, and forget them. */
static int put_members(reader *r, int32_t first) {
  int failed = sort_leftovers(r, first);
  for (int32_t i = first; i < r->leftover_count && !failed; i++) {
    leftover piece = r->leftovers[i];
    failed = scratch_fits(r, piece.name_size + piece.size + 24);
    if (failed) break;
    uint8_t *out = r->scratch + r->scratch_size;
    if (i > first) *out++ = ',';
    *out++ = '"';
    if (piece.name) {
      /* Names of ours begin with a slash, so one that was sent has it doubled. */
      if (piece.name_size && piece.name[0] == '/') *out++ = '/';
      memcpy(out, piece.name, (size_t)piece.name_size);
      out += piece.name_size;
    } else {
      uint8_t digits[10];
      int count = 0;
      do digits[count++] = (uint8_t)('0' + piece.order % 10); while (piece.order /= 10);
      while (count) *out++ = digits[--count];
    }
    *out++ = '"';
    *out++ = ':';
    memcpy(out, r->scratch + piece.at, (size_t)piece.size);
    r->scratch_size = out + piece.size - r->scratch;
  }
  r->leftover_count = first;
  return failed;
}

/* Make one object of the pieces from `first` on, and leave it over. */
static int combine_leftovers(reader *r, int32_t first) {
  r->left_size = 0;
  if (LIKELY(r->leftover_count == first)) return 0;
  int64_t at = r->scratch_size;
  int failed = put_bytes(r, "{", 1);
  if (!failed) failed = put_members(r, first);
  if (!failed) failed = put_bytes(r, "}", 1);
  r->left_at = at;
  r->left_size = r->scratch_size - at;
  return failed;
}

/* Count a name that nobody described. Too many of them are left to the exact way. */
static int count_unknown(reader *r, int32_t parent, const uint8_t *name, int32_t size) {
  if (size > LONGEST_NAME) return DECLINED;
  for (int32_t i = 0; i < r->unknown_count; i++) {
    unknown_name *known = &r->unknown[i];
    if (known->parent == parent && known->name_size == size && memcmp(known->name, name, (size_t)size) == 0) {
      known->count++;
      return 0;
    }
  }
  if (r->unknown_count == MOST_UNKNOWN) return DECLINED;
  unknown_name *added = &r->unknown[r->unknown_count++];
  *added = (unknown_name){.parent = parent, .name_size = size, .count = 1};
  memcpy(added->name, name, (size_t)size);
  return 0;
}

static void mark_unknown(reader *r) {
  r->unknown_before = r->unknown_count;
  for (int32_t i = 0; i < r->unknown_count; i++) r->unknown[i].count_before = r->unknown[i].count;
}

static void take_back_unknown(reader *r) {
  r->unknown_count = r->unknown_before;
  for (int32_t i = 0; i < r->unknown_count; i++) r->unknown[i].count = r->unknown[i].count_before;
}

#endif
