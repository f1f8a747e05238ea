package quality_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/scene"
)

// BenchmarkLook is the mean cost of a frame at 30 a second, the dearer
// measurements included. Ten frames take turns, so that none lies in a cache.
func BenchmarkLook(b *testing.B) {
	for _, size := range [][2]int{{640, 360}, {1920, 1080}} {
		f := drawn(b, scene.Config{Width: size[0], Height: size[1], Rate: 30, Seed: 3})
		var frames []*vision.Frame
		for n := range 10 {
			frames = append(frames, clone(f(n*3)))
		}
		var frozen []*vision.Frame
		for range frames {
			frozen = append(frozen, clone(frames[0]))
		}
		for name, c := range map[string]struct {
			frames []*vision.Frame
			ref    *vision.Frame
		}{
			"alive": {frames, nil}, "reference": {frames, frames[0]}, "frozen": {frozen, frames[0]},
			"moved": {frames, turned(frames[0])},
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], name), func(b *testing.B) {
				m := quality.New(quality.Config{Reference: c.ref})
				b.ReportAllocs()
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				n := 0
				before := threadTime(b)
				for b.Loop() {
					fr := c.frames[n%len(c.frames)]
					n++
					fr.Seq, fr.Captured = uint64(n), began.Add(time.Duration(n)*time.Second/30)
					m.Look(fr)
				}
				b.ReportMetric(float64(threadTime(b)-before)/float64(n), "cpu-ns/op")
			})
		}
	}
}

// threadTime is the processor time of this thread: others may be busy.
func threadTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(1, &u); err != nil { // RUSAGE_THREAD
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func turned(f *vision.Frame) *vision.Frame {
	out := clone(f)
	aim(30, 20, 4, 1)(out, f)
	return out
}
