/* JSON text, read in place: white space, strings, numbers and values that are passed over.
 *
 * Every text ends in PADDING zero bytes. No JSON token holds a zero byte, so each loop stops there at the latest, and a
 * vector may be loaded from any position of the text.
 */
#ifndef KERNEL_TEXT_H
#define KERNEL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* KERNEL_PORTABLE is for tests of what other processors run. */
#if defined(KERNEL_PORTABLE)
#elif defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define KERNEL_SSE2
#elif defined(__aarch64__)
#include <arm_neon.h>
#define KERNEL_NEON
#endif

#if defined(__GNUC__) || defined(__clang__)
#define NOT_INLINED __attribute__((noinline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#else
#define NOT_INLINED
#define LIKELY(condition) (condition)
#define UNLIKELY(condition) (condition)
#endif

enum { PADDING = 64, DEEPEST = 64, VECTOR = 16 };

/* ---- sixteen bytes at a time ----
 * `stops` marks the bytes at which a string can end or needs care: quote, backslash, control characters.
 * `wide` marks the bytes that are not ASCII. A mask has BITS_PER_BYTE bits for each byte, the first byte lowest.
 */
#if defined(KERNEL_SSE2)
typedef __m128i vector;
typedef uint32_t mask;
enum { BITS_PER_BYTE = 1 };

static inline vector load(const uint8_t *at) { return _mm_loadu_si128((const __m128i *)at); }
static inline void store(uint8_t *at, vector bytes) { _mm_storeu_si128((__m128i *)at, bytes); }
static inline mask wide(vector bytes) { return (mask)_mm_movemask_epi8(bytes); }
static inline mask stops(vector bytes) {
  vector quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  vector backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  vector controls = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
  return (mask)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls));
}
#elif defined(KERNEL_NEON)
typedef uint8x16_t vector;
typedef uint64_t mask;
enum { BITS_PER_BYTE = 4 };

static inline vector load(const uint8_t *at) { return vld1q_u8(at); }
static inline void store(uint8_t *at, vector bytes) { vst1q_u8(at, bytes); }
static inline mask gathered(uint8x16_t flags) {
  return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(flags), 4)), 0);
}
static inline mask wide(vector bytes) { return gathered(vcgeq_u8(bytes, vdupq_n_u8(0x80))); }
static inline mask stops(vector bytes) {
  uint8x16_t flags = vorrq_u8(vceqq_u8(bytes, vdupq_n_u8('"')), vceqq_u8(bytes, vdupq_n_u8('\\')));
  return gathered(vorrq_u8(flags, vcltq_u8(bytes, vdupq_n_u8(0x20))));
}
#else
typedef struct { uint8_t byte[VECTOR]; } vector;
typedef uint32_t mask;
enum { BITS_PER_BYTE = 1 };

static inline vector load(const uint8_t *at) { vector bytes; memcpy(&bytes, at, VECTOR); return bytes; }
static inline void store(uint8_t *at, vector bytes) { memcpy(at, &bytes, VECTOR); }
static inline mask wide(vector bytes) {
  mask found = 0;
  for (int i = 0; i < VECTOR; i++) found |= (mask)(bytes.byte[i] >> 7) << i;
  return found;
}
static inline mask stops(vector bytes) {
  mask found = 0;
  for (int i = 0; i < VECTOR; i++) {
    uint8_t c = bytes.byte[i];
    found |= (mask)(c < 0x20 || c == '"' || c == '\\') << i;
  }
  return found;
}
#endif

static inline int lowest_bit(mask bits) {
#if defined(__GNUC__) || defined(__clang__)
  return __builtin_ctzll((unsigned long long)bits);
#else
  int position = 0;
  while (!(bits & 1)) { bits >>= 1; position++; }
  return position;
#endif
}
/* The index of the first byte that a mask marks, and the bits of the bytes in front of it. */
static inline int first_byte(mask bits) { return lowest_bit(bits) / BITS_PER_BYTE; }
static inline mask in_front(mask bits) { return (bits & (0 - bits)) - 1; }

