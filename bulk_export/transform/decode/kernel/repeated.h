/* Which of many values occur more than once, and how many different ones there are: by sorting, which takes as long for
 * hostile values as for others.
 */
#ifndef KERNEL_REPEATED_H
#define KERNEL_REPEATED_H

#include <stdint.h>
#include <string.h>

/* Sort by one byte of each value; values that have it in common stay in their order. */
static void sort_by_byte(const uint64_t *from, uint64_t *to, int64_t count, int shift) {
  int64_t next[256] = {0}, begin = 0;
  for (int64_t i = 0; i < count; i++) next[from[i] >> shift & 0xff]++;
  for (int byte = 0; byte < 256; byte++) {
    int64_t size = next[byte];
    next[byte] = begin;
    begin += size;
  }
  for (int64_t i = 0; i < count; i++) to[next[from[i] >> shift & 0xff]++] = from[i];
}

/* Sort the values, with as much memory again at `scratch`. An even number of passes ends where it began. */
static void sort(uint64_t *values, uint64_t *scratch, int64_t count) {
  for (int shift = 0; shift < 64; shift += 16) {
    sort_by_byte(values, scratch, count, shift);
    sort_by_byte(scratch, values, count, shift + 8);
  }
}

static int64_t distinct(const uint64_t *sorted, int64_t count) {
  int64_t found = count > 0;
  for (int64_t i = 1; i < count; i++) found += sorted[i] != sorted[i - 1];
  return found;
}

/* Write each of some sorted values that occurs more than once, and return how many these are. */
static int64_t repeated(const uint64_t *sorted, int64_t count, uint64_t *out) {
  int64_t found = 0;
  for (int64_t i = 1; i < count; i++)
    if (sorted[i] == sorted[i - 1] && (!found || out[found - 1] != sorted[i])) out[found++] = sorted[i];
  return found;
}

#endif
