package infer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// onTensors runs a model of the tests on tensors.
func onTensors(t testing.TB, name string) *Worker {
	t.Helper()
	return start(t, Config{Executable: os.Args[0], Env: []string{asWorker + "=worker"}, Library: library(t),
		Model: Model{Path: filepath.Join("testdata", name)}, Tensors: true, Log: slog.New(slog.DiscardHandler)})
}

// given is a tensor to be laid into an arena.
type given struct {
	Tensor
	data []byte
}

func lay(t testing.TB, a *Arena, all ...given) []Laid {
	t.Helper()
	size := 0
	for _, g := range all {
		size += (len(g.data) + Align - 1) / Align * Align
	}
	memory, err := a.Room(size)
	if err != nil {
		t.Fatal(err)
	}
	var laid []Laid
	at := 0
	for _, g := range all {
		copy(memory[at:], g.data)
		laid = append(laid, Laid{Tensor: g.Tensor, Offset: at, Size: len(g.data)})
		at += (len(g.data) + Align - 1) / Align * Align
	}
	return laid
}

func floats(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func wholes(values ...int64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b
}

// results are the outputs of a run, by name, with a copy of their bytes.
func results(a *Arena, r Ran) map[string]given {
	all := map[string]given{}
	for _, o := range r.Outputs {
		all[o.Name] = given{o.Tensor, bytes.Clone(a.Output(o))}
	}
	return all
}

func TestTensorsOfEveryType(t *testing.T) {
	w := onTensors(t, "tensors_types.onnx")
	info, err := w.Ready(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	a := w.NewArena()
	defer a.Release()
	// Twice each: the first run learns the outputs' shapes, the second writes into them.
	for _, rows := range []int64{2, 2, 0, 0, 700, 700, 2} {
		var in []given
		for n, tensor := range info.Inputs {
			tensor.Shape = []int64{rows, 3}
			data := make([]byte, int(rows)*3*elementBytes[tensor.Type])
			for i := range data {
				data[i] = byte(i*7 + n)
				if tensor.Type == "bool" {
					data[i] &= 1
				}
			}
			in = append(in, given{tensor, data})
		}
		ran, err := w.RunTensors(within(t, 10*time.Second), a, lay(t, a, in...), 0)
		if err != nil {
			t.Fatalf("%d rows: %v", rows, err)
		}
		got := results(a, ran)
		for _, g := range in {
			name := "out_" + strings.TrimPrefix(g.Name, "in_")
			if o := got[name]; !cmp.Equal(o.Shape, g.Shape) || !bytes.Equal(o.data, g.data) {
				t.Errorf("%d rows of %s came as %s, equal: %v", rows, g.Type, shapeText(o.Shape), bytes.Equal(o.data, g.data))
			}
		}
	}
}

func TestTensorsOfSeveralInputs(t *testing.T) {
	w := onTensors(t, "tensors_mixed.onnx")
	a := w.NewArena()
	defer a.Release()
	run := func(k int64, x ...float32) (map[string]given, error) {
		in := lay(t, a, given{Tensor{"x", "float32", []int64{int64(len(x) / 4), 4}}, floats(x...)},
			given{Tensor{"b", "float32", []int64{2}}, floats(0.5, 0.25)}, given{Tensor{"k", "int64", []int64{}}, wholes(k)})
		ran, err := w.RunTensors(within(t, 10*time.Second), a, in, 0)
		return results(a, ran), err
	}
	for _, c := range []struct {
		k    int64
		x    []float32
		want map[string]given
	}{
		{2, []float32{1, 0, 0, 1}, map[string]given{
			"y": {Tensor{"y", "float32", []int64{1, 2}}, floats(9, 10.5)}, "most": {Tensor{"most", "float32", []int64{}}, floats(10.5)},
			"places": {Tensor{"places", "int64", []int64{2, 2}}, wholes(0, 0, 0, 3)}}},
		// The same shapes again, but another number of places.
		{4, []float32{1, 1, 1, 1}, map[string]given{
			"y": {Tensor{"y", "float32", []int64{1, 2}}, floats(18, 21)}, "most": {Tensor{"most", "float32", []int64{}}, floats(21)},
			"places": {Tensor{"places", "int64", []int64{2, 4}}, wholes(0, 0, 0, 0, 0, 1, 2, 3)}}},
		{0, []float32{0, 0, 0, 0}, map[string]given{
			"y": {Tensor{"y", "float32", []int64{1, 2}}, floats(0, 0)}, "most": {Tensor{"most", "float32", []int64{}}, floats(0)},
			"places": {Tensor{"places", "int64", []int64{2, 0}}, nil}}},
		{0, []float32{0, 0, 0, 0, 0, 0, 1, 0}, map[string]given{
			"y": {Tensor{"y", "float32", []int64{2, 2}}, floats(0, 0, 5, 6)}, "most": {Tensor{"most", "float32", []int64{}}, floats(6)},
			"places": {Tensor{"places", "int64", []int64{2, 1}}, wholes(1, 2)}}},
	} {
		got, err := run(c.k, c.x...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(given{})); d != "" {
			t.Errorf("%v: %s", c.x, d)
		}
	}
}

// TestTensorsThatGiveMoreThanBefore: in memory of its own, a run whose outputs are known
// from another one finds that they are larger.
func TestTensorsThatGiveMoreThanBefore(t *testing.T) {
	w := onTensors(t, "tensors_mixed.onnx")
	for _, ones := range []int{1, 800} {
		a := w.NewArena()
		defer a.Release()
		x := make([]float32, 800)
		for n := range ones {
			x[n] = 1
		}
		in := lay(t, a, given{Tensor{"x", "float32", []int64{200, 4}}, floats(x...)},
			given{Tensor{"b", "float32", []int64{2}}, floats(0.5, 0.25)}, given{Tensor{"k", "int64", []int64{}}, wholes(1)})
		ran, err := w.RunTensors(within(t, 10*time.Second), a, in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := results(a, ran)["places"]; !cmp.Equal(got.Shape, []int64{2, int64(ones)}) {
			t.Errorf("%d ones are at places of %s", ones, shapeText(got.Shape))
		}
	}
	if got := w.Stats(); got.Restarts != 0 || got.Guests.Ran != 2 {
		t.Errorf("%+v", got)
	}
}

func TestTensorsRefused(t *testing.T) {
	w := onTensors(t, "tensors_mixed.onnx")
	a := w.NewArena()
	defer a.Release()
	good := lay(t, a, given{Tensor{"x", "float32", []int64{1, 4}}, floats(1, 2, 3, 4)},
		given{Tensor{"b", "float32", []int64{2}}, floats(1, 2)}, given{Tensor{"k", "int64", []int64{}}, wholes(1)})
	with := func(n int, change func(*Laid)) []Laid {
		all := append([]Laid{}, good...)
		change(&all[n])
		return all
	}
	for _, c := range []struct {
		inputs []Laid
		want   string
	}{
		{good[:2], "2 inputs, the model has 3"},
		{with(0, func(l *Laid) { l.Name = "z" }), "input 0 is z float32 1×4, the model's is x float32 ?×4"},
		{with(1, func(l *Laid) { l.Type = "int32" }), "input 1 is b int32 2, the model's is b float32 2"},
		{with(0, func(l *Laid) { l.Size = 12 }), "x: 12 bytes at 0, where float32 1×4 in memory of 4096 is wanted"},
		{with(0, func(l *Laid) { l.Offset = 1 << 20 }), "x: 16 bytes at 1048576, where float32 1×4 in memory of 4096 is wanted"},
		{with(0, func(l *Laid) { l.Offset = -64 }), "x: 16 bytes at -64, where float32 1×4 in memory of 4096 is wanted"},
		{with(0, func(l *Laid) { l.Shape = []int64{1 << 40, 1 << 40} }), "x: its shape 1099511627776×1099511627776 is out of bounds"},
		{with(0, func(l *Laid) { l.Type = "string" }), "x is of string, which can't be carried"},
		{with(0, func(l *Laid) { l.Shape = []int64{4, 1} }), "run the model: "}, // ONNX Runtime's own words
	} {
		_, err := w.RunTensors(within(t, 10*time.Second), a, c.inputs, 0)
		if err == nil || !strings.HasPrefix(err.Error(), "run the model on tensors: "+c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := w.RunTensors(within(t, 10*time.Second), a, good, 0); err != nil {
		t.Errorf("a good run after the others: %v", err)
	}
	if _, err := a.Room(maxArena + 1); err == nil {
		t.Error("inputs of any size have room")
	}
}

func TestDescribeTensors(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"tensors_text.onnx", "read the model: text string 1: values of string can't be carried"},
		{"tensors.py", "read the model: this is no ONNX model, or a part of one"},
		{"external.onnx", `read the model: its weights lie in a second file, "external.onnx.data": put that file beside the model, or export the model with its weights inside`},
		{"plugin.onnx", "read the model: it uses the operator "},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DescribeTensors(data); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.file, err, c.want)
		}
	}
}

// brightSlow is a run of the model that loops for minutes on a bright picture.
func brightSlow(t *testing.T, a *Arena, value float32) []Laid {
	picture := make([]float32, 3*64*64)
	picture[7] = value
	return lay(t, a, given{Tensor{"images", "float32", []int64{1, 3, 64, 64}}, floats(picture...)})
}

func TestTensorsHaveALimit(t *testing.T) {
	w := onTensors(t, "slow.onnx")
	a := w.NewArena()
	defer a.Release()
	if _, err := w.RunTensors(within(t, 20*time.Second), a, brightSlow(t, a, 1), 100*time.Millisecond); !errors.Is(err, ErrTimeLimit) {
		t.Errorf("a run of minutes with a limit of 100 ms: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := w.RunTensors(ctx, a, brightSlow(t, a, 1), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run whose caller left: %v", err)
	}
	for range 3 { // nothing of the stop is left for the next runs
		if _, err := w.RunTensors(within(t, 10*time.Second), a, brightSlow(t, a, 0), 0); err != nil {
			t.Errorf("a short run after the stopped ones: %v", err)
		}
	}
	if got := w.Stats(); got.Restarts != 0 {
		t.Errorf("the worker was replaced: %+v", got)
	}
}

// A run whose caller leaves while it waits behind another one isn't begun.
func TestTensorsStoppedBeforeTheirTurn(t *testing.T) {
	w := onTensors(t, "slow.onnx")
	if _, err := w.Ready(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	first, second := w.NewArena(), w.NewArena()
	defer first.Release()
	defer second.Release()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, a := range []*Arena{first, second} {
		in := brightSlow(t, a, 1)
		go func() {
			_, err := w.RunTensors(ctx, a, in, time.Minute)
			ended <- err
		}()
	}
	eventuallyCalls(t, w, 2)
	stop()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// eventuallyCalls waits until the worker owes so many answers.
func eventuallyCalls(t *testing.T, w *Worker, n int) {
	t.Helper()
	for ctx := within(t, 10*time.Second); ctx.Err() == nil; {
		w.mu.Lock()
		l := w.link
		w.mu.Unlock()
		l.mu.Lock()
		owed := len(l.calls)
		l.mu.Unlock()
		if owed == n {
			return
		}
	}
	t.Fatalf("the worker never owes %d answers", n)
}

func TestTensorsOfAWorkerThatDies(t *testing.T) {
	w := onTensors(t, "slow.onnx")
	a := w.NewArena()
	defer a.Release()
	if _, err := w.RunTensors(within(t, 20*time.Second), a, brightSlow(t, a, 0), 0); err != nil {
		t.Fatal(err)
	}
	in, ended := brightSlow(t, a, 1), make(chan error, 1)
	go func() {
		_, err := w.RunTensors(t.Context(), a, in, time.Minute)
		ended <- err
	}()
	eventuallyCalls(t, w, 1)
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrWorkerLost) {
		t.Errorf("the worker died with the run: %v", err)
	}
	if _, err := w.RunTensors(within(t, 20*time.Second), a, brightSlow(t, a, 0), 0); err != nil {
		t.Errorf("a run of the next worker: %v", err)
	}
}

// A station's worker answers guests on tensors between its frames.
func TestTensorsBetweenFrames(t *testing.T) {
	cfg := testConfig(t, "testdata/fastestdet.onnx", Options{})
	cfg.Model.Path, cfg.Spec = "testdata/regions.onnx", Segmentation.defaults()
	cfg.Spec.Labels, cfg.Spec.Input = []Label{{Name: "bright"}}, Input{Width: 64, Height: 64, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch}
	w := start(t, cfg)
	info, err := w.Ready(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"score", "map"}, info.Computed); d != "" {
		t.Error(d)
	}
	a := w.NewArena()
	defer a.Release()
	frame := picture(64, 64, vision.BGR24, 4)
	pool := shared(t, frame)
	for n := range 20 {
		if _, err := w.Infer(within(t, 10*time.Second), frame, pool, 0); err != nil {
			t.Fatal(err)
		}
		level := make([]float32, 3*64*64)
		for i := range level {
			level[i] = float32(n)
		}
		ran, err := w.RunTensors(within(t, 10*time.Second), a, lay(t, a, given{Tensor{"images", "float32", []int64{1, 3, 64, 64}}, floats(level...)}), 0)
		if err != nil {
			t.Fatal(err)
		}
		got := results(a, ran)["score"]
		if want := floats(float32(n)); !bytes.Equal(got.data, want) {
			t.Errorf("score of a picture of %d: %x, want %x", n, got.data, want)
		}
	}
	if got := w.Stats(); got.Inferred != 20 || got.Failed != 0 {
		t.Errorf("guests count as frames: %+v", got)
	}
}

// Runs leave nothing behind: neither memory of outputs, nor shapes.
func TestTensorsTakeNoMemory(t *testing.T) {
	w := onTensors(t, "tensors_mixed.onnx")
	a := w.NewArena()
	defer a.Release()
	runs := func(n int) {
		for i := range n {
			rows := int64(1 + i%300)
			x := make([]float32, 4*rows)
			x[i%len(x)] = 1
			in := lay(t, a, given{Tensor{"x", "float32", []int64{rows, 4}}, floats(x...)},
				given{Tensor{"b", "float32", []int64{2}}, floats(1, 2)}, given{Tensor{"k", "int64", []int64{}}, wholes(1)})
			if _, err := w.RunTensors(within(t, 20*time.Second), a, in, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := func() (kB int) {
		w.mu.Lock()
		pid := w.pid
		w.mu.Unlock()
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			t.Fatal(err)
		}
		var all, resident int
		if _, err := fmt.Sscan(string(text), &all, &resident); err != nil {
			t.Fatal(err)
		}
		return resident * os.Getpagesize() / 1024
	}
	runs(2000)
	before := size()
	runs(6000)
	if after := size(); after > before+4096 {
		t.Errorf("the worker has %d kB after 2,000 runs and %d kB after 8,000", before, after)
	}
}
