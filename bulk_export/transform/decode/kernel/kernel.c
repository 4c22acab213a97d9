/* Pages of JSON into Arrow columns, record bounds, fingerprints and lines: plain C11, called through ctypes.
 *
 * A schema drives it. A page that is not what the schema says in a way that this code can judge is declined, and the
 * caller decodes it with the exact way in Python, which defines what is right. Declined are: repeated or escaped keys, a
 * missing or odd id, type or attributes, lone surrogates, values nested deeply, and of course everything that is no JSON or
 * no UTF-8. Nothing is guessed, and nothing here reports an error.
 *
 * Not a single global can be written, so any number of threads may decode at once.
 */
#include "text.h"
#include "hash.h"
#include "columns.h"
#include "extra.h"
#include "values.h"
#include "flat.h"
#include "csv.h"
#include "redact.h"
#include "repeated.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Offsets have 32 bits, and a byte of a page becomes no more than a few of a column. */
enum { KERNEL_VERSION = 1, MOST_MEMBERS = 256, MOST_BYTES = INT32_MAX / 8 };
enum { ID, TYPE, ATTRIBUTES, ROOT_MEMBERS };

typedef struct {
  node root;         /* of a record: id, type, attributes, and members that rules name */
  int32_t nodes;
  hmac_key key;
  uint8_t *keys;     /* the texts of all `"name":` */
} schema;

/* ---- records ---- */
static int take_members(node *n, reader *r);
static int take_value(node *n, reader *r);

static int take_list(node *n, reader *r) {
  int failed = row_fits(n);
  int32_t first = r->leftover_count, position = 0;
  r->at = skip_space(r->at + 1);
  while (!failed && *r->at != ']') {
    failed = take_value(n->child, r);
    if (!failed && r->left_size) failed = add_leftover(r, position, NULL, 0);
    if (failed) break;
    position++;
    r->at = skip_space(r->at);
    if (*r->at == ',') {
      r->at = skip_space(r->at + 1);
      if (*r->at == ']') failed = DECLINED;
    } else if (*r->at != ']') {
      failed = DECLINED;
    }
  }
  if (failed) return failed;
  r->at++;
  end_row(n, n->child->rows);
  return combine_leftovers(r, first);
}

static int take_boolean(node *n, reader *r) {
  int is_true = *r->at == 't', failed = row_fits(n);
  const uint8_t *end = skip_word(r->at);
  if (failed || !end) return failed ? failed : DECLINED;
  if (is_true) set_bit(n->values, n->rows);
  set_bit(n->valid, n->rows++);
  r->at = end;
  return 0;
}

static int take_value(node *n, reader *r) {
  uint8_t first = *r->at;
  r->left_size = 0;
  if (first == 'n') {
    if (memcmp(r->at, "null", 4) != 0) return DECLINED;
    r->at += 4;
    return append_null(n);
  }
  if (UNLIKELY(n->flags & PSEUDONYM) && n->kind == STRING) return take_pseudonym(n, r);
  switch (n->kind) {
    case STRING: return first == '"' ? take_string(n, r) : take_misfit(n, r);
    case TIMESTAMP: case DATE: return first == '"' ? take_time(n, r) : take_misfit(n, r);
    case BOOLEAN: return first == 't' || first == 'f' ? take_boolean(n, r) : take_misfit(n, r);
    case INTEGER: return first == '-' || is_digit(first) ? take_integer(n, r) : take_misfit(n, r);
    case NUMBER: return first == '-' || is_digit(first) ? take_number(n, r) : take_misfit(n, r);
    case LIST: return first == '[' ? take_list(n, r) : take_misfit(n, r);
    default: break;
  }
  if (first != '{') return take_misfit(n, r);
  int failed = row_fits(n);
  if (failed) return failed;
  int32_t leftovers = r->leftover_count;
  set_bit(n->valid, n->rows++);
  failed = take_members(n, r);
  return failed ? failed : combine_leftovers(r, leftovers);
}

