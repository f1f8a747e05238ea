package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/vision/infer"
)

// lap is what one side did with a recording.
type lap struct {
	parts, frames int
	wall, cpu     time.Duration // of the whole program, its processes included
	said          time.Duration // from its start to the first it printed
	seconds       []memory      // of all its processes, each second
}

// memory is what processes take, in bytes: what several share is divided among
// them (PSS). private is what no file holds, too.
type memory struct{ all, private float64 }

// median is that of the seconds.
func (r lap) median() (m memory) {
	var all, private []float64
	for _, s := range r.seconds {
		all, private = append(all, s.all), append(private, s.private)
	}
	return memory{quantile(all, 0.5), quantile(private, 0.5)}
}

// first notes when something is written.
type first struct {
	text bytes.Buffer
	at   time.Time
}

func (f *first) Write(b []byte) (int, error) {
	if f.at.IsZero() {
		f.at = time.Now()
	}
	return f.text.Write(b)
}

// turn lets one side count the parts of a recording.
func (c *contest) turn(ctx context.Context, side int, video string) (lap, error) {
	if side == scriptSide {
		return c.script(ctx, video)
	}
	args := append([]string{"try", "--source", video, "--json"}, c.ours...)
	if side == gateSide {
		args = append(args, gateFlag...)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.env.Bin, "sightline-agent"), args...)
	cmd.Env = append(os.Environ(), infer.ProviderEnv+"="+string(infer.CPU), "SIGHTLINE_ONNXRUNTIME="+c.env.ORT)
	r, out, err := watchRun(cmd)
	if err != nil {
		return r, err
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var s struct {
		Kind     string `json:"kind"`
		Captured int    `json:"frames_captured"`
		Dropped  int    `json:"frames_dropped"`
		Parts    int    `json:"parts"`
	}
	if err := json.Unmarshal(lines[len(lines)-1], &s); err != nil || s.Kind != "summary" {
		return r, fmt.Errorf("try %s: the last line is no summary: %s", video, lines[len(lines)-1])
	}
	if s.Dropped > 0 {
		return r, fmt.Errorf("try %s: %d frames of a file were dropped", video, s.Dropped)
	}
	r.parts, r.frames = s.Parts, s.Captured
	return r, nil
}

func (c *contest) script(ctx context.Context, video string) (lap, error) {
	cmd := exec.CommandContext(ctx, c.env.Python, append([]string{"-W", "ignore", "-c", p14Script, video}, c.theirs...)...)
	r, out, err := watchRun(cmd)
	if err != nil {
		return r, err
	}
	var s struct{ Parts, Frames int }
	if err := json.Unmarshal(out, &s); err != nil {
		return r, fmt.Errorf("read the script's answer: %w: %s", err, out)
	}
	r.parts, r.frames = s.Parts, s.Frames
	return r, nil
}

// watchRun runs a program on two cores to its end and looks at its memory once
// a second.
func watchRun(cmd *exec.Cmd) (r lap, stdout []byte, err error) {
	var out first
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	if err := startOnTwo(cmd); err != nil {
		return r, nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	over, looked := make(chan struct{}), make(chan []memory)
	go func() {
		var all []memory
		defer func() { looked <- all }()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				if m := treeMemory(cmd.Process.Pid); m.all > 0 {
					all = append(all, m)
				}
			}
		}
	}()
	err = cmd.Wait()
	r.wall = time.Since(began)
	close(over)
	r.seconds = <-looked
	if err != nil {
		return r, nil, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(errs.Bytes()))
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() // with the children's that it waited for
	r.said = out.at.Sub(began)
	return r, out.text.Bytes(), nil
}

// startOnTwo starts a program whose processes share the first two of our cores.
func startOnTwo(cmd *exec.Cmd) error { return onTwo(cmd.Start) }

// onTwo does something on the first two of our cores; what it starts stays there.
func onTwo(do func() error) error {
	runtime.LockOSThread() // children, and ONNX Runtime's threads, take over this thread's cores
	defer runtime.UnlockOSThread()
	var all, two unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for n := 0; two.Count() < min(2, all.Count()); n++ {
		if all.IsSet(n) {
			two.Set(n)
		}
	}
	if err := unix.SchedSetaffinity(0, &two); err != nil {
		return err
	}
	err := do()
	return firstError(err, unix.SchedSetaffinity(0, &all))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// tree gives a process and all that come from it.
func tree(root int) []int {
	parents := map[int]int{}
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic("BUG: " + err.Error()) // the pattern is a constant
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
		if len(f) > 1 {
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	found := []int{root}
	for n := 0; n < len(found); n++ {
		for pid, parent := range parents {
			if parent == found[n] && !slices.Contains(found, pid) {
				found = append(found, pid)
			}
		}
	}
	return found
}

// treeMemory is the memory of a process and its children; 0 once they have ended.
func treeMemory(root int) (m memory) {
	for _, pid := range tree(root) {
		one := memoryOf(strconv.Itoa(pid))
		m = memory{m.all + one.all, m.private + one.private}
	}
	return m
}

func memoryOf(pid string) (m memory) {
	text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64) // the kernel writes numbers
		switch f[0] {
		case "Pss:":
			m.all = 1024 * kb
		case "Pss_Anon:":
			m.private = 1024 * kb
		}
	}
	return m
}
