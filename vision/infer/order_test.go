package infer

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestKeysComeInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a ascending
	for _, n := range []int{0, 1, 2, fewKeys, fewKeys + 1, 1000, 100_000} {
		for name, order := range map[string]func(i int) uint64{
			"random": func(i int) uint64 { return r.Uint64()>>20<<20 | uint64(i) }, "rising": func(i int) uint64 { return uint64(i) },
			"falling": func(i int) uint64 { return uint64(n - i) }, "organ": func(i int) uint64 { return uint64(min(2*i, 2*(n-i)-1)) },
		} {
			keys := make([]uint64, n)
			for i := range keys {
				keys[i] = order(i)
			}
			want := slices.Sorted(slices.Values(keys))
			a.start(keys)
			for i := range want[:min(n, 40_000)] {
				if got := a.next(); got != want[i] {
					t.Fatalf("%d keys, %s: key %d is %d, want %d", n, name, i, got, want[i])
				}
			}
		}
	}
}

func BenchmarkFirstKeys(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	keys, room := make([]uint64, 8400), make([]uint64, 8400)
	for i := range keys {
		keys[i] = r.Uint64()
	}
	var a ascending
	for b.Loop() {
		copy(room, keys)
		a.start(room)
		for range 350 {
			a.next()
		}
	}
}
