package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
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
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error, writers)
			b.ResetTimer()
			for range writers {
				go func() {
					for left.Add(-1) >= 0 {
						p := j.Append(make([]byte, benchBody))
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
			b.StopTimer()
			b.ReportMetric(float64(j.Stats().Appended)/float64(max(j.Stats().Commits, 1)), "records/commit")
		})
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