/* A member that only a rule knows: passed over, or replaced by its pseudonym in `_extra`. Its memory of keys would
 * otherwise be in the frame of each object around it. */
static NOT_INLINED int take_ruled(node *n, reader *r) {
  r->left_size = 0;
  if (n->kind == DROPPED) {
    key_memory keys = {0};
    int spaced = 0;
    const uint8_t *end = skip_value(r->at, &keys, &spaced);
    r->at = end;
    return end ? 0 : DECLINED;
  }
  if (!(n->flags & PSEUDONYM)) return DECLINED;
  /* The node has no column, so its text serves as the place where the pseudonym is made. */
  n->text_size = 0;
  int failed = put_pseudonym(n, r);
  int64_t at = r->scratch_size;
  if (failed == 1) failed = put_bytes(r, "null", 4);
  else if (!failed && !(failed = put_bytes(r, "\"", 1)) && !(failed = put_bytes(r, n->text, n->text_size)))
    failed = put_bytes(r, "\"", 1);
  r->left_at = at;
  r->left_size = r->scratch_size - at;
  return failed;
}

/* The members of an object, of which `n` has the row already; the reader is on its brace. What is left over of them
 * is added to the leftovers of the reader. */
static int take_members(node *n, reader *r) {
  uint64_t seen[MOST_MEMBERS / 64] = {0};
  int32_t next = 0, columns_met = 0, columns = 0;
  const uint8_t *at = skip_space(r->at + 1);
  if (*at == '}') goto ended;
  for (;;) {
    const uint8_t *name = at + 1;
    int32_t name_size;
    if (LIKELY(next < n->children && same_bytes(at, n->child[next].key, n->child[next].key_size))) {
      name_size = n->child[next].key_size - 3;
      at += n->child[next].key_size;
    } else {
      if (*at != '"' || !(at = skip_string(name))) return DECLINED;
      name_size = (int32_t)(at - name - 1);
      for (next = 0; next < n->children; next++)
        if (n->child[next].key_size == name_size + 3 && memcmp(name, n->child[next].key + 1, (size_t)name_size + 1) == 0) break;
      /* A name with an escape may be any name. */
      if (next == n->children && memchr(name, '\\', (size_t)name_size)) return DECLINED;
      at = skip_space(at);
      if (*at != ':') return DECLINED;
      at++;
    }
    r->at = skip_space(at);
    int failed;
    if (UNLIKELY(next == n->children)) {
      failed = count_unknown(r, n->index, name, name_size);
      if (!failed) failed = leave_value(r);
      if (!failed) failed = add_leftover(r, NOT_DESCRIBED, name, name_size);
    } else {
      node *child = &n->child[next];
      if (seen[next >> 6] >> (next & 63) & 1) return DECLINED;
      seen[next >> 6] |= (uint64_t)1 << (next & 63);
      if (LIKELY(has_column(child))) {
        columns_met++;
        failed = take_value(child, r);
        if (!failed && UNLIKELY(r->left_size)) failed = add_leftover(r, next, name, name_size);
      } else {
        failed = take_ruled(child, r);
        if (!failed && child->kind != DROPPED) {
          failed = count_unknown(r, n->index, name, name_size);
          if (!failed) failed = add_leftover(r, NOT_DESCRIBED, name, name_size);
        }
      }
      next++;
    }
    if (UNLIKELY(failed)) return failed;
    at = skip_space(r->at);
    if (*at == '}') break;
    if (*at != ',') return DECLINED;
    at = skip_space(at + 1);
  }
ended:
  r->at = at + 1;
  for (int32_t i = 0; i < n->children && has_column(&n->child[i]); i++) columns++;
  if (UNLIKELY(columns_met != columns))
    for (int32_t i = 0; i < columns; i++)
      if (!(seen[i >> 6] >> (i & 63) & 1)) {
        n->child[i].missing++;
        int failed = append_null(&n->child[i]);
        if (failed) return failed;
      }
  return 0;
}

