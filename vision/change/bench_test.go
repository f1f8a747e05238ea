package change_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/change"
)

// BenchmarkPass is the gate's price a frame: of a still picture, of a belt that
// moves and is known as empty, and of one on which there is always something.
func BenchmarkPass(b *testing.B) {
	for _, size := range [][2]int{{640, 360}, {1920, 1080}} {
		for _, c := range []struct {
			name   string
			format vision.PixelFormat
			belt   float64
			things int
		}{
			{"still", vision.BGR24, 0, 1}, {"empty", vision.BGR24, 6, 0}, {"busy", vision.BGR24, 6, 1}, {"still grey", vision.Gray8, 0, 1},
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], c.name), func(b *testing.B) {
				d := newDesk()
				d.w, d.h, d.format, d.belt, d.rough = size[0], size[1], c.format, c.belt, 1.6
				var frames []vision.Frame
				for n := range 12 {
					f := *d.draw(n)
					f.Pix = append([]byte(nil), f.Pix...)
					frames = append(frames, f)
				}
				g := change.New(change.Config{})
				n := 0
				next := func() {
					f := &frames[n%len(frames)]
					n++
					f.Seq = uint64(n)
					if g.Pass(f, time.Duration(n)*frame) {
						g.Seen(f.Seq, c.things)
					}
				}
				for range 3 * settled {
					next()
				}
				before, cpu := g.Stats(), processorTime()
				b.ReportAllocs()
				b.SetBytes(int64(len(frames[0].Pix)))
				for b.Loop() {
					next()
				}
				cpu = processorTime() - cpu
				after := g.Stats()
				b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
				all := after.Passed() + after.Skipped - before.Passed() - before.Skipped
				b.ReportMetric(100*float64(after.Skipped-before.Skipped)/float64(all), "%skipped")
			})
		}
	}
}

// processorTime is what this process has used; on a busy machine it tells more
// than the clock on the wall.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
