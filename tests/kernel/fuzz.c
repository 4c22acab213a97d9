/* libFuzzer target of the decoder kernel; `make fuzz-kernel` builds it with AddressSanitizer and UBSan.
 *
 * The first byte of an input chooses what happens to the rest: a body with one of two schemas; a description, whose
 * size two more bytes give, and a body; or the values of columns. The second byte says which allocation fails; none for
 * zero. Besides what the sanitizers see, everything that readers of columns, lines and CSV rely on is checked.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t allocations_until_failure;

static int fails(void) { return allocations_until_failure && !--allocations_until_failure; }
static void *failing_malloc(size_t size) { return fails() ? NULL : malloc(size); }
static void *failing_calloc(size_t count, size_t size) { return fails() ? NULL : calloc(count, size); }
static void *failing_realloc(void *memory, size_t size) { return fails() ? NULL : realloc(memory, size); }

#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc
#include "../../bulk_export/transform/decode/kernel/kernel.c"
#undef malloc
#undef calloc
#undef realloc
#include "checks.h"

/* `node` writes one node of a description: kind, flags, the size of its name, the number of its children, and its name. */
static uint8_t *node_text(uint8_t *at, char kind, int flags, const char *name, int children) {
  size_t size = strlen(name);
  *at++ = (uint8_t)kind;
  *at++ = (uint8_t)flags;
  *at++ = (uint8_t)size;
  *at++ = 0;
  *at++ = (uint8_t)children;
  *at++ = 0;
  memcpy(at, name, size);
  return at + size;
}

static schema *make_schema(int redacted) {
  uint8_t text[512], *at = text;
  at = node_text(at, OBJECT, 0, "", redacted ? 4 : 3);
  at = node_text(at, STRING, REDACTED | (redacted ? PSEUDONYM : 0), "id", 0);
  at = node_text(at, STRING, REDACTED, "type", 0);
  at = node_text(at, OBJECT, REDACTED, "attributes", redacted ? 10 : 8);
  at = node_text(at, STRING, redacted ? REDACTED | PSEUDONYM : 0, "s", 0);
  at = node_text(at, BOOLEAN, 0, "b", 0);
  at = node_text(at, INTEGER, 0, "i", 0);
  at = node_text(at, NUMBER, 0, "n", 0);
  at = node_text(at, TIMESTAMP, 0, "t", 0);
  at = node_text(at, DATE, 0, "d", 0);
  at = node_text(at, LIST, 0, "l", 1);
  at = node_text(at, STRING, 0, "", 0);
  at = node_text(at, LIST, 0, "o", 1);
  at = node_text(at, OBJECT, 0, "", 2);
  at = node_text(at, BOOLEAN, 0, "x", 0);
  at = node_text(at, LIST, 0, "y", 1);
  at = node_text(at, INTEGER, 0, "", 0);
  if (redacted) {
    at = node_text(at, DROPPED, 0, "gone", 0);
    at = node_text(at, STRING, UNDESCRIBED | REDACTED | PSEUDONYM, "hide", 0);
    at = node_text(at, DROPPED, 0, "gone", 0);
  }
  schema *made = kernel_schema(text, at - text, (const uint8_t *)"secret", 6);
  if (!made) abort();
  return made;
}

/* Rules for records as they are sent: none, some that drop members, or some that replace them as well. */
enum { NO_RULES, DROPS, PSEUDONYMS, RULES };

