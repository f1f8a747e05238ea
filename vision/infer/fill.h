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
