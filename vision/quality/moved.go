package quality

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

const (
	known      = 0.75 // correlation from which a landmark is there
	homeReach  = 3    // cells around its place that a landmark is first looked for in
	searchFar  = 22   // cells that it is searched for in, 14 % of the longer side
	searchTick = 12   // landmarks that are searched for in a look
	homesKnown = 20   // looks that a landmark must have been at home in, to be known as part of the background
	homesMost  = 240
	fixedFew   = 4   // landmarks of the background, at least
	agreeing   = 0.4 // share of the landmarks that one motion must explain
	rather     = 0.2 // share of them by which it must explain more than no motion does
	elsewhereN = 0.3 // share of them that one motion explains by chance
	stableIn   = 1.0 // cells
	otherLooks = 30  // looks, 15 s, in which nothing of the background is seen
	lastsFor   = 8   // looks in which things move
	shiftLeast = 3   // pixels
)

// spot is what is known of one landmark's whereabouts.
type spot struct {
	homes  int     // looks at home, less those away while the camera was in its place
	there  bool    // it is seen, near its place or where it was found
	dx, dy float64 // cells; of an edge, along its normal
	far    bool    // dx, dy come from a search
	agreed int     // searches in a row that gave about this
}

func (s *spot) isFixed() bool { return s.homes >= homesKnown }

// moved watches whether the landmarks of the reference are where they were.
type moved struct {
	hold
	cells  cells
	marks  []landmark // the reference's
	spots  []spot
	next   int // to be searched for
	lasted int // looks in which things moved while fromStart had its motion
	other  int // looks in which nothing of the background was seen
	motion motion
	obs    []observation // scratch
}

func (v *moved) begin(ref *reference) {
	*v = moved{}
	v.detail = v.say
	if ref == nil {
		return
	}
	v.marks = ref.landmarks
	v.spots = make([]spot, len(v.marks))
	v.obs = make([]observation, 0, 2*len(v.marks))
	v.cells.begin(ref.frame.Width, ref.frame.Height)
}

func (v *moved) look(m *Monitor, f *vision.Frame) {
	if !m.comparable() || len(v.marks) < fixedFew {
		v.hold.clear()
		return
	}
	v.cells.take(f)
	limit := max(m.cfg.Shift*cellsLong, shiftLeast/v.cells.size)
	fixed, seen := v.near()
	judged := fixed
	if fixed < fixedFew {
		judged = len(v.marks)
	}
	if 10*seen < 7*judged {
		v.search(fixed >= fixedFew)
		v.follow(fixed >= fixedFew)
	}
	after := m.cfg.MovedAfter
	mo, sure := motion{}, false
	if fixed >= fixedFew {
		mo = v.fit(true, false)
		sure = mo.n >= max(fixedFew-1, int(agreeing*float64(fixed)))
		if none := v.none(); sure && mo.size >= limit && float64(mo.n-none.n) < rather*float64(fixed) {
			mo, sure = none, none.n >= fixedFew-1
		}
	}
	if !sure || mo.size < limit {
		if all, ok := v.fromStart(m, limit); ok {
			mo, sure, after = all, true, 2*after // it may be parts alone that are seen
		}
	}
	if sure {
		v.motion, v.other = mo, 0
		v.value = mo.size * v.cells.size
	}
	v.learn(limit, sure && mo.size < limit)
	elsewhere := !sure && fixed >= fixedFew && !m.sharp.held() && v.elsewhere(m, mo.n, fixed)
	v.limit = limit * v.cells.size
	v.hold.is(f.Captured, sure && mo.size >= limit || elsewhere, sure && mo.size < 0.7*limit, after, m.cfg.Leave)
}

// near looks for every landmark near its place. It counts those that are known
// to be fixed, and those seen: of the fixed if there are some, else of all.
func (v *moved) near() (fixed, seen int) {
	all := 0
	for i := range v.marks {
		l, s := &v.marks[i], &v.spots[i]
		dx, dy, score := v.climb(l, 0, 0, homeReach)
		if score >= known {
			s.set(l, dx, dy)
			s.there, s.far, s.agreed = true, false, 0
		} else if !s.far {
			s.there = false
		}
		if s.isFixed() {
			fixed++
		}
		if s.there && !s.far {
			all++
			if s.isFixed() {
				seen++
			}
		}
	}
	if fixed < fixedFew {
		return fixed, all
	}
	return fixed, seen
}

// set keeps a displacement; an edge shows only what is along its normal.
func (s *spot) set(l *landmark, dx, dy float64) {
	if !l.corner {
		d := dx*l.nx + dy*l.ny
		dx, dy = d*l.nx, d*l.ny
	}
	s.dx, s.dy = dx, dy
}

