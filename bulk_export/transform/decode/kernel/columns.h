/* Arrow columns that grow row by row, and how they are handed over through the Arrow C data interface. */
#ifndef KERNEL_COLUMNS_H
#define KERNEL_COLUMNS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What Arrow's offsets of 32 bits can say; a test compiles with less. */
#ifndef LARGEST_OFFSET
#define LARGEST_OFFSET INT32_MAX
#endif

/* What a function returns where it does not return 0: the page has to go the exact way, or memory ran out. */
enum { DECLINED = -1, NO_MEMORY = -2 };

enum kind {
  STRING = 's', BOOLEAN = 'b', INTEGER = 'i', NUMBER = 'n', TIMESTAMP = 't', DATE = 'd', LIST = 'l', OBJECT = '{',
  DROPPED = 'x' /* a member without a column, whose value is passed over */
};
/* Flags of a node, as the description gives them. */
enum {
  PSEUDONYM = 1, /* the value is replaced by its HMAC */
  REDACTED = 2,  /* a rule holds for this place or one below it, so a value of another type is not shown */
  UNDESCRIBED = 4 /* known by a rule only: the value goes to `_extra` */
};

typedef struct node {
  uint8_t kind, flags;
  int32_t children;     /* members of an object; 1 for a list */
  int32_t index;        /* position in depth-first order */
  int32_t key_size;
  const uint8_t *key;   /* `"name":`, with VECTOR bytes to spare */
  struct node *child;
  int64_t rows, nulls, capacity;
  int64_t missing, misfits;
  uint8_t *valid;       /* bitmap */
  uint8_t *values;      /* offsets (32 bits), numbers of 64 or 32 bits, or a bitmap */
  uint8_t *text;        /* of strings */
  int64_t text_size, text_capacity;
} node;

static inline int has_column(const node *n) { return n->kind != DROPPED && !(n->flags & UNDESCRIBED); }

static inline int64_t value_size(int kind) {
  switch (kind) {
    case STRING: case LIST: case DATE: return 4;
    case INTEGER: case NUMBER: case TIMESTAMP: return 8;
    default: return 0;
  }
}

static uint8_t *grown(uint8_t **buffer, int64_t size) {
  uint8_t *larger = realloc(*buffer, (size_t)size);
  if (larger) *buffer = larger;
  return larger;
}

/* A column that would outgrow its offsets of 32 bits is no shortage of memory: the page is for the exact way. */
static int grow_rows(node *n) {
  int64_t before = n->capacity, after = before ? before * 2 : 512;
  if (after > LARGEST_OFFSET / 2) return DECLINED;
  if (!grown(&n->valid, after / 8)) return NO_MEMORY;
  memset(n->valid + before / 8, 0, (size_t)(after - before) / 8);
  if (n->kind == BOOLEAN) {
    if (!grown(&n->values, after / 8)) return NO_MEMORY;
    memset(n->values + before / 8, 0, (size_t)(after - before) / 8);
  } else if (n->kind != OBJECT) {
    if (!grown(&n->values, (after + 1) * value_size(n->kind))) return NO_MEMORY;
    if (!before) memset(n->values, 0, 8);
  }
  n->capacity = after;
  return 0;
}

static int grow_text(node *n, int64_t needed) {
  int64_t capacity = n->text_capacity ? n->text_capacity : 2048;
  while (capacity < needed) capacity *= 2;
  if (capacity > LARGEST_OFFSET) return DECLINED;
  if (!grown(&n->text, capacity)) return NO_MEMORY;
  n->text_capacity = capacity;
  return 0;
}

static inline int row_fits(node *n) { return LIKELY(n->rows < n->capacity) ? 0 : grow_rows(n); }
static inline int text_fits(node *n, int64_t more) {
  return LIKELY(n->text_size + more <= n->text_capacity) ? 0 : grow_text(n, n->text_size + more);
}
static inline void set_bit(uint8_t *bits, int64_t at) { bits[at >> 3] |= (uint8_t)(1u << (at & 7)); }
static inline void clear_bit(uint8_t *bits, int64_t at) { bits[at >> 3] &= (uint8_t)~(1u << (at & 7)); }
static inline void set_offset(node *n, int64_t at, int64_t offset) {
  int32_t narrow = (int32_t)offset;
  memcpy(n->values + 4 * at, &narrow, 4);
}
static inline void set_value(node *n, const void *value) {
  int64_t size = value_size(n->kind);
  memcpy(n->values + size * n->rows, value, (size_t)size);
  set_bit(n->valid, n->rows++);
}

/* Close a row of a string whose text is in place, or of a list whose elements are. */
static inline void end_row(node *n, int64_t offset) {
  set_bit(n->valid, n->rows++);
  set_offset(n, n->rows, offset);
}

