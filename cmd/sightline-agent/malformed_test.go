package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
	"github.com/sightline-edge/sightline/vision/shm"
)

// What may come of a malformed model.
const (
	probeMemory = 600               // MB that a model's process may have
	probeMost   = (750 + 512) * 1e6 // bytes that one may take before it fails by itself
	probeTime   = 90 * time.Second  // until a model is refused, or was loaded and judged
	ageRatio    = 1.25              // of the active station's p99, to that without probes
	batch       = 10                // probes, after which the station is left alone for as long
	wordsMost   = 3000              // bytes of an error
	shownRate   = 15.0              // pictures a second
	fullCount   = 1000
)

// victim is what came of one malformed model.
type victim struct {
	fault mutant.Fault
	seed  uint64
	model string // that was malformed
	dir   string // of the bundle
	err   error  // of the load
	ok    bool   // it was loaded and its golden pictures passed
	took  time.Duration
}

// victims are n faults in turn, after one that crashes ONNX Runtime and one that takes all
// memory; without those that take a minute each unless there are many.
func victims(n int) []victim {
	list := []victim{{fault: mutant.Attributes, seed: 26, model: "drawn-parts"}, {fault: mutant.HugeResult, seed: 2, model: "drawn-parts"}}
	for seed := uint64(0); len(list) < n; seed++ {
		for _, f := range mutant.Faults() {
			if slow := f == mutant.WithoutEnd && (n < fullCount || seed%8 != 0); !slow && len(list) < n {
				list = append(list, victim{fault: f, seed: seed, model: []string{"drawn-parts", "pitting"}[len(list)%2]})
			}
		}
	}
	return list
}

// TestMalformedModels: each is refused in words, or loaded and judged, within bounds of
// time and memory, while an active station goes on as before; nothing is left of it. 20
// of them by default, 1,000 with SIGHTLINE_FAULTS=full.
func TestMalformedModels(t *testing.T) {
	count := 20
	full := os.Getenv("SIGHTLINE_FAULTS") == "full"
	if full {
		count = fullCount
	}
	r := newRigOver(t, 1, "", nil, drawnCamera(t), config.Infer{Threads: 1, MemoryMB: probeMemory})
	dir, digest := r.bundle("1")
	r.activated("one", dir, digest)
	r.tells("one", digest)
	files, memory := openFiles(t), r.watchMemory()
	list := victims(count)
	var alone, probed []time.Duration // the age of pictures at their verdict
	ages, reasons := r.listen()
	for some := range slices.Chunk(list, batch) {
		for n := range some {
			some[n].write(t)
		}
		ages() // writing took processors too
		began := time.Now()
		for n := range some {
			r.probe(&some[n])
		}
		probed = append(probed, ages()...)
		if full { // few ages say nothing of their ratio
			<-time.After(time.Since(began))
			alone = append(alone, ages()...)
		}
	}
	most := memory()
	r.eventually("the probes' processes are gone", func() bool { return len(r.children()) == 1 })
	if now := openFiles(t); now > files+2 {
		t.Errorf("%d files are open, %d were before", now, files)
	}
	if most > probeMost {
		t.Errorf("a probe took %d MB, at most %d may be", most/1e6, int64(probeMost/1e6))
	}
	if v := r.plant.Vitals("one"); v.Digest != digest || v.Failure != "" || v.Restarts != 0 || reasons()[vision.ReasonModelFailed] > 0 {
		t.Errorf("the station has %+v, NONE for %v", v, reasons())
	}
	was, is := quantile(alone, 0.99), quantile(probed, 0.99)
	ratio := is.Seconds() / was.Seconds()
	t.Logf("%d probes, the largest took %d MB; the age of %d pictures without probes is p50 %v, p99 %v, of %d beside them %v, %v: ratio %.2f; NONE for %v\n%s",
		count, most/1e6, len(alone), quantile(alone, 0.5), was, len(probed), quantile(probed, 0.5), is, ratio, reasons(), probeTable(list))
	if len(probed) == 0 || full && ratio > ageRatio {
		t.Errorf("the station's pictures were %.2f times as old, at most %v may be", ratio, ageRatio)
	}
}

func (p *victim) String() string {
	return fmt.Sprintf("%s, seed %d, of %s", p.fault, p.seed, p.model)
}

// write makes the bundle's folder.
func (p *victim) write(t *testing.T) {
	t.Helper()
	from, err := models.Open(p.model)
	if err != nil {
		t.Fatal(err)
	}
	p.dir = filepath.Join(t.TempDir(), "bundle")
	if err := mutant.WriteMalformed(from, p.dir, p.fault, p.seed); err != nil {
		t.Fatal(err)
	}
}

