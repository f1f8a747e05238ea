//go:build cgo

#include "fill.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { BITS = 22, HALF = 1 << (BITS - 1) };

static inline uint8_t clip(int32_t sum)
{
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

#ifdef __SSE2__
/* Sums in two parts, of the weights' lower 15 bits and of the rest. What runs over
 * in a part runs over in none of their sum. */
static inline __m128i joined(__m128i low, __m128i high)
{
    __m128i sum = _mm_add_epi32(low, _mm_slli_epi32(high, 15));
    return _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(HALF)), BITS);
}
#endif

void sightline_along(uint8_t *dst, const uint8_t *src, int bytes, int w,
    const int32_t *first, const int32_t *start, const int32_t *weight,
    const int32_t *pair, const int16_t *split)
{
    for (int x = 0; x < w; x++) {
        const uint8_t *p = src + 3 * first[x];
        uint8_t *d = dst + 3 * x;
#ifdef __SSE2__
        /* two pixels at a time, read as 8 bytes */
        if (3 * first[x] + 6 * (pair[x + 1] - pair[x]) + 2 <= bytes) {
            __m128i low = _mm_setzero_si128(), high = low;
            for (int k = pair[x]; k < pair[x + 1]; k++, p += 6) {
                __m128i v = _mm_unpacklo_epi8(_mm_loadl_epi64((const void *)p), _mm_setzero_si128());
                __m128i weights = _mm_loadl_epi64((const void *)(split + 4 * k));
                v = _mm_unpacklo_epi16(v, _mm_srli_si128(v, 6)); /* channel by channel */
                low = _mm_add_epi32(low, _mm_madd_epi16(v, _mm_shuffle_epi32(weights, 0x00)));
                high = _mm_add_epi32(high, _mm_madd_epi16(v, _mm_shuffle_epi32(weights, 0x55)));
            }
            __m128i v = _mm_packs_epi32(joined(low, high), low);
            int32_t bgr = _mm_cvtsi128_si32(_mm_packus_epi16(v, v));
            d[0] = (uint8_t)bgr;
            d[1] = (uint8_t)(bgr >> 8);
            d[2] = (uint8_t)(bgr >> 16);
            continue;
        }
#endif
        int32_t b = HALF, g = HALF, r = HALF;
        for (int k = start[x]; k < start[x + 1]; k++, p += 3) {
            b += p[0] * weight[k];
            g += p[1] * weight[k];
            r += p[2] * weight[k];
        }
        d[0] = clip(b);
        d[1] = clip(g);
        d[2] = clip(r);
    }
}

#ifdef __SSE2__
enum { MOST = 64 }; /* rows that are mixed at once */

/* Sixteen columns at a time; returns how many. */
static int blended(uint8_t *dst, const uint8_t *const *row, const int32_t *weight, int taps, int n)
{
    __m128i low[MOST / 2], high[MOST / 2];
    int x = 0;
    for (int k = 0; k < taps; k += 2) {
        int32_t a = weight[k], b = k + 1 < taps ? weight[k + 1] : 0;
        low[k / 2] = _mm_set1_epi32((a & 0x7fff) | (b & 0x7fff) << 16);
        high[k / 2] = _mm_set1_epi32((int32_t)((uint32_t)(a >> 15) & 0xffff) | (b >> 15) * 65536);
    }
    for (; x + 16 <= n; x += 16) {
        const __m128i zero = _mm_setzero_si128();
        __m128i l[4] = { zero, zero, zero, zero }, h[4] = { zero, zero, zero, zero };
        for (int k = 0; k < taps; k += 2) {
            __m128i a = _mm_loadu_si128((const void *)(row[k] + x));
            __m128i b = _mm_loadu_si128((const void *)(row[k + 1 < taps ? k + 1 : k] + x));
            __m128i near = _mm_unpacklo_epi8(a, b), far = _mm_unpackhi_epi8(a, b);
            __m128i v[4] = { _mm_unpacklo_epi8(near, zero), _mm_unpackhi_epi8(near, zero),
                _mm_unpacklo_epi8(far, zero), _mm_unpackhi_epi8(far, zero) };
            for (int i = 0; i < 4; i++) {
                l[i] = _mm_add_epi32(l[i], _mm_madd_epi16(v[i], low[k / 2]));
                h[i] = _mm_add_epi32(h[i], _mm_madd_epi16(v[i], high[k / 2]));
            }
        }
        __m128i left = _mm_packs_epi32(joined(l[0], h[0]), joined(l[1], h[1]));
        __m128i right = _mm_packs_epi32(joined(l[2], h[2]), joined(l[3], h[3]));
        _mm_storeu_si128((void *)(dst + x), _mm_packus_epi16(left, right));
    }
    return x;
}
#endif

void sightline_blend(uint8_t *dst, const uint8_t *ring, int depth, int first,
    const int32_t *weight, int taps, int n)
{
    int x = 0;
#ifdef __SSE2__
    if (taps <= MOST) {
        const uint8_t *row[MOST];
        for (int k = 0; k < taps; k++)
            row[k] = ring + (size_t)((first + k) % depth) * n;
        x = blended(dst, row, weight, taps, n);
    }
#endif
    while (x < n) {
        int32_t sum[64];
        int m = n - x < 64 ? n - x : 64;
        for (int i = 0; i < m; i++)
            sum[i] = HALF;
        for (int k = 0; k < taps; k++) {
            const uint8_t *row = ring + (size_t)((first + k) % depth) * n + x;
            int32_t w = weight[k];
            for (int i = 0; i < m; i++)
                sum[i] += row[i] * w;
        }
        for (int i = 0; i < m; i++)
            dst[x + i] = clip(sum[i]);
        x += m;
    }
}