/* `_extra` of a record: what its attributes leave over, and under `/record` what stands beside them. */
static int put_extra(node *extra, reader *r, leftover attributes, int32_t beside) {
  if (LIKELY(r->leftover_count == beside && !attributes.size)) return append_null(extra);
  if (r->leftover_count == beside) return append_text(extra, r->scratch + attributes.at, attributes.size);
  int64_t begin = r->scratch_size;
  int failed = scratch_fits(r, attributes.size + 1);
  if (failed) return failed;
  if (attributes.size) {
    /* Without the last brace, so that one more member can follow. */
    memcpy(r->scratch + begin, r->scratch + attributes.at, (size_t)attributes.size - 1);
    r->scratch_size += attributes.size - 1;
  }
  failed = put_bytes(r, attributes.size ? "," : "{", 1);
  if (!failed) failed = put_bytes(r, "\"/record\":{", 11);
  if (!failed) failed = put_members(r, beside);
  if (!failed) failed = put_bytes(r, "}}", 2);
  return failed ? failed : append_text(extra, r->scratch + begin, r->scratch_size - begin);
}

static int take_record(node *root, node *extra, reader *r) {
  int failed = row_fits(root);
  if (failed) return failed;
  int64_t lacking = 0;
  for (int i = 0; i < ROOT_MEMBERS; i++) lacking -= root->child[i].nulls;
  r->scratch_size = 0;
  r->leftover_count = 0;
  set_bit(root->valid, root->rows++);
  if ((failed = take_members(root, r))) return failed;
  /* Records without an id, a type or attributes are for the exact way. */
  for (int i = 0; i < ROOT_MEMBERS; i++) lacking += root->child[i].nulls;
  if (lacking) return DECLINED;
  leftover attributes = {0};
  for (int32_t i = 0; i < r->leftover_count; i++)
    if (r->leftovers[i].order == ATTRIBUTES) {
      attributes = r->leftovers[i];
      r->leftovers[i] = r->leftovers[--r->leftover_count];
      break;
    }
  return put_extra(extra, r, attributes, 0);
}

/* ---- pages ---- */

/* The key at `at` through its colon, if it holds no escape; NULL otherwise. */
static const uint8_t *skip_plain_key(const uint8_t *at) {
  const uint8_t *end = *at == '"' ? skip_string(at + 1) : NULL;
  if (!end || memchr(at, '\\', (size_t)(end - at))) return NULL;
  at = skip_space(end);
  return *at == ':' ? skip_space(at + 1) : NULL;
}
static inline int is_data(const uint8_t *at) { return memcmp(at, "\"data\"", 6) == 0; }

/* The first record of `{"data":[…]}`, or the end of the list; members may stand before it. NULL for anything else. */
static const uint8_t *find_records(const uint8_t *at) {
  int spaced = 0;
  key_memory keys = {0};
  at = skip_space(at);
  if (*at != '{') return NULL;
  at = skip_space(at + 1);
  while (!is_data(at)) {
    if (!(at = skip_plain_key(at)) || !(at = skip_value(at, &keys, &spaced))) return NULL;
    at = skip_space(at);
    if (*at != ',') return NULL;
    at = skip_space(at + 1);
  }
  at = skip_plain_key(at);
  return at && *at == '[' ? skip_space(at + 1) : NULL;
}

/* Whether the body is sound from behind its list of records to its end. */
static int ends_soundly(const uint8_t *at, const uint8_t *end) {
  int spaced = 0;
  key_memory keys = {0};
  at = skip_space(at);
  while (*at == ',') {
    at = skip_space(at + 1);
    if (is_data(at) || !(at = skip_plain_key(at)) || !(at = skip_value(at, &keys, &spaced))) return 0;
    at = skip_space(at);
  }
  return *at == '}' && skip_space(at + 1) == end;
}

