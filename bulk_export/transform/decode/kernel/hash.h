/* Hashes: XXH3 with 64 bits for ids, and HMAC-SHA-256 for pseudonyms. Both as their specifications define them. */
#ifndef KERNEL_HASH_H
#define KERNEL_HASH_H

#include <stdint.h>
#include <string.h>

static inline uint32_t read32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static inline uint64_t read64(const uint8_t *at) { return (uint64_t)read32(at) | (uint64_t)read32(at + 4) << 32; }
static inline uint64_t rotated(uint64_t value, int by) { return value << by | value >> (64 - by); }

/* ---- XXH3, for at most 128 bytes and without a seed ---- */
enum { LONGEST_HASHED = 128 };
#define XXH_PRIME_32_1 0x9E3779B1u
#define XXH_PRIME_1 0x9E3779B185EBCA87u
#define XXH_PRIME_2 0xC2B2AE3D27D4EB4Fu
#define XXH_PRIME_3 0x165667B19E3779F9u
#define XXH_MIX_1 0x165667919E3779F9u
#define XXH_MIX_2 0x9FB21C651E98DF25u

/* The default secret of the specification, as far as inputs of up to 128 bytes need it. */
static const uint8_t xxh_secret[128] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
};

/* The product of two numbers, its upper and lower half combined. */
static inline uint64_t folded_product(uint64_t left, uint64_t right) {
#if defined(__SIZEOF_INT128__)
  unsigned __int128 product = (unsigned __int128)left * right;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
  uint64_t low = (left & 0xffffffff) * (right & 0xffffffff), high = (left >> 32) * (right >> 32);
  uint64_t middle = (left >> 32) * (right & 0xffffffff) + (low >> 32);
  uint64_t other = (left & 0xffffffff) * (right >> 32) + (middle & 0xffffffff);
  return (high + (middle >> 32) + (other >> 32)) ^ (other << 32 | (low & 0xffffffff));
#endif
}

static inline uint64_t xxh3_avalanche(uint64_t hash) {
  hash = (hash ^ hash >> 37) * XXH_MIX_1;
  return hash ^ hash >> 32;
}
static inline uint64_t xxh64_avalanche(uint64_t hash) {
  hash = (hash ^ hash >> 33) * XXH_PRIME_2;
  hash = (hash ^ hash >> 29) * XXH_PRIME_3;
  return hash ^ hash >> 32;
}
static inline uint64_t xxh3_mixed(const uint8_t *at, const uint8_t *secret) {
  return folded_product(read64(at) ^ read64(secret), read64(at + 8) ^ read64(secret + 8));
}
static inline uint64_t byte_swapped(uint64_t value) {
  uint64_t swapped = 0;
  for (int i = 0; i < 8; i++) swapped = swapped << 8 | (value >> (8 * i) & 0xff);
  return swapped;
}

/* The hash of at most LONGEST_HASHED bytes. */
static uint64_t xxh3(const uint8_t *at, int64_t size) {
  const uint8_t *end = at + size, *secret = xxh_secret;
  if (size > 16) {
    uint64_t sum = (uint64_t)size * XXH_PRIME_1;
    for (int64_t i = (size - 1) / 32; i >= 0; i--)
      sum += xxh3_mixed(at + 16 * i, secret + 32 * i) + xxh3_mixed(end - 16 * (i + 1), secret + 32 * i + 16);
    return xxh3_avalanche(sum);
  }
  if (size > 8) {
    uint64_t low = read64(at) ^ read64(secret + 24) ^ read64(secret + 32);
    uint64_t high = read64(end - 8) ^ read64(secret + 40) ^ read64(secret + 48);
    return xxh3_avalanche((uint64_t)size + byte_swapped(low) + high + folded_product(low, high));
  }
  if (size > 3) {
    uint64_t value = (uint64_t)read32(at) << 32 | read32(end - 4);
    value ^= read64(secret + 8) ^ read64(secret + 16);
    value ^= rotated(value, 49) ^ rotated(value, 24);
    value *= XXH_MIX_2;
    value ^= (value >> 35) + (uint64_t)size;
    value *= XXH_MIX_2;
    return value ^ value >> 28;
  }
  if (size > 0) {
    uint32_t value = (uint32_t)at[0] << 16 | (uint32_t)at[size >> 1] << 24 | at[size - 1] | (uint32_t)size << 8;
    return xxh64_avalanche((uint64_t)value ^ (read32(secret) ^ read32(secret + 4)));
  }
  return xxh64_avalanche(read64(secret + 56) ^ read64(secret + 64));
}

/* A hash of any bytes for comparisons within one process; nobody who does not know `seed` can make two texts alike. */
static uint64_t content_hash(const uint8_t *at, int64_t size, uint64_t seed) {
  uint64_t left = seed ^ XXH_PRIME_1, right = seed ^ (uint64_t)size * XXH_PRIME_2;
  for (; size >= 32; size -= 32, at += 32) {
    left = folded_product(read64(at) ^ left, read64(at + 8) ^ seed);
    right = folded_product(read64(at + 16) ^ right, read64(at + 24) ^ ~seed);
  }
  uint8_t rest[32] = {0};
  if (size) memcpy(rest, at, (size_t)size);
  left = folded_product(read64(rest) ^ left, read64(rest + 8) ^ seed);
  right = folded_product(read64(rest + 16) ^ right, read64(rest + 24) ^ ~seed);
  return xxh3_avalanche(left ^ rotated(right, 32));
}

