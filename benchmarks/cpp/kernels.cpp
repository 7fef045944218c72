// The two kernels of engines/numba by hand: AVX2 intrinsics, the same arrays, the same order, the same bits.
//
// It exists to be measured against (benchmarks/engines.py): conductance-based, eight-point noise (a table picked from by
// three random bits), one synaptic trace, that is preset S1. Where the Python kernel has a constant, so has this: DEGREE
// is given by the compiler's command line. Names as in row.py, chain_lanes.py and unit_lanes.py.
#include <immintrin.h>
#include <cstdint>

#ifndef DEGREE
#define DEGREE 2
#endif

namespace {

using F = __m256;
using I = __m256i;
constexpr int LANES = 8, ROW = 16, FIELDS = 3;
constexpr int G_INH = 1, V = 2;                                             // fields of a row's state
constexpr int E_EXC = 0, E_INH = 1, LEAK = 2, RESET = 3, DECAY_EXC = 4, DECAY_INH = 5;

inline F load(const float *at) { return _mm256_loadu_ps(at); }
inline void store(float *at, F value) { _mm256_storeu_ps(at, value); }
inline I load(const int32_t *at) { return _mm256_loadu_si256(reinterpret_cast<const I *>(at)); }
inline void store(int32_t *at, I value) { _mm256_storeu_si256(reinterpret_cast<I *>(at), value); }

struct Generator {
    I a, b, c, counter;
    I next() {
        I word = _mm256_add_epi32(_mm256_add_epi32(a, b), counter);
        a = _mm256_xor_si256(b, _mm256_srli_epi32(b, 9));
        b = _mm256_add_epi32(c, _mm256_slli_epi32(c, 3));
        I rotated = _mm256_or_si256(_mm256_slli_epi32(c, 21), _mm256_srli_epi32(c, 11));
        c = _mm256_add_epi32(rotated, word);
        counter = _mm256_add_epi32(counter, _mm256_set1_epi32(1));
        return word;
    }
};

inline F noise(I word, const float *table) { return _mm256_permutevar8x32_ps(load(table), word); }

}  // namespace

extern "C" {

struct Tables {
    const float *parameters, *bias, *jumps, *relaxation, *renewal, *scales;
    const void *weights;  // chain lanes: float, unit lanes: int16_t in units of scales
    const int32_t *refractory, *targets, *connections;
    int64_t parameter_stride, noise_stride, renewal_length;
};

struct Block {
    float *dynamics, *increments;
    int32_t *free_at, *generator, *arriving, *sources;
    int64_t *spiking;
    int8_t *states;
    int64_t chains, draws, every, until_draw;
};
}