static schema *make_rules(int which) {
  uint8_t text[256], *at = node_text(text, OBJECT, 0, "", which == NO_RULES ? 0 : 3);
  if (which) {
    at = node_text(at, OBJECT, 0, "attributes", 6);
    at = node_text(at, OBJECT, 0, "o", 2);
    if (which == PSEUDONYMS) at = node_text(at, STRING, PSEUDONYM, "y", 0);
    at = node_text(at, DROPPED, 0, "x", 0);
    if (which == DROPS) at = node_text(at, DROPPED, 0, "y", 0);
    for (const char *name = "slbn"; *name; name++)
      at = node_text(at, which == DROPS ? DROPPED : STRING, which == DROPS ? 0 : PSEUDONYM, (char[]){*name, 0}, 0);
    at = node_text(at, DROPPED, 0, "i", 0);
    if (which == PSEUDONYMS) at = node_text(at, STRING, PSEUDONYM, "id", 0);
    at = node_text(at, DROPPED, 0, "gone", 0);
    if (which == DROPS) at = node_text(at, DROPPED, 0, "hide", 0);
  }
  schema *made = kernel_rules(text, at - text, (const uint8_t *)"secret", 6);
  if (!made) abort();
  return made;
}

/* The lines of records are records, and give the same lines again. */
static void check_lines_again(const schema *sc, const schema *columns, const uint8_t *lines, int64_t size) {
  static unknown_name unknown[MOST_UNKNOWN];
  uint8_t *body = malloc((size_t)size + 16), *at = body, *again = NULL;
  memcpy(at, "{\"data\":[", 9);
  at += 9;
  for (int64_t i = 0; i < size; i++) *at++ = lines[i] == '\n' ? ',' : lines[i];
  at -= size > 0;
  memcpy(at, "]}", 2);
  const uint8_t *bodies[] = {body};
  int64_t sizes[] = {at + 2 - body}, rows, unknown_count, *counts = calloc(2 * (size_t)sc->nodes, sizeof *counts);
  struct ArrowArray records, extra;
  int64_t pages = kernel_decode(sc, bodies, sizes, 1, &rows, counts, counts + sc->nodes, unknown, &unknown_count,
                                &records, &extra);
  check(pages == 1 && unknown_count == 0 && extra.null_count == extra.length);
  check(kernel_flat(columns, &records, &again) == size && memcmp(again, lines, (size_t)size) == 0);
  kernel_free(again);
  records.release(&records);
  extra.release(&extra);
  free(counts);
  free(body);
}

static void check_fingerprints(const struct ArrowArray *texts) {
  const int32_t *offsets = texts->buffers[1];
  const uint8_t *text = texts->buffers[2];
  int64_t count = texts->length;
  uint64_t *found = malloc((size_t)count * sizeof *found + 1);
  int fits = 1;
  for (int64_t i = 0; i < count; i++) fits &= offsets[i + 1] > offsets[i] && offsets[i + 1] - offsets[i] <= LONGEST_HASHED;
  check(kernel_fingerprints(text, offsets, count, found) == (fits ? count : DECLINED));
  for (int64_t i = 0; i < count && fits; i++) check(found[i] == xxh3(text + offsets[i], offsets[i + 1] - offsets[i]));
  free(found);
}

/* Decode a body and a half of it, and write what becomes of them. */
static void decode(const schema *sc, const uint8_t *body, int64_t size, int is_redacted) {
  static unknown_name unknown[MOST_UNKNOWN];
  const uint8_t *bodies[] = {body, body};
  int64_t sizes[] = {size, size / 2}, rows[2], unknown_count;
  int64_t *counts = calloc(2 * (size_t)sc->nodes, sizeof *counts);
  int may_fail = allocations_until_failure > 0;
  struct ArrowArray records, extra;
  int64_t pages = kernel_decode(sc, bodies, sizes, 2, rows, counts, counts + sc->nodes, unknown, &unknown_count,
                                &records, &extra);
  check(pages >= 0 || (pages == NO_MEMORY && may_fail));
  if (pages >= 0) {
    node text = {.kind = STRING};
    int64_t sum = 0, lines_size;
    for (int64_t i = 0; i < pages; i++) sum += rows[i];
    check(records.length == sum && extra.length == sum);
    check(unknown_count >= 0 && unknown_count <= MOST_UNKNOWN);
    for (int64_t i = 0; i < unknown_count; i++) {
      check(unknown[i].count > 0 && unknown[i].parent >= 0 && unknown[i].parent < sc->nodes);
      check(is_utf8(unknown[i].name, unknown[i].name + unknown[i].name_size));
    }
    check_array(&records, &sc->root);
    check_array(&extra, &text);
    check_fingerprints(records.children[ID]);
    uint8_t *description = malloc((size_t)size_of_description(&sc->root));
    schema *columns = kernel_columns(description, describe(&sc->root, description) - description);
    check(columns || may_fail);
    uint8_t *lines = columns ? check_rows(columns, &records, &lines_size) : NULL;
    allocations_until_failure = 0;
    if (lines && !is_redacted) check_lines_again(sc, columns, lines, lines_size);
    kernel_free(lines);
    kernel_schema_free(columns);
    free(description);
    records.release(&records);
    extra.release(&extra);
  }
  free(counts);
}

