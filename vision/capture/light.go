package capture

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxExposure is what may be asked for; longer is a slip of the unit.
const maxExposure = time.Minute

// SetExposure makes a V4L2 or industrial camera expose for so long from now on, also
// after it was reached anew; 0 goes back to what is configured. It doesn't wait for the
// camera. What the camera doesn't take is told as trouble (Stats.LastError), and it goes
// on as it was set. After an error of a worker that was just lost, the exposure counts
// from when the camera is reached anew.
//
// Frame.Exposure tells pictures of before from those of after. It is d from the first
// picture on that was exposed anew as a whole, and 0 while that isn't sure: for the
// first two pictures that a freely running industrial camera takes after it has confirmed
// the exposure, and the first three of V4L2, whose drivers don't say when it counts. A
// camera with a trigger has it for the next picture: what Fire asks for after
// SetExposure is exposed so. Only a picture that was triggered before, is still on its way
// and has no time stamp of the camera's own (Timing Arrived) may be taken for a new one.
func (c *Camera) SetExposure(d time.Duration) error {
	shown := Redact(c.cfg.Source)
	if k := c.src.kind; !slices.Contains([]kind{device, genICam}, k) {
		return fmt.Errorf("source %s: only V4L2 and industrial cameras have an exposure that can be set", shown)
	}
	if d < 0 || d > maxExposure {
		return fmt.Errorf("source %s: an exposure must be at most %v, got %v", shown, maxExposure, d)
	}
	if cmp.Or(d, c.cfg.Exposure) == 0 {
		return fmt.Errorf("source %s: no exposure is configured to go back to: set one", shown)
	}
	c.light.Lock()
	defer c.light.Unlock()
	c.mu.Lock()
	c.exposure = cmp.Or(d, c.cfg.Exposure)
	m, running := message{Kind: askLight, Exposure: c.exposure}, c.reading
	c.mu.Unlock()
	if !running {
		return nil // relight asks for it
	}
	return c.ask(m)
}

// relight takes a source as open, but first asks for the exposure that was set, so that
// a trigger comes after it. It isn't in the order: a camera that refuses it would never
// be reached again.
func (c *Camera) relight(s *session, o opened) error {
	c.light.Lock()
	defer c.light.Unlock()
	c.mu.Lock()
	d := c.exposure
	c.mu.Unlock()
	if d != 0 {
		if err := s.proc.Conn.Send(message{Kind: askLight, Exposure: d}); err != nil {
			return err
		}
	}
	c.open(o)
	return nil
}

// lit tells for which pictures a camera surely had which exposure.
type lit struct {
	doubt int // pictures taken after the camera has confirmed, which may be exposed as before

	mu   sync.Mutex // protects what follows
	now  time.Duration
	next time.Duration // confirmed, not sure yet
	at   int64         // when that was, monotonic ns
	left int           // pictures that are in doubt
}

// change sets another exposure, by set; until then nothing is sure, nor if that fails.
func (l *lit) change(d time.Duration, set func() error) error {
	l.mu.Lock()
	l.now, l.next = 0, 0
	l.mu.Unlock()
	if err := set(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.at, l.left = d, monotonic(), l.doubt
	return nil
}

// of is the exposure of the next picture, taken at mono; 0 if that isn't sure.
func (l *lit) of(mono int64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.next == 0 || mono <= l.at:
	case l.left > 0:
		l.left--
	default:
		l.now, l.next = l.next, 0
	}
	return l.now
}

// Exposure is what the camera is asked for now, and what SetExposure(0) goes back to; 0
// is as the camera is set.
func (c *Camera) Exposure() (now, configured time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cmp.Or(c.exposure, c.cfg.Exposure), c.cfg.Exposure
}
