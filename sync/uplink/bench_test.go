package uplink

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkDrain is a backlog of 100,000 records through Mosquitto to the model
// fleet, which decodes every batch in this process. One iteration drains all.
func BenchmarkDrain(b *testing.B) {
	const records = 100_000
	m := newMosquitto(b)
	f := newFleet(b, m.addr)
	j, _ := openJournal(b, b.TempDir())
	fill(b, j, records)
	for _, size := range []int{10, 128, 512} {
		b.Run(map[int]string{10: "10 a batch", 128: "128 a batch", 512: "512 a batch"}[size], func(b *testing.B) {
			var bytes uint64
			began := cpu(b)
			for b.Loop() {
				f.setBack(j.Epoch(), 0)
				cfg := quick(m.addr, j)
				cfg.MaxBatch = size
				u := start(b, cfg)
				u.drained(time.Minute)
				bytes = u.Stats().Bytes
				u.stop()
			}
			n := float64(records) * float64(b.N)
			b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(cpu(b)-began)/n, "cpu-ns/record")
			b.ReportMetric(float64(bytes)/records, "bytes/record")
		})
	}
}

// BenchmarkSend is the device's share alone: reading, encoding and the window,
// without a network.
func BenchmarkSend(b *testing.B) {
	const records = 20_000
	a := newAlone(b, records)
	began := cpu(b)
	b.ReportAllocs()
	for b.Loop() {
		a.asked = true
		a.ack(0, 7)
		for a.u.window.watermark < records {
			a.step(time.Second)
			a.ack(a.u.window.end(), 0)
		}
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(records*b.N), "cpu-ns/record")
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
