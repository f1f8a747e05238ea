package plc

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"
)

// A door's own time, from the trigger's last byte to the result's, with a station
// that answers at once: what it adds to inspection and commit.

func BenchmarkASCII(b *testing.B) {
	_, at := openASCII(b, ASCIIConfig{}, &station{})
	c := dial(b, at, "")
	if err := c.SetDeadline(time.Time{}); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		start := time.Now()
		c.send("T %d\n", n)
		c.expect(fmt.Sprintf("R %d PASS ok", n))
		took = append(took, time.Since(start))
	}
	report(b, took)
}

// With the requests that a controller needs: the trigger, and as many looks as it takes.
func BenchmarkModbus(b *testing.B) {
	_, at := openModbus(b, ModbusConfig{}, &station{})
	c := &plc{talker: dial(b, at, "")}
	if err := c.SetDeadline(time.Time{}); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		c.coil(0, true)
		for {
			in := c.ask(readInput, 0, 0, 0, inputCount)
			if binary.BigEndian.Uint16(in[2:])&bitValid != 0 {
				break
			}
		}
		took = append(took, time.Since(start))
		c.coil(0, false)
		c.coil(1, true)
		c.coil(1, false)
	}
	report(b, took)
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for _, q := range []struct {
		name string
		of   float64
	}{{"p50-µs", 0.5}, {"p99-µs", 0.99}, {"p99.9-µs", 0.999}, {"max-µs", 1}} {
		n := min(int(q.of*float64(len(took))), len(took)-1)
		b.ReportMetric(float64(took[n].Nanoseconds())/1e3, q.name)
	}
}
