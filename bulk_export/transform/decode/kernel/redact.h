/* Records as they were sent, without the members that rules drop, and with pseudonyms in the place of others.
 *
 * The text is what `transform/decode/redactor.py` makes of compact records: every other token stays as it was sent. It
 * writes records anew that hold half of a surrogate pair, and it looks twice at objects with a rule where a key is repeated
 * or written with an escape; all of these are declined.
 *
 * The nodes of a schema are the rules: objects with rules for their members, DROPPED, and strings with PSEUDONYM. A rule
 * passes through lists.
 */
#ifndef KERNEL_REDACT_H
#define KERNEL_REDACT_H

#include "flat.h"

/* The keys of the object that was last met at a rule, no two of which are alike, and the rule for each. */
typedef struct {
  int32_t known;
  struct { const uint8_t *at; const node *rule; int32_t size; } key[MOST_KEYS];
} ruled_keys;

typedef struct {
  const uint8_t *from;  /* what stands before it in the text is written, or left out */
  output out;
  reader r;             /* where it reads, and texts of objects */
  node string;          /* a string without its escapes */
  ruled_keys *ruled;    /* by the index of the rule */
  key_memory others;    /* keys of objects without a rule */
  const hmac_key *key;
} redaction;

static int redact_value(const node *rule, redaction *d);

/* Write what was read up to `end`, and make room for what follows. */
static int write_until(redaction *d, const uint8_t *end) {
  int64_t size = end - d->from;
  int failed = output_fits(&d->out, size + 2 * SHA_SIZE + SCALAR_ROOM);
  if (failed) return failed;
  if (size) memcpy(d->out.text + d->out.size, d->from, (size_t)size);
  d->out.size += size;
  d->from = end;
  return 0;
}

/* Replace the value at the position by its pseudonym, unless it is null. */
static int redact_scalar(redaction *d) {
  const uint8_t *begin = d->r.at, *token = begin;
  int64_t size;
  int failed = 0;
  if (*begin == 'n') {
    d->r.at = skip_word(begin);
    return d->r.at ? 0 : DECLINED;
  }
  if (*begin == '"') {
    d->r.at = skip_string(begin + 1);
    if (!d->r.at) return DECLINED;
    token = begin + 1;
    size = d->r.at - token - 1;
    if (memchr(token, '\\', (size_t)size)) {
      d->r.at = begin;
      d->string.text_size = 0;
      failed = put_string(&d->string, &d->r);
      token = d->string.text;
      size = d->string.text_size;
    }
  } else if (*begin == '{') {
    d->r.scratch_size = 0;
    failed = copy_value(&d->r, 0);
    token = d->r.scratch;
    size = d->r.scratch_size;
  } else {
    d->r.at = *begin == 't' || *begin == 'f' ? skip_word(begin) : skip_number(begin);
    if (!d->r.at) return DECLINED;
    size = d->r.at - begin;
  }
  if (!failed) failed = write_until(d, begin);
  if (failed) return failed;
  put_byte(&d->out, '"');
  hmac_hex(d->key, token, size, d->out.text + d->out.size);
  d->out.size += 2 * SHA_SIZE;
  put_byte(&d->out, '"');
  d->from = d->r.at;
  return 0;
}

static int redact_list(const node *rule, redaction *d) {
  d->r.at++;
  while (*d->r.at != ']') {
    int failed = redact_value(rule, d);
    if (failed) return failed;
    if (*d->r.at == ',') d->r.at++;
    else if (*d->r.at != ']') return DECLINED;
  }
  d->r.at++;
  return 0;
}

/* Remember the key at `at` as the one in this place. Behind its colon, or NULL for an escape or a key that came before. */
static const uint8_t *learn_key(const node *rules, ruled_keys *keys, int32_t place, const uint8_t *at) {
  const uint8_t *end = *at == '"' ? skip_string(at + 1) : NULL;
  if (!end || *end != ':' || place == MOST_KEYS || memchr(at, '\\', (size_t)(end - at))) return NULL;
  int32_t size = (int32_t)(++end - at);
  for (int32_t i = 0; i < place; i++)
    if (keys->key[i].size == size && memcmp(keys->key[i].at, at, (size_t)size) == 0) return NULL;
  const node *rule = NULL;
  for (int32_t i = 0; i < rules->children && !rule; i++)
    if (rules->child[i].key_size == size && memcmp(rules->child[i].key, at, (size_t)size) == 0) rule = &rules->child[i];
  keys->key[place].at = at;
  keys->key[place].size = size;
  keys->key[place].rule = rule;
  /* The keys behind it are of another object, in which this one may have stood. */
  keys->known = place + 1;
  return end;
}

static int redact_object(const node *rules, redaction *d) {
  ruled_keys *keys = &d->ruled[rules->index];
  const uint8_t *at = d->r.at + 1;
  int32_t kept = 0, place = 0;
  while (*at != '}') {
    const uint8_t *member = at;
    if (LIKELY(place < keys->known && same_bytes(at, keys->key[place].at, keys->key[place].size)))
      at += keys->key[place].size;
    else if (!(at = learn_key(rules, keys, place, at)))
      return DECLINED;
    const node *rule = keys->key[place++].rule;
    d->r.at = at;
    if (UNLIKELY(rule && rule->kind != DROPPED)) {
      int failed = redact_value(rule, d);
      if (failed) return failed;
    } else if (!(d->r.at = skip_value(at, &d->others, &(int){0}))) {
      return DECLINED;
    }
    at = d->r.at;
    if (*at != ',' && *at != '}') return DECLINED;
    if (UNLIKELY(rule && rule->kind == DROPPED)) {
      /* One comma goes with it: the one before it, or behind it if nothing was kept so far. */
      int failed = write_until(d, kept ? member - 1 : member);
      if (failed) return failed;
      d->from = at + (!kept && *at == ',');
    } else {
      kept++;
    }
    if (*at == ',') {
      at++;
      if (*at == '}') return DECLINED;
    }
  }
  d->r.at = at + 1;
  return 0;
}

static int redact_value(const node *rule, redaction *d) {
  if (*d->r.at == '[') return redact_list(rule, d);
  if (rule->kind == STRING && rule->flags & PSEUDONYM) return redact_scalar(d);
  if (rule->kind == OBJECT && *d->r.at == '{') return redact_object(rule, d);
  d->r.at = skip_value(d->r.at, &d->others, &(int){0});
  return d->r.at ? 0 : DECLINED;
}

/* Whether no escape between `at` and `end` is half of a surrogate pair. */
static int has_whole_pairs(const uint8_t *at, const uint8_t *end) {
  int size = 0;
  while (at < end && (at = memchr(at, '\\', (size_t)(end - at)))) {
    if (escaped(at, &size) < 0) return 0;
    at += size;
  }
  return 1;
}

/* Write one record with a line end behind it. */
static int redact_record(const node *rules, redaction *d, const uint8_t *begin, const uint8_t *end) {
  if (begin >= end || *begin != '{' || !has_whole_pairs(begin, end)) return DECLINED;
  d->others.next = 0;
  d->from = d->r.at = begin;
  int failed = redact_object(rules, d);
  if (!failed && d->r.at != end) failed = DECLINED;
  if (!failed) failed = write_until(d, end);
  if (!failed) put_byte(&d->out, '\n');
  return failed;
}

#endif