// probe loads a malformed bundle as an update would, and judges it.
func (r *plantRig) probe(p *victim) {
	r.t.Helper()
	what := p.String()
	defer os.RemoveAll(p.dir)
	ctx, cancel := context.WithTimeout(r.t.Context(), probeTime)
	defer cancel()
	began := time.Now()
	c, err := r.plant.Load(ctx, "one", p.dir, what)
	if err == nil {
		report, gated := c.Gate(ctx, nil)
		if gated != nil {
			r.t.Errorf("%s: its golden pictures end with: %v", what, gated)
		} else {
			p.ok = report.OK()
		}
		if err := c.Close(); err != nil {
			r.t.Errorf("%s: %v", what, err)
		}
	}
	p.err, p.took = err, time.Since(began)
	switch {
	case p.took > probeTime || ctx.Err() != nil:
		r.t.Errorf("%s: not done within %v: %v", what, probeTime, err)
	case err != nil && !inWords(err.Error()):
		r.t.Errorf("%s: the error doesn't say what is wrong: %.300v", what, err)
	}
	if testing.Verbose() {
		r.t.Logf("%s: %v, passed %v: %.200v", what, p.took.Round(time.Millisecond), p.ok, err)
	}
}

// address is one in memory, or a register; 640x480 isn't.
var address = regexp.MustCompile(`\b0x[0-9a-f]+`)

// inWords tells whether an error is one of a model, in words and not too many: of a crash
// its signal, not the processor's state.
func inWords(text string) bool {
	crash := strings.Contains(text, "SIG")
	return (strings.Contains(text, "model ") || strings.Contains(text, "load ")) && len(text) <= wordsMost && (crash || !address.MatchString(text))
}

// listen gathers how old pictures are at their verdict, which ages takes away, and why
// they had NONE.
func (r *plantRig) listen() (ages func() []time.Duration, reasons func() map[string]int) {
	var mu sync.Mutex
	var all []time.Duration
	none := map[string]int{}
	told := func(i *agent.Inspection) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, i.Latency())
		if i.Told.Verdict == vision.None {
			none[i.Told.Reason]++
		}
	}
	r.told.Store(&told)
	ages = func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		taken := all
		all = nil
		return taken
	}
	return ages, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(none)
	}
}

// watchMemory looks at the workers' memory until what it gives is called, which tells
// the most that one had.
func (r *plantRig) watchMemory() func() int64 {
	end, most := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		top := int64(0)
		for {
			select {
			case <-end:
				most <- top
				return
			case <-tick.C:
			}
			for _, pid := range r.children() {
				top = max(top, shm.PrivateMemory(pid))
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-most
	}
}

// drawnCamera is an MJPEG camera over drawn parts, until the test's end.
func drawnCamera(t *testing.T) config.Camera {
	t.Helper()
	s, err := scene.New(scene.Config{Seed: 5, Width: 512, Height: 288})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: s, Width: 512, Height: 288, Rate: shownRate})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	server := &http.Server{Handler: m, ReadHeaderTimeout: time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	var both sync.WaitGroup
	both.Go(func() { _ = m.Run(ctx) })
	both.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		stop()
		server.Close()
		both.Wait()
	})
	return config.Camera{Source: "http://" + l.Addr().String() + "/"}
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func quantile(all []time.Duration, q float64) time.Duration {
	slices.Sort(all)
	return agent.Quantile(all, q)
}

// probeTable tells what came of each fault.
func probeTable(list []victim) string {
	type row struct {
		all, refused, judged, passed int
		most                         time.Duration
	}
	rows := map[mutant.Fault]*row{}
	for _, p := range list {
		k := rows[p.fault]
		if k == nil {
			k = &row{}
			rows[p.fault] = k
		}
		k.all++
		k.most = max(k.most, p.took)
		switch {
		case p.err != nil:
			k.refused++
		case p.ok:
			k.passed++
		default:
			k.judged++
		}
	}
	var b strings.Builder
	for _, f := range slices.Sorted(maps.Keys(rows)) {
		k := rows[f]
		fmt.Fprintf(&b, "%-20s %4d: %4d refused, %3d by their golden pictures, %3d passed, the longest took %v\n",
			f, k.all, k.refused, k.judged, k.passed, k.most.Round(time.Millisecond))
	}
	return b.String()
}
