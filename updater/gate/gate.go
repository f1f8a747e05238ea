// Package gate lets a bundle prove itself on this device before it may serve:
// its golden pictures run through the real worker, with this machine's
// runtime and provider, and what comes out must be what the publisher
// recorded, within the bundle's own tolerances. docs/golden-gate.md tells what
// it sees and what it can't.
package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/track"
)

// DefaultTolerance is what Record's callers use where nobody says otherwise.
var DefaultTolerance = bundle.Tolerance{Score: 0.02, IoU: 0.9, Raw: 0.001}

// Subject is what a station would run: the bundle's model and rule.
type Subject struct {
	Worker *infer.Worker // somebody's goroutine runs its Run
	Rule   *rules.Rule   // nil: none, each part gets NONE
	Track  track.Config  // the station's scores and roles; the mode is the gate's
	Lowest float32       // score from which detections count; the worker may give more
	Agent  string        // this program's version, for Record

	Settings []string // of the bundle, of bundle.Settings; nil: not known
}

// Refusal is one difference that a bundle is refused for. Picture is "" for
// what is no single picture's.
type Refusal struct {
	Picture  string `json:"picture,omitempty"` // path inside the bundle
	What     string `json:"what"`              // one of the What constants
	Expected string `json:"expected"`          // for people
	Found    string `json:"found"`             // for people
}

// What a Refusal is about.
const (
	WhatModel     = "model"     // it doesn't load, crashes or takes too long
	WhatGolden    = "golden"    // the bundle's golden file or a picture is no good
	WhatNumbers   = "numbers"   // NaN or infinite values
	WhatVerdict   = "verdict"   // the picture's, or a part's
	WhatPart      = "part"      // missing, or one too many
	WhatDetection = "detection" // missing, or one too many
	WhatScore     = "score"     // of a detection
	WhatBox       = "box"       // of a detection
	WhatOutput    = "output"    // raw output tensor
	WhatSettings  = "settings"  // of the manifest: the golden vectors were recorded with others
)

// Error is the refusal as one line.
func (r Refusal) Error() string {
	s := fmt.Sprintf("%s: expected %s, found %s", r.What, r.Expected, r.Found)
	if r.Picture != "" {
		s = r.Picture + ": " + s
	}
	return s
}

// Report is what the golden pictures said on this device.
type Report struct {
	Pictures  int       `json:"pictures"` // that the bundle has
	Passed    int       `json:"passed"`
	Refusals  []Refusal `json:"refusals"` // the most telling of a picture first
	Provider  string    `json:"provider"`
	Runtime   string    `json:"runtime"`
	Driver    string    `json:"driver,omitempty"`
	Precision string    `json:"precision"`
	Raw       bool      `json:"raw"` // raw outputs were compared: recorded with this provider, precision and kind of processor

	Unmeasured string `json:"unmeasured,omitempty"` // why what passed isn't proved here: the tolerances were never measured for this provider and precision

	At   time.Time     `json:"at"`
	Took time.Duration `json:"took_ns"`
}

// OK reports whether the bundle may serve: every picture passed, there was one,
// and the settings are those of the record. One that is Unmeasured may too.
func (r *Report) OK() bool {
	return len(r.Refusals) == 0 && r.Pictures > 0 && r.Passed == r.Pictures
}

// Reason is why the bundle was refused, in one line; "" if it wasn't.
func (r *Report) Reason() string {
	why := ""
	switch {
	case r.OK():
		return ""
	case len(r.Refusals) == 0:
		why = fmt.Sprintf("%d of %d golden pictures passed", r.Passed, r.Pictures)
	case len(r.Refusals) == 1:
		why = r.Refusals[0].Error()
	default:
		why = fmt.Sprintf("%v (and %d more; %d of %d golden pictures passed)", r.Refusals[0], len(r.Refusals)-1, r.Passed, r.Pictures)
	}
	if hint := r.Hint(); hint != "" {
		why += "; " + hint
	}
	return why
}

// Hint says what may lie behind a refusal over what pictures show, "" where nothing is known:
// what nobody measured may move further than the tolerances that were guessed for it.
func (r *Report) Hint() string {
	moved := func(f Refusal) bool {
		return slices.Contains([]string{WhatVerdict, WhatPart, WhatDetection, WhatScore, WhatBox}, f.What)
	}
	if r.Unmeasured == "" || !slices.ContainsFunc(r.Refusals, moved) {
		return ""
	}
	return r.Unmeasured + ": if what is found here is as good, record the pictures on such a device (sightline bundle golden --agent)"
}