enum { MOST_RECORDS = 64 };

/* Redact records. `lines` are the same without a rule, and rules that only drop members leave what they gave as it is. */
static void redact(const schema *rules, int which, const uint8_t *body, int64_t size, const record_bounds *records,
                   int64_t count, const uint8_t *lines, int64_t lines_size) {
  uint8_t *text = NULL, *again = NULL;
  int may_fail = allocations_until_failure > 0;
  int64_t redacted = kernel_redact(rules, body, size, records, count, &text), left = allocations_until_failure;
  check(redacted >= 0 || redacted == DECLINED || (redacted == NO_MEMORY && may_fail));
  if (redacted < 0) return;
  allocations_until_failure = 0;
  int64_t *begins = check_lines(text, redacted, count);
  record_bounds found[MOST_RECORDS] = {{0}};
  for (int64_t i = 0; i < count; i++) {
    found[i].begin = (int32_t)begins[i];
    found[i].end = (int32_t)begins[i + 1] - 1;
    check(is_utf8(text + begins[i], text + begins[i + 1]));
  }
  if (which == NO_RULES) check(redacted == lines_size && memcmp(text, lines, (size_t)redacted) == 0);
  if (which == DROPS) {
    check(kernel_redact(rules, text, redacted, found, count, &again) == redacted);
    check(memcmp(again, text, (size_t)redacted) == 0);
  }
  allocations_until_failure = left;
  kernel_free(again);
  kernel_free(text);
  free(begins);
}

/* Find the records of a body, and redact them by rules, or by those of a fuzzed description. */
static void scan(const uint8_t *body, int64_t size, schema *const *rules, int rules_count) {
  enum { MOST = MOST_RECORDS };
  record_bounds records[MOST];
  uint64_t content;
  int32_t flags;
  int may_fail = allocations_until_failure > 0;
  int64_t count = kernel_scan(body, size, records, MOST, 7, &content, &flags), end = 0;
  check(count >= 0 || count == DECLINED || (count == NO_MEMORY && may_fail));
  if (count <= 0) return;
  check(is_utf8(body, body + size));
  for (int64_t i = 0; i < count; i++) {
    const record_bounds *found = &records[i];
    check(found->begin >= end && body[found->begin] == '{' && body[found->end - 1] == '}' && found->end < size);
    end = found->end;
    content -= kernel_content(body + found->begin, found->end - found->begin, 7);
    if (flags & IDS_UNKNOWN) continue;
    int64_t id_size = found->id_end - found->id_begin;
    check(found->begin < found->id_begin && found->id_end < found->end && id_size > 0 && id_size <= LONGEST_HASHED);
    check(found->fingerprint == xxh3(body + found->id_begin, id_size));
  }
  check(content == 0);
  if (!(flags & IDS_UNKNOWN) && rules[0]) {
    uint8_t *pseudonyms = malloc((size_t)count * 2 * SHA_SIZE);
    kernel_pseudonyms(rules[0], body, records, count, pseudonyms);
    for (int64_t i = 0; i < count * 2 * SHA_SIZE; i++) check(hex_digit(pseudonyms[i]) >= 0);
    free(pseudonyms);
  }
  int64_t lines_size = kernel_lines(body, records, count, NULL);
  uint8_t *lines = malloc((size_t)lines_size);
  check(kernel_lines(body, records, count, lines) == lines_size);
  if (!(flags & HAS_SPACE)) {
    free(check_lines(lines, lines_size, count));
    for (int i = 0; i < rules_count; i++)
      if (rules[i]) redact(rules[i], rules_count < RULES ? RULES : i, body, size, records, count, lines, lines_size);
  }
  free(lines);
}

