package e2e

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// The belts' pictures: small, for two cores, and cut out of the middle of the
// scene, so that nothing of a part that is hidden shows at the sides.
const (
	beltWidth, beltHeight = 384, 216
	beltMargin            = 40
	beltRate              = 15.0
)

var beltWindow = vision.Box{X: beltMargin, W: beltWidth, H: beltHeight}

// belt is drawn parts in front of a camera. It remembers when it showed what. It
// runs as far from picture to picture as it would in their time, also when they
// come late because the machine is busy: else it would jump, and no belt does.
type belt struct {
	scene *scene.Scene
	every int // only each part of so many lies on it, the others are hidden
	whole *vision.Frame

	mu    sync.Mutex      // protects all below
	drawn []time.Time     // by the number of the picture
	shown map[int]*beheld // by the part's index
}

// beheld are the first and the last picture that show something of a part.
type beheld struct {
	scene.Part
	first, last int
}

// newBelt is a belt on which each part of every lies.
func newBelt(t *testing.T, seed uint64, every int) *belt {
	t.Helper()
	s, err := scene.New(scene.Config{Seed: seed, Width: beltWidth + 2*beltMargin, Height: beltHeight, Rate: beltRate, Speed: 1.2, DefectRate: 0.3})
	if err != nil {
		t.Fatal(err)
	}
	return &belt{scene: s, every: every, whole: s.NewFrame(), shown: map[int]*beheld{}}
}

// lies tells whether a part is on the belt.
func (b *belt) lies(p scene.Part) bool { return (p.Index+1)%b.every == 0 }

// Frame draws the next picture.
func (b *belt) Frame(_ int, dst *vision.Frame) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.drawn)
	if err := b.scene.Frame(n, b.whole); err != nil {
		return err
	}
	for _, p := range b.scene.Truth(n) {
		if !b.lies(p.Part) {
			hide(b.whole, p.Box)
			continue
		}
		if p.Box.Intersect(beltWindow).Area() > 0 {
			if b.shown[p.Part.Index] == nil {
				b.shown[p.Part.Index] = &beheld{Part: p.Part, first: n}
			}
			b.shown[p.Part.Index].last = n
		}
	}
	for y := range dst.Height {
		copy(dst.Pix[y*dst.Stride:][:dst.Width*3], b.whole.Pix[y*b.whole.Stride+beltMargin*3:])
	}
	b.drawn = append(b.drawn, time.Now())
	return nil
}

// hide lays what runs above it, the empty belt, over a part and its shadow.
func hide(f *vision.Frame, b vision.Box) {
	const top, rows = 38, 14 // of the empty belt, pixels
	x0, x1 := max(int(b.X)-8, 0), min(int(b.X+b.W)+16, f.Width)
	y0, y1 := max(int(b.Y)-8, 0), min(int(b.Y+b.H)+18, f.Height)
	for y := y0; y < y1 && x0 < x1; y++ {
		from := top + (y-y0)%(2*rows)
		if from >= top+rows {
			from = 2*(top+rows) - 1 - from
		}
		copy(f.Pix[y*f.Stride+x0*3:y*f.Stride+x1*3], f.Pix[from*f.Stride+x0*3:])
	}
}

// serve films it with an MJPEG camera behind a gate.
func (b *belt) serve(t *testing.T) *ipcam.Gate { return mjpegCamera(t, b) }

// now is the number of the newest picture.
func (b *belt) now() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.drawn) - 1
}

// passed counts the parts that have come since picture from and are gone.
func (b *belt) passed(from int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.betweenLocked(from, len(b.drawn)-1))
}

// betweenLocked are the parts of which picture from shows nothing yet, and picture
// to nothing any more.
func (b *belt) betweenLocked(from, to int) []*beheld {
	var all []*beheld
	for _, p := range b.shown {
		if p.first > from && p.last < to {
			all = append(all, p)
		}
	}
	return all
}

// verdict is a result as the journal has it.
type verdict struct {
	station, camera string
	verdict         vision.Verdict
	reason          string
	box             vision.Box
	best            time.Time
}

