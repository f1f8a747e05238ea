package agent

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/vision/infer"
)

// bystander is a process that nobody waits for, as far as its signals go.
type bystander struct {
	mu    sync.Mutex // protects the fields below
	still bool
	stops int
}

func (b *bystander) Signal(s syscall.Signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.still = s == syscall.SIGSTOP
	if b.still {
		b.stops++
	}
}

func (b *bystander) now() (still bool, stops int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.still, b.stops
}

// TestBystandersStandStillForFrames of a camera and for triggers, and go on when their
// station has ended in the middle of one.
func TestBystandersStandStillForFrames(t *testing.T) {
	for name, station := range map[string]func(t *testing.T, l Loadout) StationConfig{
		"camera":  func(_ *testing.T, l Loadout) StationConfig { return with("belt", l) },
		"trigger": func(t *testing.T, l Loadout) StationConfig { return triggered(t, l) },
	} {
		var waiting prompt.Bystanders
		p := &bystander{}
		waiting.Add(p)
		t.Run(name, func(t *testing.T) {
			l := shipped(t, "first", 0.1)
			cfg := station(t, l)
			r := plantWith(t, []*infer.Worker{l.Model}, func(a *Agent) { a.cfg.Bystanders = &waiting }, cfg)
			if cfg.Trigger != nil {
				r.ready()
			}
			r.eventually("it stood still", func() bool {
				if cfg.Trigger != nil {
					r.trigger(Trigger{})
				}
				still, stops := p.now()
				return stops > 5 && (still || cfg.Trigger != nil)
			})
		})
		if still, stops := p.now(); still {
			t.Errorf("%s: it stands still for good, after %d stops", name, stops)
		}
		waiting.Hold() // counts from nobody again
		still, end := false, time.Now().Add(time.Second)
		for ; !still && time.Now().Before(end); <-time.After(time.Millisecond) {
			still, _ = p.now()
		}
		if !still {
			t.Errorf("%s: it doesn't stand still any more", name)
		}
		waiting.Release()
	}
}
