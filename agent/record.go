package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/vision"
)

// Limits of what waits for the disk.
const (
	maxWaiting = 4096                   // decided parts of all stations, before they are told
	maxLate    = 10000                  // records of told parts that the disk still owes
	lateEvery  = time.Second            // between two tries to write those
	lateEnd    = 500 * time.Millisecond // for the last try when the agent ends
)

// recorder puts verdicts on disk before they are told. A verdict that isn't
// there by its station's deadline is told as NONE not_recorded; its record is
// written as soon as the disk takes it, and says what was told.
type recorder struct {
	journal *journal.Journal
	log     *slog.Logger
	tell    func(*Inspection) // called in the order of the decisions
	kept    func(*Inspection) // called once its record is on disk, behind tell; from two goroutines

	order   sync.Mutex // makes append and queue one step
	waiting chan *entry
	rest    chan job // of run
	late    chan *entry

	commit atomic.Int64 // how long the disk takes at its slowest of late, nanoseconds; see reserve
	open   atomic.Int64 // decided and not told
	oldest atomic.Int64 // first deadline of what waits to be told, nanoseconds since 1970; 0: nothing does

	mu    sync.Mutex // protects stats
	stats RecorderStats
}

// RecorderStats count what the disk did to verdicts.
type RecorderStats struct {
	Told    uint64 // verdicts told
	Late    uint64 // of them, those not on disk by the deadline
	Owed    uint64 // records that still wait for the disk
	Lost    uint64 // records given up: too many waited, or the agent ended
	Full    bool   // the last append found the disk full
	LastErr string
}

// entry is an inspection with its record under way.
type entry struct {
	*Inspection
	pending *journal.Pending
	given   time.Time // to the disk: its decision may be older, where the large model looked
}

func newRecorder(j *journal.Journal, log *slog.Logger, tell, kept func(*Inspection)) *recorder {
	return &recorder{journal: j, log: log, tell: tell, kept: kept, waiting: make(chan *entry, maxWaiting), rest: make(chan job, maxWaiting), late: make(chan *entry, maxLate)}
}

// decided takes a decision. It blocks only when thousands wait already.
// The order of the journal is the order of telling, over all stations.
func (r *recorder) decided(i *Inspection) {
	r.order.Lock()
	defer r.order.Unlock()
	r.open.Add(1)
	given := time.Now()
	r.waiting <- &entry{Inspection: i, pending: r.journal.Append(i.record(nil)), given: given}
}

// close ends run once all that was decided is told.
func (r *recorder) close() { close(r.waiting) }

// run tells what decided took, each by its deadline, until close. The order is that
// of the decisions, except that one whose deadline comes while the disk still
// works at those before it is told then.
func (r *recorder) run() error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.runRest()
	}()
	defer func() {
		close(r.rest)
		<-ended
		close(r.late)
	}()
	var order []*entry
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	in := r.waiting
	for in != nil || len(order) > 0 {
		var done <-chan struct{}
		r.oldest.Store(0)
		if len(order) > 0 {
			done = order[0].pending.Done()
			by := earliest(order)
			timer.Reset(time.Until(by))
			r.oldest.Store(by.UnixNano())
		}
		select {
		case <-done:
			order = r.settleFirst(order)
			continue
		default:
		}
		select {
		case e, ok := <-in:
			if !ok {
				in = nil
				continue
			}
			if r.oldest.Load() == 0 {
				r.oldest.Store(e.by().UnixNano())
			}
			if e.ask == nil {
				r.rest <- job{entry: e} // while the disk works
			}
			order = append(order, e)
		case <-done:
			order = r.settleFirst(order)
		case <-timer.C:
			order = r.settleOverdue(order, time.Now())
		}
	}
	return nil
}

// How much of a deadline is kept for the disk.
const (
	commitFades  = 32 // a slow commit counts less and less over so many that follow
	leastReserve = 5  // at least the fifth part of it, up to mostIdle
	mostReserve  = 2  // at most the half of it
	mostIdle     = 20 * time.Millisecond
)

// reserve is how much of a deadline is kept for the disk, by what that takes of late.
func (r *recorder) reserve(deadline time.Duration) time.Duration {
	least := min(mostIdle, deadline/leastReserve)
	return min(max(least, time.Duration(r.commit.Load())*3/2), deadline/mostReserve)
}

// earliest is the first deadline of those that wait.
func earliest(order []*entry) time.Time {
	first := order[0].by()
	for _, e := range order[1:] {
		if by := e.by(); by.Before(first) {
			first = by
		}
	}
	return first
}