static int take_page(node *root, node *extra, reader *r, const uint8_t *body, int64_t size) {
  r->at = find_records(body);
  if (!r->at) return DECLINED;
  while (*r->at != ']') {
    if (*r->at != '{') return DECLINED;
    int failed = take_record(root, extra, r);
    if (failed) return failed;
    r->at = skip_space(r->at);
    if (*r->at == ',') {
      r->at = skip_space(r->at + 1);
      if (*r->at == ']') return DECLINED;
    } else if (*r->at != ']') {
      return DECLINED;
    }
  }
  return ends_soundly(r->at + 1, body + size) ? 0 : DECLINED;
}

static node *copy_nodes(const node *from, node *to, node *free_nodes) {
  *to = *from;
  to->child = free_nodes;
  free_nodes += from->children;
  for (int32_t i = 0; i < from->children; i++) free_nodes = copy_nodes(&from->child[i], &to->child[i], free_nodes);
  return free_nodes;
}

static void count_drift(const node *n, int64_t *missing, int64_t *misfits) {
  missing[n->index] = n->missing;
  misfits[n->index] = n->misfits;
  for (int32_t i = 0; i < n->children; i++) count_drift(&n->child[i], missing, misfits);
}

/* Decode pages in order, up to the first that is declined.
 *
 * `rows` receives the records of each page; `missing` and `misfits` a count for each node of the schema in depth-first
 * order; `unknown`, with room for MOST_UNKNOWN, the names that nobody described. `records` and `extra` receive an Arrow
 * array each: objects of id, type and attributes, and strings. Returns how many pages were decoded, or NO_MEMORY.
 */
EXPORT int64_t kernel_decode(const schema *sc, const uint8_t *const *bodies, const int64_t *sizes, int64_t pages,
                             int64_t *rows, int64_t *missing, int64_t *misfits, unknown_name *unknown,
                             int64_t *unknown_count, struct ArrowArray *records, struct ArrowArray *extra_array) {
  int64_t largest = 0, total = 0, done = 0;
  for (int64_t i = 0; i < pages; i++) {
    /* This page is declined, and those behind it are for the next call. */
    if (sizes[i] > MOST_BYTES - total) { pages = i; break; }
    if (sizes[i] > largest) largest = sizes[i];
    total += sizes[i];
  }
  node *root = malloc((size_t)sc->nodes * sizeof *root);
  bookmark *marks = malloc((size_t)sc->nodes * sizeof *marks);
  uint8_t *text = malloc((size_t)largest + PADDING);
  node extra = {.kind = STRING};
  bookmark extra_mark[1];
  reader r = {.unknown = unknown, .key = &sc->key};
  int failed = root && marks && text ? 0 : NO_MEMORY;
  if (!failed) {
    copy_nodes(&sc->root, root, root + 1);
    for (; done < pages; done++) {
      mark_columns(root, marks);
      mark_columns(&extra, extra_mark);
      mark_unknown(&r);
      memcpy(text, bodies[done], (size_t)sizes[done]);
      memset(text + sizes[done], 0, PADDING);
      int64_t before = root->rows;
      failed = take_page(root, &extra, &r, text, sizes[done]);
      if (failed) {
        take_back(root, marks);
        take_back(&extra, extra_mark);
        take_back_unknown(&r);
        break;
      }
      rows[done] = root->rows - before;
    }
    if (failed != NO_MEMORY) {
      failed = hand_over(root, records);
      if (!failed && (failed = hand_over(&extra, extra_array))) records->release(records);
      count_drift(root, missing, misfits);
      *unknown_count = r.unknown_count;
    }
    free_columns(root);
    free_columns(&extra);
  }
  free(r.leftovers);
  free(r.scratch);
  free(root);
  free(marks);
  free(text);
  return failed == NO_MEMORY ? NO_MEMORY : done;
}

/* ---- record bounds ---- */
enum { HAS_SPACE = 1, IDS_UNKNOWN = 2 };

/* What a scan finds of one record: where it and its id are in the body, and the fingerprint of the id. */
typedef struct { int32_t begin, end, id_begin, id_end; uint64_t fingerprint; } record_bounds;

