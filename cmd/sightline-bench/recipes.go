package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// What a changeover is measured with.
const (
	recipeSwitches = 200
	recipeRounds   = 5
	recipeLimit    = 20.0 // ms, p99
)

// recipes measures a changeover between two recipes that are kept loaded.
func recipes() Figure {
	return Figure{
		ID:   "recipe",
		What: "PUT of a recipe that is kept loaded, p99 ms ÷ the 20 ms that are allowed",
		Goal: "<= 1",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			return withLine(ctx, env, func(b *lineCell) (rows []Row, err error) {
				quiet, err := b.switches(ctx)
				if err != nil {
					return nil, err
				}
				rows = append(rows, b.recipeRows("recipe/quiet", "no trigger under way", "asking which recipe is active", quiet, quiet.get)...)
				var trips []float64
				triggers := startTasks(ctx, func(ctx context.Context) error { return b.fire(ctx, &trips) })
				busy, err := b.switches(ctx)
				if err = errors.Join(err, triggers.end()); err != nil {
					return rows, err
				}
				return append(rows, b.recipeRows("recipe/triggers", fmt.Sprintf("a trigger always under way, which the former recipe still answers (it waits for a picture of a camera of %g/s)", doorRate),
					"such a trigger and its answer", busy, trips)...), nil
			})
		},
	}
}

// changes are ms of each changeover and of asking which recipe is active, and each
// round's p99 of the first.
type changes struct{ put, get, rounds []float64 }

// switches changes over again and again.
func (b *lineCell) switches(ctx context.Context) (c changes, err error) {
	const path = "/v1/stations/line/recipe"
	var echo struct{ Recipe string }
	for n := range recipeSwitches {
		get, err := took(func() error { return b.agent.ask(ctx, path, &echo) })
		if err != nil {
			return c, err
		}
		want := map[string]string{"blue": "red", "red": "blue"}[echo.Recipe]
		put, err := took(func() error {
			return b.agent.send(ctx, http.MethodPut, path, fmt.Sprintf(`{"recipe": %q}`, want), &echo)
		})
		if err == nil && echo.Recipe != want {
			err = fmt.Errorf("the recipe is %q, want %q", echo.Recipe, want)
		}
		if err != nil {
			return c, fmt.Errorf("changeover %d: %w", n, err)
		}
		c.put, c.get = append(c.put, put), append(c.get, get)
		if size := recipeSwitches / recipeRounds; len(c.put)%size == 0 {
			c.rounds = append(c.rounds, quantile(c.put[len(c.put)-size:], 0.99))
		}
	}
	return c, nil
}

// fire triggers, one after the other, until ctx ends, and notes the ms of each.
func (b *lineCell) fire(ctx context.Context, trips *[]float64) error {
	for {
		var a struct{ Verdict, Reason string }
		ms, err := took(func() error { return b.agent.send(ctx, http.MethodPost, "/v1/stations/line/trigger", `{}`, &a) })
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		*trips = append(*trips, ms)
	}
}

// recipeRows sets changeovers against what is allowed, and against beside.
func (b *lineCell) recipeRows(id, what, beside string, c changes, bare []float64) []Row {
	p99, worst := quantile(c.put, 0.99), quantile(c.rounds, 1)
	bareP99 := quantile(bare, 0.99)
	noise := bareP99 / quantile(bare, 0.5)
	what = fmt.Sprintf("PUT of the other of two recipes that are kept loaded, %s, %d changeovers, the choice written to disk (median %.1f ms): p99 ms ÷ ", what, len(c.put), quantile(c.put, 0.5))
	return []Row{
		measured(b.env, Row{ID: id, Goal: "<= 1", What: what + "the 20 ms that are allowed; worst of five rounds"}, p99, recipeLimit, worst/recipeLimit, noise),
		measured(b.env, Row{ID: id + "-bare", Goal: "told", What: what + "that of " + beside}, p99, bareP99, worst/bareP99, noise),
	}
}
