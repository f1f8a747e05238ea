package infer

import "slices"

// ascending gives keys from the smallest on, one after the other. Most decoders
// end long before the last one, so keys are parted as quicksort does it, but only
// where the next one lies.
type ascending struct {
	keys   []uint64
	at     int    // of the next one
	sorted int    // keys[at:sorted] are in order
	ends   []int  // keys[:e] are less than keys[e:], the largest e first
	dice   uint32 // chooses what keys are parted by, so that no order of them is slow
}

// fewKeys are sorted as they are.
const fewKeys = 48

// start takes the keys, which it puts into another order; they must differ.
func (a *ascending) start(keys []uint64) {
	*a = ascending{keys: keys, ends: append(a.ends[:0], len(keys)), dice: a.dice | 1}
}

// next is the next key; it must not be called more often than there are keys.
func (a *ascending) next() uint64 {
	for a.at == a.sorted {
		end := a.ends[len(a.ends)-1]
		if end-a.at <= fewKeys {
			slices.Sort(a.keys[a.at:end])
			a.sorted, a.ends = end, a.ends[:len(a.ends)-1]
			continue
		}
		a.ends = append(a.ends, a.at+a.part(a.keys[a.at:end]))
	}
	a.at++
	return a.keys[a.at-1]
}

// part puts the smaller keys first and says how many they are: at least one, and
// not all.
func (a *ascending) part(keys []uint64) int {
	a.dice ^= a.dice << 13
	a.dice ^= a.dice >> 17
	a.dice ^= a.dice << 5
	n := len(keys)
	p := int(a.dice % uint32(n))
	pivot := max(min(keys[p], keys[n/2]), min(max(keys[p], keys[n/2]), keys[n-1])) // the middle one
	i, j := 0, n-1
	for {
		for keys[i] < pivot {
			i++
		}
		for keys[j] > pivot {
			j--
		}
		if i >= j {
			return max(i, 1)
		}
		keys[i], keys[j] = keys[j], keys[i]
		i, j = i+1, j-1
	}
}
