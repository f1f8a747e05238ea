package picture

import "encoding/binary"

// The inverse transform is the accurate integer one of libjpeg ("islow"),
// after Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms
// with 11 multiplications", ICASSP 1989: two passes of fixed-point numbers,
// factors with 13 bits after the point, 2 of which are kept between the
// passes. Rounding at those two places only, any order of the sums between
// gives the same samples.
//
// Two columns (then two rows) go through each pass in one int64, as low and
// high half: x = low + high<<32. Sums and products by factors of such pairs
// are the pairs of the sums and products, as long as each half fits into 32
// bits, which it does for what an encoder writes. Larger ones, from broken
// files, spoil their block.
const (
	idctBits  = 13
	idctExtra = 2                                              // bits kept between the passes
	idctDown1 = idctBits - idctExtra                           // shift after the first pass
	idctDown2 = idctBits + idctExtra + 3                       // and after the second, with its factor of 8
	idctBoth  = 1 + 1<<32                                      // one in both halves
	idctHalf1 = idctBoth << (idctDown1 - 1)                    // rounds the first pass
	idctHalf2 = idctBoth * (1<<(idctDown2-1) + 128<<idctDown2) // the second, and makes samples from 0
)

// Factors: cosines and sums of cosines, times 2^13.
const (
	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

// jpegBlock is 8 rows of 8 dequantised coefficients, two columns in each.
type jpegBlock [32]int64

// zigzag is the place in natural order, row*8+column, of each coefficient.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// add puts a coefficient to its place; k is its position in zigzag order.
func (b *jpegBlock) add(k int, v int64) {
	at := zigzag[k&63]
	b[at>>1&31] += v << (at & 1 << 5)
}

// flat writes and clears a block that has but a mean.
func (b *jpegBlock) flat(dst []byte, stride int) {
	v := uint64(sample(int32(b[0]+4)>>3+128)) * 0x0101010101010101
	b[0] = 0
	for range 7 {
		binary.LittleEndian.PutUint64(dst, v)
		dst = dst[stride:]
	}
	binary.LittleEndian.PutUint64(dst, v)
}

// inverse transforms a block into 8 rows of dst and clears it.
func (b *jpegBlock) inverse(dst []byte, stride int) {
	var w [4][8]int64 // pairs of rows, all columns
	for p := range 4 {
		l, h := 2*p, 2*p+1
		if b[4+p]|b[8+p]|b[12+p]|b[16+p]|b[20+p]|b[24+p]|b[28+p] == 0 {
			lo, hi := halves(b[p])
			lo, hi = lo*(idctBoth<<idctExtra), hi*(idctBoth<<idctExtra)
			for k := range w {
				w[k][l], w[k][h] = lo, hi
			}
			continue
		}
		y0, y1, y2, y3, y4, y5, y6, y7 := idct8(b[p]<<idctBits+idctHalf1,
			b[4+p], b[8+p], b[12+p], b[16+p]<<idctBits, b[20+p], b[24+p], b[28+p])
		w[0][l], w[0][h] = repair(y0, y1)
		w[1][l], w[1][h] = repair(y2, y3)
		w[2][l], w[2][h] = repair(y4, y5)
		w[3][l], w[3][h] = repair(y6, y7)
	}
	*b = jpegBlock{}
	for k := range w {
		r := &w[k]
		y0, y1, y2, y3, y4, y5, y6, y7 := idct8(r[0]<<idctBits+idctHalf2,
			r[1], r[2], r[3], r[4]<<idctBits, r[5], r[6], r[7])
		one, two := dst[2*k*stride:][:8], dst[(2*k+1)*stride:][:8]
		one[0], two[0] = samples(y0)
		one[1], two[1] = samples(y1)
		one[2], two[2] = samples(y2)
		one[3], two[3] = samples(y3)
		one[4], two[4] = samples(y4)
		one[5], two[5] = samples(y5)
		one[6], two[6] = samples(y6)
		one[7], two[7] = samples(y7)
	}
}

// idct8 is the transform in one dimension of two pairs at once; x0 and x4 come
// shifted by idctBits, x0 with what rounds the results.
func idct8(x0, x1, x2, x3, x4, x5, x6, x7 int64) (y0, y1, y2, y3, y4, y5, y6, y7 int64) {
	turned := (x2 + x6) * fix0541
	even2, even3 := turned-x6*fix1847, turned+x2*fix0765
	sum, diff := x0+x4, x0-x4
	e0, e3 := sum+even3, sum-even3
	e1, e2 := diff+even2, diff-even2

	s73, s51 := x7+x3, x5+x1
	mid := (s73 + s51) * fix1175
	s73, s51 = mid-s73*fix1961, mid-s51*fix0390
	s71, s53 := (x7+x1)*-fix0899, (x5+x3)*-fix2562
	o7 := x7*fix0298 + s71 + s73
	o5 := x5*fix2053 + s53 + s51
	o3 := x3*fix3072 + s53 + s73
	o1 := x1*fix1501 + s71 + s51
	return e0 + o1, e1 + o3, e2 + o5, e3 + o7, e3 - o7, e2 - o5, e1 - o3, e0 - o1
}

// halves takes a pair apart.
func halves(x int64) (low, high int64) {
	return int64(int32(x)), (x + 1<<31) >> 32
}

// repair makes pairs of rows from two rows of a pair of columns, and drops the
// bits that the next pass doesn't want.
func repair(a, b int64) (low, high int64) {
	low = int64(int32(a)>>idctDown1) + int64(int32(b)>>idctDown1)<<32
	high = (a+1<<31)>>(32+idctDown1) + (b+1<<31)>>(32+idctDown1)<<32
	return low, high
}

// samples is the last step: of a pair of results, the one for the upper and
// the one for the lower row.
func samples(x int64) (upper, lower byte) {
	return sample(int32(x) >> idctDown2), sample(int32((x + 1<<31) >> (32 + idctDown2)))
}

// sample limits to what a byte holds.
func sample(v int32) byte {
	if uint32(v) > 255 {
		v = ^v >> 31
	}
	return byte(v)
}
