package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// switchLimit is how long parts that were in view when a switch began may keep
// the former model at work. What is still in view then is decided as seen.
const switchLimit = 30 * time.Second

// Errors of Switch that callers tell apart.
var (
	ErrNoStation    = errors.New("there is no station of that name")
	ErrStationEnded = errors.New("the station has ended")
)

// Cut is the place in the journal from which a loadout's verdicts stand: each
// of them has a number above After. So may have some of the former loadout's, which
// were still to be written, or whose parts were in view.
type Cut struct {
	Epoch, After uint64
}

// Switch gives a running station another loadout between two parts. The
// loadout's worker must have been started; Switch waits until it is ready.
//
// Where parts are followed over many pictures, both models then see each
// picture until the parts that were in view when the switch began have been
// decided, by the former model and rule; parts that came later are the new
// ones' to judge. Each part gets one verdict. When Switch returns, the new
// loadout decides alone, and the former worker may be stopped if the station
// alone used it. With an error, such as a new worker that fails or a context
// that ends, the station goes on with the former loadout, as it does meanwhile.
//
// To a loadout without a model it is done at once: what is in view is decided as
// it was seen, and the station waits for its next loadout.
//
// A second Switch of a station waits for the first.
func (a *Agent) Switch(ctx context.Context, station string, l Loadout) (Cut, error) {
	s := a.find(station)
	if s == nil {
		return Cut{}, fmt.Errorf("switch station %s: %w", station, ErrNoStation)
	}
	cut, err := s.change(ctx, l)
	if err != nil {
		return Cut{}, fmt.Errorf("switch station %s: %w", station, err)
	}
	return cut, nil
}

// overlap is a switch that is on.
type overlap struct {
	old, new *lane
	quiet    *time.Timer // fires when no frame was judged for the tracker's gap
	asked    time.Time
	over     chan struct{} // closed when the switch is done, or given up
	cut      Cut           // stands then
	err      error         // stands then

	withdrawn error // why it must be given up; protected by Station.mu

	// The judge's own:
	began bool              // the new lane has seen a frame
	owned map[string]*claim // of the old lane's parts that were in view at the cut, by ID
	mates map[string]*claim // of the old lane's parts that came later and the new one sees, by the old one's ID
	own   map[string]*claim // the same claims by the new lane's ID
	held  []held
}

// change is Switch for this station.
func (s *Station) change(ctx context.Context, l Loadout) (Cut, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return Cut{}, ctx.Err()
	}
	if l.Model != nil {
		if _, err := l.Model.Ready(ctx); err != nil {
			return Cut{}, fmt.Errorf("wait for the model: %w", err)
		}
	}
	if now := s.current(); l.Follows == "" && l.Recipe == now.Recipe {
		l.Follows = now.Follows
	}
	if s.triggered() {
		return s.swap(l)
	}
	o := &overlap{
		new: newLane(l, s.cfg.Track.Mode, s.views), asked: time.Now(), over: make(chan struct{}),
		owned: map[string]*claim{}, mates: map[string]*claim{}, own: map[string]*claim{},
	}
	if err := s.propose(o); err != nil {
		return Cut{}, err
	}
	defer o.quiet.Stop()
	select {
	case <-o.over:
	case <-ctx.Done():
		s.withdraw(o, ctx.Err())
		<-o.over
	}
	if o.err == nil {
		o.old.asked.Wait() // they need its rule, until their deadlines at most
	}
	return o.cut, o.err
}

func (s *Station) propose(o *overlap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return ErrStationEnded
	}
	o.old = s.lane
	o.quiet = time.NewTimer(o.old.gap())
	s.next = o
	s.poke()
	return nil
}

// withdraw asks for a switch to be given up. Of a station that doesn't run yet
// nobody else would.
func (s *Station) withdraw(o *overlap, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.withdrawn = why
	if !s.running && s.next == o {
		s.next, o.err = nil, why
		close(o.over)
		return
	}
	s.poke()
}

// poke makes the judge look at what was asked.
func (s *Station) poke() {
	select {
	case s.poked <- struct{}{}:
	default: // a token is there already
	}
}

// switching is the switch that is on, nil for none.
func (s *Station) switching() *overlap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// loadout is what decides now.
func (s *Station) loadout() Loadout {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lane.Loadout
}

// uses tells whether the station needs the worker.
func (s *Station) uses(w *infer.Worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lane.asks(w) || s.next != nil && s.next.new.asks(w)
}

// lost hears that a worker is given up. It tells whether the station rests on it
// alone: a switch to another worker is completed at once, one to the lost worker
// is given up.
func (s *Station) lost(w *infer.Worker, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.next
	if s.lane.Small == w {
		s.log.Warn("the smaller model is given up, the other one looks in its stead", "model", s.lane.SmallAbout.Name, "err", err)
	}
	if c := s.lane.Cascade; c != nil && c.Large == w {
		s.log.Warn("the large model is given up, parts in doubt get the configured answer", "model", c.About.Name, "err", err)
	}
	switch {
	case s.lane.Model == w && (o == nil || o.new.Model == w):
		if o != nil {
			o.withdrawn = err
		}
		s.dieLocked(err)
		return true
	case s.lane.Model == w:
		s.lane.dead = err
		s.poke()
	case o != nil && o.new.Model == w:
		o.withdrawn = err
		s.poke()
	}
	return false
}

