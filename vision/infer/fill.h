#include <stddef.h>
#include <stdint.h>

/* Resizes a BGR24 picture bilinearly (OpenCV's fixed-point INTER_LINEAR) into
 * three float planes. Offsets and weights come in pairs per output column and
 * row; whole says that all second weights are 0; rows is scratch memory of
 * 8*(w+4) values; safe columns may be read 8 bytes at a time; a value of the
 * tensor is v*hi + v*lo, or if hi is 0 what the tables t say. */
void sightline_fill(const uint8_t *pix, size_t stride,
    const int32_t *xo, const int16_t *xw, const int32_t *yo, const int16_t *yw,
    int w, int h, int safe, int whole, int16_t *rows,
    float *p0, float *p1, float *p2, size_t pitch,
    const float *t0, const float *t1, const float *t2, float hi, float lo);

/* One row of w pixels of three channels, each a sum of the row src of so many
 * bytes: from pixel first[x] on, by weights start[x] to start[x+1] of 22 bits. split
 * has the same weights in pairs, pair[x] to pair[x+1] of them: the lower 15 bits of
 * two, then their upper bits; a missing one is 0. */
void sightline_along(uint8_t *dst, const uint8_t *src, int bytes, int w,
    const int32_t *first, const int32_t *start, const int32_t *weight,
    const int32_t *pair, const int16_t *split);

/* One row of n bytes, mixed of rows of the ring from row first on, which lies in
 * first % depth. */
void sightline_blend(uint8_t *dst, const uint8_t *ring, int depth, int first,
    const int32_t *weight, int taps, int n);
