package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/sched"
)

// Limits of triggers.
const (
	MaxTriggerID = 64          // bytes of a trigger's or part's ID
	maxPending   = 4           // inspections of a station under way; more are an overrun
	mayHang      = 2           // more, that were answered while the large model has them: it is given no third
	MaxDeadline  = time.Minute // that a trigger may ask for
)

// Errors of Trigger that callers tell apart.
var (
	// ErrNoTrigger means that the station follows parts by itself.
	ErrNoTrigger = errors.New("the station takes no triggers: it inspects what its camera shows (mode: continuous)")
	// ErrBadTrigger means that what was asked can't be read.
	ErrBadTrigger = errors.New("the trigger can't be taken")
)

// TriggerConfig is how a station in trigger mode works.
type TriggerConfig struct {
	Dedupe time.Duration // for how long a trigger's ID is remembered; 0: DefaultDedupe
	Ring   int           // frames of each camera that are kept for triggers about the past; 0: 4
	Slack  time.Duration // how much earlier than its trigger's message the exposure of a hardware trigger may be
	Late   time.Duration // how much later; 0: 100 ms

	MaxDelay time.Duration // after a trigger, to the telling of a camera with a software trigger to expose; 0: 50 ms
}

// Check says for people what is wrong with a trigger.
func (t *Trigger) Check() error {
	for what, id := range map[string]string{"trigger_id": t.ID, "part_id": t.Part, "recipe": t.Recipe} {
		if len(id) > MaxTriggerID || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("%w: %s must be at most %d printable characters, got %q", ErrBadTrigger, what, MaxTriggerID, id)
		}
	}
	if t.Deadline < 0 || t.Deadline > MaxDeadline {
		return fmt.Errorf("%w: its deadline must be more than 0 and at most %v, got %v", ErrBadTrigger, MaxDeadline, t.Deadline)
	}
	return nil
}

// Trigger inspects the part that is before a station's cameras now, or was at
// t.At. There is always an answer, by the deadline; it waits for nothing else, not
// even for ctx. The error is ErrNoStation, ErrNoTrigger or ErrBadTrigger.
func (a *Agent) Trigger(station string, t Trigger) (Answer, error) {
	s := a.find(station)
	switch {
	case s == nil:
		return Answer{}, fmt.Errorf("trigger station %s: %w", station, ErrNoStation)
	case !s.triggered():
		return Answer{}, fmt.Errorf("trigger station %s: %w", station, ErrNoTrigger)
	}
	if err := t.Check(); err != nil {
		return Answer{}, fmt.Errorf("trigger station %s: %w", station, err)
	}
	return s.trigger(t), nil
}

// triggered tells whether the station inspects when it is told to.
func (s *Station) triggered() bool { return s.cfg.Trigger != nil }

func (s *Station) trigger(t Trigger) Answer {
	now := time.Now()
	deadline := s.cfg.Deadline
	if t.Deadline > 0 {
		deadline = t.Deadline
	}
	q := &inquiry{Trigger: t, station: s, arrived: now, by: now.Add(deadline), done: make(chan struct{}), stage: vision.ReasonNoFrame}
	last := q.by.Add(-s.recorder.reserve(deadline))
	q.ctx, q.cancel = context.WithDeadline(context.Background(), last)
	if q.At.IsZero() {
		q.At = now
	}
	if why := s.unready(q.ctx); why != "" {
		q.cancel()
		q.taken()
		return Answer{Trigger: q.ID, Part: q.Part, Attempt: 1, Reason: why, Latency: time.Since(now)}
	}
	same, clash := s.ledger.open(q)
	if same != nil {
		q.cancel()
		q.taken()
		return same.again(q)
	}
	s.admit(q, clash)
	q.taken()
	return q.wait()
}

// taken tells who waits to hand over the next trigger that it may.
func (q *inquiry) taken() {
	if q.Taken != nil {
		q.Taken()
	}
}