// ErrNoGolden is returned for a bundle that brings nothing to be proved by.
var ErrNoGolden = errors.New("the bundle has no golden pictures: record some with `sightline bundle golden`")

// Run compares what the subject says about the golden pictures in dir with
// what g expects. Whatever is the bundle's or the model's fault is a refusal
// in the report, also when the model crashes or ctx's deadline passes; the
// error is for what isn't: ErrNoGolden, a disk that can't be read, ctx
// cancelled. draw gets, for each refused picture that could be decoded, the
// expected and the found side by side; it may be nil.
func Run(ctx context.Context, s Subject, dir fs.FS, g *bundle.Golden, draw func(name string, jpeg []byte)) (*Report, error) {
	if g == nil {
		return nil, ErrNoGolden
	}
	return run(ctx, s, dir, g, g.Vectors, draw)
}

// Sample is Run of one of the pictures alone.
func Sample(ctx context.Context, s Subject, dir fs.FS, g *bundle.Golden, n int) (*Report, error) {
	return run(ctx, s, dir, g, g.Vectors[n:n+1], nil)
}

func run(ctx context.Context, s Subject, dir fs.FS, g *bundle.Golden, vectors []bundle.Vector, draw func(name string, jpeg []byte)) (*Report, error) {
	if len(vectors) == 0 {
		return nil, ErrNoGolden
	}
	r := &Report{Pictures: len(vectors), Refusals: []Refusal{}, At: time.Now()}
	defer func() { r.Took = time.Since(r.At) }()
	if err := g.Tolerance.Check(); err != nil {
		r.refuse(Refusal{What: WhatGolden, Expected: "usable tolerances", Found: err.Error()})
		return r, nil
	}
	info, err := s.Worker.Ready(ctx)
	if err != nil {
		return r.broken(ctx, "", err)
	}
	r.Provider, r.Runtime, r.Driver, r.Precision = info.Provider, info.Runtime, info.Driver, info.Precision
	r.Unmeasured = g.Unmeasured(info.Provider, info.Precision, runtime.GOARCH)
	tolerance, measured := g.Within(info.Provider, info.Precision, runtime.GOARCH)
	within := limitsFor(g, tolerance, measured)
	r.settings(g, s.Settings)
	same := info.Provider == g.Recorded.Provider && info.Precision == g.Recorded.Precision &&
		(measured != nil || g.Measured == nil) // another kind of processor orders its sums otherwise; old files don't tell theirs
	l := newLooker(s, dir)
	defer l.close()
	for i := range vectors {
		v := &vectors[i]
		compareRaw := same && len(v.Outputs) > 0
		found, err := l.look(ctx, v.Picture, samplesOf(v))
		var refused Refusal
		var device deviceError
		switch {
		case errors.As(err, &refused):
			r.refuse(refused)
			continue
		case errors.As(err, &device):
			return nil, fmt.Errorf("run the golden pictures: %w", device)
		case err != nil:
			return r.broken(ctx, v.Picture, err)
		}
		r.Raw = r.Raw || compareRaw
		differences := compare(v, found, within, compareRaw)
		if len(differences) == 0 {
			r.Passed++
			continue
		}
		r.refuse(differences...)
		if draw != nil {
			if jpeg, err := sideBySide(v, found, differences[0]); err == nil { // a picture helps people; the report stands without
				draw(drawingName(v.Picture), jpeg)
			}
		}
	}
	return r, nil
}

// settings refuses a manifest that isn't the one the vectors were recorded with:
// a limit may be moved so that no picture shows it.
func (r *Report) settings(g *bundle.Golden, now []string) {
	if now == nil {
		return
	}
	or := func(line string) string { return cmp.Or(line, "not set") }
	for n, d := range g.OtherSettings(now) {
		if n == maxRefusals {
			return
		}
		r.refuse(Refusal{What: WhatSettings, Expected: or(d[0]), Found: or(d[1]) + ": record the golden vectors with these settings"})
	}
}

// refuse adds refusals.
func (r *Report) refuse(list ...Refusal) { r.Refusals = append(r.Refusals, list...) }

// broken ends a run at an error: of the model it is a refusal, and so is a
// deadline that passed; that somebody cancelled it is not.
func (r *Report) broken(ctx context.Context, picture string, err error) (*Report, error) {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, fmt.Errorf("run the golden pictures: %w", ctx.Err())
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no answer within the time for all pictures: %w", err)
	}
	r.refuse(Refusal{Picture: picture, What: WhatModel, Expected: "an answer", Found: err.Error()})
	return r, nil
}
