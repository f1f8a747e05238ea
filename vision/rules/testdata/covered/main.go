// Command covered is a rule of one's own, and the example in
// docs/rule-abi.md: it rejects a part of which defects cover more than a
// share. Its parameter is the share in per cent.
package main

import (
	"fmt"
	"strconv"

	"github.com/sightline-edge/sightline/vision/rules/guest"
)

var limit = 5.0 // per cent

//go:wasmexport configure
func configure() uint64 {
	return guest.Configure(func(params string) error {
		v, err := strconv.ParseFloat(params, 64)
		if err != nil || v <= 0 || v > 100 {
			return fmt.Errorf("%q is no share from 0 to 100 per cent, as in 5", params)
		}
		limit = v
		return nil
	})
}

//go:wasmexport rule
func rule() uint64 { return guest.Run(decide) }

func decide(p *guest.Part) guest.Answer {
	var area float32
	for _, e := range p.Evidence {
		area += e.Box.W * e.Box.H
	}
	covered := float64(100 * area / (p.Box.W * p.Box.H))
	a := guest.Answer{
		Verdict: guest.Pass, Reason: "ok",
		Measurements: []guest.Measurement{{Name: "covered", Value: covered, Limit: limit, Unit: "%"}},
	}
	if !(covered <= limit) { // so that an area of zero, which covers NaN, fails too
		a.Verdict = guest.Fail
		a.Reason = fmt.Sprintf("%.1f %% covered > %g %%", covered, limit)
	}
	return a
}

func main() {}
