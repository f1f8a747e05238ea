package transfer

import "math/bits"

// set is which pieces are there, as many as the bytes have bits.
type set struct {
	b     []byte
	count int
}

func newSet(n int) *set { return &set{b: make([]byte, (n+7)/8)} }

func (s *set) has(i int) bool { return s.b[i/8]&(1<<(i%8)) != 0 }

func (s *set) add(i int) {
	if !s.has(i) {
		s.b[i/8] |= 1 << (i % 8)
		s.count++
	}
}

func (s *set) remove(i int) {
	if s.has(i) {
		s.b[i/8] &^= 1 << (i % 8)
		s.count--
	}
}

// missing is the first from i on, below n, that isn't there; -1 if all are.
func (s *set) missing(i, n int) int {
	for i < n {
		rest := ^s.b[i/8] >> (i % 8)
		if rest != 0 {
			if i += bits.TrailingZeros8(rest); i < n {
				return i
			}
			return -1
		}
		i = (i/8 + 1) * 8
	}
	return -1
}