static int append_null(node *n) {
  int failed = row_fits(n);
  if (failed) return failed;
  int64_t zero = 0;
  n->nulls++;
  switch (n->kind) {
    case STRING: set_offset(n, n->rows + 1, n->text_size); break;
    case LIST: set_offset(n, n->rows + 1, n->child->rows); break;
    case OBJECT:
      for (int32_t i = 0; i < n->children && !failed; i++)
        if (has_column(&n->child[i])) failed = append_null(&n->child[i]);
      break;
    case BOOLEAN: break;
    default: memcpy(n->values + value_size(n->kind) * n->rows, &zero, (size_t)value_size(n->kind));
  }
  n->rows++;
  return failed;
}

static int append_text(node *n, const uint8_t *text, int64_t size) {
  int failed = row_fits(n);
  if (!failed) failed = text_fits(n, size);
  if (failed) return failed;
  if (size) memcpy(n->text + n->text_size, text, (size_t)size);
  n->text_size += size;
  end_row(n, n->text_size);
  return 0;
}

/* ---- going back to where a page began ---- */
typedef struct { int64_t rows, nulls, missing, misfits, text_size; } bookmark;

static bookmark *mark_columns(const node *n, bookmark *mark) {
  *mark++ = (bookmark){n->rows, n->nulls, n->missing, n->misfits, n->text_size};
  for (int32_t i = 0; i < n->children; i++) mark = mark_columns(&n->child[i], mark);
  return mark;
}

static const bookmark *take_back(node *n, const bookmark *mark) {
  for (int64_t row = mark->rows; row < n->rows && row < n->capacity; row++) {
    clear_bit(n->valid, row);
    if (n->kind == BOOLEAN) clear_bit(n->values, row);
  }
  n->rows = mark->rows;
  n->nulls = mark->nulls;
  n->missing = mark->missing;
  n->misfits = mark->misfits;
  n->text_size = mark->text_size;
  mark++;
  for (int32_t i = 0; i < n->children; i++) mark = take_back(&n->child[i], mark);
  return mark;
}

/* ---- the Arrow C data interface ---- */
struct ArrowArray {
  int64_t length, null_count, offset, n_buffers, n_children;
  const void **buffers;
  struct ArrowArray **children;
  struct ArrowArray *dictionary;
  void (*release)(struct ArrowArray *);
  void *private_data;
};

typedef struct { const void *buffers[3]; struct ArrowArray **children; } array_memory;

static void release_array(struct ArrowArray *array) {
  array_memory *memory = array->private_data;
  for (int64_t i = 0; i < array->n_children; i++) {
    if (memory->children[i]->release) memory->children[i]->release(memory->children[i]);
    free(memory->children[i]);
  }
  free(memory->children);
  for (int i = 0; i < 3; i++) free((void *)memory->buffers[i]);
  free(memory);
  array->release = NULL;
}

/* Give the buffers of a column away. Where memory runs out, nothing is given, and the caller frees what is left. */
static int hand_over(node *n, struct ArrowArray *array) {
  memset(array, 0, sizeof *array);
  array_memory *memory = calloc(1, sizeof *memory);
  if (!memory) return NO_MEMORY;
  array->private_data = memory;
  array->release = release_array;
  if (n->children && !(memory->children = calloc((size_t)n->children, sizeof *memory->children))) goto failed;
  if (n->kind != OBJECT && !n->values && !(n->values = calloc(1, 8))) goto failed;
  if (n->kind == STRING && !n->text && !(n->text = calloc(1, 8))) goto failed;
  array->length = n->rows;
  array->null_count = n->nulls;
  array->buffers = memory->buffers;
  array->children = memory->children;
  array->n_buffers = n->kind == OBJECT ? 1 : n->kind == STRING ? 3 : 2;
  if (n->nulls) memory->buffers[0] = n->valid;
  else free(n->valid);
  memory->buffers[1] = n->values;
  memory->buffers[2] = n->text;
  n->valid = n->values = n->text = NULL;
  for (int32_t i = 0; i < n->children; i++) {
    if (!has_column(&n->child[i])) continue;
    struct ArrowArray *child = malloc(sizeof *child);
    if (!child || hand_over(&n->child[i], child)) { free(child); goto failed; }
    memory->children[array->n_children++] = child;
  }
  return 0;
failed:
  release_array(array);
  return NO_MEMORY;
}

static void free_columns(node *n) {
  free(n->valid);
  free(n->values);
  free(n->text);
  for (int32_t i = 0; i < n->children; i++) free_columns(&n->child[i]);
}

#endif
