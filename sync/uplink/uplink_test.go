package uplink

import (
	"testing"
	"time"
)

func TestDrain(t *testing.T) {
	m := newMosquitto(t)
	f := newFleet(t, m.addr)
	j, _ := openJournal(t, t.TempDir())
	fill(t, j, 1000)
	u := start(t, quick(m.addr, j))
	u.drained(patient)
	f.has(j)
	fill(t, j, 1)
	u.drained(patient)
	f.has(j)
	s := u.Stats()
	if !s.Connected || s.Connects != 1 || s.Sent != 1001 || s.Resent != 0 || s.Batches != 9 || s.Watermark != 1001 || s.LastError != "" {
		t.Errorf("stats %+v", s)
	}
	if took := u.stop(); took > time.Second {
		t.Errorf("it took %s to stop", took)
	}
	t.Logf("%+v", s)
}
