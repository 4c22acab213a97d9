/* Runs the fuzz target over files, each as it is and with every one of its first allocations failing in turn. */
#include "fuzz.c"

int main(int count, char **names) {
  enum { MOST_ALLOCATIONS = 100, LARGEST = 1 << 16 };
  static uint8_t input[LARGEST];
  for (int i = 1; i < count; i++) {
    FILE *file = fopen(names[i], "rb");
    if (!file) return 1;
    size_t size = fread(input, 1, sizeof input, file);
    fclose(file);
    LLVMFuzzerTestOneInput(input, size);
    for (int failing = 0; failing <= MOST_ALLOCATIONS && size > 1; failing++) {
      input[1] = (uint8_t)failing;
      LLVMFuzzerTestOneInput(input, size);
    }
  }
  return 0;
}