/* Find the id of a record in the value at `value`, which ends at `end`. False where it is not at hand. */
static int note_id(record_bounds *found, const uint8_t *text, const uint8_t *value, const uint8_t *end) {
  int64_t length = end - value - 2;
  if (*value != '"' || length < 1 || length > LONGEST_HASHED || memchr(value, '\\', (size_t)length + 1)) return 0;
  found->id_begin = (int32_t)(value + 1 - text);
  found->id_end = (int32_t)(end - 1 - text);
  found->fingerprint = xxh3(value + 1, length);
  return 1;
}

/* Behind the record whose brace is at `at`, or NULL. *ids counts its members called `id`, and is above 1 where one of
 * them is not at hand. */
static const uint8_t *scan_record(const uint8_t *text, const uint8_t *at, record_bounds *found, key_memory *keys,
                                  int *spaced, int *ids) {
  keys->next = 0;
  *ids = 0;
  at++;
  if (is_space(*at)) { *spaced = 1; at = skip_space(at); }
  while (*at != '}') {
    const uint8_t *key = at, *value = skip_key(at, keys, spaced);
    at = value ? skip_value(value, keys, spaced) : NULL;
    if (!at) return NULL;
    if (memcmp(key, "\"id\"", 4) == 0) *ids += note_id(found, text, value, at) ? 1 : 2;
    else if (memchr(key, '\\', (size_t)(value - key))) *ids += 2; /* perhaps `id`, written with an escape */
    if (is_space(*at)) { *spaced = 1; at = skip_space(at); }
    if (*at == '}') break;
    if (*at != ',') return NULL;
    at++;
    if (is_space(*at)) { *spaced = 1; at = skip_space(at); }
    if (*at == '}') return NULL;
  }
  return at + 1;
}

/* Find the records of a page, whatever they hold.
 *
 * `records` has room for `most`. *content receives the sum of the hashes of all records, made with `seed`. *flags
 * receives HAS_SPACE where a record holds white space between tokens, and IDS_UNKNOWN where a record has not exactly one
 * id that is a string of up to LONGEST_HASHED bytes without escapes. Returns the number of records, DECLINED, or NO_MEMORY.
 */
EXPORT int64_t kernel_scan(const uint8_t *body, int64_t size, record_bounds *records, int64_t most, uint64_t seed,
                           uint64_t *content, int32_t *flags) {
  if (size > MOST_BYTES) return DECLINED;
  uint8_t *text = malloc((size_t)size + PADDING);
  if (!text) return NO_MEMORY;
  memcpy(text, body, (size_t)size);
  memset(text + size, 0, PADDING);
  int spaced = 0, unknown = 0, ids;
  int64_t count = 0;
  uint64_t sum = 0;
  key_memory keys = {0};
  const uint8_t *at = find_records(text);
  while (at && *at != ']') {
    if (*at != '{' || count == most) { at = NULL; break; }
    const uint8_t *begin = at;
    at = scan_record(text, at, &records[count], &keys, &spaced, &ids);
    if (!at) break;
    unknown |= ids != 1;
    records[count].begin = (int32_t)(begin - text);
    records[count++].end = (int32_t)(at - text);
    sum += content_hash(begin, at - begin, seed);
    at = skip_space(at);
    if (*at == ',') {
      at = skip_space(at + 1);
      if (*at == ']') at = NULL;
    } else if (*at != ']') {
      at = NULL;
    }
  }
  if (!at || !ends_soundly(at + 1, text + size)) count = DECLINED;
  *content = sum;
  *flags = (spaced ? HAS_SPACE : 0) | (unknown ? IDS_UNKNOWN : 0);
  free(text);
  return count;
}

/* The hash of one record, as `kernel_scan` adds it up. */
EXPORT uint64_t kernel_content(const uint8_t *record, int64_t size, uint64_t seed) {
  return content_hash(record, size, seed);
}

/* Write the records with a line end each into `out`, if there is one. Returns how many bytes that takes. */
EXPORT int64_t kernel_lines(const uint8_t *body, const record_bounds *records, int64_t count, uint8_t *out) {
  int64_t written = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t size = records[i].end - records[i].begin;
    if (out) {
      memcpy(out + written, body + records[i].begin, (size_t)size);
      out[written + size] = '\n';
    }
    written += size + 1;
  }
  return written;
}