/* ---- characters ---- */
static inline int is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
static inline int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static inline const uint8_t *skip_space(const uint8_t *at) {
  while (UNLIKELY(is_space(*at))) at++;
  return at;
}

static inline int hex_digit(uint8_t c) {
  if (is_digit(c)) return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of four hexadecimal digits, or -1. */
static inline int hex4(const uint8_t *at) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

/* Whether bytes are well-formed UTF-8 (Unicode standard, table 3-7). */
static int is_utf8(const uint8_t *at, const uint8_t *end) {
  while (at < end) {
    uint8_t lead = *at;
    if (lead < 0x80) { at++; continue; }
    int size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || end - at < size) return 0;
    for (int i = 1; i < size; i++)
      if ((at[i] & 0xc0) != 0x80) return 0;
    if ((lead == 0xe0 && at[1] < 0xa0) || (lead == 0xed && at[1] >= 0xa0)) return 0;
    if ((lead == 0xf0 && at[1] < 0x90) || (lead == 0xf4 && at[1] >= 0x90)) return 0;
    at += size;
  }
  return 1;
}

/* ---- tokens ---- */

/* The character that an escape stands for; `at` is on its backslash, and *size receives the length of the escape.
 * A pair of surrogates is one escape. -1 for what is no escape, and for half of a pair. */
static inline int32_t escaped(const uint8_t *at, int *size) {
  *size = 2;
  switch (at[1]) {
    case '"': case '\\': case '/': return at[1];
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': break;
    default: return -1;
  }
  int32_t code = hex4(at + 2);
  *size = 6;
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code > 0xdbff || at[6] != '\\' || at[7] != 'u') return -1;
  int32_t low = hex4(at + 8);
  *size = 12;
  return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static inline uint8_t *put_utf8(uint8_t *out, int32_t code) {
  if (code < 0x80) {
    *out++ = (uint8_t)code;
  } else if (code < 0x800) {
    *out++ = (uint8_t)(0xc0 | code >> 6);
    *out++ = (uint8_t)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *out++ = (uint8_t)(0xe0 | code >> 12);
    *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    *out++ = (uint8_t)(0x80 | (code & 0x3f));
  } else {
    *out++ = (uint8_t)(0xf0 | code >> 18);
    *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    *out++ = (uint8_t)(0x80 | (code & 0x3f));
  }
  return out;
}

/* Behind the closing quote of a string, of which `at` is the first byte inside; NULL for an unsound one. */
static const uint8_t *skip_string(const uint8_t *at) {
  const uint8_t *begin = at;
  mask not_ascii = 0;
  for (;;) {
    vector bytes = load(at);
    mask found = stops(bytes);
    if (LIKELY(found)) {
      not_ascii |= wide(bytes) & in_front(found);
      at += first_byte(found);
      if (LIKELY(*at == '"')) break;
      if (*at != '\\') return NULL;
      int size = 2;
      /* Half of a surrogate pair is sound JSON, so only the digits are looked at. */
      if (at[1] == 'u') {
        if (hex4(at + 2) < 0) return NULL;
        size = 6;
      } else if (escaped(at, &size) < 0) {
        return NULL;
      }
      at += size;
      continue;
    }
    not_ascii |= wide(bytes);
    at += VECTOR;
  }
  if (UNLIKELY(not_ascii) && !is_utf8(begin, at)) return NULL;
  return at + 1;
}

static const uint8_t *skip_digits(const uint8_t *at) {
  if (!is_digit(*at)) return NULL;
  while (is_digit(*at)) at++;
  return at;
}

static const uint8_t *skip_number(const uint8_t *at) {
  at += *at == '-';
  at = *at == '0' ? at + 1 : skip_digits(at);
  if (at && *at == '.') at = skip_digits(at + 1);
  if (at && (*at | 0x20) == 'e') {
    at++;
    at += *at == '+' || *at == '-';
    at = skip_digits(at);
  }
  return at;
}

