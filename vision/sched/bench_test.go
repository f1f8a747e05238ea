package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// What a decision costs: Take and Done of one stream, alone, and with others that
// wait and are looked at in every decision.
func BenchmarkTake(b *testing.B) {
	for _, waiting := range []int{0, 8, 32} {
		for _, critical := range []bool{false, true} {
			b.Run(fmt.Sprintf("waiting=%d,critical=%t", waiting, critical), func(b *testing.B) {
				s := New(Config{Slots: 2})
				st := s.Join(StreamConfig{})
				m, other := s.Model("m"), s.Model("other")
				r := rand.New(rand.NewPCG(1, 2))
				for range window {
					m.record(time.Duration(r.IntN(1000)))
				}
				blocker, err := s.Join(StreamConfig{}).Take(b.Context(), old(other, 0))
				if err != nil {
					b.Fatal(err)
				}
				if critical {
					c := s.Join(StreamConfig{Class: Critical})
					c.rhythm = rhythm{asked: time.Now().Add(time.Hour), seen: time.Now(), model: m, budget: time.Second, period: time.Second}
				}
				for range waiting { // for the model that is busy
					w := &waiter{stream: s.Join(StreamConfig{Class: BestEffort}), ask: old(other, 0)}
					s.mu.Lock()
					w.stream.asksLocked(w, time.Now())
					s.mu.Unlock()
				}
				a := old(m, 0)
				b.ReportAllocs()
				for b.Loop() {
					turn, err := st.Take(b.Context(), a)
					if err != nil {
						b.Fatal(err)
					}
					turn.Done(true)
				}
				blocker.Done(true)
			})
		}
	}
}