/* ---- SHA-256 (FIPS 180-4) and HMAC (RFC 2104) ---- */
enum { SHA_BLOCK = 64, SHA_SIZE = 32 };
typedef struct { uint32_t word[8]; } sha_state;

static const uint32_t sha_rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const sha_state sha_start = {
    {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};

static inline uint32_t rotated_right(uint32_t value, int by) { return value >> by | value << (32 - by); }

/* One round, in which only two of the eight words change; the caller renames them instead of moving them. */
static inline void sha_round(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f, uint32_t g,
                             uint32_t *h, uint32_t added) {
  *h += (rotated_right(e, 6) ^ rotated_right(e, 11) ^ rotated_right(e, 25)) + (g ^ (e & (f ^ g))) + added;
  *d += *h;
  *h += (rotated_right(a, 2) ^ rotated_right(a, 13) ^ rotated_right(a, 22)) + ((a & b) | (c & (a | b)));
}

static void sha_block(sha_state *state, const uint8_t *block) {
  uint32_t schedule[64];
  for (int i = 0; i < 16; i++)
    schedule[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
                  block[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    uint32_t early = schedule[i - 15], late = schedule[i - 2];
    schedule[i] = schedule[i - 16] + (rotated_right(early, 7) ^ rotated_right(early, 18) ^ early >> 3) + schedule[i - 7] +
                  (rotated_right(late, 17) ^ rotated_right(late, 19) ^ late >> 10);
  }
  uint32_t *word = state->word, a = word[0], b = word[1], c = word[2], d = word[3], e = word[4], f = word[5], g = word[6],
           h = word[7];
  /* After eight rounds each word is back under its own name. */
  for (int i = 0; i < 64; i += 8) {
    const uint32_t *constant = sha_rounds + i, *scheduled = schedule + i;
    sha_round(a, b, c, &d, e, f, g, &h, constant[0] + scheduled[0]);
    sha_round(h, a, b, &c, d, e, f, &g, constant[1] + scheduled[1]);
    sha_round(g, h, a, &b, c, d, e, &f, constant[2] + scheduled[2]);
    sha_round(f, g, h, &a, b, c, d, &e, constant[3] + scheduled[3]);
    sha_round(e, f, g, &h, a, b, c, &d, constant[4] + scheduled[4]);
    sha_round(d, e, f, &g, h, a, b, &c, constant[5] + scheduled[5]);
    sha_round(c, d, e, &f, g, h, a, &b, constant[6] + scheduled[6]);
    sha_round(b, c, d, &e, f, g, h, &a, constant[7] + scheduled[7]);
  }
  const uint32_t after[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; i++) word[i] += after[i];
}

/* The digest of bytes that follow `before` bytes (whole blocks), which `state` has taken in. */
static void sha_finish(sha_state state, uint64_t before, const uint8_t *at, int64_t size, uint8_t *digest) {
  uint8_t block[2 * SHA_BLOCK] = {0};
  uint64_t bits = (before + (uint64_t)size) * 8;
  for (; size >= SHA_BLOCK; size -= SHA_BLOCK, at += SHA_BLOCK) sha_block(&state, at);
  if (size) memcpy(block, at, (size_t)size);
  block[size] = 0x80;
  int64_t last = size + 9 <= SHA_BLOCK ? SHA_BLOCK : 2 * SHA_BLOCK;
  for (int i = 0; i < 8; i++) block[last - 1 - i] = (uint8_t)(bits >> (8 * i));
  sha_block(&state, block);
  if (last > SHA_BLOCK) sha_block(&state, block + SHA_BLOCK);
  for (int i = 0; i < SHA_SIZE; i++) digest[i] = (uint8_t)(state.word[i / 4] >> (24 - 8 * (i % 4)));
}

/* A key, taken in by both hashes of HMAC. */
typedef struct { sha_state inner, outer; } hmac_key;

static void hmac_prepare(hmac_key *key, const uint8_t *secret, int64_t size) {
  uint8_t padded[SHA_BLOCK] = {0}, block[SHA_BLOCK];
  if (size > SHA_BLOCK) sha_finish(sha_start, 0, secret, size, padded);
  else if (size) memcpy(padded, secret, (size_t)size);
  key->inner = key->outer = sha_start;
  for (int i = 0; i < SHA_BLOCK; i++) block[i] = padded[i] ^ 0x36;
  sha_block(&key->inner, block);
  for (int i = 0; i < SHA_BLOCK; i++) block[i] = padded[i] ^ 0x5c;
  sha_block(&key->outer, block);
}

/* HMAC-SHA-256 of bytes as 64 hexadecimal digits. */
static void hmac_hex(const hmac_key *key, const uint8_t *at, int64_t size, uint8_t *digits) {
  uint8_t digest[SHA_SIZE];
  sha_finish(key->inner, SHA_BLOCK, at, size, digest);
  sha_finish(key->outer, SHA_BLOCK, digest, SHA_SIZE, digest);
  for (int i = 0; i < SHA_SIZE; i++) {
    digits[2 * i] = (uint8_t)"0123456789abcdef"[digest[i] >> 4];
    digits[2 * i + 1] = (uint8_t)"0123456789abcdef"[digest[i] & 15];
  }
}

#endif
