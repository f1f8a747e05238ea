package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// exhibit is a picture of a part that the large model can be shown.
type exhibit struct {
	frame    vision.Frame // as it lies in the slot
	pool     *shm.Pool
	slot     int
	x, y     int        // where it begins in the camera's picture, pixels
	box      vision.Box // of the part, in the camera's picture
	view     int        // of several cameras
	whole    bool       // the picture is the part, whatever it shows
	seq      uint64     // of the picture
	captured time.Time
	run      time.Duration // that the first model took for it
	score    *float32      // that it gave the picture, of families that do; else nil
	album    *album        // that has the slot; nil for a frame of the camera's own
}

// release gives the slot back.
func (e *exhibit) release() {
	if e != nil && e.album != nil {
		e.album.give(e.slot)
	}
}

// keptExhibits is how many open parts of one camera have a picture for the large model.
// Memory is only taken by those that are in use at once.
const keptExhibits = 16

// waitingExhibits is how many there are where pictures can wait, so that none waits for
// long behind others once its deadline counts.
const waitingExhibits = 2

// album is memory for the best views of the parts that one camera sees. It goes once it
// is closed and the last of them is back.
type album struct {
	pool   *shm.Pool
	worker *infer.Worker // that is shown them; nil: none of this machine's

	back chan struct{} // holds a token once a slot has come back

	mu     sync.Mutex // protects the rest
	free   []int
	closed bool
}

func newAlbum(w *infer.Worker, slots, bytes int) (*album, error) {
	pool, err := shm.NewPool(0, slots, bytes)
	if err != nil {
		return nil, fmt.Errorf("keep pictures for the large model: %w", err)
	}
	a := &album{pool: pool, worker: w, back: make(chan struct{}, 1)}
	for n := range slots {
		a.free = append(a.free, n)
	}
	return a, nil
}

// take gives a slot, false where all are in use.
func (a *album) take() (int, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.free) == 0 {
		return 0, false
	}
	slot := a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	return slot, true
}

func (a *album) give(slot int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, slot)
	select {
	case a.back <- struct{}{}:
	default: // a token is there already
	}
	a.endLocked()
}

// await is take that waits for a slot: those that are out come back by themselves.
func (a *album) await(ctx context.Context) (int, bool) {
	for {
		if slot, ok := a.take(); ok {
			return slot, true
		}
		select {
		case <-a.back:
		case <-ctx.Done():
			return 0, false
		}
	}
}

// close lets the memory go with the last exhibit.
func (a *album) close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.endLocked()
}

func (a *album) endLocked() {
	if !a.closed || len(a.free) < a.pool.Slots {
		return
	}
	if a.worker != nil {
		a.worker.Forget(a.pool)
	}
	a.pool.Release()
}

// fill copies a cut of the frame into the slot of an exhibit.
func (e *exhibit) fill(f *vision.Frame, cut vision.Frame, x, y int) {
	ch := f.Format.Channels()
	row := cut.Width * ch
	pix := e.pool.Slot(e.slot)
	for n := range cut.Height {
		copy(pix[n*row:(n+1)*row], cut.Pix[n*cut.Stride:])
	}
	e.frame = vision.Frame{Pix: pix, Width: cut.Width, Height: cut.Height, Stride: row, Format: f.Format, Seq: f.Seq, Captured: f.Captured, Name: f.Name}
	e.x, e.y, e.seq, e.captured = x, y, f.Seq, f.Captured
}

// shows is what of a frame the large model sees of the part in that box, and where that
// begins.
func (l *lane) shows(f *vision.Frame, box vision.Box) (cut vision.Frame, x, y int) {
	area := l.ROI
	if l.Cascade.Crop {
		area = around(f, box)
	}
	if area == ([4]int{}) {
		return *f, 0, 0
	}
	return f.Cut(area[0], area[1], area[2], area[3]), max(area[0], 0), max(area[1], 0)
}

// keepExhibits copies the best view of each open part for the large model; of one that
// ends with its only frame, that frame.
func (s *Station) keepExhibits(r *run, v *view, f *vision.Frame, open []track.View, done []vision.Part) {
	l := r.lane
	for _, o := range open {
		if o.Best || !o.Decided && l.exhibits[o.Part.ID] == nil {
			s.exhibit(r, v, f, o.Part.ID, o.Part.Box)
		}
	}
	for _, p := range done {
		if l.exhibits[p.ID] == nil && p.Last == f.Seq {
			s.exhibit(r, v, f, p.ID, p.Box)
		}
	}
}

// exhibit keeps the part's view in place of the one before. Where there is no room the
// part has none: the large model then can't be asked. Where it can't look at all, what
// the first model said is kept without the picture.
func (s *Station) exhibit(r *run, v *view, f *vision.Frame, id string, box vision.Box) {
	l := r.lane
	e := &exhibit{seq: f.Seq, captured: f.Captured}
	if l.Cascade.Unfit == "" {
		if e = s.place(l, v, f, id); e == nil {
			delete(l.exhibits, id)
			return
		}
		cut, x, y := l.shows(f, box)
		e.fill(f, cut, x, y)
	}
	e.box, e.run, e.score, e.whole = box, spent(&r.result), r.result.Score, l.Track.Mode == track.Pictures
	l.exhibits[id] = e
}

// place is where the part's view goes, nil where there is no room.
func (s *Station) place(l *lane, v *view, f *vision.Frame, id string) *exhibit {
	eye, slots := &l.eyes[v.index], keptExhibits
	waits := l.Track.Mode == track.Pictures && !v.drops()
	if waits {
		slots = waitingExhibits
	}
	if size := f.Width * f.Height * f.Format.Channels(); eye.album == nil || eye.album.pool.SlotSize < size {
		fresh, err := newAlbum(l.Cascade.Large, slots, size)
		if err != nil {
			if s.mayWarn() {
				s.log.Error("the large model can't be asked", "err", err)
			}
			l.takeExhibit(id).release()
			return nil
		}
		eye.album.close()
		eye.album = fresh
	}
	if e := l.exhibits[id]; e != nil {
		if e.album == eye.album {
			return e
		}
		e.release()
	}
	take := eye.album.take
	if waits { // all slots are with the large model
		take = func() (int, bool) { return eye.album.await(s.looking) }
	}
	slot, ok := take()
	if !ok {
		return nil
	}
	return &exhibit{pool: eye.album.pool, slot: slot, album: eye.album}
}

// spent is what a result has cost.
func spent(r *infer.Result) time.Duration { return r.Fill + r.Run + r.Decode }

// takeExhibit gives the part's picture, which the caller is to release; nil for none.
func (l *lane) takeExhibit(id string) *exhibit {
	e := l.exhibits[id]
	delete(l.exhibits, id)
	return e
}

// dropExhibits lets go of pictures of parts that came to nothing, or were decided by
// another lane.
func (l *lane) dropExhibits() {
	for id := range l.exhibits {
		if _, open := l.confirmed(id); !open {
			l.takeExhibit(id).release()
		}
	}
}
