package agent

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/track"
)

// held is a part that the old lane has seen to its end, whose verdict is the new
// lane's to give and wasn't given by then. The new one may still follow it, or have
// seen nothing of it.
type held struct {
	part  vision.Part
	claim *claim // nil: the new lane has nothing of it
}

// judgeBoth is judge while a switch is on. The old lane's parts are those that
// were in view at the cut, the new lane's are the others. Both lanes follow
// all, so that each knows which of its parts are the other's, and so that the
// old one can go on alone when the new one fails.
func (s *Station) judgeBoth(ctx context.Context, o *overlap, f *flight) bool {
	first, second := f.of(o.old), f.of(o.new)
	if second.err != nil {
		if ctx.Err() == nil {
			s.giveUp(ctx, o, second.err)
		}
		return s.judgeOne(ctx, f, first)
	}
	if !o.began {
		s.begin(o)
	}
	if !s.stream() { // each picture shows parts of its own
		s.complete(ctx, o)
		return s.judgeOne(ctx, f, second)
	}
	o.quiet.Reset(o.old.gap())
	now := time.Now()
	var open []track.View
	if first.err == nil {
		s.measure(f, first, now)
		open = s.followOld(ctx, o, f, first)
	} else {
		s.measure(f, second, now)
		o.old.eyes[f.view.index].last = nil // should it go on alone, this frame's result isn't there to stand
	}
	open = append(open, s.followNew(ctx, o, f, second)...)
	o.old.dropExhibits()
	o.new.dropExhibits()
	if first.err == nil {
		o.acquaint(f.view, f.frame.Seq)
	}
	f.view.screen.offer(now, &f.frame.Frame, open, second.result.Detections)
	if !o.waits() || now.Sub(o.asked) > switchLimit {
		s.complete(ctx, o)
	}
	return true
}

// followOld moves the old lane on and decides those of its parts that ended and
// are its own. It returns those in view.
func (s *Station) followOld(ctx context.Context, o *overlap, f *flight, r *run) []track.View {
	done, open := s.follow(f, r)
	for _, p := range done {
		s.endOld(ctx, o, p)
	}
	for id, c := range o.owned {
		c.confirmed, _ = o.old.confirmed(id)
	}
	var own []track.View
	for _, v := range open {
		if o.owned[v.Part.ID] != nil {
			own = append(own, v)
		}
	}
	return own
}

// endOld takes a part to its end that the old lane has followed.
func (s *Station) endOld(ctx context.Context, o *overlap, p vision.Part) {
	if c := o.owned[p.ID]; c != nil {
		if !c.told {
			s.decide(ctx, o.old, p)
		}
		c.told = true // also if the lane before the old one has
		delete(o.old.crops, p.ID)
		return
	}
	if c := o.mates[p.ID]; c == nil || !c.told {
		o.held = append(o.held, held{p, c})
		return
	}
	delete(o.old.crops, p.ID)
}

// followNew moves the new lane on and decides those of its parts that ended and
// aren't the old lane's. It returns those in view.
func (s *Station) followNew(ctx context.Context, o *overlap, f *flight, r *run) []track.View {
	done, open := s.follow(f, r)
	for _, p := range done {
		s.decide(ctx, o.new, p)
		if c := o.own[p.ID]; c != nil {
			c.told = true
		}
	}
	var own []track.View
	for _, v := range open {
		if !o.new.claims[v.Part.ID].settled() {
			own = append(own, v)
		}
	}
	return own
}

// acquaint notes which of the new lane's parts are the same as which of the old
// one's. An acquaintance stands while the old lane counts the part, or once its
// verdict is told; one that came to nothing gives way to a better one.
func (o *overlap) acquaint(v *view, seq uint64) {
	for id, former := range o.old.eyes[v.index].tracker.Pair(o.new.eyes[v.index].tracker, seq) {
		switch {
		case o.new.claims[id].settled():
		case o.owned[former] != nil && !o.follows(o.own[id]):
			if c := o.owned[former]; c.confirmed || o.new.claims[id] == nil {
				delete(o.own, id)
				o.new.claims[id] = c
			}
		case o.new.claims[id] != nil || o.own[id] != nil:
		case o.mates[former] != nil:
			o.own[id] = o.mates[former]
		default:
			confirmed, open := o.new.confirmed(id)
			c := &claim{told: confirmed && !open}
			o.own[id], o.mates[former] = c, c
		}
	}
}

// follows tells whether the old lane follows the part of a later claim, and
// counts it.
func (o *overlap) follows(c *claim) bool {
	if c == nil {
		return false
	}
	for former, mate := range o.mates {
		if confirmed, open := o.old.confirmed(former); mate == c && confirmed && open {
			return true
		}
	}
	return false
}

// waits tells whether parts that were in view at the cut still are.
func (o *overlap) waits() bool {
	for id := range o.owned {
		if _, open := o.old.confirmed(id); open {
			return true
		}
	}
	return false
}