// dieLocked is for a station whose only model is given up. It can't inspect any
// more; one that follows a bundle, has another recipe, or may have another model swapped
// in waits for that.
func (s *Station) dieLocked(err error) {
	s.lane.dead = err
	if s.lane.Follows == "" && len(s.cfg.Recipes) < 2 && !s.cfg.Swaps {
		s.failLocked(err)
		return
	}
	s.failure = err
	s.armLocked()
	s.poke()
}

// armLocked lets frames come while there is a model to look at them.
func (s *Station) armLocked() {
	able := s.lane.Model != nil && s.lane.dead == nil
	select {
	case <-s.armed:
		if !able {
			s.armed = make(chan struct{})
		}
	default:
		if able {
			close(s.armed)
		}
	}
}

// end notes that the station inspects nothing any more; a switch that hasn't
// come to its end won't.
func (s *Station) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if o := s.next; o != nil {
		s.next, o.err = nil, ErrStationEnded
		close(o.over)
	}
}

// mind does what a poke was about.
func (s *Station) mind(ctx context.Context) {
	s.mu.Lock()
	o, dead := s.next, s.lane.dead
	var withdrawn error
	if o != nil {
		withdrawn = o.withdrawn
	}
	s.mu.Unlock()
	switch {
	case o == nil && dead != nil:
		s.decideAll(ctx)
	case o == nil:
	case withdrawn != nil:
		s.giveUp(ctx, o, withdrawn)
	case o.old.Model == nil || o.new.Model == nil || dead != nil: // there is nothing to wait for
		s.complete(ctx, o)
	}
}

// quiet fires when a switch has waited for frames for long.
func (s *Station) quiet() <-chan time.Time {
	if o := s.switching(); o != nil {
		return o.quiet.C
	}
	return nil
}

// judgeQuiet ends a switch that no frame has moved for a while: a camera that is
// away shows other parts when it is back.
func (s *Station) judgeQuiet(ctx context.Context, flights <-chan *flight) {
	o := s.switching()
	if o == nil {
		return
	}
	o.quiet.Reset(o.old.gap())
	s.mu.Lock()
	busy := len(flights) > 0
	s.mu.Unlock()
	if busy || !s.anyLive() && time.Since(o.asked) < switchLimit {
		return
	}
	if o.new.Model == nil {
		return // mind has done it
	}
	if err := ready(o.new.Model); err != nil {
		s.giveUp(ctx, o, fmt.Errorf("the model isn't ready: %w", err))
		if s.anyLive() {
			s.decideAll(ctx)
		}
		return
	}
	s.complete(ctx, o)
}

// begin makes the cut: what the old lane follows is its own to decide.
func (s *Station) begin(o *overlap) {
	o.began, o.cut = true, s.cut()
	for _, id := range o.old.ids() {
		confirmed, open := o.old.confirmed(id)
		o.owned[id] = &claim{confirmed: confirmed, told: confirmed && !open}
	}
	if s.stream() {
		for id, mine := range o.new.adopt(o.old) {
			o.new.claims[mine] = o.owned[id]
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.new.tally.cut = o.cut
	if o.new.Model != nil {
		o.new.tally.restarts = o.new.Model.Stats().Restarts
	}
}

// complete makes the new lane the only one. Parts of the old one that are still
// in view are decided as they were seen.
func (s *Station) complete(ctx context.Context, o *overlap) {
	if !o.began {
		s.begin(o)
	}
	for _, p := range o.old.flush() {
		s.endOld(ctx, o, p)
	}
	for _, c := range o.owned { // those that came to nothing are the new lane's
		c.confirmed = false
	}
	s.mu.Lock()
	s.lane, s.next = o.new, nil
	if o.old.dead != nil {
		s.failure = nil
	}
	s.armLocked()
	s.mu.Unlock()
	o.old.leave(o.new)
	s.switched(&o.new.Loadout, o.old)
	s.asking.Go(func() { s.practise(s.looking, o.new) })
	s.log.Info("station switched", "model", o.new.About.Name, "version", o.new.About.Version, "recipe", o.new.Recipe, "after", o.cut.After)
	close(o.over)
}

// giveUp lets the old lane go on alone.
func (s *Station) giveUp(ctx context.Context, o *overlap, why error) {
	for _, h := range o.held {
		if h.claim == nil || !h.claim.told {
			s.decide(ctx, o.old, h.part)
		}
		delete(o.old.crops, h.part.ID)
	}
	for id, c := range o.mates { // what the new lane has told isn't told again
		if _, open := o.old.confirmed(id); open && c.told {
			o.old.claims[id] = c
		}
	}
	s.mu.Lock()
	s.next, o.err = nil, why
	if o.old.dead != nil {
		s.dieLocked(o.old.dead)
	}
	s.mu.Unlock()
	o.new.leave(o.old)
	s.log.Warn("station not switched", "model", o.new.About.Name, "version", o.new.About.Version, "err", why)
	close(o.over)
}

// stream tells whether parts are followed over frames.
func (s *Station) stream() bool { return s.cfg.Track.Mode == track.Stream }
