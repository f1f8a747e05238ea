package agent

import (
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// Loadout is what a station inspects with: a model, what verdicts say of it, a
// rule, and how parts are followed.
type Loadout struct {
	Model *infer.Worker // may serve other stations too; nil: the station waits for its first
	About Model
	Rule  *rules.Rule  // nil: every part gets NONE no_rule
	Track track.Config // Mode is the station's own, whatever stands here
}

// lane is a loadout at work in a station, with the parts that it follows.
type lane struct {
	Loadout
	tracker *track.Tracker
	crops   map[string]*crop  // of the open parts, by ID; judge's own
	pool    *shm.Pool         // that the last frame came in; judge's own, retained
	claims  map[string]*claim // of open parts that another lane saw too, by ID; judge's own

	dead  error // why its worker is given up; protected by Station.mu
	tally tally // protected by Station.mu
}

func newLane(l Loadout, mode track.Mode) *lane {
	l.Track.Mode = mode
	return &lane{Loadout: l, tracker: track.New(l.Track), crops: map[string]*crop{}, claims: map[string]*claim{}}
}

// claim is what is known of the one verdict of a physical part that two lanes
// follow during a switch.
type claim struct {
	told      bool // it has been given
	confirmed bool // it will be: the former lane follows the part and counts it
}

// settled tells whether the verdict isn't this lane's to give any more.
func (c *claim) settled() bool { return c != nil && (c.told || c.confirmed) }

// use tells the worker when frames come in other memory.
func (l *lane) use(p *shm.Pool) {
	if l.pool == p {
		return
	}
	if l.pool != nil {
		l.Model.Forget(l.pool)
		l.pool.Release()
	}
	p.Retain()
	l.pool = p
}

// leave gives the frames' memory back. A worker that the other lane of the
// station uses, if there is one, keeps it.
func (l *lane) leave(other *lane) {
	if l.pool == nil {
		return
	}
	if other == nil || other.Model != l.Model {
		l.Model.Forget(l.pool)
	}
	l.pool.Release()
	l.pool = nil
}

// prune forgets what is known of parts that came to nothing.
func (l *lane) prune() {
	for id := range l.claims {
		if _, open := l.tracker.Confirmed(id); !open {
			delete(l.claims, id)
		}
	}
}

// keepPictures copies the best view of each open part; of one that ends with
// its only frame, that frame.
func (l *lane) keepPictures(f *vision.Frame, open []track.View, done []vision.Part) {
	keep := func(id string, box vision.Box) {
		c := l.crops[id]
		if c == nil {
			c = &crop{}
			l.crops[id] = c
		}
		c.cut(f, box)
	}
	for _, v := range open {
		if v.Best || l.crops[v.Part.ID] == nil {
			keep(v.Part.ID, v.Part.Box)
		}
	}
	for _, p := range done {
		if l.crops[p.ID] == nil && p.Last == f.Seq {
			keep(p.ID, p.Box)
		}
	}
}