/* ---- columns of any values ---- */

/* A decimal fits only if the double that is nearest to it is not written with fewer digits. */
static void check_decimal(uint64_t digits, int power) {
  char text[48], fewer[48];
  uint64_t bits;
  snprintf(text, sizeof text, "%llue%d", (unsigned long long)digits, power);
  enum fit fit = find_double((const uint8_t *)text, (const uint8_t *)text + strlen(text), &bits);
  double value = strtod(text, NULL), found;
  memcpy(&found, &bits, 8);
  check(fit != UNDECIDED);
  if (fit == MISFITS) return;
  check(found == value && value <= 1.7976931348623157e308);
  int count = 0;
  for (; digits % 10 == 0 && digits; digits /= 10) continue;
  for (; digits; digits /= 10) count++;
  snprintf(fewer, sizeof fewer, "%.*e", count > 1 ? count - 2 : 0, value);
  check(count < 2 || strtod(fewer, NULL) != value);
}

/* A double of those that are written, where `only_written`; any one otherwise. What is written is read as the same one. */
static uint64_t check_double(uint64_t bits, int only_written) {
  const uint64_t fraction = (UINT64_C(1) << 52) - 1, least = 1023 - 16, exponents = 16 + 53;
  uint8_t text[2 * SCALAR_ROOM] = {0};
  output out = {text, 0, sizeof text};
  double value;
  if (only_written) bits = (bits & (fraction | UINT64_C(1) << 63)) | (least + (bits >> 52) % exponents) << 52;
  memcpy(&value, &bits, 8);
  int failed = put_double(&out, value);
  check(out.size <= SCALAR_ROOM / 2 && (!failed || failed == DECLINED));
  check_decimal(bits % UINT64_C(100000000000000000), (int)(bits >> 50) % 330 * (bits & 1 ? -1 : 1));
  double again = failed ? value : strtod((const char *)text, NULL);
  check(memcmp(&again, &value, 8) == 0);
  uint64_t found = 0;
  int negative = text[0] == '-';
  if (!failed) {
    check(find_double(text + negative, text + out.size, &found) == FITS);
    check((found | (uint64_t)negative << 63) == bits);
  }
  return bits;
}

/* An instant of those that are written, likewise. */
static int64_t check_instant(int64_t instant, int only_written) {
  const int64_t first = FIRST_DAY * DAY, last = (LAST_DAY + 1) * DAY;
  uint8_t text[2 * SCALAR_ROOM] = {0};
  output out = {text, 0, sizeof text};
  if (only_written) instant = first + (int64_t)((uint64_t)instant % (uint64_t)(last - first));
  int failed = put_timestamp(&out, instant), is_utc;
  int64_t again = instant;
  check(out.size <= SCALAR_ROOM / 2 && failed == (instant < first || instant >= last ? DECLINED : 0));
  if (!failed) check(read_instant(text, text + out.size, &again, &is_utc) && is_utc);
  check(again == instant);
  return instant;
}