namespace {

inline F advance(float *state, const int32_t *free_at, const float *constant, const float *bias, F noise_exc,
                 F noise_inh, I now, const F *relaxation) {
    F exc = load(state), inh = load(state + G_INH * ROW);
    F v = load(state + V * ROW);
    F x = _mm256_add_ps(_mm256_add_ps(load(constant + LEAK * ROW), exc), inh);
    F n = _mm256_fmadd_ps(load(constant + E_EXC * ROW), exc, load(bias));
    n = _mm256_fmadd_ps(load(constant + E_INH * ROW), inh, n);
    F phi = relaxation[DEGREE];
    for (int k = DEGREE - 1; k >= 0; --k) phi = _mm256_fmadd_ps(phi, x, relaxation[k]);
    v = _mm256_fmadd_ps(phi, _mm256_sub_ps(n, _mm256_mul_ps(x, v)), v);
    store(state, _mm256_fmadd_ps(exc, load(constant + DECAY_EXC * ROW), noise_exc));
    store(state + G_INH * ROW, _mm256_fmadd_ps(inh, load(constant + DECAY_INH * ROW), noise_inh));
    I held = _mm256_cmpgt_epi32(load(free_at), now);
    v = _mm256_blendv_ps(v, load(constant + RESET * ROW), _mm256_castsi256_ps(held));
    store(state + V * ROW, v);
    return v;
}

// Steps all rows; returns how many hold a spike, noted in block.spiking.
inline int step_rows(const Tables &t, const Block &b, Generator &generator, int rows, I now, const F *relaxation) {
    int count = 0;
    const float *__restrict constant = t.parameters, *__restrict bias = t.bias, *__restrict jumps = t.jumps;
    const int32_t *__restrict free_at = b.free_at;
    float *__restrict state = b.dynamics;
    int64_t *__restrict spiking = b.spiking;
    const int64_t parameter_stride = t.parameter_stride, noise_stride = t.noise_stride;
    Generator g = generator;
    for (int row = 0; row < rows; ++row) {
        I word = g.next();
        F low = advance(state, free_at, constant, bias, noise(_mm256_srli_epi32(word, 29), jumps),
                        noise(_mm256_srli_epi32(word, 26), jumps + LANES), now, relaxation);
        F high = advance(state + LANES, free_at + LANES, constant + LANES, bias + LANES,
                         noise(_mm256_srli_epi32(word, 23), jumps),
                         noise(_mm256_srli_epi32(word, 20), jumps + LANES), now, relaxation);
        int spiked = (_mm256_movemask_ps(low) | _mm256_movemask_ps(high) << LANES) ^ 0xFFFF;
        spiking[count] = int64_t(row) << ROW | spiked;
        count += spiked != 0;
        state += FIELDS * ROW, free_at += ROW, bias += ROW;
        constant += parameter_stride, jumps += noise_stride;
    }
    generator = g;
    return count;
}

inline float renew(const Tables &t, const Block &b, int step, int neuron, int refractory) {
    int64_t interval = step - b.free_at[neuron] + refractory;
    return t.renewal[interval < t.renewal_length ? interval : t.renewal_length - 1];
}

inline F with_spike(F &negative, F positive, const int16_t *weights, F increment) {
    __m128i shorts = _mm_loadu_si128(reinterpret_cast<const __m128i *>(weights));
    F w = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(shorts));
    negative = _mm256_fmadd_ps(increment, w, negative);
    return _mm256_fmadd_ps(increment, _mm256_max_ps(w, _mm256_setzero_ps()), positive);
}

template <int SPIKES>
inline void deliver(const Tables &t, const Block &b, int rows, int entry) {
    const int16_t *__restrict weights[SPIKES];
    F increments[SPIKES];
    for (int i = 0; i < SPIKES; ++i) {
        weights[i] = static_cast<const int16_t *>(t.weights) + int64_t(b.sources[entry + i]) * rows * ROW;
        increments[i] = _mm256_set1_ps(b.increments[entry + i]);
    }
    float *__restrict state = b.dynamics;
    for (int k = 0; k < rows * ROW; k += ROW, state += FIELDS * ROW)
#pragma GCC unroll 2
        for (int half = 0; half < ROW; half += LANES) {
            F exc = _mm256_setzero_ps(), all = exc;
#pragma GCC unroll 4
            for (int i = 0; i < SPIKES; ++i) exc = with_spike(all, exc, weights[i] + k + half, increments[i]);
            float *g = state + half;
            store(g, _mm256_add_ps(load(g), exc));
            store(g + G_INH * ROW, _mm256_add_ps(load(g + G_INH * ROW), _mm256_sub_ps(exc, all)));
        }
}

template <class Spikes, class Arrivals, class Draw>
void run(int64_t steps, int64_t slot, int64_t slots, int rows, const Tables &t, Block &b, Spikes spikes,
         Arrivals arrivals, Draw keep) {
    F relaxation[DEGREE + 1];
    for (int k = 0; k <= DEGREE; ++k) relaxation[k] = _mm256_set1_ps(t.relaxation[k]);
    Generator generator{load(b.generator), load(b.generator + 8), load(b.generator + 16), load(b.generator + 24)};
    int64_t draw = 0, until_draw = b.until_draw;
    for (int step = 0; step < steps; ++step) {
        int count = step_rows(t, b, generator, rows, _mm256_set1_epi32(step), relaxation);
        int64_t oldest = slot + 1 < slots ? slot + 1 : 0;
        arrivals(oldest);
        b.arriving[slot] = spikes(step, count, slot);
        slot = oldest;
        if (--until_draw == 0) {
            keep(step, draw++);
            until_draw = b.every;
        }
    }
    store(b.generator, generator.a);
    store(b.generator + 8, generator.b);
    store(b.generator + 16, generator.c);
    store(b.generator + 24, generator.counter);
}

}  // namespace

