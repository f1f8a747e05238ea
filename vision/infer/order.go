package infer

import "slices"

// buckets gives keys in ascending order, one after the other. Most decoders end
// long before the last one, so they are only parted by the first bits of their
// scores, and a part is sorted when its turn comes.
type buckets struct {
	keys   []uint64
	ends   [bucketCount + 1]int32
	bucket int // that keys[at] lies in
	at     int
}

// Keys are parted by their score's bits but the last so many. A score is at
// most 1.
const (
	bucketShift = placeBits + 18
	bucketCount = 0x3f800000>>18 + 1
)

// fewKeys are sorted as they are.
const fewKeys = 512

// sort takes the keys of candidates.
func (b *buckets) sort(keys []uint64) {
	b.at, b.bucket = 0, 0
	b.keys = append(b.keys[:0], keys...)
	if len(keys) <= fewKeys {
		slices.Sort(b.keys)
		b.bucket, b.ends[bucketCount] = bucketCount, int32(len(keys))
		return
	}
	clear(b.ends[:])
	for _, k := range keys {
		b.ends[k>>bucketShift]++
	}
	sum := int32(0)
	for i, n := range b.ends {
		b.ends[i], sum = sum, sum+n
	}
	for _, k := range keys {
		i := k >> bucketShift
		b.keys[b.ends[i]] = k
		b.ends[i]++
	}
	slices.Sort(b.keys[:b.ends[0]])
}

// next is the next key; it must not be called more often than there are keys.
func (b *buckets) next() uint64 {
	for b.at == int(b.ends[b.bucket]) {
		b.bucket++
		slices.Sort(b.keys[b.at:b.ends[b.bucket]])
	}
	b.at++
	return b.keys[b.at-1]
}
