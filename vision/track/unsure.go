package track

import "github.com/sightline-edge/sightline/vision"

// Unsure counts the tracks of this tracker that ended before enough frames had shown
// them, while the numbers of the frames say that there were pictures of them nobody
// looked at, which could have been the rest: parts that went through unseen, most
// likely. A flicker isn't counted where it is known how parts move: what should
// still be in view in the next frame and isn't was none. Before any part has been
// confirmed that isn't known, and a flicker between skipped pictures counts as well.
func (t *Tracker) Unsure() uint64 { return t.unsure }

// skipped is how many pictures the camera gave between the last frame and this one.
func (t *Tracker) skipped(f Frame) (n uint64) {
	if t.seq > 0 && f.Seq > t.seq {
		n = f.Seq - t.seq - 1
	}
	t.seq = f.Seq
	return n
}

// slip notes which tracks were last seen before this frame and have left the picture
// since.
func (t *Tracker) slip(f Frame, skipped uint64) {
	for _, tr := range t.tracks {
		if tr.hits >= t.cfg.Confirm {
			continue
		}
		tr.skipped += skipped
		switch {
		case tr.seen == f.Seq:
			tr.slipped = false
		case tr.missing == 0:
			tr.slipped = t.outside(tr, f)
		}
	}
}

// outside tells whether a track is out of the picture by now, as far as is known.
func (t *Tracker) outside(tr *track, f Frame) bool {
	v := t.belt // a velocity from two views, the first of them cut by the border, is half of it
	if t.beltSeen == 0 {
		v = tr.v
		if tr.hits < 2 {
			return true
		}
	}
	b := tr.shown
	b.X, b.Y = b.X+v.x*tr.dt, b.Y+v.y*tr.dt
	return b.Intersect(vision.Box{W: float32(f.Width), H: float32(f.Height)}).Area() < b.Area()/2
}

// unsureOf counts a track that ended, if it is to be counted. One that was adopted is
// the former tracker's.
func (t *Tracker) unsureOf(tr *track) {
	if tr.slipped && tr.told == nil && tr.lent == 0 && tr.hits < t.cfg.Confirm && uint64(tr.hits)+tr.skipped >= uint64(t.cfg.Confirm) {
		t.unsure++
	}
}
