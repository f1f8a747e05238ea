package sched

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// camera is a station with one camera in simulated time: it asks for its newest
// frame as soon as there is one, runs the model, and asks again. The camera itself
// is arithmetic: frame k is there at first + k*period.
type camera struct {
	stream *Stream
	model  *Model
	first  time.Time
	period time.Duration
	jitter time.Duration // of every frame's time
	cost   func() time.Duration
	maxAge time.Duration

	taken  int // the last frame that a turn was for, or that was refused
	ages   []time.Duration
	inTime int // results
	missed int // results that were too old, and refusals
	frames int // that were captured while it ran
}

// captured is when frame k is there. Its jitter is always the same for k.
func (c *camera) captured(k int) time.Time {
	at := c.first.Add(time.Duration(k) * c.period)
	if c.jitter > 0 {
		at = at.Add(time.Duration(uint64(k) * 0x9e3779b97f4a7c15 % uint64(c.jitter)))
	}
	return at
}

func (c *camera) newestAt(now time.Time) int {
	k := int(now.Sub(c.first) / c.period)
	if now.Before(c.captured(k)) {
		k--
	}
	return k
}

func (c *camera) run(ctx context.Context) {
	c.taken = -1
	for ctx.Err() == nil {
		now := time.Now()
		if k := max(c.newestAt(now), c.taken) + 1; c.newestAt(now) <= c.taken {
			time.Sleep(c.captured(k).Sub(now))
		}
		seen := 0
		turn, err := c.stream.Take(ctx, Ask{Model: c.model, MaxAge: c.maxAge, Newest: func() (time.Time, bool) {
			seen = c.newestAt(time.Now())
			return c.captured(seen), seen > c.taken
		}})
		if errors.Is(err, ErrStale) {
			c.taken = max(c.taken, seen)
			c.missed++
			continue
		}
		if err != nil {
			break
		}
		c.taken = seen
		time.Sleep(c.cost())
		turn.Done(true)
		age := time.Since(turn.Captured)
		c.ages = append(c.ages, age)
		if c.maxAge == 0 || age <= c.maxAge {
			c.inTime++
		} else {
			c.missed++
		}
	}
	c.frames = c.newestAt(time.Now()) + 1
}

// around gives costs around d: mostly within 10 %, 1 in 200 half as long again.
func around(r *rand.Rand, d time.Duration) func() time.Duration {
	return func() time.Duration {
		if r.IntN(200) == 0 {
			return d * 3 / 2
		}
		return d*9/10 + time.Duration(r.Int64N(int64(d/5)))
	}
}

func runAll(d time.Duration, cameras []*camera) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range cameras {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
}

// jain is 1 where all have the same, 1/n where one has all.
func jain(x []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range x {
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(x)) * squares)
}

func grants(cameras []*camera) []float64 {
	var x []float64
	for _, c := range cameras {
		x = append(x, float64(c.stream.Stats().Grants))
	}
	return x
}

func quantile(q float64, d []float64) float64 {
	d = slices.Sorted(slices.Values(d))
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

// inTime runs f in simulated time, once for each way to pick.
func inTime(t *testing.T, f func(*testing.T, Pick)) {
	for _, p := range []Pick{ByCount, ByRecency} {
		t.Run([]string{"count", "recency"}[p], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, p) })
		})
	}
}
