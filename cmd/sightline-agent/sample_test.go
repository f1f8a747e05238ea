package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAllPicturesComeRound, whatever their number, in as few starts as can be.
func TestAllPicturesComeRound(t *testing.T) {
	for n := 1; n < 20; n++ {
		seen := map[int]bool{}
		for boot := range (n + samplePictures - 1) / samplePictures {
			for _, i := range due(n, boot) {
				if i < 0 || i >= n {
					t.Fatalf("%d pictures, start %d: picture %d", n, boot, i)
				}
				seen[i] = true
			}
		}
		if len(seen) != n {
			t.Errorf("of %d pictures %d ran", n, len(seen))
		}
	}
}

func TestStartsAreCounted(t *testing.T) {
	dir := t.TempDir()
	for want := range 3 {
		if n, err := countStart(dir); n != want || err != nil {
			t.Errorf("start %d is counted as %d, %v", want, n, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, startsFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := countStart(dir); n != 0 || err != nil {
		t.Errorf("after nonsense: %d, %v", n, err)
	}
	if n, err := countStart(filepath.Join(dir, "none")); n != 0 || err == nil {
		t.Errorf("without a folder: %d, %v", n, err)
	}
}