// verdicts are all that the cell has recorded, in their order. It must not run.
func (c *cell) verdicts() []verdict {
	c.t.Helper()
	j, opened, err := journal.Open(c.data)
	if err != nil {
		c.t.Fatal(err)
	}
	defer j.Close()
	if opened.Quarantined != "" {
		c.t.Fatalf("the journal was damaged: %s", opened.Reason)
	}
	rows, _, err := j.Query(0, math.MaxInt32, func(uint64, []byte) bool { return true })
	if err != nil {
		c.t.Fatal(err)
	}
	var all []verdict
	for _, row := range slices.Backward(rows) {
		rec, err := wire.Decode(row.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		if r := rec.GetResult(); r != nil {
			v, reason := r.Answered(nil)
			all = append(all, verdict{r.GetStation(), r.GetCamera(), v, reason, r.GetBox().Vision(), wire.Time(r.GetBestCaptured())})
		}
	}
	return all
}

// partAt is the part that a verdict is about, false if none was there.
func (b *belt) partAt(v verdict) (part scene.Part, ok bool) {
	at, _ := slices.BinarySearchFunc(b.drawn, v.best, time.Time.Compare)
	x, y := v.box.Center()
	near := math.Inf(1)
	for _, t := range b.scene.Truth(max(at-1, 0)) { // the last one drawn before the view was taken
		seen := t.Box.Intersect(beltWindow)
		if !b.lies(t.Part) || seen.Area() == 0 {
			continue
		}
		cx, cy := seen.Center()
		if d := math.Hypot(float64(cx-beltMargin-x), float64(cy-y)) / float64(t.Box.W); d < near {
			near, part = d, t.Part
		}
	}
	return part, near < 0.5
}

// score is how a station's verdicts compare with the truth.
type score struct{ Parts, Missed, Double, Phantoms, Escapes, Rejected, None int }

// compare counts the parts that came after picture from and were gone before
// picture to, as the station saw them through the camera. It also gives the
// verdicts by part.
func (b *belt) compare(t *testing.T, all []verdict, station, camera string, from, to int) (s score, about map[int][]verdict) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	about = map[int][]verdict{}
	for _, v := range all {
		if v.station != station || v.camera != camera {
			continue
		}
		if part, ok := b.partAt(v); ok {
			about[part.Index] = append(about[part.Index], v)
		} else {
			s.Phantoms++
			t.Logf("%s/%s: there is no part where %+v was seen", station, camera, v)
		}
	}
	for _, part := range b.betweenLocked(from, to) {
		told := about[part.Index]
		s.Parts++
		if len(told) != 1 {
			t.Logf("%s/%s: part %d, in pictures %d to %d, has %d verdicts: %+v", station, camera, part.Index, part.first, part.last, len(told), told)
		}
		switch {
		case len(told) == 0:
			s.Missed++
		case len(told) > 1:
			s.Double++
		}
		for _, v := range told {
			s.judge(part.Part, v)
		}
	}
	return s, about
}

func (s *score) judge(part scene.Part, v verdict) {
	switch {
	case v.verdict == vision.None:
		s.None++
	case part.Bad() && v.verdict == vision.Pass:
		s.Escapes++
	case !part.Bad() && !part.BelowFloor() && v.verdict == vision.Fail:
		s.Rejected++
	}
}

// flawless wants each part to have its one verdict, and no bad one to pass. On a
// busy machine, which stops the camera for half a second as no camera does, a part
// may look like two.
func (s score) flawless(t *testing.T, who string, busy bool) {
	t.Helper()
	t.Logf("%s: %+v, busy: %v", who, s, busy)
	if s.Parts == 0 || s.Missed+s.Phantoms != 0 || !busy && s.Double+s.Escapes != 0 {
		t.Errorf("%s: %+v", who, s)
	}
}

// busy tells whether many of a camera's pictures never came to a station, since
// the machine does other things too.
func (c *cell) busy(station, camera string) bool {
	lost, all := c.camera(camera).Dropped.Late, c.camera(camera).Captured
	for _, v := range c.views(station) {
		if v.Camera == camera {
			lost += v.Overwritten
		}
	}
	return lost*33 > all
}
