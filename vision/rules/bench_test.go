package rules

import (
	"context"
	"fmt"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// BenchmarkDecide judges parts with the standard rule, in Go, and beside it
// with a guest that answers a constant, which is what the host alone costs.
func BenchmarkDecide(b *testing.B) {
	e := newEngine(b, Config{CacheDir: cacheDir})
	guest := says(passes)
	guest.alloc = []byte{0x41, 0x80, 0xc0, 0x00} // i32.const 8192, behind the answer
	constant := newRule(b, e, guest)
	standard := load(b, e, "threshold:scratch>0.9,dent>0.9,defect>0.95")
	for _, evidence := range []int{0, 3, 100} {
		var list []vision.Evidence
		for i := range evidence {
			list = append(list, vision.Evidence{Label: fmt.Sprint("label ", i), Score: 0.5, Frames: i, Box: vision.Box{W: 5, H: 5}})
		}
		part := partWith(list...)
		for name, r := range map[string]*Rule{"constant": constant, "threshold": standard} {
			b.Run(fmt.Sprintf("%s/evidence=%d", name, evidence), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if d := r.Decide(b.Context(), part, 1280, 720); d.Verdict != vision.Pass {
						b.Fatal(d, r.Stats().LastError)
					}
				}
			})
		}
	}
}

// BenchmarkLoad compiles the standard rule, cold and from the cache, and
// makes its first instance.
func BenchmarkLoad(b *testing.B) {
	spec := Spec{Module: Threshold, Params: "defect>0.5"}
	for _, name := range []string{"cold", "cached"} {
		b.Run(name, func(b *testing.B) {
			cfg := Config{}
			if name == "cached" {
				cfg.CacheDir = cacheDir
				load(b, newEngine(b, cfg), spec.String())
			}
			for b.Loop() {
				e, err := NewEngine(b.Context(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Load(b.Context(), spec); err != nil {
					b.Fatal(err)
				}
				if err := e.Close(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkInstance makes an instance of the standard rule, as it is done
// after one was ended.
func BenchmarkInstance(b *testing.B) {
	r := load(b, newEngine(b, Config{CacheDir: cacheDir}), "threshold:defect>0.5")
	for b.Loop() {
		i, err := r.module.start(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := i.mod.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