extern "C" void chain_lanes(int64_t steps, int64_t first_slot, int64_t slots, int64_t units, const Tables &t, Block &b) {
    auto spikes = [&](int step, int count, int64_t slot) {
        for (int i = 0; i < count; ++i) {
            int unit = int(b.spiking[i] >> ROW), spiked = b.spiking[i] & 0xFFFF;
            int64_t entry = slot * units + i;
            b.sources[entry] = unit << 2 | ((spiked & 0xFF) == 0) << 1 | (spiked > 0xFF);
            for (; spiked; spiked &= spiked - 1) {
                int lane = __builtin_ctz(spiked), neuron = unit * ROW + lane;
                b.increments[entry * ROW + lane] = renew(t, b, step, neuron, t.refractory[unit]);
                b.free_at[neuron] = step + t.refractory[unit];
                b.dynamics[(unit * FIELDS + V) * ROW + lane] =
                    t.parameters[unit * t.parameter_stride + RESET * ROW + lane];
            }
        }
        return count;
    };
    auto weights = static_cast<const float *>(t.weights);
    auto arrivals = [&](int64_t slot) {
        for (int64_t entry = slot * units; entry < slot * units + b.arriving[slot]; ++entry) {
            int source = b.sources[entry];
            for (int half = source >> 1 & 1; half <= (source & 1); ++half) {
                float *at = b.increments + entry * ROW + half * LANES;
                F increment = load(at);
                store(at, _mm256_setzero_ps());
                for (int k = t.connections[source >> 2]; k < t.connections[(source >> 2) + 1]; ++k) {
                    float *g = b.dynamics + t.targets[k] + half * LANES;
                    store(g, _mm256_fmadd_ps(increment, _mm256_set1_ps(weights[k]), load(g)));
                }
            }
        }
    };
    auto keep = [&](int step, int64_t draw) {
        for (int unit = 0; unit < units; ++unit)
            for (int chain = 0; chain < b.chains; ++chain)
                b.states[(chain * b.draws + draw) * units + unit] = b.free_at[unit * ROW + chain] > step;
    };
    run(steps, first_slot, slots, int(units), t, b, spikes, arrivals, keep);
}

extern "C" void unit_lanes(int64_t steps, int64_t first_slot, int64_t slots, int64_t units, const Tables &t, Block &b) {
    int rows = int((units + ROW - 1) / ROW);
    auto spikes = [&](int step, int count, int64_t slot) {
        int64_t entry = slot * units;
        for (int i = 0; i < count; ++i) {
            int row = int(b.spiking[i] >> ROW);
            for (int spiked = b.spiking[i] & 0xFFFF; spiked; spiked &= spiked - 1) {
                int lane = __builtin_ctz(spiked), unit = row * ROW + lane;
                b.sources[entry] = unit;
                b.increments[entry++] = renew(t, b, step, unit, t.refractory[unit]) * t.scales[unit];
                b.free_at[unit] = step + t.refractory[unit];
                b.dynamics[(row * FIELDS + V) * ROW + lane] =
                    t.parameters[row * t.parameter_stride + RESET * ROW + lane];
            }
        }
        return int(entry - slot * units);
    };
    auto arrivals = [&](int64_t slot) {
        int entry = int(slot * units), last = entry + b.arriving[slot];
        for (; entry + 4 <= last; entry += 4) deliver<4>(t, b, rows, entry);
        if (entry + 2 <= last) deliver<2>(t, b, rows, entry), entry += 2;
        if (entry < last) deliver<1>(t, b, rows, entry);
    };
    auto keep = [&](int step, int64_t draw) {
        for (int unit = 0; unit < units; ++unit) b.states[draw * units + unit] = b.free_at[unit] > step;
    };
    run(steps, first_slot, slots, rows, t, b, spikes, arrivals, keep);
}
