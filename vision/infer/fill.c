//go:build cgo

#include "fill.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* One row of sums: 4 lanes a pixel (blue, green, red, unused), 15 bits each. */
static void horizontal(int16_t *out, const uint8_t *src, const int32_t *xo,
    const int16_t *xw, int w, int safe)
{
    int x = 0;
#ifdef __SSE2__
    const __m128i zero = _mm_setzero_si128();
    for (; x + 1 < safe; x += 2) {
        __m128i a = _mm_unpacklo_epi8(_mm_loadl_epi64((const void *)(src + xo[2 * x])), zero);
        __m128i b = _mm_unpacklo_epi8(_mm_loadl_epi64((const void *)(src + xo[2 * x + 2])), zero);
        __m128i weights = _mm_loadl_epi64((const void *)(xw + 2 * x));
        /* left and right pixel beside each other, channel by channel */
        a = _mm_unpacklo_epi16(a, _mm_srli_si128(a, 6));
        b = _mm_unpacklo_epi16(b, _mm_srli_si128(b, 6));
        a = _mm_srli_epi32(_mm_madd_epi16(a, _mm_shuffle_epi32(weights, 0x00)), 4);
        b = _mm_srli_epi32(_mm_madd_epi16(b, _mm_shuffle_epi32(weights, 0x55)), 4);
        _mm_storeu_si128((void *)(out + 4 * x), _mm_packs_epi32(a, b));
    }
#endif
    for (; x < w; x++) {
        const uint8_t *l = src + xo[2 * x], *r = src + xo[2 * x + 1];
        int a = xw[2 * x], b = xw[2 * x + 1];
        for (int c = 0; c < 3; c++)
            out[4 * x + c] = (int16_t)((l[c] * a + r[c] * b) >> 4);
    }
}

static inline int mix(int up, int down, int a, int b)
{
    return ((a * up >> 16) + (b * down >> 16) + 2) >> 2;
}

#ifdef __SSE2__
/* Four pixels of blue, green, red, unused bytes into three planes. A value is
 * v*hi + v*lo: the product with hi is exact, so the sum is rounded once. */
static inline void store(__m128i bgr, float hi, float lo, float *p0, float *p1, float *p2)
{
    const __m128i byte = _mm_set1_epi32(255);
    const __m128 h = _mm_set1_ps(hi), l = _mm_set1_ps(lo);
    __m128 c[3];
    c[0] = _mm_cvtepi32_ps(_mm_and_si128(bgr, byte));
    c[1] = _mm_cvtepi32_ps(_mm_and_si128(_mm_srli_epi32(bgr, 8), byte));
    c[2] = _mm_cvtepi32_ps(_mm_and_si128(_mm_srli_epi32(bgr, 16), byte));
    if (lo != 0)
        for (int k = 0; k < 3; k++)
            c[k] = _mm_add_ps(_mm_mul_ps(c[k], h), _mm_mul_ps(c[k], l));
    _mm_storeu_ps(p0, c[0]);
    _mm_storeu_ps(p1, c[1]);
    _mm_storeu_ps(p2, c[2]);
}

static inline __m128i pixel(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm_cvtsi32_si128(v);
}
#endif

/* Output of one row that takes single pixels as they are, four at a time;
 * returns how many. */
static int picked(const uint8_t *src, const int32_t *xo, int safe, float hi, float lo,
    float *p0, float *p1, float *p2)
{
    int x = 0;
#ifdef __SSE2__
    for (; x + 4 <= safe; x += 4) {
        __m128i a = _mm_unpacklo_epi32(pixel(src + xo[2 * x]), pixel(src + xo[2 * x + 2]));
        __m128i b = _mm_unpacklo_epi32(pixel(src + xo[2 * x + 4]), pixel(src + xo[2 * x + 6]));
        store(_mm_unpacklo_epi64(a, b), hi, lo, p0 + x, p1 + x, p2 + x);
    }
#endif
    return x;
}

/* Output of one row mixed of two, four pixels at a time; returns how many. */
static int mixed(const int16_t *up, const int16_t *down, int a, int b, int w,
    float hi, float lo, float *p0, float *p1, float *p2)
{
    int x = 0;
#ifdef __SSE2__
    const __m128i wa = _mm_set1_epi16((int16_t)a), wb = _mm_set1_epi16((int16_t)b);
    const __m128i two = _mm_set1_epi16(2);
    for (; x + 4 <= w; x += 4) {
        __m128i v[2];
        for (int k = 0; k < 2; k++) {
            __m128i u = _mm_loadu_si128((const void *)(up + 4 * x + 8 * k));
            __m128i l = _mm_loadu_si128((const void *)(down + 4 * x + 8 * k));
            u = _mm_add_epi16(_mm_mulhi_epi16(u, wa), _mm_mulhi_epi16(l, wb));
            v[k] = _mm_srli_epi16(_mm_add_epi16(u, two), 2);
        }
        store(_mm_packus_epi16(v[0], v[1]), hi, lo, p0 + x, p1 + x, p2 + x);
    }
#endif
    return x;
}

void sightline_fill(const uint8_t *pix, size_t stride,
    const int32_t *xo, const int16_t *xw, const int32_t *yo, const int16_t *yw,
    int w, int h, int safe, int whole, int16_t *rows,
    float *p0, float *p1, float *p2, size_t pitch,
    const float *t0, const float *t1, const float *t2, float hi, float lo)
{
    int16_t *row[2] = { rows, rows + 4 * (w + 4) };
    int32_t have[2] = { -1, -1 };
    for (int y = 0; y < h; y++) {
        int a = yw[2 * y], b = yw[2 * y + 1], x = 0;
        size_t at = (size_t)y * pitch;
        if (whole) {
            const uint8_t *src = pix + (size_t)yo[2 * y] * stride;
            if (hi != 0)
                x = picked(src, xo, safe, hi, lo, p0 + at, p1 + at, p2 + at);
            for (; x < w; x++) {
                p0[at + x] = t0[src[xo[2 * x]]];
                p1[at + x] = t1[src[xo[2 * x] + 1]];
                p2[at + x] = t2[src[xo[2 * x] + 2]];
            }
            continue;
        }
        for (int k = 0; k < 2; k++) {
            int32_t s = yo[2 * y + k];
            if (k == 1 && b == 0) /* without weight: any row will do */
                break;
            if (have[s & 1] != s) {
                horizontal(row[s & 1], pix + (size_t)s * stride, xo, xw, w, safe);
                have[s & 1] = s;
            }
        }
        const int16_t *up = row[yo[2 * y] & 1];
        const int16_t *down = b == 0 ? up : row[yo[2 * y + 1] & 1];
        if (hi != 0)
            x = mixed(up, down, a, b, w, hi, lo, p0 + at, p1 + at, p2 + at);
        for (; x < w; x++) {
            p0[at + x] = t0[mix(up[4 * x], down[4 * x], a, b)];
            p1[at + x] = t1[mix(up[4 * x + 1], down[4 * x + 1], a, b)];
            p2[at + x] = t2[mix(up[4 * x + 2], down[4 * x + 2], a, b)];
        }
    }
}