/* Write the records with a line end each, redacted by the rules of a schema.
 *
 * `records` are those that `kernel_scan` has found in this body, with no white space in them. *text receives memory that
 * `kernel_free` takes back, unless this returns DECLINED or NO_MEMORY. Returns its size.
 */
EXPORT int64_t kernel_redact(const schema *rules, const uint8_t *body, int64_t size, const record_bounds *records,
                             int64_t count, uint8_t **text) {
  if (size > MOST_BYTES) return DECLINED;
  uint8_t *padded = malloc((size_t)size + PADDING);
  redaction d = {.string = {.kind = STRING}, .key = &rules->key};
  d.ruled = calloc((size_t)rules->nodes, sizeof *d.ruled);
  int failed = padded && d.ruled ? output_fits(&d.out, size + SCALAR_ROOM) : NO_MEMORY;
  if (!failed) {
    memcpy(padded, body, (size_t)size);
    memset(padded + size, 0, PADDING);
  }
  for (int64_t i = 0; i < count && !failed; i++)
    failed = redact_record(&rules->root, &d, padded + records[i].begin, padded + records[i].end);
  free(padded);
  free(d.ruled);
  free(d.string.text);
  free(d.r.scratch);
  if (failed) free(d.out.text);
  else *text = d.out.text;
  return failed ? failed : d.out.size;
}

/* Write the pseudonym of the id of each record into `out`. `records` are those of a scan without IDS_UNKNOWN. */
EXPORT void kernel_pseudonyms(const schema *rules, const uint8_t *body, const record_bounds *records, int64_t count,
                              uint8_t *out) {
  for (int64_t i = 0; i < count; i++, out += 2 * SHA_SIZE)
    hmac_hex(&rules->key, body + records[i].id_begin, records[i].id_end - records[i].id_begin, out);
}

/* The fingerprint of each string of a column. DECLINED where one is empty, or longer than LONGEST_HASHED. */
EXPORT int64_t kernel_fingerprints(const uint8_t *text, const int32_t *offsets, int64_t count, uint64_t *fingerprints) {
  for (int64_t i = 0; i < count; i++) {
    int64_t size = offsets[i + 1] - offsets[i];
    if (size < 1 || size > LONGEST_HASHED) return DECLINED;
    fingerprints[i] = xxh3(text + offsets[i], size);
  }
  return count;
}

/* Append those of some fingerprints to `out` whose leading bits, all but the last `shift`, are `leading`. Returns how many. */
EXPORT int64_t kernel_slice(const uint64_t *fingerprints, int64_t count, int64_t shift, uint64_t leading, uint64_t *out) {
  int64_t kept = 0;
  for (int64_t i = 0; i < count; i++)
    if (shift > 63 || fingerprints[i] >> shift == leading) out[kept++] = fingerprints[i];
  return kept;
}

/* Find the fingerprints that occur more than once, and write each once into `out`, which has as much room as they take.
 * They are sorted meanwhile. Returns how many occur more than once.
 */
EXPORT int64_t kernel_repeated(uint64_t *fingerprints, int64_t count, uint64_t *out) {
  sort(fingerprints, out, count);
  return repeated(fingerprints, count, out);
}

/* A number for the seed, since zeros in its place would cancel parts of the text. */
static uint64_t text_hash(const uint8_t *text, int64_t size) {
  return size < 1 ? 0 : size <= LONGEST_HASHED ? xxh3(text, size) : content_hash(text, size, XXH_MIX_1);
}

/* Count the different values of a column, nulls apart: of texts with offsets of 32 bits if `width` is 0, or of 4 or 8
 * bytes each. `room` is for two numbers a row. Different texts of the same hash count as one.
 */
