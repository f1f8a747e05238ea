package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision/sched"
)

// Spare runs look, which is one run of the model of that digest, in a turn that the
// stations leave over: behind every frame that waits. What it takes says nothing about
// the model's frames.
func (a *Agent) Spare(ctx context.Context, model string, look func(context.Context) error) error {
	stream := a.sched.Join(sched.StreamConfig{Name: "spare", Class: sched.BestEffort})
	defer stream.Leave()
	turn, err := stream.Take(ctx, sched.Ask{Model: a.sched.Model(model), Alone: true, Newest: func() (time.Time, bool) { return time.Now(), true }})
	if err != nil {
		return fmt.Errorf("wait for a turn that nobody needs: %w", err)
	}
	defer turn.Done(false)
	return look(ctx)
}

// Sampled says what a sample of the golden pictures of a station's bundle was like:
// why it isn't as recorded, or "".
func (a *Agent) Sampled(station, why string) {
	a.set(health.GoldenDiffers, station, why != "", why)
}
