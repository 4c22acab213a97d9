/* Decimals as doubles: which double is nearest to one, and whether that double is written as this decimal again.
 *
 * Everything is decided by comparing integers of some hundred bits, so nothing depends on a locale, on how the system
 * reads numbers, or on how the processor rounds: a double that is computed is only where the search begins.
 */
#ifndef KERNEL_DOUBLES_H
#define KERNEL_DOUBLES_H

#include "text.h"

/* ---- integers of any size that is needed here ----
 * A decimal has up to 18 digits and a power between -341 and 308, so neither side of a comparison has more than 1,200 bits.
 */
enum { MOST_LIMBS = 48 };
typedef struct { int size; uint32_t limb[MOST_LIMBS]; } big;

static void big_multiply(big *number, uint32_t factor) {
  uint64_t carry = 0;
  for (int i = 0; i < number->size; i++) {
    carry += (uint64_t)number->limb[i] * factor;
    number->limb[i] = (uint32_t)carry;
    carry >>= 32;
  }
  if (carry && number->size < MOST_LIMBS) number->limb[number->size++] = (uint32_t)carry;
}

/* value × 5^fives × 2^twos */
static big big_product(uint64_t value, int fives, int twos) {
  static const uint32_t powers[] = {1, 5, 25, 125, 625, 3125, 15625, 78125, 390625, 1953125, 9765625, 48828125, 244140625};
  enum { MOST_FIVES = 13 };
  big number = {.size = 0};
  int limbs = twos / 32;
  if (limbs > MOST_LIMBS - 2) limbs = MOST_LIMBS - 2;
  for (; number.size < limbs; number.size++) number.limb[number.size] = 0;
  number.limb[number.size++] = (uint32_t)value;
  number.limb[number.size++] = (uint32_t)(value >> 32);
  for (; fives >= MOST_FIVES; fives -= MOST_FIVES) big_multiply(&number, 1220703125);
  big_multiply(&number, powers[fives]);
  big_multiply(&number, (uint32_t)1 << (twos % 32));
  while (number.size && !number.limb[number.size - 1]) number.size--;
  return number;
}

static int big_compare(const big *left, const big *right) {
  if (left->size != right->size) return left->size < right->size ? -1 : 1;
  for (int i = left->size - 1; i >= 0; i--)
    if (left->limb[i] != right->limb[i]) return left->limb[i] < right->limb[i] ? -1 : 1;
  return 0;
}

/* Compare digits × 10^power with value × 2^exponent: below zero where it is less. */
static int compare_exactly(uint64_t digits, int power, uint64_t value, int exponent) {
  /* Both sides are multiplied by what makes them integers. */
  int fives = power, twos = power - exponent;
  big left = big_product(digits, fives > 0 ? fives : 0, twos > 0 ? twos : 0);
  big right = big_product(value, fives < 0 ? -fives : 0, twos < 0 ? -twos : 0);
  return big_compare(&left, &right);
}

/* ---- a double and its neighbours ---- */
#define LARGEST_DOUBLE UINT64_C(0x7fefffffffffffff)

/* The parts of a positive double: mantissa × 2^exponent. */
typedef struct { uint64_t mantissa; int exponent, is_power; } parts;

static parts parts_of(uint64_t bits) {
  const uint64_t hidden = UINT64_C(1) << 52;
  uint64_t fraction = bits & (hidden - 1);
  int exponent = (int)(bits >> 52);
  if (!exponent) return (parts){fraction, -1074, 0};
  /* The doubles below a power of two are half as far away as those above. */
  return (parts){fraction | hidden, exponent - 1075, !fraction && exponent > 1};
}

/* Whether digits × 10^power is read as this double (0), as a lower (-1) or a higher one (1): the nearest, and of two that
 * are as near the one with an even mantissa. */
static int compare_reading(uint64_t digits, int power, uint64_t bits) {
  parts x = parts_of(bits);
  int is_odd = x.mantissa & 1;
  int compared = compare_exactly(digits, power, 4 * x.mantissa + 2, x.exponent - 2);
  if (compared > 0 || (compared == 0 && is_odd)) return 1;
  if (!x.mantissa) return 0;
  compared = compare_exactly(digits, power, 4 * x.mantissa - (x.is_power ? 1 : 2), x.exponent - 2);
  return compared < 0 || (compared == 0 && is_odd) ? -1 : 0;
}

/* The double that a decimal is read as; LARGEST_DOUBLE + 1 for an infinite one. False where the search took too long. */
static int find_nearest(uint64_t digits, int power, double guess, uint64_t *bits) {
  enum { MOST_STEPS = 64 };
  memcpy(bits, &guess, 8);
  if (*bits > LARGEST_DOUBLE) *bits = LARGEST_DOUBLE;
  for (int step = 0; step < MOST_STEPS; step++) {
    int compared = compare_reading(digits, power, *bits);
    if (!compared) return 1;
    *bits += compared > 0 ? 1 : UINT64_MAX;
    if (*bits > LARGEST_DOUBLE) return 1;
  }
  return 0;
}

