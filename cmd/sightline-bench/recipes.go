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
				rows = append(rows, b.recipeRows("recipe/quiet", "no trigger under way", quiet)...)
				triggers := startTasks(ctx, b.fire)
				busy, err := b.switches(ctx)
				if err = errors.Join(err, triggers.end()); err != nil {
					return rows, err
				}
				return append(rows, b.recipeRows("recipe/triggers", fmt.Sprintf("a trigger always under way, which the former recipe still answers (it waits for a picture of a camera of %g/s)", doorRate), busy)...), nil
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

// fire triggers, one after the other, until ctx ends.
func (b *lineCell) fire(ctx context.Context) error {
	for ctx.Err() == nil {
		var a struct{ Verdict, Reason string }
		if err := b.agent.send(ctx, http.MethodPost, "/v1/stations/line/trigger", `{}`, &a); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (b *lineCell) recipeRows(id, what string, c changes) []Row {
	p99 := quantile(c.put, 0.99)
	noise := quantile(c.get, 0.99) / quantile(c.get, 0.5)
	what = fmt.Sprintf("PUT of the other of two recipes that are kept loaded, %s, %d changeovers, the choice written to disk (median %.1f ms): p99 ms ÷ ", what, len(c.put), quantile(c.put, 0.5))
	return []Row{
		measured(b.env, Row{ID: id, Goal: "<= 1", What: what + "the 20 ms that are allowed; worst of five rounds"}, p99, recipeLimit, quantile(c.rounds, 1)/recipeLimit, noise),
		measured(b.env, Row{ID: id + "-get", Goal: "told", What: what + "that of asking which recipe is active"}, p99, quantile(c.get, 0.99), quantile(c.rounds, 1)/quantile(c.get, 0.99), noise),
	}
}
