package rollout

import (
	"fmt"
	"strings"

	"github.com/sightline-edge/sightline/fleet/store"
)

// tally counts the devices of one wave, or of several.
type tally struct {
	counted    int // all that the wave is about
	proven     int
	unmeasured int // of those, devices where the golden pictures are no proof
	failed     int // not forgiven
	forgiven   int
	silent     int
	operator   int // wait for an operator
	window     int
	away       int // not connected, and not yet silent
	idle       int // on probation, with too few parts to judge by
	working    int // the others
}

func (t *tally) add(d *device) {
	if !counted(d.State) {
		return
	}
	t.counted++
	switch {
	case d.State == Proven:
		t.proven++
		if d.unmeasured() {
			t.unmeasured++
		}
	case d.Forgiven:
		t.forgiven++
	case failed(d.State):
		t.failed++
	case d.State == Silent:
		t.silent++
	case d.presence != store.Online:
		t.away++
	case d.State == WaitsOperator:
		t.operator++
	case d.State == WaitsWindow:
		t.window++
	case idle(d):
		t.idle++
	default:
		t.working++
	}
}

// needed is how many must have proved for the wave to be done.
func (t *tally) needed(success int) int {
	able := t.counted - t.failed - t.forgiven - t.silent
	return (able*success + 99) / 100
}

// verdict is what to do with a rollout.
type verdict int

const (
	stay verdict = iota + 1
	advance
	halt
)

// decide says what the open wave's devices and those of all waves so far mean.
// why says what is waited for, or what went wrong.
func decide(c Conditions, wave, sofar tally) (v verdict, why string) {
	if most := c.MaxFailures.of(sofar.counted); sofar.failed > most {
		return halt, fmt.Sprintf("%s failed, at most %d may", devices(sofar.failed), most)
	}
	if most := c.MaxSilent.of(sofar.counted); sofar.silent > most {
		return halt, fmt.Sprintf("%s silent, at most %d may be", devicesAre(sofar.silent), most)
	}
	if need := wave.needed(c.Success); wave.proven >= need {
		return advance, ""
	}
	return stay, "waits for " + strings.Join(wave.waits(), ", ")
}

// waits are what the wave waits for.
func (t *tally) waits() (all []string) {
	for _, w := range []struct {
		n    int
		text string
	}{
		{t.operator, "an operator's OK on %s"}, {t.window, "the window of %s"}, {t.idle, "parts on %s"},
		{t.working, "%s at work"}, {t.away, "%s that can't be reached"},
	} {
		if w.n > 0 {
			all = append(all, fmt.Sprintf(w.text, devices(w.n)))
		}
	}
	return all
}

func devices(n int) string {
	if n == 1 {
		return "1 device"
	}
	return fmt.Sprintf("%d devices", n)
}

func devicesAre(n int) string {
	if n == 1 {
		return "1 device is"
	}
	return fmt.Sprintf("%d devices are", n)
}
