package main

import (
	"context"
	"fmt"
)

// p15 measures a cold start.
func p15() Figure {
	return Figure{
		ID:   "P15",
		What: "from the command to what it says of its first frame, s ÷ the same of P14's script",
		Goal: "<= 0.25",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			return bottleContest(ctx, env, "P15", func(c *contest) ([]Row, error) {
				if err := c.cutFirst(ctx); err != nil {
					return nil, err
				}
				for _, side := range [2]int{agentSide, scriptSide} { // what is read from the disk the first time
					if _, err := c.starts(side)(ctx); err != nil {
						return nil, fmt.Errorf("P15, before the first round: %w", err)
					}
				}
				row, err := env.Compare(ctx, Row{ID: "P15", Goal: "<= 0.25",
					What: "YOLOX-nano, a recording of one frame of 640×360, all files in the kernel's cache: from the command to the line that says what was seen, s ÷ the script's"},
					c.starts(agentSide), c.starts(scriptSide))
				return []Row{row}, err
			})
		},
	}
}

// starts is a turn over the first frame.
func (c *contest) starts(side int) Turn {
	return func(ctx context.Context) (Sample, error) {
		r, err := c.turn(ctx, side, c.first)
		if err == nil && (r.frames != 1 || r.said <= 0) {
			err = fmt.Errorf("it says that it saw %d frames, and not when", r.frames)
		}
		return Sample{Value: r.said.Seconds()}, err
	}
}
