package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestThreadsOfACommand: the flag comes before the configuration, and that before one.
func TestThreadsOfACommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "station.yaml")
	if err := os.WriteFile(file, []byte("stations: [{id: a, camera: {source: .}, model: drawn-parts}]\ninfer: {threads: 3, memory_mb: 900}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for o, want := range map[inferOptions]int{{}: 1, {threads: 2}: 2, {config: file}: 3, {config: file, threads: 2}: 2} {
		s, err := o.settings()
		if err != nil || s.Threads != want || (s.MemoryMB == 900) != (o.config != "") {
			t.Errorf("%+v: %+v %v, want %d threads", o, s, err, want)
		}
	}
}