EXPORT int64_t kernel_distinct(const struct ArrowArray *column, int64_t width, uint64_t *room) {
  const uint8_t *valid = column->buffers[0], *values = column->buffers[1], *text = width ? NULL : column->buffers[2];
  int64_t count = 0;
  for (int64_t row = column->offset; row < column->offset + column->length; row++) {
    int32_t bounds[2];
    uint64_t value = 0;
    if (valid && !(valid[row / 8] >> row % 8 & 1)) continue;
    if (width) {
      memcpy(&value, values + row * width, (size_t)width);
    } else {
      memcpy(bounds, values + row * (int64_t)sizeof *bounds, sizeof bounds);
      value = text_hash(text + bounds[0], bounds[1] - bounds[0]);
    }
    room[count++] = value;
  }
  sort(room, room + count, count);
  return distinct(room, count);
}

/* ---- flat lines ---- */

/* Write the rows of a batch as JSON objects, with a line end behind each.
 *
 * The children of the schema's root describe the columns. *text receives memory that `kernel_free` takes back, unless
 * this returns DECLINED or NO_MEMORY. Returns its size.
 */
EXPORT int64_t kernel_flat(const schema *sc, const struct ArrowArray *batch, uint8_t **text) {
  output out = {0};
  column *columns = malloc((size_t)sc->nodes * sizeof *columns);
  int failed = columns ? output_fits(&out, SCALAR_ROOM) : NO_MEMORY;
  if (!failed && !read_column(&sc->root, batch, columns, columns + 1)) failed = DECLINED;
  for (int64_t row = 0; row < batch->length && !failed; row++) {
    failed = put_object(&out, columns, batch->offset + row);
    if (!failed) put_byte(&out, '\n');
  }
  free(columns);
  if (failed) free(out.text);
  else *text = out.text;
  return failed ? failed : out.size;
}

/* Write the rows of a batch as CSV, without a header. As `kernel_flat`; `is_safe` puts an apostrophe before formulas. */
EXPORT int64_t kernel_csv(const schema *sc, const struct ArrowArray *batch, int64_t is_safe, uint8_t **text) {
  output out = {0};
  column *columns = malloc((size_t)sc->nodes * sizeof *columns);
  int failed = columns ? output_fits(&out, SCALAR_ROOM) : NO_MEMORY;
  if (!failed && !read_column(&sc->root, batch, columns, columns + 1)) failed = DECLINED;
  for (int64_t row = 0; row < batch->length && !failed; row++)
    failed = put_csv_row(&out, columns, batch->offset + row, is_safe != 0);
  free(columns);
  if (failed) free(out.text);
  else *text = out.text;
  return failed ? failed : out.size;
}

EXPORT void kernel_free(void *memory) { free(memory); }

/* ---- the schema ----
 * Each node is written as: kind, flags, size of its name and number of its children in 16 bits each, lowest byte first;
 * its name; its children. The root is an object of at least id, type and attributes. Members without a column stand behind
 * those with one. A description that says anything else is refused.
 */
enum { NODE_HEADER = 6 };
static inline int32_t read16(const uint8_t *at) { return at[0] | at[1] << 8; }

/* Whether a name stands in JSON as it is. */
static int is_plain(const uint8_t *name, int32_t size) {
  for (int32_t i = 0; i < size; i++)
    if (name[i] < 0x20 || name[i] == '"' || name[i] == '\\') return 0;
  return is_utf8(name, name + size);
}

static const uint8_t *measure(const uint8_t *at, const uint8_t *end, int32_t *nodes, int64_t *key_bytes, int depth) {
  if (end - at < NODE_HEADER || depth > DEEPEST || !memchr("sbintdl{x", at[0], 9)) return NULL;
  int32_t name_size = read16(at + 2), children = read16(at + 4);
  if (end - at - NODE_HEADER < name_size || children > MOST_MEMBERS || *nodes > INT16_MAX) return NULL;
  if (at[0] == LIST ? children != 1 : at[0] != OBJECT && children) return NULL;
  if (!is_plain(at + NODE_HEADER, name_size) || (at[1] & PSEUDONYM && at[0] != STRING)) return NULL;
  ++*nodes;
  *key_bytes += name_size + 3 + VECTOR;
  int is_list = at[0] == LIST, columns_ended = 0;
  at += NODE_HEADER + name_size;
  for (int32_t i = 0; i < children; i++) {
    const uint8_t *child = at;
    if (!(at = measure(at, end, nodes, key_bytes, depth + 1))) return NULL;
    int is_column = child[0] != DROPPED && !(child[1] & UNDESCRIBED);
    if (is_column ? columns_ended : is_list) return NULL;
    columns_ended = !is_column;
  }
  return at;
}

