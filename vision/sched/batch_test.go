package sched

import (
	"testing"
	"testing/synctest"
	"time"
)

// batching is a model whose runs on 1, 2 and 4 frames take 10, 12 and 16 ms.
func batching(s *Scheduler, name string) *Model {
	m := s.Model(name)
	m.Batches([]time.Duration{10 * time.Millisecond, 12 * time.Millisecond, 16 * time.Millisecond})
	return m
}

// TestBatch: who waits for the same model when that is free has a turn at once, as many
// as fit, in the order in which they would be served; nobody else.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		m := batching(s, "a")
		first := must(t, s.Join(StreamConfig{Name: "first"}), old(m, 0))
		if _, of := first.Batch(); of != 1 {
			t.Errorf("a turn that nobody else waits for is one of %d", of)
		}
		guest := old(m, 0)
		guest.Yields = true
		other := take(s.Join(StreamConfig{Name: "other model"}), t.Context(), old(s.Model("b"), 0))
		guests := take(s.Join(StreamConfig{Class: Critical}), t.Context(), guest)
		var waiting [6]<-chan taken
		for n, class := range []Class{BestEffort, Normal, Normal, Critical, Normal, Normal} {
			waiting[n] = take(s.Join(StreamConfig{Class: class, Width: 2}), t.Context(), old(m, 0))
		}
		first.Done(true)
		synctest.Wait()
		var turns []*Turn
		for n, c := range waiting {
			if had := len(c) == 1; had != (n >= 1 && n <= 4) {
				t.Errorf("stream %d has a turn: %v", n, had)
			}
			if len(c) == 1 {
				turns = append(turns, (<-c).turn)
			}
		}
		id, _ := turns[0].Batch()
		for _, turn := range turns {
			if now, of := turn.Batch(); now != id || of != 4 {
				t.Errorf("a turn of run %d, of %d; another one of run %d", now, of, id)
			}
		}
		if len(other) != 0 || len(guests) != 0 {
			t.Error("another model, or a guest, is part of the run")
		}
		time.Sleep(16 * time.Millisecond)
		for _, turn := range turns {
			turn.Done(true)
		}
		for _, c := range []<-chan taken{other, waiting[5], waiting[0], guests} {
			turn := (<-c).turn
			time.Sleep(time.Millisecond)
			turn.Done(true)
		}
		if st := s.Stats(); st.InTime != 9 || st.Shared != 6 {
			t.Errorf("%d turns in time, %d together with others", st.InTime, st.Shared)
		}
	})
}

// TestBatchTakesOneTimeSlot: what follows a batch is reckoned from its end, once.
func TestBatchTakesOneTimeSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		m := batching(s, "a")
		ran(t, s, m, 4, 16*time.Millisecond)
		first := must(t, s.Join(StreamConfig{}), old(m, 0))
		var all [3]<-chan taken
		for n := range all {
			all[n] = take(s.Join(StreamConfig{}), t.Context(), old(m, 0))
		}
		first.Done(true)
		now := time.Now()
		s.mu.Lock()
		if until := m.until(now); until.Sub(now) != 16*time.Millisecond {
			t.Errorf("three turns of one run take %v", until.Sub(now))
		}
		s.mu.Unlock()
		for _, c := range all {
			(<-c).turn.Done(true)
		}
	})
}

// TestBatchTooLong: where a run on several frames can't be in time for somebody, and a
// smaller one can, the runs are made smaller, and what they take is reckoned so; a minute
// later they are tried again, but not with who would be late by that.
func TestBatchTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		m := batching(s, "a")
		ran(t, s, m, 4, 16*time.Millisecond)
		st := s.Join(StreamConfig{})
		ask := func(within time.Duration, yields bool) error {
			a := old(m, 0)
			a.Deadline, a.Yields = time.Now().Add(within), yields
			turn, err := st.Take(t.Context(), a)
			if err == nil {
				turn.Done(true)
			}
			return err
		}
		if err := ask(time.Millisecond, false); err != ErrLate || m.level != 2 {
			t.Errorf("by a deadline that no run meets, runs are on %d frames: %v", 1<<m.level, err)
		}
		if err := ask(14*time.Millisecond, true); err != ErrLate || m.level != 2 {
			t.Errorf("for a guest runs are on %d frames: %v", 1<<m.level, err)
		}
		if err := ask(14*time.Millisecond, false); err != nil || m.level != 1 {
			t.Fatalf("by a deadline of 14 ms runs are on %d frames: %v", 1<<m.level, err)
		}
		if m.P99() > 12*time.Millisecond {
			t.Errorf("a run on two frames is thought to take %v", m.P99())
		}
		time.Sleep(growAfter + time.Second)
		if err := ask(14*time.Millisecond, false); err != nil || m.level != 1 {
			t.Errorf("a minute later runs are on %d frames for who would be late by that: %v", 1<<m.level, err)
		}
		if err := ask(time.Second, false); err != nil || m.level != 2 {
			t.Errorf("a minute later runs are on %d frames: %v", 1<<m.level, err)
		}
		// Who only waited for long is no reason.
		first := must(t, st, old(m, 0))
		a := old(m, 0)
		a.Deadline = time.Now().Add(20 * time.Millisecond)
		late := take(s.Join(StreamConfig{}), t.Context(), a)
		time.Sleep(30 * time.Millisecond)
		if got := <-late; got.err != ErrLate || m.level != 2 {
			t.Errorf("runs on %d frames after %v", 1<<m.level, got.err)
		}
		first.Done(true)
	})
}

// TestBatchCountsOnce: what a run took is recorded once, and shared out among its turns.
func TestBatchCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		m := batching(s, "a")
		ran(t, s, m, 4, 16*time.Millisecond)
		before := m.Runs()
		first := must(t, s.Join(StreamConfig{}), old(m, 0))
		var all [4]<-chan taken
		var streams [4]*Stream
		for n := range all {
			streams[n] = s.Join(StreamConfig{})
			all[n] = take(streams[n], t.Context(), old(m, 0))
		}
		first.Done(false)
		time.Sleep(2 * time.Second) // it hung, which is believed when it is so three times in a row
		for _, c := range all {
			(<-c).turn.Done(true)
		}
		if m.Runs() != before || m.P99() != 16*time.Millisecond {
			t.Errorf("%d runs more, p99 %v", m.Runs()-before, m.P99())
		}
		if busy := streams[0].Stats().Busy; busy != 500*time.Millisecond {
			t.Errorf("a quarter of 2 s is %v", busy)
		}
	})
}

// TestBatchesChange: a worker that comes back with other times keeps how many frames its
// runs look at, as far as it can; without, each has its own.
func TestBatchesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		m := s.Model("a")
		ran(t, s, m, 4, 10*time.Millisecond)
		for n, c := range []struct {
			takes []time.Duration
			level int
			p99   time.Duration
		}{{[]time.Duration{10, 12, 16}, 2, 16 * time.Millisecond}, {[]time.Duration{10, 12, 20}, 2, 16 * time.Millisecond},
			{[]time.Duration{10, 12}, 1, 9600 * time.Microsecond}, {nil, 0, 8 * time.Millisecond}} {
			m.Batches(c.takes)
			if d := m.P99() - c.p99; m.level != c.level || d < -time.Microsecond || d > time.Microsecond {
				t.Errorf("%d: runs on %d frames, p99 %v", n, 1<<m.level, m.P99())
			}
		}
	})
}
