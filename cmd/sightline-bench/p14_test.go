package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// laps are turns that took the seconds of wall clock and processor that are given.
func laps(parts int, took ...[2]float64) (all []lap) {
	for _, t := range took {
		all = append(all, lap{parts: parts, frames: 101, wall: seconds(t[0]), cpu: seconds(t[1])})
	}
	return all
}

// TestContestRows: start and end are taken off either side.
func TestContestRows(t *testing.T) {
	var log bytes.Buffer
	c := &contest{env: &Env{Log: &log}, id: "P14", what: "x", plain: true, gated: &gated{rate: ">= 1.5", cpu: "<= 0.7"}}
	c.empty = [sides]lap{
		agentSide:  {wall: time.Second, cpu: seconds(0.5)},
		gateSide:   {wall: time.Second, cpu: seconds(0.5)},
		scriptSide: {wall: 2 * time.Second, cpu: time.Second},
	}
	two := [2]float64{2, 1.5}
	ours, theirs := laps(7, two, two, two, two, [2]float64{3, 2.5}), laps(7, [][2]float64{{4, 3}, {4, 3}, {4, 3}, {4, 3}, {4, 3}}...)
	rows, err := c.rows(t.Context(), agentSide, ours, theirs)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][4]float64{}
	for _, r := range rows {
		got[r.ID] = [4]float64{r.Ours, r.Bare, r.Ratio, r.Worst}
	}
	want := map[string][4]float64{
		"P14/rate": {100, 50, 2, 1}, "P14/cpu": {10, 20, 0.5, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	rows, err = c.rows(t.Context(), gateSide, ours, theirs)
	if err != nil || len(rows) != 2 || rows[0].ID != "P14/gate/rate" || rows[0].Goal != ">= 1.5" || rows[1].ID != "P14/gate/cpu" || rows[1].Goal != "<= 0.7" {
		t.Errorf("%v, with the gate: %+v", err, rows)
	}
}

func TestUnequalCountsAreVoid(t *testing.T) {
	turn := [2]float64{2, 1}
	for name, c := range map[string]struct{ ours, theirs []lap }{
		"the script":        {laps(7, turn), laps(8, turn)},
		"an agent's turn":   {append(laps(7, turn), laps(6, turn)...), append(laps(7, turn), laps(6, turn)...)},
		"the frames differ": {laps(7, turn), []lap{{parts: 7, frames: 100}}},
	} {
		if err := sameCount(c.ours, c.theirs); err == nil || !strings.Contains(err.Error(), "void: the agent counted") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := sameCount(laps(7, turn, turn), laps(7, turn, turn)); err != nil {
		t.Error(err)
	}
}

// TestWatchedProgram: what its children use counts, and its failure is told.
func TestWatchedProgram(t *testing.T) {
	burn := "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
	r, out, err := watchRun(exec.CommandContext(t.Context(), "sh", "-c", "echo said; sh -c '"+burn+"'; true"))
	if err != nil || string(out) != "said\n" || r.cpu < 5*time.Millisecond || r.wall < r.cpu/2 || r.said <= 0 || r.said > r.wall {
		t.Errorf("%v, %q, %+v", err, out, r)
	}
	if _, _, err := watchRun(exec.CommandContext(t.Context(), "sh", "-c", "echo why >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "exit status 3: why") {
		t.Errorf("%v", err)
	}
}

func TestTreeAndItsMemory(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 60 & echo; wait")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(cmd.Process.Kill(), cmd.Wait()) }()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pids := tree(cmd.Process.Pid)
	defer func() { // sh's child stays behind it
		for _, pid := range pids[1:] {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	}()
	if len(pids) != 2 {
		t.Fatalf("processes %v, want sh and sleep", pids)
	}
	if m := treeMemory(cmd.Process.Pid); m.all < 1e5 || m.all > 1e8 || m.private > m.all {
		t.Errorf("%+v bytes", m)
	}
	if m := memoryOf("self"); m.all < 1e6 || m.private < 1e6 || m.private > m.all {
		t.Errorf("we take %+v bytes", m)
	}
}

// TestGapsAreEmpty: what is covered can't be told from belt by its brightness,
// and about two of five frames show a part.
func TestGapsAreEmpty(t *testing.T) {
	s, err := scene.New(scene.Config{Seed: 14, DefectRate: -1})
	if err != nil {
		t.Fatal(err)
	}
	f := s.NewFrame()
	window := vision.Box{X: gapMargin, W: float32(f.Width - 2*gapMargin), H: float32(f.Height)}
	shown, brightest := 0, byte(0)
	for n := 0; n < gapFrames; n += 20 {
		if err := s.Frame(n, f); err != nil {
			t.Fatal(err)
		}
		if uncovered(s.Truth(n), f, window) {
			shown++
			continue
		}
		for y := 80; y < f.Height-80; y++ {
			for _, v := range f.Pix[y*f.Stride+3*gapMargin : y*f.Stride+3*(f.Width-gapMargin)] {
				brightest = max(brightest, v)
			}
		}
	}
	if shown < 15 || shown > 25 || brightest > 110 {
		t.Errorf("%d of 50 frames show a part, the brightest spot of an empty one is %d", shown, brightest)
	}
}

func TestRoles(t *testing.T) {
	for _, args := range [][]string{{weighRole, "x"}, {loopRole, "1"}, {loopRole, "a", "b"}, {framesRole, "8", "0"}, {bytesRole}, {weighRole, "no library", "no model"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, nil, &out, &errs); code != 1 || errs.Len() == 0 {
			t.Errorf("%v: code %d, %s", args, code, &errs)
		}
	}
	var got limited
	if err := frames(context.Background(), []string{"8", "1000"}, &got); err != nil || got.n != 3*64 {
		t.Errorf("%v, %d bytes of pictures", err, got.n)
	}
}

// limited takes three writes.
type limited struct{ n, writes int }

func (l *limited) Write(b []byte) (int, error) {
	if l.writes++; l.writes > 3 {
		return 0, errors.New("gone")
	}
	l.n += len(b)
	return len(b), nil
}
