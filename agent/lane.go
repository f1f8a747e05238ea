package agent

import (
	"maps"
	"slices"
	"sync"
	"time"

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

	Follows    string        // name of the signed bundle that it follows; "" for what the recipe followed before, or none
	Recipe     string        // its name; "" at a station without recipes
	ROI        [4]int        // x, y, width, height of what the model sees of a frame, pixels; zero: all
	Exposure   time.Duration // of the cameras; 0: as it is
	Small      *infer.Worker // looks instead of Model at the degradation step Smaller; it has the same labels; nil: none
	SmallAbout Model
	Cascade    *Cascade // its large model, and when that looks too; nil: none
}

// lane is a loadout at work in a station, with the parts that it follows.
type lane struct {
	Loadout
	eyes   []sight           // one for each view of the station; judge's own
	crops  map[string]*crop  // of the open parts, by ID; judge's own
	claims map[string]*claim // of open parts that another lane saw too, by ID; judge's own
	little map[string]bool   // the open parts that the small model has looked at last, by ID; judge's own

	exhibits map[string]*exhibit // of the open parts, for the large model, by ID; judge's own
	asked    sync.WaitGroup      // second looks that its verdicts wait for

	// Protected by Station.mu:
	dead    error // why its worker is given up
	tally   tally
	pending int           // triggers that it answers
	idle    chan struct{} // closed when it answers none any more; nil while nobody waits for that
}

// sight is what a lane keeps of one view.
type sight struct {
	tracker *track.Tracker
	pool    *shm.Pool     // that the last frame came in, retained
	unsure  uint64        // of the tracker's, as the view has counted them
	last    *infer.Result // of the last inspected frame; nil before it, and when it had none
	small   bool          // the small model gave it
	album   *album        // for the large model; nil before it is needed
}

func newLane(l Loadout, mode track.Mode, views []*view) *lane {
	l.Track.Mode = mode
	n := &lane{Loadout: l, crops: map[string]*crop{}, claims: map[string]*claim{}, little: map[string]bool{}, exhibits: map[string]*exhibit{}}
	for _, v := range views {
		l.Track.Camera = v.camera.Name()
		n.eyes = append(n.eyes, sight{tracker: track.New(l.Track)})
	}
	return n
}

// worker is the one of the lane's two that is meant.
func (l *lane) worker(small bool) *infer.Worker {
	if small {
		return l.Small
	}
	return l.Model
}

// about is what verdicts say of that worker's model.
func (l *lane) about(small bool) Model {
	if small {
		return l.SmallAbout
	}
	return l.About
}

// asks tells whether the lane has frames for the worker.
func (l *lane) asks(w *infer.Worker) bool { return l != nil && slices.Contains(l.Workers(), w) }

// forget tells the lane's workers that nothing comes in that memory any more. One that
// the other lane of the station has, if there is one, keeps it.
func (l *lane) forget(p *shm.Pool, other *lane) {
	for _, w := range []*infer.Worker{l.Model, l.Small} {
		if w != nil && !other.asks(w) {
			w.Forget(p)
		}
	}
}

// note remembers of the parts that a frame showed which model has looked.
func (l *lane) note(small bool, seq uint64, open []track.View, done []vision.Part) {
	looked := func(id string) {
		if small {
			l.little[id] = true
		} else {
			delete(l.little, id)
		}
	}
	for _, v := range open {
		if !v.Decided {
			looked(v.Part.ID)
		}
	}
	for _, p := range done {
		if p.Last == seq {
			looked(p.ID)
		}
	}
}

// seeksDefects tells whether a label of the model is a defect.
func (l *lane) seeksDefects() bool {
	for _, role := range l.Track.Roles {
		if role == vision.DefectRole {
			return true
		}
	}
	return false
}

// gap is how long without a frame ends the open parts.
func (l *lane) gap() time.Duration { return l.eyes[0].tracker.Gap() }

// ids names the open parts.
func (l *lane) ids() []string {
	var all []string
	for _, e := range l.eyes {
		all = append(all, e.tracker.IDs()...)
	}
	return all
}

// confirmed tells of a part whether it counts, and whether it is still to be decided:
// one that was decided already counts, and isn't.
func (l *lane) confirmed(id string) (confirmed, open bool) {
	for _, e := range l.eyes {
		if confirmed, open = e.tracker.Confirmed(id); confirmed || open {
			return confirmed, open
		}
	}
	return confirmed, open
}

// flush ends all open parts.
func (l *lane) flush() []vision.Part {
	var all []vision.Part
	for _, e := range l.eyes {
		all = append(all, e.tracker.Flush()...)
	}
	return all
}

// adopt begins with the former lane's open parts; it gives the former one's IDs
// and its own.
func (l *lane) adopt(former *lane) map[string]string {
	all := map[string]string{}
	for n, e := range l.eyes {
		maps.Copy(all, e.tracker.Adopt(former.eyes[n].tracker))
	}
	return all
}

// claim is what is known of the one verdict of a physical part that two lanes
// follow during a switch.
type claim struct {
	told      bool // it has been given
	confirmed bool // it will be: the former lane follows the part and counts it
}

// settled tells whether the verdict isn't this lane's to give any more.
func (c *claim) settled() bool { return c != nil && (c.told || c.confirmed) }

// use tells the workers when frames come in other memory.
func (l *lane) use(v *view, p *shm.Pool) {
	e := &l.eyes[v.index]
	if e.pool == p {
		return
	}
	if e.pool != nil {
		l.forget(e.pool, nil)
		e.pool.Release()
	}
	p.Retain()
	e.pool = p
}

// leave gives the frames' memory back. A worker that the other lane of the
// station uses, if there is one, keeps it.
func (l *lane) leave(other *lane) {
	for id := range l.exhibits {
		l.takeExhibit(id).release()
	}
	for n := range l.eyes {
		e := &l.eyes[n]
		e.album.close()
		e.album = nil
		if e.pool == nil {
			continue
		}
		l.forget(e.pool, other)
		e.pool.Release()
		e.pool = nil
	}
}

// prune forgets what is known of parts that came to nothing.
func (l *lane) prune() {
	l.dropExhibits()
	for id := range l.claims {
		if _, open := l.confirmed(id); !open {
			delete(l.claims, id)
		}
	}
	for id := range l.little {
		if _, open := l.confirmed(id); !open {
			delete(l.little, id)
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
		if v.Best || !v.Decided && l.crops[v.Part.ID] == nil {
			keep(v.Part.ID, v.Part.Box)
		}
	}
	for _, p := range done {
		if l.crops[p.ID] == nil && p.Last == f.Seq {
			keep(p.ID, p.Box)
		}
	}
}
