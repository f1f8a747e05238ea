package main

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkBundle is one bundle to a device, and the plain clients' way.
func BenchmarkBundle(b *testing.B) {
	r, err := openRig(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	c := &carry{live: &live{rig: r}, bytes: 50_000_000}
	defer func() {
		if err := r.close(); err != nil {
			b.Error(err)
		}
	}()
	if err := c.open(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := c.slow.end(); err != nil {
			b.Error(err)
		}
	}()
	for name, turn := range map[string]Turn{"ours": c.pull, "bare": c.bare} {
		b.Run(name, func(b *testing.B) {
			began := processor(b)
			b.ReportAllocs()
			b.SetBytes(c.want.Length)
			for b.Loop() {
				if _, err := turn(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((processor(b)-began).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// processor is the time that this process has used.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
