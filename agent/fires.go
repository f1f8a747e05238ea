package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
)

// Limits of fires.
const (
	owedLeast  = time.Second           // for which a picture that nobody waits for is expected
	owedTimes  = 16                    // last ones whose time from fire to picture counts
	stampSlack = 20 * time.Millisecond // by which a camera's clock, laid over ours, may be wrong
)

// fires knows which pictures of a camera with a software trigger are on their way. A
// picture doesn't say who asked for it. So nobody asks before all earlier ones have
// come, or can't come any more; and the one that comes first is that of who asked first.
type fires struct {
	mu     sync.Mutex      // protects all below
	owed   []*fired        // oldest first
	newest uint64          // Seq of the last picture that was looked at
	last   time.Time       // when the camera was fired last
	took   []time.Duration // fire → picture of the last ones
	less   chan struct{}   // closed when one has come; nil: nobody waits
}

// fired is a picture that was asked for. fires.mu protects it.
type fired struct {
	at      time.Time
	awaited bool   // a trigger waits for it
	sent    bool   // it was asked for, of the session
	session uint64 // of the camera: what one owes the next doesn't pay
	seq     uint64 // of the picture; 0: it hasn't come
}

// begin notes that the camera is about to be fired.
func (f *fires) begin(now time.Time, awaited bool) *fired {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &fired{at: now, awaited: awaited}
	f.owed = append(f.owed, s)
	f.last = now
	return s
}

// sent notes of which session a picture was asked. That must be read behind the asking.
func (f *fires) sent(s *fired, session uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.sent, s.session = true, session
}

// cancel takes back what couldn't be asked for.
func (f *fires) cancel(s *fired) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owed = slices.DeleteFunc(f.owed, func(o *fired) bool { return o == s })
}

// abandon notes that nobody waits for a picture any more. If it comes, it is nobody's.
func (f *fires) abandon(s *fired) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.awaited = false
}

// number is the Seq of a picture that was asked for, 0 before it has come.
func (f *fires) number(s *fired) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.seq
}

// bound is for how long a picture may be on its way that nobody waits for any more.
func (f *fires) bound(exposure time.Duration) time.Duration {
	longest := owedLeast
	for _, d := range f.took {
		longest = max(longest, 2*d)
	}
	return longest + 2*exposure
}

// settleLocked drops pictures that won't come: those of an earlier session, and those for
// which nobody waits after the time that they may take.
func (f *fires) settleLocked(now time.Time, session uint64, exposure time.Duration) {
	most := f.bound(exposure)
	f.owed = slices.DeleteFunc(f.owed, func(s *fired) bool {
		return s.sent && s.session != session || !s.awaited && now.Sub(s.at) > most
	})
}

// landed tells whose picture has come. It is called for each picture, by each station
// that takes them, in their order.
func (f *fires) landed(p *capture.Frame, session uint64, exposure time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Seq <= f.newest {
		return // another station had it before
	}
	f.newest = p.Seq
	f.settleLocked(p.Came, session, exposure)
	if len(f.owed) == 0 {
		if late := p.Came.Sub(f.last); late <= 2*f.bound(exposure) { // of one that was dropped too soon
			f.note(late)
		}
		return
	}
	s := f.owed[0]
	if !p.Came.After(s.at) || p.Timing >= vision.Stamped && p.Captured.Before(s.at.Add(-stampSlack)) {
		return // of one that was dropped
	}
	s.seq = p.Seq
	f.owed = f.owed[1:]
	f.note(p.Came.Sub(s.at))
	if f.less != nil {
		close(f.less)
		f.less = nil
	}
}

func (f *fires) note(took time.Duration) {
	if f.took = append(f.took, took); len(f.took) > owedTimes {
		f.took = f.took[1:]
	}
}

// clear waits until no picture is on its way.
func (f *fires) clear(ctx context.Context, source func() (session uint64, exposure time.Duration)) error {
	for {
		session, exposure := source()
		f.mu.Lock()
		f.settleLocked(time.Now(), session, exposure)
		if len(f.owed) == 0 {
			f.mu.Unlock()
			return nil
		}
		if f.less == nil {
			f.less = make(chan struct{})
		}
		less, again := f.less, time.NewTimer(f.bound(exposure))
		f.mu.Unlock()
		select {
		case <-less:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		}
		again.Stop()
	}
}