/* Whether a double, as which digits × 10^power is read, is written with these digits: no fewer digits are read as the same
 * double, and no others as many of them are nearer to it. Of two that are as near, the even one is written. The last digit
 * is not zero. */
static int is_shortest(uint64_t digits, int power, uint64_t bits) {
  uint64_t fewer = digits - digits % 10;
  if (!compare_reading(fewer, power, bits) || !compare_reading(fewer + 10, power, bits)) return 0;
  parts x = parts_of(bits);
  int compared = compare_exactly(2 * digits + 1, power, x.mantissa, x.exponent + 1), is_odd = digits & 1;
  if (compared < 0 || (compared == 0 && is_odd)) return 0;
  /* What is nearer from below may be read as the next double, which below a power of two is half as far away. */
  compared = compare_exactly(2 * digits - 1, power, x.mantissa, x.exponent + 1);
  if (compared > 0 || (compared == 0 && is_odd)) return compare_reading(digits - 1, power, bits) != 0;
  return 1;
}

/* ---- texts ---- */
typedef struct { uint64_t digits; int count, power; } decimal;
enum { MOST_DIGITS = 17 };

/* Read the number without a sign between `at` and `end`, without zeros at either end of its digits. False for one of more
 * digits than any double is written with. */
static int read_decimal(const uint8_t *at, const uint8_t *end, decimal *read) {
  enum { LARGEST_EXPONENT = 10000 };
  uint64_t digits = 0;
  int count = 0, power = 0, in_fraction = 0, zeros = 0;
  for (; at < end; at++) {
    unsigned digit = (unsigned)*at - '0';
    if (digit > 9) {
      if (*at != '.') break;
      in_fraction = 1;
      continue;
    }
    power -= in_fraction;
    if (!digit) {
      zeros += count > 0;
      continue;
    }
    count += zeros + 1;
    if (count > MOST_DIGITS) return 0;
    for (; zeros; zeros--) digits *= 10;
    digits = digits * 10 + digit;
  }
  power += zeros;
  if (at < end) {
    int exponent = 0, sign = at[1] == '-' ? -1 : 1;
    for (at += at[1] == '-' || at[1] == '+' ? 2 : 1; at < end; at++)
      if (exponent < LARGEST_EXPONENT) exponent = exponent * 10 + (*at - '0');
    power += sign * exponent;
  }
  *read = (decimal){digits, count, power};
  return 1;
}

/* What becomes of a decimal: it is what its double is written as, it is not, or this code cannot say. */
enum fit { FITS, MISFITS, UNDECIDED };

/* 10^0 to 10^22, which doubles hold exactly. */
static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { LARGEST_POWER = 22, ALWAYS_WRITTEN = 15 };

/* Find the bits of the double, without a sign, that is written as this decimal. */
static enum fit search_double(const decimal *read, uint64_t *bits) {
  enum { LOWEST_PLACE = -323, HIGHEST_PLACE = 309 };
  *bits = 0;
  if (!read->digits) return FITS;
  /* Those beyond are read as zero or as infinite. */
  int place = read->count + read->power, power = read->power;
  if (place < LOWEST_PLACE || place > HIGHEST_PLACE) return MISFITS;
  double guess = (double)read->digits;
  for (; power > LARGEST_POWER; power -= LARGEST_POWER) guess *= tens[LARGEST_POWER];
  for (; power < -LARGEST_POWER; power += LARGEST_POWER) guess /= tens[LARGEST_POWER];
  guess = power < 0 ? guess / tens[-power] : guess * tens[power];
  if (read->count <= ALWAYS_WRITTEN && read->power <= LARGEST_POWER && read->power >= -LARGEST_POWER) {
    memcpy(bits, &guess, 8); /* as in `find_double`, with an exponent */
    return FITS;
  }
  if (!find_nearest(read->digits, read->power, guess, bits)) return UNDECIDED;
  if (!*bits || *bits > LARGEST_DOUBLE) return MISFITS;
  return is_shortest(read->digits, read->power, *bits) ? FITS : MISFITS;
}

static NOT_INLINED enum fit find_long_double(const uint8_t *at, const uint8_t *end, uint64_t *bits) {
  decimal read;
  return read_decimal(at, end, &read) ? search_double(&read, bits) : MISFITS;
}

/* Find the bits of the double that is written as the number without a sign between `at` and `end`. */
static inline enum fit find_double(const uint8_t *at, const uint8_t *end, uint64_t *bits) {
  const uint8_t *begin = at;
  int digits = 0, power = 0, in_fraction = 0;
  uint64_t value = 0;
  for (; at < end && *at <= '9'; at++) {
    if (*at == '.') { in_fraction = 1; continue; }
    if (digits || *at != '0') digits++;
    value = value * 10 + (uint64_t)(*at - '0');
    power -= in_fraction;
  }
  if (UNLIKELY(at < end || digits > ALWAYS_WRITTEN || power < -LARGEST_POWER)) return find_long_double(begin, end, bits);
  /* One operation with exact operands gives the nearest double, and no two decimals of so few digits share one. */
  double nearest = (double)value / tens[-power];
  memcpy(bits, &nearest, 8);
  return FITS;
}

#endif
