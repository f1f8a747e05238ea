// Package quality tells pictures that lie: a camera that repeats one picture,
// looks into the dark or into a lamp, is out of focus, was pushed, or takes
// its pictures against a flickering light.
//
// It prefers silence to a false alarm, since a station may refuse its verdicts
// while a fault is told. So "frozen" is exact: rows across the whole picture in
// every frame, and all of its bytes twice a second, must be the same. What that
// can't see: a camera that freezes in the dark (told as dark), and one whose
// encoder goes on coding one picture anew with visible differences, as H.264 at
// a constant bit rate does. A noiseless picture that never changes, such as a
// drawn scene or a test pattern standing still, can't be told from a frozen
// camera, and is called frozen.
//
// Moved needs something fixed in view that has detail, and a reference picture
// of the empty station. It knows what is fixed by seeing it in its place for
// ten seconds; a camera that was pushed before that is told only after things
// have passed before it.
//
// A pixel's brightness is here its brightest channel, so that a station that is
// lit in one colour is neither dark nor without detail.
package quality

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Config of a Monitor. The zero value of each field means its default.
type Config struct {
	// Reference is the picture that Moved and Blurred compare with: of the
	// empty station, in focus and well lit. Without one Moved is never told,
	// and Blurred only against what the camera itself showed before.
	Reference *vision.Frame

	// In H.264 and H.265 a still scene often repeats to the bit from one key
	// frame to the next, noise or not. So equality must last longer there than
	// in a picture that changed from frame to frame until it stood, by its
	// noise or because something moved.
	FrozenAfter      time.Duration // all pixels the same, after frames that all differed; 1.5 s
	FrozenStillAfter time.Duration // all pixels the same, in a picture that had little life before; 5 s
	DarkAfter        time.Duration // 2 s
	OverexposedAfter time.Duration // 2 s
	BlurredAfter     time.Duration // 5 s
	MovedAfter       time.Duration // 5 s
	FlickerAfter     time.Duration // 5 s
	Leave            time.Duration // a fault but Frozen ends after so long without; 2 s

	DarkLevel   float64 // at least DarkShare of the pixels are darker; 20 of 255, with a Reference up to 48
	DarkShare   float64 // 0.98
	BrightShare float64 // of pixels at 250 or more; 0.5, with a Reference at least halfway from its share to 1
	Sharpness   float64 // share of the reference's that must be left; 0.6
	Shift       float64 // of the background, share of the longer side; 0.01
	Swing       float64 // of the brightness when it flickers, share of its mean; 0.03
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.FrozenAfter, 1500 * time.Millisecond}, {&c.FrozenStillAfter, 5 * time.Second},
		{&c.DarkAfter, 2 * time.Second}, {&c.OverexposedAfter, 2 * time.Second},
		{&c.BlurredAfter, 5 * time.Second}, {&c.MovedAfter, 5 * time.Second},
		{&c.FlickerAfter, 5 * time.Second}, {&c.Leave, 2 * time.Second},
	} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	for _, d := range []struct {
		v *float64
		d float64
	}{
		{&c.DarkLevel, 20}, {&c.DarkShare, 0.98}, {&c.BrightShare, 0.5},
		{&c.Sharpness, 0.6}, {&c.Shift, 0.01}, {&c.Swing, 0.03},
	} {
		if !(*d.v > 0) {
			*d.v = d.d
		}
	}
	return c
}

// tickEvery is how often the dearer measurements are made, by Captured.
const tickEvery = 250 * time.Millisecond

// minSide is the smallest side of a picture that is looked at, pixels.
const minSide = 48

// Monitor looks at the frames of one camera. Look is called from one
// goroutine, everything else from any.
type Monitor struct {
	cfg Config

	mu       sync.Mutex // protects what follows
	ref      *reference // nil: none
	refErr   error
	w, h     int // of the frames
	format   vision.PixelFormat
	last     time.Time // Captured of the frame before
	ticked   time.Time
	ticks    int
	every    time.Duration // between two frames, smoothed
	grid     grid
	frozen   frozen
	exposure exposure
	sharp    sharp
	moved    moved
	flicker  flicker
}

// New makes a monitor. A reference that is no picture is told by ReferenceErr.
func New(cfg Config) *Monitor {
	m := &Monitor{cfg: cfg.withDefaults()}
	ref := m.cfg.Reference
	m.cfg.Reference = nil   // the caller's; ours is a copy
	_ = m.SetReference(ref) // kept for ReferenceErr
	return m
}