/* Among values with the same leading bits as the first one, those that occur more than once are found, each once. */
static void check_repeated(const int64_t *integers, int64_t count, int shift) {
  uint64_t values[64], *kept = malloc((size_t)count * sizeof *kept + 1), leading = (uint64_t)integers[0] >> shift;
  memcpy(values, integers, (size_t)count * sizeof *values);
  int64_t size = kernel_slice(values, count, shift, leading, kept), expected = 0;
  uint64_t *out = malloc((size_t)size * sizeof *out + 1);
  int64_t found = kernel_repeated(kept, size, out);
  for (int64_t i = 0; i < count; i++) {
    int64_t earlier = 0, at = 0;
    for (int64_t j = 0; j < i; j++) earlier += values[j] == values[i];
    if (values[i] >> shift != leading || earlier != 1) continue;
    while (at < found && out[at] != values[i]) at++;
    check(at < found);
    expected++;
  }
  check(found == expected);
  free(out);
  free(kept);
}

/* The different ones of values of 8 bytes, the first of which is null, and of texts of a byte each. */
static void check_distinct(const int64_t *integers, int64_t count) {
  uint8_t valid[8] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, *text = malloc((size_t)count + 1);
  int32_t offsets[65] = {0};
  int64_t expected = 0, texts = 0;
  for (int64_t i = 0; i < count; i++) {
    int is_new = i > 0, is_new_text = 1;
    text[i] = (uint8_t)integers[i];
    offsets[i + 1] = (int32_t)i + 1;
    for (int64_t j = 0; j < i; j++) is_new &= !j || integers[j] != integers[i], is_new_text &= text[j] != text[i];
    expected += is_new;
    texts += is_new_text;
  }
  const void *of_integers[] = {valid, integers}, *of_texts[] = {NULL, offsets, text};
  struct ArrowArray column = {.length = count, .n_buffers = 2, .buffers = of_integers};
  uint64_t *room = malloc(2 * (size_t)count * sizeof *room + 1);
  check(kernel_distinct(&column, 8, room) == expected);
  column = (struct ArrowArray){.length = count, .n_buffers = 3, .buffers = of_texts};
  check(kernel_distinct(&column, 0, room) == texts);
  free(room);
  free(text);
}

