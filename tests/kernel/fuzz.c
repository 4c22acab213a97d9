/* libFuzzer target of the decoder kernel; `make fuzz-kernel` builds it with AddressSanitizer and UBSan.
 *
 * The first byte of an input chooses what happens to the rest: a body with one of two schemas, or a description, whose
 * size two more bytes give, and a body. The second byte says which allocation fails; none for zero. Besides what the
 * sanitizers see, everything that an Arrow reader would rely on is checked.
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

static void check(int holds) {
  if (!holds) abort();
}

static void check_array(const struct ArrowArray *array, const node *n) {
  volatile uint64_t sum = 0; /* so that what an array holds is read */
  int64_t rows = array->length;
  if (array->null_count)
    for (int64_t i = 0; i < (rows + 7) / 8; i++) sum += ((const uint8_t *)array->buffers[0])[i];
  if (n->kind == STRING || n->kind == LIST) {
    const int32_t *offsets = array->buffers[1];
    check(offsets[0] == 0);
    for (int64_t i = 0; i < rows; i++) check(offsets[i + 1] >= offsets[i]);
    if (n->kind == LIST) check(offsets[rows] == array->children[0]->length);
    else check(is_utf8(array->buffers[2], (const uint8_t *)array->buffers[2] + offsets[rows]));
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

static void decode(const schema *sc, const uint8_t *body, int64_t size) {
  static unknown_name unknown[MOST_UNKNOWN];
  const uint8_t *bodies[] = {body, body};
  int64_t sizes[] = {size, size / 2}, rows[2], unknown_count;
  int64_t *counts = calloc(2 * (size_t)sc->nodes, sizeof *counts);
  struct ArrowArray records, extra;
  int64_t pages = kernel_decode(sc, bodies, sizes, 2, rows, counts, counts + sc->nodes, unknown, &unknown_count,
                                &records, &extra);
  if (pages >= 0) {
    node text = {.kind = STRING};
    int64_t sum = 0;
    for (int64_t i = 0; i < pages; i++) sum += rows[i];
    check(records.length == sum && extra.length == sum);
    check_array(&records, &sc->root);
    check_array(&extra, &text);
    records.release(&records);
    extra.release(&extra);
  }
  free(counts);
}

static void scan(const uint8_t *body, int64_t size) {
  enum { MOST = 64 };
  record_bounds records[MOST];
  uint64_t content;
  int32_t flags;
  int64_t count = kernel_scan(body, size, records, MOST, 7, &content, &flags);
  if (count <= 0) return;
  for (int64_t i = 0; i < count; i++) content -= kernel_content(body + records[i].begin, records[i].end - records[i].begin, 7);
  check(content == 0);
  uint8_t *lines = malloc((size_t)(size + count));
  int64_t written = kernel_lines(body, records, count, lines);
  check(written <= size + count && lines[written - 1] == '\n');
  free(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum { DESCRIBED = 7, HEADER = 4 };
  static schema *schemas[2];
  allocations_until_failure = 0;
  if (!schemas[0])
    for (int i = 0; i < 2; i++) schemas[i] = make_schema(i);
  if (size < HEADER) return 0;
  int64_t described = data[0] % 8 == DESCRIBED ? read16(data + 2) % (int64_t)(size - HEADER + 1) : 0;
  int64_t body_size = (int64_t)size - HEADER - described;
  /* Buffers of exactly these sizes, so that a byte too far is seen. */
  uint8_t *description = malloc((size_t)described), *body = malloc((size_t)body_size);
  memcpy(description, data + HEADER, (size_t)described);
  memcpy(body, data + HEADER + described, (size_t)body_size);
  allocations_until_failure = data[1];
  if (data[0] % 8 == DESCRIBED) {
    schema *made = kernel_schema(description, described, body, body_size);
    if (made) decode(made, body, body_size);
    kernel_schema_free(made);
  } else {
    decode(schemas[data[0] & 1], body, body_size);
    scan(body, body_size);
  }
  free(description);
  free(body);
  return 0;
}
