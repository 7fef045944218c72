// What this machine can do: float32 multiply-adds from registers, and copies through memory.
#include <immintrin.h>
#include <cstdint>
#include <cstring>

// Twelve independent chains of eight lanes: 2 * 8 * 12 flops a round.
extern "C" float multiply_adds(int64_t rounds) {
    __m256 sums[12];
    for (int i = 0; i < 12; ++i) sums[i] = _mm256_set1_ps(float(i));
    const __m256 factor = _mm256_set1_ps(0.999f), term = _mm256_set1_ps(0.001f);
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; ++i) sums[i] = _mm256_fmadd_ps(sums[i], factor, term);
    }
    __m256 total = sums[0];
    for (int i = 1; i < 12; ++i) total = _mm256_add_ps(total, sums[i]);
    float lanes[8];
    _mm256_storeu_ps(lanes, total);
    return lanes[0];
}

// Integer adds that wait for each other: one a cycle, so their rate is the clock's.
extern "C" int64_t dependent_adds(int64_t rounds) {
    int64_t sum = rounds;
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) asm volatile("add $1, %0" : "+r"(sum));
    }
    return sum;
}

// Sums an array: as many bytes read as it is long.
extern "C" float read_sum(const float *from, int64_t floats) {
    __m256 sums[8];
    for (auto &sum : sums) sum = _mm256_setzero_ps();
    for (int64_t k = 0; k + 64 <= floats; k += 64) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) sums[i] = _mm256_add_ps(sums[i], _mm256_loadu_ps(from + k + 8 * i));
    }
    float total = 0;
    for (auto &sum : sums) total += sum[0];
    return total;
}

extern "C" void copy(float *to, const float *from, int64_t floats) { std::memcpy(to, from, size_t(floats) * 4); }
