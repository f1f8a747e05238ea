package main

import (
	"testing"
	"time"
)

// TestSwapRows: a picture that is lost misses a goal of its own; one that gave way to a
// newer one doesn't.
func TestSwapRows(t *testing.T) {
	steady := stretch{told: told{captured: 10_000, inferred: 9_990, age: 20}, took: time.Minute, age: 20, memory: 1e8}
	for name, c := range map[string]struct {
		busy told
		want string // of swap/lost
	}{
		"nothing": {told{captured: 10_000, inferred: 9_990}, "kept"},
		"late":    {told{captured: 10_000, inferred: 9_950}, "kept"},
		"one":     {told{captured: 10_000, inferred: 9_989, lost: 1}, "MISSED"},
	} {
		found := ""
		for _, row := range swapRows(steady, stretch{told: c.busy, took: time.Minute, age: 25, memory: 1e8}) {
			if err := checkRow(hotSwap(), row); err != nil || row.Noise != 0 {
				t.Errorf("%s: %+v, %v", name, row, err)
			}
			switch word := judge(row); {
			case row.ID == "swap/lost":
				found = word
			case word != "kept":
				t.Errorf("%s: %s is %s", name, row.ID, word)
			}
		}
		if found != c.want {
			t.Errorf("%s: swap/lost is %q, want %q", name, found, c.want)
		}
	}
}
