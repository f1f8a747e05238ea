package scene

import "testing"

// BenchmarkFrame draws in order at the demo's size; a part comes in every
// thirty frames or so and is part of the cost.
func BenchmarkFrame(b *testing.B) {
	s, err := New(Config{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	f := s.NewFrame()
	b.SetBytes(int64(len(f.Pix)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := s.Frame(n, f); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