// SetReference takes a copy of the picture to compare with from now on; nil
// takes the comparison away.
func (m *Monitor) SetReference(f *vision.Frame) error {
	var ref *reference
	var err error
	if f != nil {
		if ref, err = newReference(f); err != nil {
			err = fmt.Errorf("take the reference picture: %w", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ref, m.refErr = ref, err
	m.moved.begin(m.ref)
	m.sharp.forget()
	return err
}

// Reference is the picture that is compared with, nil if there is none. It
// must not be written to.
func (m *Monitor) Reference() *vision.Frame {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ref == nil {
		return nil
	}
	return m.ref.frame
}

// ReferenceErr says why the reference picture isn't compared with: it was no
// picture, or the camera's pictures have another size.
func (m *Monitor) ReferenceErr() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ref != nil && m.w != 0 && !m.comparable() {
		return fmt.Errorf("compare with the reference picture: it is %dx%d, the camera gives %dx%d: take a new one",
			m.ref.frame.Width, m.ref.frame.Height, m.w, m.h)
	}
	return m.refErr
}

func (m *Monitor) comparable() bool {
	return m.ref != nil && m.ref.frame.Width == m.w && m.ref.frame.Height == m.h
}

// Findings are the faults that hold, in the order of Faults.
func (m *Monitor) Findings() []Finding {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Finding
	for i, h := range []*hold{&m.frozen.hold, &m.exposure.dark, &m.exposure.over, &m.sharp.hold, &m.moved.hold, &m.flicker.hold} {
		if h.on {
			out = append(out, Finding{Faults[i], h.begun, h.value, h.limit, h.detail(h.value)})
		}
	}
	return out
}

// Look takes one frame, which it neither keeps nor changes. A frame that is no
// picture, or smaller than 48 pixels a side, is passed over.
func (m *Monitor) Look(f *vision.Frame) {
	if usable(f) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := f.Captured
	if f.Width != m.w || f.Height != m.h || f.Format != m.format {
		m.begin(f)
	}
	since := now.Sub(m.last)
	first := m.last.IsZero()
	if !first && (since < 0 || since > max(2*time.Second, 4*m.every)) {
		m.gap()
		first = true
		m.every += min(max(since-m.every, 0), 10*time.Second) / 4 // it may be slow by nature
	}
	m.last = now
	m.grid.take(f)
	if first {
		m.ticked = now
		m.grid.swap()
		return
	}
	m.every += (since - m.every) / 8
	m.frozen.look(m, f)
	m.flicker.look(m, f)
	if now.Sub(m.ticked) >= tickEvery {
		m.ticked = now
		m.tick(f)
	}
	m.grid.swap()
}

// tick makes the measurements that need no more than a few frames a second.
func (m *Monitor) tick(f *vision.Frame) {
	m.ticks++
	seen := m.exposure.look(m, f)
	if !seen { // neither detail nor place can be told in the dark
		m.sharp.hold.doubt()
		m.moved.hold.doubt()
		return
	}
	if m.ticks%2 == 0 {
		m.moved.look(m, f)
	}
	m.sharp.look(m, f)
}

// begin starts anew, for pictures of another size.
func (m *Monitor) begin(f *vision.Frame) {
	m.w, m.h, m.format = f.Width, f.Height, f.Format
	m.last, m.every, m.ticks = time.Time{}, 0, 0
	m.grid.begin(f)
	m.frozen.begin(f)
	m.exposure = exposure{}
	m.sharp.begin(f)
	m.moved.begin(m.ref)
	m.flicker.begin()
}

// gap ends whatever needs frames that follow each other: the camera was away.
// What was learnt and told stays.
func (m *Monitor) gap() {
	m.frozen.gap()
	m.flicker.gap()
	for _, h := range []*hold{&m.exposure.dark, &m.exposure.over, &m.sharp.hold, &m.moved.hold} {
		h.doubt()
	}
}

// usable says what is wrong with a picture, nil if nothing.
func usable(f *vision.Frame) error {
	switch {
	case f == nil || !f.Valid():
		return errors.New("it is no picture")
	case f.Width < minSide || f.Height < minSide:
		return fmt.Errorf("it is %dx%d: at least %d pixels a side are needed", f.Width, f.Height, minSide)
	}
	return nil
}