/* Columns of every type whose values are bytes of the input, as lines and as CSV. */
static void write_values(const uint8_t *data, int64_t size, int only_written) {
  enum { MOST = 64, COLUMNS = 7 };
  static const char kinds[] = "intdbsl";
  int64_t rows = size / 8 < MOST ? size / 8 : MOST, lines_size;
  int64_t integers[MOST] = {0}, instants[MOST];
  uint64_t doubles[MOST];
  int32_t days[MOST], offsets[MOST + 1] = {0}, list_offsets[MOST + 1] = {0};
  memcpy(integers, data, (size_t)rows * 8);
  for (int64_t i = 0; i < rows; i++) {
    uint64_t bits;
    memcpy(&bits, &integers[i], 8);
    doubles[i] = check_double(bits, only_written);
    instants[i] = check_instant(integers[i], only_written);
    days[i] = only_written ? (int32_t)(instants[i] / DAY) : (int32_t)(bits & UINT32_MAX);
  }
  check_distinct(integers, rows);
  check_repeated(integers, rows, (int)(integers[0] & 63));
  /* Text that is UTF-8, and in pieces of whole characters. A buffer of this size, so that a byte too far is seen. */
  uint8_t *text = malloc((size_t)size);
  int64_t at = 0, piece = 0;
  while (at < size && piece < rows) {
    int length = data[at] >= 0xf0 ? 4 : data[at] >= 0xe0 ? 3 : data[at] >= 0xc0 ? 2 : 1;
    if (length <= size - at && is_utf8(data + at, data + at + length)) memcpy(text + at, data + at, (size_t)length);
    else text[at] = '?', length = 1;
    at += length;
    if (text[at - 1] % 8 == 3 || at == size) offsets[++piece] = (int32_t)at;
  }
  for (int64_t i = piece; i < rows; i++) offsets[i + 1] = offsets[i];
  for (int64_t i = 0; i < rows; i++) {
    int64_t more = integers[i] & 3;
    list_offsets[i + 1] = (int32_t)(list_offsets[i] + more < rows ? list_offsets[i] + more : list_offsets[i]);
  }
  const void *none[] = {NULL}, *of_integers[] = {NULL, integers}, *of_doubles[] = {instants, doubles};
  const void *of_instants[] = {NULL, instants}, *of_days[] = {integers, days}, *of_bits[] = {NULL, integers};
  const void *of_texts[] = {NULL, offsets, text}, *of_lists[] = {doubles, list_offsets};
  struct ArrowArray item = {.length = rows, .n_buffers = 3, .buffers = of_texts}, *items[] = {&item};
  struct ArrowArray columns[] = {
      {.length = rows, .n_buffers = 2, .buffers = of_integers}, {.length = rows, .n_buffers = 2, .buffers = of_doubles},
      {.length = rows, .n_buffers = 2, .buffers = of_instants}, {.length = rows, .n_buffers = 2, .buffers = of_days},
      {.length = rows, .n_buffers = 2, .buffers = of_bits},     {.length = rows, .n_buffers = 3, .buffers = of_texts},
      {.length = rows, .n_buffers = 2, .buffers = of_lists, .n_children = 1, .children = items}};
  struct ArrowArray *children[COLUMNS];
  uint8_t description[128], *end = node_text(description, OBJECT, 0, "", COLUMNS);
  for (int i = 0; i < COLUMNS; i++) {
    const char name[] = {kinds[i], 0};
    end = node_text(end, kinds[i], 0, name, kinds[i] == LIST);
    children[i] = &columns[i];
  }
  end = node_text(end, STRING, 0, "", 0);
  struct ArrowArray batch = {.length = rows, .n_buffers = 1, .buffers = none, .n_children = COLUMNS,
                             .children = children};
  int may_fail = allocations_until_failure > 0;
  schema *sc = kernel_columns(description, end - description);
  check(sc || may_fail);
  uint8_t *lines = sc ? check_rows(sc, &batch, &lines_size) : NULL;
  check(!sc || lines || may_fail || !only_written);
  kernel_free(lines);
  kernel_schema_free(sc);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum { VALUES = 6, DESCRIBED = 7, CHOICES = 8, HEADER = 4 };
  static schema *schemas[2], *rules[RULES];
  allocations_until_failure = 0;
  if (!schemas[0]) {
    check(kernel_version() == KERNEL_VERSION);
    for (int i = 0; i < 2; i++) schemas[i] = make_schema(i);
    for (int i = 0; i < RULES; i++) rules[i] = make_rules(i);
  }
  if (size < HEADER) return 0;
  int choice = data[0] % CHOICES;
  int64_t described = choice == DESCRIBED ? read16(data + 2) % (int64_t)(size - HEADER + 1) : 0;
  int64_t body_size = (int64_t)size - HEADER - described;
  /* Buffers of exactly these sizes, so that a byte too far is seen. */
  uint8_t *description = malloc((size_t)described), *body = malloc((size_t)body_size);
  memcpy(description, data + HEADER, (size_t)described);
  memcpy(body, data + HEADER + described, (size_t)body_size);
  allocations_until_failure = data[1];
  if (choice == DESCRIBED) {
    schema *made = kernel_schema(description, described, body, body_size);
    if (made) decode(made, body, body_size, 1);
    kernel_schema_free(made);
    allocations_until_failure = data[1];
    made = kernel_rules(description, described, body, body_size);
    scan(body, body_size, &made, 1);
    kernel_schema_free(made);
  } else if (choice == VALUES) {
    write_values(body, body_size, data[2] & 1);
  } else {
    decode(schemas[choice & 1], body, body_size, choice & 1);
    allocations_until_failure = data[1];
    scan(body, body_size, rules, RULES);
  }
  free(description);
  free(body);
  return 0;
}
