package sched

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// old is an ask whose newest frame is always that old.
func old(m *Model, age time.Duration) Ask {
	return Ask{Model: m, Newest: func() (time.Time, bool) { return time.Now().Add(-age), true }}
}

// still is an ask for one frame, captured now.
func still(m *Model) Ask {
	captured := time.Now()
	return Ask{Model: m, Newest: func() (time.Time, bool) { return captured, true }}
}

// ran has the model run n times for d each.
func ran(t *testing.T, s *Scheduler, m *Model, n int, d time.Duration) {
	t.Helper()
	st := s.Join(StreamConfig{Name: "warm"})
	defer st.Leave()
	for range n {
		turn := must(t, st, old(m, 0))
		time.Sleep(d)
		turn.Done(true)
	}
}

func must(t *testing.T, st *Stream, a Ask) *Turn {
	t.Helper()
	turn, err := st.Take(t.Context(), a)
	if err != nil {
		t.Fatalf("stream %s: %v", st.Name(), err)
	}
	return turn
}

// taken is the outcome of a Take that runs beside the test.
type taken struct {
	turn  *Turn
	err   error
	after time.Duration
}

// take asks beside the test and returns once Take waits or has answered.
func take(st *Stream, ctx context.Context, a Ask) <-chan taken {
	out, since := make(chan taken, 1), time.Now()
	go func() {
		turn, err := st.Take(ctx, a)
		out <- taken{turn, err, time.Since(since)}
	}()
	synctest.Wait()
	return out
}

func waits(t *testing.T, what string, c <-chan taken) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-c:
		t.Fatalf("%s doesn't wait: %v", what, got.err)
	default:
	}
}

func TestAdmission(t *testing.T) {
	bubble(t, "unknown cost", func(t *testing.T) {
		s := New(Config{})
		a := still(s.Model("m"))
		a.Deadline = time.Now().Add(1)
		must(t, s.Join(StreamConfig{}), a).Done(true)
		a.Deadline = time.Now().Add(-1)
		if _, err := s.Join(StreamConfig{}).Take(t.Context(), a); err != ErrLate {
			t.Errorf("after the deadline: %v", err)
		}
	})
	bubble(t, "at once", func(t *testing.T) {
		s := New(Config{})
		m := s.Model("m")
		ran(t, s, m, 10, 20*time.Millisecond)
		a, st := still(m), s.Join(StreamConfig{})
		a.Deadline = time.Now().Add(20 * time.Millisecond)
		must(t, st, a).Done(false)
		a.Deadline = time.Now().Add(20*time.Millisecond - 1)
		if _, err := st.Take(t.Context(), a); err != ErrLate {
			t.Errorf("a deadline before the end: %v", err)
		}
		a = old(m, 30*time.Millisecond)
		a.MaxAge = 50 * time.Millisecond
		must(t, st, a).Done(false)
		a.MaxAge--
		if _, err := st.Take(t.Context(), a); err != ErrStale {
			t.Errorf("too old at the end: %v", err)
		}
		a.Newest = func() (time.Time, bool) { return time.Time{}, false }
		if _, err := st.Take(t.Context(), a); err != ErrStale {
			t.Errorf("no frame: %v", err)
		}
		got := st.Stats()
		if got.Grants != 2 || got.Failed != 2 || got.RefusedLate != 1 || got.RefusedStale != 1 || got.Gone != 1 {
			t.Errorf("%+v", got)
		}
	})
	// Nothing happens but that time passes.
	bubble(t, "while it waits", func(t *testing.T) {
		s := New(Config{})
		m := s.Model("m")
		ran(t, s, m, 10, 20*time.Millisecond)
		holds := must(t, s.Join(StreamConfig{}), old(m, 0))
		a := still(m)
		a.Deadline = time.Now().Add(100 * time.Millisecond)
		late := take(s.Join(StreamConfig{}), t.Context(), a)
		a = still(m)
		a.MaxAge = 200 * time.Millisecond
		stale := take(s.Join(StreamConfig{}), t.Context(), a)
		if got := <-late; got.err != ErrLate || got.after != 80*time.Millisecond+1 {
			t.Errorf("%v after %v, want late after 80ms and a bit", got.err, got.after)
		}
		if got := <-stale; got.err != ErrStale || got.after != 180*time.Millisecond+1 {
			t.Errorf("%v after %v, want stale after 180ms and a bit", got.err, got.after)
		}
		holds.Done(true)
	})
}

func TestResultsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		st := s.Join(StreamConfig{})
		run := func(a Ask, d time.Duration, ok bool) {
			turn := must(t, st, a)
			time.Sleep(d)
			turn.Done(ok)
		}
		m := s.Model("m")
		a := still(m)
		a.Deadline = time.Now().Add(10 * time.Millisecond)
		run(a, 20*time.Millisecond, true)
		a = still(s.Model("other"))
		a.MaxAge = 10 * time.Millisecond
		run(a, 30*time.Millisecond, true)
		run(still(m), 40*time.Millisecond, false)
		run(still(m), 50*time.Millisecond, true)
		want := Stats{Grants: 4, InTime: 1, Late: 2, Failed: 1, Busy: 140 * time.Millisecond, BusyInTime: 50 * time.Millisecond}
		if got := st.Stats(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		st.Leave()
		if got := s.Stats(); got != want {
			t.Errorf("in all %+v, want %+v", got, want)
		}
		if m.Runs() != 2 || m.P99() != 50*time.Millisecond {
			t.Errorf("%d runs, %v: the failed run counts, or the first", m.Runs(), m.P99())
		}
	})
}

