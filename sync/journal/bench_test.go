package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/sync/wire"
)

const benchBody = 300 // bytes, about a result's size

// BenchmarkAppend appends with one writer and with many that each wait for
// their own record, beside the bare thing: one file, append, fdatasync.
func BenchmarkAppend(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		body := make([]byte, benchBody)
		b.SetBytes(benchBody)
		for b.Loop() {
			if _, err := f.Write(body); err != nil {
				b.Fatal(err)
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, writers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j, _ := running(b, b.TempDir())
			b.SetBytes(benchBody)
			b.ReportAllocs()
			b.ResetTimer()
			appendAll(b, j, writers, func() *Pending { return j.Append(make([]byte, benchBody)) })
			b.StopTimer()
			b.ReportMetric(float64(j.Stats().Appended)/float64(max(j.Stats().Commits, 1)), "records/commit")
		})
	}
}

// appendAll appends b.N records with so many writers, each of which waits for
// its own.
func appendAll(b *testing.B, j *Journal, writers int, add func() *Pending) {
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, writers)
	for range writers {
		go func() {
			for left.Add(-1) >= 0 {
				p := add()
				<-p.Done()
				if _, err := p.Result(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRetention appends results without a limit and at one, acknowledged
// and not: what dropping costs is the ratio of the three.
func BenchmarkRetention(b *testing.B) {
	body := resultBody(b, wire.Verdict_VERDICT_PASS, "part", benchBody-30)
	for _, tt := range []struct {
		name  string
		limit int64
		acked bool
	}{{"none", 0, false}, {"unacknowledged", 4 << 20, false}, {"acknowledged", 4 << 20, true}} {
		for _, writers := range []int{1, 64, 1000} {
			b.Run(fmt.Sprintf("limit=%s/writers=%d", tt.name, writers), func(b *testing.B) {
				j := stepped(b, b.TempDir(), tt.limit)
				for range 20000 { // so that the limit is reached
					j.Append(body)
				}
				stop := run(b, j)
				<-j.Changed(19999)
				b.SetBytes(int64(len(body)))
				b.ResetTimer()
				var n atomic.Int64
				appendAll(b, j, writers, func() *Pending {
					if tt.acked && n.Add(1)%64 == 0 { // as for a batch
						if err := j.Acknowledge(j.Epoch(), j.last()); err != nil {
							b.Error(err)
						}
					}
					return j.Append(body)
				})
				b.StopTimer()
				stop()
			})
		}
	}
}

// BenchmarkQuery reads the newest 100 of many records.
func BenchmarkQuery(b *testing.B) {
	j, _ := running(b, b.TempDir())
	var last *Pending
	for range 50000 {
		last = j.Append(make([]byte, benchBody))
	}
	<-last.Done()
	b.ReportAllocs()
	for b.Loop() {
		if rows, _, err := j.Query(0, 100, all); err != nil || len(rows) != 100 {
			b.Fatal(len(rows), err)
		}
	}
}