func (r *recorder) settleFirst(order []*entry) []*entry {
	took := time.Since(order[0].given)
	r.commit.Store(max(int64(took), r.commit.Load()-r.commit.Load()/commitFades))
	r.settle(order[0], r.outcome(order[0]))
	return slices.Delete(order, 0, 1) // no hold on what was told
}

// settleOverdue tells those whose deadline has come. The disk may have taken one of
// them this very moment.
func (r *recorder) settleOverdue(order []*entry, now time.Time) []*entry {
	return slices.DeleteFunc(order, func(e *entry) bool {
		if now.Before(e.by()) {
			return false
		}
		recorded := false
		select {
		case <-e.pending.Done():
			recorded = r.outcome(e)
		default:
		}
		r.settle(e, recorded)
		return true
	})
}

// settle tells a verdict, which is on disk or isn't.
func (r *recorder) settle(e *entry, recorded bool) {
	if !recorded && !e.station.cfg.Allow {
		e.Told = vision.Decision{Verdict: vision.None, Reason: vision.ReasonNotRecorded}
	}
	if e.ask != nil { // somebody stands at the door
		e.ask.answered(e.Inspection)
	}
	r.rest <- job{e, true, recorded}
}

// job is what is to be done beside the deadlines: first an entry's picture, then its
// telling.
type job struct {
	*entry
	settled, recorded bool
}

// runRest makes pictures and lets everybody hear of verdicts, in order, so that none of
// that keeps the next one from its deadline.
func (r *recorder) runRest() {
	for j := range r.rest {
		j.render()
		if !j.settled {
			continue
		}
		r.count(func(s *RecorderStats) {
			s.Told++
			if !j.recorded {
				s.Late++
			}
		})
		r.open.Add(-1)
		r.tell(j.Inspection)
		if j.recorded {
			r.kept(j.Inspection)
		} else {
			r.owe(j.entry)
		}
	}
}

// backlog is how many are decided and not told.
func (r *recorder) backlog() int64 { return r.open.Load() }

// outcome notes how the append ended.
func (r *recorder) outcome(e *entry) bool {
	seq, err := e.pending.Result()
	r.count(func(s *RecorderStats) {
		s.Full = errors.Is(err, journal.ErrFull)
		if err != nil {
			s.LastErr = err.Error()
		}
	})
	if err != nil {
		return false
	}
	e.Seq = seq
	return true
}

func (r *recorder) owe(e *entry) {
	select {
	case r.late <- e:
		r.count(func(s *RecorderStats) { s.Owed++ })
	default:
		r.count(func(s *RecorderStats) { s.Lost++ })
		r.log.Error("record given up, too many wait for the disk", "part", e.Part.ID, "told", e.Told.Verdict)
	}
}

// runLate writes the records that the disk owes, in order, until run has ended
// and nothing is owed, or lateEnd after ctx is done.
func (r *recorder) runLate(ctx context.Context) error {
	end, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lateEnd, cancel) })()
	for e := range r.late {
		if r.pay(end, e) {
			r.count(func(s *RecorderStats) { s.Owed-- })
			r.kept(e.Inspection)
			continue
		}
		r.count(func(s *RecorderStats) { s.Owed--; s.Lost++ })
		r.log.Error("record given up, the agent ends and the disk doesn't take it", "part", e.Part.ID, "told", e.Told.Verdict)
	}
	return nil
}

// pay brings one record to the disk, with what was told, until end. A record
// is only written anew when it is certain that the last attempt didn't.
func (r *recorder) pay(end context.Context, e *entry) bool {
	wait := func(p *journal.Pending) (uint64, error) {
		select {
		case <-p.Done():
			return p.Result()
		default:
		}
		select {
		case <-p.Done():
			return p.Result()
		case <-end.Done():
			return 0, end.Err()
		}
	}
	// The first append may have reached the disk after the deadline.
	seq, err := wait(e.pending)
	if err == nil {
		if e.station.cfg.Allow {
			return true
		}
		_, err = wait(r.journal.Amend(seq, e.amendment(seq)))
	}
	for tries := 0; err != nil; tries++ {
		if end.Err() != nil {
			return false
		}
		r.count(func(s *RecorderStats) { s.Full, s.LastErr = errors.Is(err, journal.ErrFull), err.Error() })
		if tries > 0 { // the error may be as old as the verdict: there may be room by now
			select {
			case <-time.After(lateEvery):
			case <-end.Done():
				return false
			}
		}
		if seq != 0 {
			_, err = wait(r.journal.Amend(seq, e.amendment(seq)))
		} else {
			_, err = wait(r.journal.Append(e.record(&e.Told)))
		}
	}
	r.count(func(s *RecorderStats) { s.Full = false })
	return true
}

func (r *recorder) count(f func(*RecorderStats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

// Stats are the current figures.
func (r *recorder) Stats() RecorderStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}
