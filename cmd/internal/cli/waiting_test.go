package cli

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitingWithoutATerminalIsALineNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := NewWaiting(&out)
		for n := range 61 {
			w.Tell(fmt.Sprintf("building, %d s", n))
			time.Sleep(time.Second)
		}
		w.Done()
		w.Tell("again")
		if want := "building, 0 s\nbuilding, 30 s\nbuilding, 60 s\nagain\n"; out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	})
}
