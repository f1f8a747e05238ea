package coco

import "fmt"

// ParseRLE reads the compressed form of run lengths for a w×h picture: numbers
// of 5 bits a character, the lowest first, each character 48 and more; the bit
// 32 says that more follows, and the highest bit of the last is the sign. From
// the fourth on a number is the difference to the count before the last.
func ParseRLE(s string, w, h int) (RLE, error) {
	if err := checkSize(w, h); err != nil {
		return RLE{}, err
	}
	r, left := RLE{W: w, H: h}, int64(w)*int64(h)
	for at := 0; at < len(s); {
		v, n, err := number(s[at:])
		if err != nil {
			return RLE{}, fmt.Errorf("counts: character %d: %w", at+n+1, err)
		}
		if k := len(r.Counts); k > 2 {
			v += int64(r.Counts[k-2])
		}
		if v < 0 || v > left {
			return RLE{}, fmt.Errorf("counts: run %d is %d pixels, of which the picture of %d×%d has %d left", len(r.Counts)+1, v, w, h, left)
		}
		r.Counts = append(r.Counts, uint32(v))
		left -= v
		at += n
	}
	if left != 0 {
		return RLE{}, fmt.Errorf("counts: %d pixels of the picture of %d×%d have no run", left, w, h)
	}
	return r, nil
}

// number reads one number and how many characters it took. Seven characters are
// 35 bits, more than a picture can have.
func number(s string) (v int64, n int, err error) {
	for n < len(s) {
		c := int64(s[n]) - 48
		if c < 0 || c > 63 {
			return 0, n, fmt.Errorf("%q isn't of run lengths", s[n])
		}
		if n == 7 {
			return 0, n, fmt.Errorf("a number of more than 7 characters")
		}
		v |= c & 31 << (5 * n)
		n++
		if c&32 == 0 {
			if c&16 != 0 {
				v -= 1 << (5 * n)
			}
			return v, n, nil
		}
	}
	return 0, n, fmt.Errorf("the string ends within a number")
}

// String is the compressed form, as pycocotools' encode gives it.
func (r RLE) String() string {
	var out []byte
	for i, c := range r.Counts {
		v := int64(c)
		if i > 2 {
			v -= int64(r.Counts[i-2])
		}
		for {
			bits := v & 31
			v >>= 5
			// The last character's bit 16 is the sign of all that follow.
			if bits&16 == 0 && v == 0 || bits&16 != 0 && v == -1 {
				out = append(out, byte(bits+48))
				break
			}
			out = append(out, byte(bits|32)+48)
		}
	}
	return string(out)
}
