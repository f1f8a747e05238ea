package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/infer"
)

// builds tells a person what models compute on, and of the engines that are built
// for them: minutes without a word look like a crash.
type builds struct {
	announce bool // say what models compute on

	mu    sync.Mutex // protects the fields below
	w     io.Writer
	wait  *cli.Waiting
	now   map[string]infer.Building // by model
	said  string                    // what models compute on, as it was last told
	timer *time.Timer
}

func newBuilds(w io.Writer) *builds {
	return &builds{w: w, wait: cli.NewWaiting(w), now: map[string]infer.Building{}}
}

// of hears of a model's engine (infer.Config.Building).
func (b *builds) of(model string) func(infer.Building) {
	return func(now infer.Building) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if now.Phase == "" {
			delete(b.now, model)
		} else {
			b.now[model] = now
		}
		b.tell()
	}
}

// tell tells of all builds that are under way, and again soon; b.mu is held.
func (b *builds) tell() {
	if b.timer != nil {
		b.timer.Stop()
	}
	if len(b.now) == 0 {
		b.wait.Done()
		return
	}
	var all []string
	for model, one := range b.now {
		all = append(all, model+": "+one.String())
	}
	b.wait.Tell(strings.Join(all, "; "))
	b.timer = time.AfterFunc(time.Second, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.tell()
	})
}

// loaded says what a model computes on, unless the one before did on the same.
func (b *builds) loaded(info infer.Info) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := computes(info)
	if !b.announce || text == b.said {
		return
	}
	b.said = text
	fmt.Fprintln(b.w, text)
}

// computes says what a model computes on, and why on nothing faster.
func computes(info infer.Info) string {
	on := info.Provider
	if info.GPU != "" {
		on += " on " + info.GPU
	}
	s := fmt.Sprintf("models compute on %s (%s, ONNX Runtime %s)", on, info.Precision, info.Runtime)
	if len(info.Passed) > 0 {
		s += "; passed over: " + strings.Join(info.Passed, "; ")
	}
	return s
}

// share is how many cameras' frames one run of the model may look at.
func (p *programs) share(c *choice) int {
	most := p.batch
	if most == 0 {
		most = 1
		if p.provider.Accelerated(p.runtime) {
			most = infer.MaxShare
		}
	}
	return min(most, c.cameras)
}

// inferArgs make this program an inference worker.
var inferArgs = []string{"worker", "infer"}

// worker is how a model is run with these programs. Spec is how its output is read.
func (p *programs) worker(c *choice, spec infer.Spec, threads int, log *slog.Logger) infer.Config {
	cfg := infer.Config{
		Executable: p.self, Args: inferArgs, Reserve: p.reserve, Library: p.runtime, Provider: p.provider, Precision: p.precision, Engines: p.engines,
		Model: infer.Model{Path: c.path, Data: c.data}, Spec: spec, Threads: threads, Memory: p.memory, Bystanders: p.bystanders, Log: log,
	}
	if p.builds != nil {
		cfg.Building, cfg.Loaded = p.builds.of(c.about.Name), p.builds.loaded
	}
	return cfg
}
