package updater

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
)

// plant is a device that does what the bundles say: the first word of a
// bundle's model is how it behaves.
type plant struct {
	t testing.TB

	mu          sync.Mutex
	fingerprint string
	idle        bool // no parts come
	serves      map[string]*served
	workers     int // loaded and not given back, beside those that serve
	loads       map[string]int
	gates       map[string]int
	busy        int  // loads that fail before one succeeds
	unlike      bool // no bundle goes with the configuration
	seq         uint64
	die         func(at string) // what the bundle "deadly" does to the program
	trace       string          // if not "", a file where each station's bundles are noted
}

type served struct {
	digest, behaviour string
	since             time.Time
	after             uint64
}

func newPlant(t testing.TB) *plant {
	return &plant{t: t, fingerprint: "cpu 1", serves: map[string]*served{}, loads: map[string]int{}, gates: map[string]int{}}
}

// boot is the start of the program: each station runs what it is told to.
func (p *plant) boot(u *Updater) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serves, p.workers = map[string]*served{}, 0
	for _, s := range u.stations {
		dir, digest, _, ok := u.Active(s.ID)
		if !ok {
			continue
		}
		p.serves[s.ID] = &served{digest: digest, behaviour: p.behaviour(dir), since: time.Now(), after: p.seq}
		p.note(s.ID, digest)
	}
}

// set changes how the plant is while it runs.
func (p *plant) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// note notes what a station runs.
func (p *plant) note(station, digest string) {
	if p.trace == "" {
		return
	}
	f, err := os.OpenFile(p.trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Error(err)
		return
	}
	_, err = fmt.Fprintln(f, station, digest)
	if err := errors.Join(err, f.Close()); err != nil {
		p.t.Error(err)
	}
}

// behaviour reads it from the bundle, all of which must be there.
func (p *plant) behaviour(dir string) string {
	if dir == "" {
		return "good"
	}
	if _, err := bundle.Verify(dir); err != nil {
		p.t.Errorf("a bundle that isn't whole was to run: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		p.t.Error(err)
	}
	word, _, _ := strings.Cut(string(b), " ")
	return word
}

func (p *plant) Load(ctx context.Context, station, dir, digest string) (Candidate, error) {
	b := p.behaviour(dir)
	p.mu.Lock()
	p.loads[digest]++
	p.mu.Unlock()
	if b == "deadly" && p.die != nil {
		p.die("load")
	}
	select {
	case <-time.After(2 * time.Second): // it loads and warms
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case b == "bad":
		return nil, &Refused{"model.onnx: no such operator"}
	case p.busy > 0:
		p.busy--
		return nil, errors.New("no memory for a second worker")
	}
	p.workers++
	return &candidate{p: p, station: station, digest: digest, behaviour: b}, nil
}

func (p *plant) Suits(_, dir string) error {
	p.behaviour(dir)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unlike {
		return &Refused{"its labels are others"}
	}
	return nil
}

func (p *plant) Vitals(station string) Vitals {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.serves[station]
	if s == nil {
		return Vitals{Celsius: math.NaN(), Failure: "no model"}
	}
	ran := time.Since(s.since)
	v := Vitals{
		Digest: s.digest, Epoch: 7, After: s.after, ModelP50: 5 * time.Millisecond, ModelP99: 10 * time.Millisecond,
		AgeP99: 40 * time.Millisecond, Period: 33 * time.Millisecond, Deadline: 500 * time.Millisecond, Celsius: math.NaN(),
	}
	if !p.idle {
		v.Verdicts = uint64(ran / (500 * time.Millisecond))
	}
	if v.Verdicts < 64 && s.after > 0 { // by the bundle when it ran before, say
		v.Seqs = append(v.Seqs, s.after)
	}
	for i := range min(v.Verdicts, 64) {
		v.Seqs = append(v.Seqs, s.after+v.Verdicts-min(v.Verdicts, 64)+i+1)
	}
	p.seq = max(p.seq, s.after+v.Verdicts)
	switch s.behaviour {
	case "slow":
		v.ModelP50, v.ModelP99 = 70*time.Millisecond, 80*time.Millisecond
	case "crash":
		if ran > 5*time.Second {
			v.Restarts = 1
		}
	case "blind":
		v.None = v.Verdicts
	case "hot":
		v.Celsius = 99
	}
	return v
}

// candidate is a second worker.
type candidate struct {
	p                          *plant
	station, digest, behaviour string
	done                       bool
}

func (c *candidate) Fingerprint() string {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.p.fingerprint
}

func (c *candidate) Gate(ctx context.Context, draw func(string, []byte)) (*gate.Report, error) {
	c.p.mu.Lock()
	c.p.gates[c.digest]++
	moved := c.p.fingerprint != "cpu 1"
	c.p.mu.Unlock()
	r := &gate.Report{Pictures: 3, Passed: 3, Provider: "cpu", Runtime: "1.23", Precision: "float32", At: time.Now()}
	if c.behaviour == "strange" {
		r.Unmeasured = "nobody measured cpu"
	}
	if c.behaviour == "wrong" || c.behaviour == "delicate" && moved {
		r.Passed = 2
		r.Refusals = []gate.Refusal{{Picture: "golden/2.png", What: gate.WhatVerdict, Expected: "FAIL", Found: "PASS"}}
		for range 12 {
			draw("golden/2.png", []byte("drawn"))
		}
	}
	select {
	case <-time.After(time.Second):
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *candidate) Activate(ctx context.Context) (after, epoch uint64, err error) {
	if c.behaviour == "deadly" && c.p.die != nil {
		c.p.die("activate")
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.behaviour == "stuck" {
		return 0, 0, errors.New("the station doesn't come to a part's end")
	}
	if c.behaviour == "wrong" {
		c.p.t.Error("a bundle was activated that its gate refuses")
	}
	if c.behaviour == "liar" {
		return c.p.seq, 7, nil
	}
	c.p.serves[c.station] = &served{digest: c.digest, behaviour: c.behaviour, since: time.Now(), after: c.p.seq}
	c.done = true
	c.p.workers--
	c.p.note(c.station, c.digest)
	return c.p.seq, 7, nil
}

func (c *candidate) Close() error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if !c.done {
		c.done = true
		c.p.workers--
	}
	return nil
}

// gatesOf is how often a bundle's gate ran.
func (p *plant) gatesOf(digest string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gates[digest]
}