// search looks far and wide for some landmarks that aren't near their places.
func (v *moved) search(onlyFixed bool) {
	for tries, done := 0, 0; tries < len(v.marks) && done < searchTick; tries++ {
		v.next = (v.next + 1) % len(v.marks)
		l, s := &v.marks[v.next], &v.spots[v.next]
		if s.there && !s.far || onlyFixed && !s.isFixed() {
			continue
		}
		done++
		dx, dy, score := v.find(l)
		x, y := s.dx, s.dy
		s.set(l, dx, dy)
		s.far, s.there = score >= known, score >= known
		switch {
		case !s.far:
			s.agreed = 0
		case math.Hypot(s.dx-x, s.dy-y) <= stableIn:
			s.agreed++
		default:
			s.agreed = 1
		}
	}
}

// follow looks for all landmarks where the corners found so far say that they
// are: an edge by itself can only be searched for along its normal.
func (v *moved) follow(onlyFixed bool) {
	mo := v.fit(onlyFixed, true)
	if mo.n < fixedFew-1 {
		return
	}
	cx, cy := float64(v.cells.w)/2, float64(v.cells.h)/2
	for i := range v.marks {
		l, s := &v.marks[i], &v.spots[i]
		if s.there && !s.far || onlyFixed && !s.isFixed() {
			continue
		}
		dx, dy := mo.at(float64(l.x)-cx, float64(l.y)-cy)
		dx, dy, score := v.climb(l, int(math.Round(dx)), int(math.Round(dy)), 2)
		if score < known {
			continue
		}
		s.set(l, dx, dy)
		s.there, s.far = true, true
		s.agreed++
	}
}

// fit finds the motion of the landmarks, of all or some of them.
func (v *moved) fit(onlyFixed, onlyCorners bool) motion {
	v.obs = v.obs[:0]
	cx, cy := float64(v.cells.w)/2, float64(v.cells.h)/2
	for i := range v.marks {
		l, s := &v.marks[i], &v.spots[i]
		if !s.there || onlyFixed && !s.isFixed() || onlyCorners && !l.corner || !onlyFixed && s.far && s.agreed < 2 {
			continue
		}
		o := observation{mark: i, x: float64(l.x) - cx, y: float64(l.y) - cy, nx: 1, d: s.dx}
		if l.corner {
			v.obs = append(v.obs, o)
			o.nx, o.ny, o.d = 0, 1, s.dy
		} else {
			o.nx, o.ny, o.d = l.nx, l.ny, s.dx*l.nx+s.dy*l.ny
		}
		v.obs = append(v.obs, o)
	}
	if len(v.obs) == 0 {
		return motion{}
	}
	return fit(v.obs)
}

// fromStart tells a camera that stood elsewhere before its landmarks were
// learnt: one motion explains most of the landmarks that are seen, all over
// the picture, and twice as many as no motion does. Parts that stand elsewhere
// than in the reference look like that too, so it must last while things move.
func (v *moved) fromStart(m *Monitor, limit float64) (motion, bool) {
	mo := v.fit(false, false)
	found := 0
	for i := range v.spots {
		if v.spots[i].there {
			found++
		}
	}
	need := max(2*fixedFew, int(0.6*float64(found)), len(v.marks)/7)
	ok := mo.wide && mo.size >= limit && mo.n >= need && mo.n >= 2*v.none().n
	switch {
	case m.grid.unlike < samples/50: // nothing moves
	case ok:
		v.lasted++
	default:
		v.lasted = 0
	}
	return mo, ok && v.lasted >= lastsFor
}

// none is the motion of a camera that stands in its place.
func (v *moved) none() motion {
	var mo motion
	mo.judge(v.obs)
	mo.size = 0
	return mo
}

// learn counts how often landmarks are at home.
func (v *moved) learn(limit float64, inPlace bool) {
	for i := range v.spots {
		s := &v.spots[i]
		switch {
		case s.there && !s.far && math.Hypot(s.dx, s.dy) < limit:
			s.homes = min(s.homes+1, homesMost)
		case inPlace:
			s.homes = max(s.homes-1, 0)
		}
	}
}

// elsewhere reports whether nothing of the background has been in view for
// long, without anything that moves there now.
func (v *moved) elsewhere(m *Monitor, found, fixed int) bool {
	if float64(found) > elsewhereN*float64(fixed) {
		v.other = 0
		return false
	}
	if m.grid.unlike <= samples/20 { // somebody at work before the camera goes away again
		v.other++
	}
	if v.other < otherLooks {
		return false
	}
	v.motion, v.value = motion{}, float64(cellsLong)*v.cells.size
	return true
}

func (v *moved) say(float64) string {
	if v.motion.n == 0 {
		return "it shows something else than the reference picture"
	}
	dx, dy := v.motion.tx*v.cells.size, v.motion.ty*v.cells.size
	s := fmt.Sprintf("shifted by about %.0f, %.0f pixels", dx, dy)
	if turn := math.Atan(v.motion.b) * 180 / math.Pi; math.Abs(turn) > 0.7 {
		s += fmt.Sprintf(", turned by about %.1f degrees", turn)
	}
	if math.Abs(v.motion.a) > 0.015 {
		s += fmt.Sprintf(", zoomed by about %+.0f %%", 100*v.motion.a)
	}
	return s + " against the reference picture"
}