/* Whether the first members of a record are what a record is made of: two strings and an object, all with a column. */
static int is_record(const node *root) {
  const node *member = root->child;
  if (root->kind != OBJECT || !has_column(root) || root->children < ROOT_MEMBERS) return 0;
  for (int i = 0; i < ROOT_MEMBERS; i++)
    if (!has_column(&member[i]) || member[i].kind != (i == ATTRIBUTES ? OBJECT : STRING)) return 0;
  return 1;
}

static const uint8_t *build(const uint8_t *at, node *n, node **free_nodes, uint8_t **free_bytes, int32_t *index) {
  int32_t name_size = read16(at + 2);
  uint8_t *key = *free_bytes;
  *n = (node){.kind = at[0], .flags = at[1], .children = read16(at + 4), .index = (*index)++};
  n->key = key;
  n->key_size = name_size + 3;
  key[0] = '"';
  memcpy(key + 1, at + NODE_HEADER, (size_t)name_size);
  memcpy(key + 1 + name_size, "\":", 2);
  *free_bytes += n->key_size + VECTOR;
  n->child = *free_nodes;
  *free_nodes += n->children;
  at += NODE_HEADER + name_size;
  for (int32_t i = 0; i < n->children; i++) at = build(at, &n->child[i], free_nodes, free_bytes, index);
  return at;
}

/* Make a schema of a description. NULL where it is none, or memory runs out. */
static schema *new_schema(const uint8_t *description, int64_t size) {
  int32_t nodes = 0, index = 0;
  int64_t key_bytes = 0;
  const uint8_t *end = description + size;
  if (measure(description, end, &nodes, &key_bytes, 0) != end || description[0] != OBJECT) return NULL;
  schema *sc = calloc(1, sizeof *sc + sizeof(node) * (size_t)nodes);
  if (!sc) return NULL;
  sc->keys = calloc(1, (size_t)key_bytes);
  if (!sc->keys) { free(sc); return NULL; }
  node *free_nodes = (node *)(sc + 1);
  uint8_t *free_bytes = sc->keys;
  build(description, &sc->root, &free_nodes, &free_bytes, &index);
  sc->nodes = nodes;
  return sc;
}

EXPORT void kernel_schema_free(schema *sc);

/* Make a schema of records, with the secret key of its pseudonyms. */
EXPORT schema *kernel_schema(const uint8_t *description, int64_t size, const uint8_t *secret, int64_t secret_size) {
  schema *sc = new_schema(description, size);
  if (sc && !is_record(&sc->root)) { kernel_schema_free(sc); return NULL; }
  if (sc) hmac_prepare(&sc->key, secret, secret_size);
  return sc;
}

/* Make a schema of the columns of a batch, for `kernel_flat` and `kernel_csv`. */
EXPORT schema *kernel_columns(const uint8_t *description, int64_t size) { return new_schema(description, size); }

/* Make a schema of rules, for `kernel_redact`, with the secret key of its pseudonyms. */
EXPORT schema *kernel_rules(const uint8_t *description, int64_t size, const uint8_t *secret, int64_t secret_size) {
  schema *sc = new_schema(description, size);
  if (sc) hmac_prepare(&sc->key, secret, secret_size);
  return sc;
}

EXPORT void kernel_schema_free(schema *sc) {
  if (!sc) return;
  free(sc->keys);
  free(sc);
}

EXPORT int64_t kernel_version(void) { return KERNEL_VERSION; }