static inline const uint8_t *skip_word(const uint8_t *at) {
  if (memcmp(at, "null", 4) == 0 || memcmp(at, "true", 4) == 0) return at + 4;
  return memcmp(at, "false", 5) == 0 ? at + 5 : NULL;
}

/* Whether `size` bytes are the same. `left` may be near the end of its text: no byte of `right` is zero, so what is behind
 * the first vector that differs is not read. Both sides may be read up to VECTOR bytes further. */
static inline int same_bytes(const uint8_t *left, const uint8_t *right, int64_t size) {
#if defined(KERNEL_SSE2)
  for (; size > VECTOR; size -= VECTOR, left += VECTOR, right += VECTOR)
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(load(left), load(right))) != 0xffff) return 0;
  uint32_t differing = ~(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(load(left), load(right)));
  return size == 0 || (differing << (32 - size)) == 0;
#else
  for (; size > VECTOR; size -= VECTOR, left += VECTOR, right += VECTOR)
    if (memcmp(left, right, VECTOR) != 0) return 0;
  return memcmp(left, right, (size_t)size) == 0;
#endif
}

/* ---- keys that come again ----
 * Records hold the same keys in the same order, so the n-th key of a record is compared with the n-th of the one before.
 */
enum { MOST_KEYS = 256 };
typedef struct {
  int32_t next, known;
  struct { const uint8_t *at; int32_t size; } key[MOST_KEYS];
} key_memory;

/* Where the value of the key at `at` begins, or NULL. Sets *spaced where there is white space. */
static inline const uint8_t *skip_key(const uint8_t *at, key_memory *keys, int *spaced) {
  int32_t index = keys->next++;
  if (LIKELY(index < keys->known && same_bytes(at, keys->key[index].at, keys->key[index].size))) {
    at += keys->key[index].size;
  } else {
    const uint8_t *begin = at;
    if (*at != '"' || !(at = skip_string(at + 1))) return NULL;
    if (is_space(*at)) { *spaced = 1; at = skip_space(at); }
    if (*at != ':') return NULL;
    at++;
    if (index < MOST_KEYS) {
      keys->key[index].at = begin;
      keys->key[index].size = (int32_t)(at - begin);
      if (keys->known <= index) keys->known = index + 1;
    }
  }
  if (UNLIKELY(is_space(*at))) { *spaced = 1; at = skip_space(at); }
  return at;
}

/* Behind any sound value, or NULL. Sets *spaced where white space stands between its tokens. */
static const uint8_t *skip_value(const uint8_t *at, key_memory *keys, int *spaced) {
  uint8_t closing[DEEPEST];
  int depth = 0;
  for (;;) {
    switch (*at) {
      case '"': at = skip_string(at + 1); break;
      case 'n': case 't': case 'f': at = skip_word(at); break;
      case '{':
      case '[': {
        uint8_t end = (uint8_t)(*at + 2); /* `}` and `]` follow their counterparts at a distance of two */
        at++;
        if (UNLIKELY(is_space(*at))) { *spaced = 1; at = skip_space(at); }
        if (*at == end) { at++; break; }
        if (depth == DEEPEST) return NULL;
        closing[depth++] = end;
        if (end == '}' && !(at = skip_key(at, keys, spaced))) return NULL;
        continue;
      }
      default: at = skip_number(at);
    }
    if (UNLIKELY(!at)) return NULL;
    for (;;) {
      if (!depth) return at;
      if (UNLIKELY(is_space(*at))) { *spaced = 1; at = skip_space(at); }
      if (*at == ',') {
        at++;
        if (UNLIKELY(is_space(*at))) { *spaced = 1; at = skip_space(at); }
        if (closing[depth - 1] == '}' && !(at = skip_key(at, keys, spaced))) return NULL;
        break;
      }
      if (*at != closing[depth - 1]) return NULL;
      depth--;
      at++;
    }
  }
}

#endif