// An estimate that has become too high doesn't shut the model out for ever.
func TestProbe(t *testing.T) {
	bubble(t, "recovers", func(t *testing.T) {
		s := New(Config{})
		m, st := s.Model("m"), s.Join(StreamConfig{})
		ran(t, s, m, window, time.Second) // as a throttled accelerator would
		start, tried := time.Now(), 0
		for time.Since(start) < 10*time.Second {
			a := still(m)
			a.Deadline = time.Now().Add(100 * time.Millisecond)
			turn, err := st.Take(t.Context(), a)
			if err == nil {
				time.Sleep(20 * time.Millisecond)
				turn.Done(true)
			} else if tried++; err != ErrLate {
				t.Fatal(err)
			}
			time.Sleep(80 * time.Millisecond)
		}
		if got := st.Stats(); tried != 25 || got.InTime < 79 || m.P99() != 20*time.Millisecond {
			t.Errorf("%d refused before the first run, %+v, p99 %v", tried, got, m.P99())
		}
	})
	bubble(t, "a slow model is tried every 2 s", func(t *testing.T) {
		s := New(Config{})
		m, st := s.Model("m"), s.Join(StreamConfig{})
		ran(t, s, m, 10, time.Second)
		start := time.Now()
		for time.Since(start) < 31*time.Second {
			a := still(m)
			a.Deadline = time.Now().Add(100 * time.Millisecond)
			if turn, err := st.Take(t.Context(), a); err == nil {
				time.Sleep(time.Second)
				turn.Done(true)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := st.Stats(); got.Grants < 8 || got.Grants > 10 || got.Late != got.Grants || m.P99() != time.Second {
			t.Errorf("%+v, p99 %v", got, m.P99())
		}
	})
	bubble(t, "not against a critical deadline", func(t *testing.T) {
		s := New(Config{})
		m, fast := s.Model("m"), s.Model("fast")
		ran(t, s, m, 10, time.Second)
		ran(t, s, fast, 10, 10*time.Millisecond)
		critical, st := s.Join(StreamConfig{Class: Critical}), s.Join(StreamConfig{Class: Critical})
		for range 60 {
			a := still(fast)
			a.MaxAge = 50 * time.Millisecond
			turn := must(t, critical, a)
			time.Sleep(10 * time.Millisecond)
			turn.Done(true)
			a = still(m)
			a.Deadline = time.Now().Add(30 * time.Millisecond)
			if _, err := st.Take(t.Context(), a); err != ErrLate {
				t.Fatal("a model of 1 s was started before a critical frame: ", err)
			}
			time.Sleep(100*time.Millisecond - time.Since(turn.Captured))
		}
	})
}

func TestCancelAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		m := s.Model("m")
		first := s.Join(StreamConfig{})
		turn := must(t, first, old(m, 0))
		ctx, cancel := context.WithCancel(t.Context())
		st := s.Join(StreamConfig{})
		canceled, left := take(st, ctx, old(m, 0)), take(s.Join(StreamConfig{}), t.Context(), old(m, 0))
		leaving := s.Join(StreamConfig{Class: Critical})
		gone := take(leaving, t.Context(), old(m, 0))
		waits(t, "a third", left)
		cancel()
		if got := <-canceled; got.err != context.Canceled {
			t.Error(got.err)
		}
		leaving.Leave()
		leaving.Leave()
		if got := <-gone; got.err != ErrLeft {
			t.Error(got.err)
		}
		if _, err := leaving.Take(t.Context(), old(m, 0)); err != ErrLeft {
			t.Error(err)
		}
		if _, err := st.Take(ctx, old(m, 0)); err != context.Canceled {
			t.Error(err)
		}
		first.Leave() // its turn goes on
		waits(t, "the last", left)
		turn.Done(true)
		got := <-left
		if got.err != nil {
			t.Error(got.err)
		}
		got.turn.Done(true)
		if sum := s.Stats(); sum.Waiting != 0 || sum.Holding != 0 || sum.Grants != 2 || st.Stats().Waiting != 0 {
			t.Errorf("%+v", sum)
		}
	})
}

func TestMisuse(t *testing.T) {
	s := New(Config{})
	st := s.Join(StreamConfig{Name: "left"})
	turn := must(t, st, old(s.Model("m"), 0))
	turn.Done(true)
	for want, f := range map[string]func(){
		"BUG: sched: Done called twice for a turn of stream left": func() { turn.Done(true) },
		"BUG: sched: an Ask without a Model or without Newest":    func() { _, _ = st.Take(t.Context(), Ask{}) },
		"BUG: sched: model o belongs to another scheduler": func() {
			_, _ = st.Take(t.Context(), old(New(Config{}).Model("o"), 0))
		},
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("%v, want %s", got, want)
				}
			}()
			f()
		}()
	}
	must(t, st, old(s.Model("m"), 0)).Done(true) // and no lock is held
}

func TestProgress(t *testing.T) {
	s := New(Config{})
	st, last := s.Join(StreamConfig{}), s.Progress()
	grew := func(what string) {
		t.Helper()
		now := s.Progress()
		if now <= last {
			t.Errorf("%s is no progress", what)
		}
		last = now
	}
	turn := must(t, st, old(s.Model("m"), 0))
	grew("Take")
	turn.Done(true)
	grew("Done")
}