// unready is why nothing can be said of a trigger, not even whether it came before; ""
// otherwise. It waits for what the journal knows.
func (s *Station) unready(ctx context.Context) string {
	select {
	case <-s.recalled:
	default:
		select {
		case <-s.recalled:
		case <-ctx.Done():
			return vision.ReasonStarting
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.asked || s.ended:
		return vision.ReasonStopped
	case !s.running:
		return vision.ReasonStarting
	}
	return ""
}

// admit starts the inspection, or answers at once why there is none.
func (s *Station) admit(q *inquiry, clash bool) {
	s.mu.Lock()
	l := s.lane
	why, record := s.hindranceLocked(q)
	if clash && record { // hindered or not
		why = vision.ReasonRepeatedID
	}
	if q.lane = l; why == "" {
		s.pending++
		l.pending++
		q.places = s.queueUp()
	}
	if why == "" || record {
		s.inquiries.Add(1)
	}
	s.mu.Unlock()
	switch {
	case why == "":
		go s.attend(q, l)
	case record:
		defer s.inquiries.Done()
		s.forgo(q)
		s.conclude(q, l, s.bare(q), vision.Decision{Reason: why}, nil)
	default: // nothing takes records any more
		q.claim()
		q.finish(Answer{Trigger: q.ID, Part: q.Part, Attempt: q.attempt, Recipe: l.Recipe, Reason: why})
	}
}

// hindranceLocked is why a trigger gets NONE at once, "" if it can be inspected;
// record tells whether that can still be recorded.
func (s *Station) hindranceLocked(q *inquiry) (why string, record bool) {
	switch {
	case s.asked || s.ended || !s.running:
		return vision.ReasonStopped, false
	case q.Recipe != "" && q.Recipe != s.lane.Recipe:
		return vision.ReasonWrongRecipe, true
	case s.lane.Model == nil || s.lane.dead != nil || s.failure != nil:
		return vision.ReasonModelFailed, true
	case s.member != nil && s.member.Step() == sched.Nothing:
		return vision.ReasonOverload, true
	case s.pending >= maxPending:
		return vision.ReasonOverrun, true
	}
	return "", true
}

// queueUp takes a trigger's place at each camera that it makes expose.
func (s *Station) queueUp() []place {
	places := make([]place, len(s.views))
	for n, v := range s.views {
		if v.camera.cfg.Source.Triggers() {
			places[n] = v.camera.queue()
		}
	}
	return places
}

// attend sees an inspection through; what isn't decided in time is answered then.
func (s *Station) attend(q *inquiry, l *lane) {
	defer s.inquiries.Done()
	up := make(chan struct{})
	stop := context.AfterFunc(q.ctx, func() {
		defer close(up)
		if errors.Is(q.ctx.Err(), context.DeadlineExceeded) {
			s.concludeLate(q, l)
			if q.insteadOf() != nil { // only the large model still has it, which mustn't cost the next ones theirs
				s.giveBack(q)
			}
		}
	})
	s.inquire(q, l)
	if !stop() {
		<-up
	}
	s.giveBack(q)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.pending--; l.pending == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// giveBack makes room for another inspection, once.
func (s *Station) giveBack(q *inquiry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !q.gaveBack {
		q.gaveBack = true
		s.pending--
	}
}

// bare is the part of an inspection that saw nothing.
func (s *Station) bare(q *inquiry) vision.Part {
	id := q.Part
	if id == "" {
		id = q.ID
	}
	return vision.Part{
		ID: id, Trigger: q.ID, Attempt: q.attempt, Label: "part", Camera: s.views[0].camera.Name(),
		Seen: q.At, LastSeen: q.At, BestSeen: q.At,
	}
}

// Ready tells whether a verdict can be promised for a trigger that came now, and
// if not, why (for people).
func (s *Station) Ready() (bool, string) {
	for _, v := range s.views {
		st := v.camera.cfg.Source.Stats()
		switch {
		case st.State != capture.Streaming && st.State != capture.Waiting:
			return false, s.cameraID(v.camera) + ": the camera is " + string(st.State)
		case !v.camera.awaitsTrigger() && v.shutter.newest().IsZero():
			return false, s.cameraID(v.camera) + ": no picture yet"
		}
	}
	s.mu.Lock()
	l, loading, failure := s.lane, s.loading, s.failure
	why, _ := s.hindranceLocked(&inquiry{})
	s.mu.Unlock()
	switch {
	case failure != nil:
		return false, failure.Error()
	case why != "":
		return false, why
	case loading:
		return false, "the rule is being loaded"
	case !s.recollected():
		return false, "earlier triggers are being read from the journal"
	case s.recorder.Stats().Full:
		return false, "the disk is full"
	}
	if err := ready(l.Model); err != nil {
		return false, "the model is being loaded"
	}
	return true, ""
}

// runTriggered serves triggers until the source is over.
func (s *Station) runTriggered(ctx, source context.Context) error {
	keep, end := context.WithCancel(ctx)
	defer end()
	g, ctx := errgroup.WithContext(keep)
	for _, v := range s.views {
		g.Go(func() error { return s.collect(ctx, v) })
	}
	g.Go(func() error { return s.mindTriggered(ctx) })
	g.Go(func() error {
		s.recall(ctx)
		return nil
	})
	var over error
	select {
	case <-source.Done():
	case <-ctx.Done():
		over = context.Cause(ctx)
	}
	s.mu.Lock()
	s.asked = true
	s.mu.Unlock()
	s.awaitTriggers() // each by its deadline; what they wait for is there until then
	for _, v := range s.views {
		v.shutter.close()
	}
	end()
	err := g.Wait()
	for _, v := range s.views {
		v.memory.forget()
		v.large.forget()
	}
	if errors.Is(over, context.Canceled) || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// collect takes a camera's frames for the triggers that will name them.
func (s *Station) collect(ctx context.Context, v *view) error {
	for {
		f, err := v.feed.Next(ctx)
		if err != nil {
			return err
		}
		if v.quietSince(f.Captured) {
			v.screen.offer(time.Now(), &f.Frame, nil, nil)
		}
		pace := v.pace(f)
		v.shutter.add(f)
		v.shutter.expect(pace)
	}
}

// pace is the time between two pictures of a camera that runs by itself, where a
// picture's time is when it came; else 0.
func (v *view) pace(f *capture.Frame) time.Duration {
	rate := v.camera.cfg.Source.Stats().Rate
	if f.Timing > vision.Arrived || rate <= 0 || v.camera.awaitsTrigger() {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}

// showsAfter is how long after an inspection the live picture shows others again.
const showsAfter = time.Second

// quietSince tells whether nothing has been inspected for a while.
func (v *view) quietSince(now time.Time) bool {
	return now.UnixNano()-v.lookedAt.Load() > int64(showsAfter)
}

// stopTriggersAfter is how long triggers that were taken have when the agent ends.
const stopTriggersAfter = 500 * time.Millisecond

// awaitTriggers returns when all triggers that were taken have been answered, soon.
func (s *Station) awaitTriggers() {
	all := make(chan struct{})
	go func() {
		s.inquiries.Wait()
		close(all)
	}()
	select {
	case <-all:
		return
	case <-time.After(stopTriggersAfter):
	}
	s.stopTriggers()
	<-all
}

// stopTriggers answers the triggers that still wait, because the agent goes.
func (s *Station) stopTriggers() {
	for _, q := range s.ledger.waiting() {
		q.enter(vision.ReasonStopped)
		s.mu.Lock()
		l := q.lane
		if l == nil { // it is being admitted
			l = s.lane
		}
		s.mu.Unlock()
		s.concludeLate(q, l)
	}
}

// byOf is when the answer is given at the latest, on disk or not: soon, once the agent
// goes.
func (s *Station) byOf(q *inquiry) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if soon := time.Now().Add(stopTriggersAfter); s.asked && soon.Before(q.by) {
		return soon
	}
	return q.by
}

// recollected tells whether the ledger knows what the journal does.
func (s *Station) recollected() bool {
	select {
	case <-s.recalled:
		return true
	default:
		return false
	}
}
